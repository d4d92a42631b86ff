"""What the results say, as tables: in this folder's README, and for the ledger of the claims."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from ropeleak.output import atomic

from .architectures import BASELINE
from .questions import QUESTIONS, ranked, ranked_position
from .results import Array, Results

PAGE = Path(__file__).parent / "README.md"
STARTED, TRAINED = 0, -1
"""Steps: before training, and after it."""


def publish(results: Results) -> None:
    """Write the README's tables anew."""
    with atomic(PAGE) as temporary:
        temporary.write_text(page(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")


def page(text: str, results: Results) -> str:
    """Return a page with its tables, which stand between comments, made anew."""
    for name, table in TABLES.items():
        before, rest = text.split(f"<!-- {name} -->\n")
        _, after = rest.split(f"<!-- end of {name} -->")
        text = f"{before}<!-- {name} -->\n{table(results)}<!-- end of {name} -->{after}"
    return text


def answers_table(results: Results) -> str:
    """Return questions and answers as a Markdown table."""
    rows = []
    for question in QUESTIONS:
        answer = question.answer(results)
        rows.append((
            question.asks, f"{question.number_is}: {answer.number}",
            f"{question.sense} {question.threshold:g}", f"**{answer.verdict}**",
        ))  # fmt: skip
    return markdown(("question", "number, 95% interval", "yes where", "answer"), rows)


def architectures_table(results: Results) -> str:
    """Return predicted, initial and trained numbers of every architecture as a Markdown table."""
    base = results.of("loss_late", BASELINE)
    rows = []
    for name in results.architectures:
        expected = results.predictions[name]
        loss = results.of("loss_late", name)
        rows.append((
            name,
            _steps(float(expected.mask.mean()), results, "mask", name, _mean),
            _steps(float(expected.residual.mean()), results, "residual", name, _mean),
            _steps(expected.position, results, "d_prime", name, _last),
            f"{loss.mean():.3f} ({(loss - base).mean():+.3f})",
        ))  # fmt: skip
    header = ("architecture", "mask leak", "residual leak", "d′(50, 100)", "loss")
    return markdown(header, rows)


def course_table(results: Results) -> str:
    """Return how well the prediction ranks the models as they are trained, a row per step."""
    rows = [
        (str(step), *(str(number) for number in (
            ranked(results, "mask", step=index), ranked(results, "residual", step=index),
            ranked_position(results, step=index),
        )))
        for index, step in enumerate(results.trained["step"].values)
    ]  # fmt: skip
    return markdown(("step", "mask leak", "residual leak", "d′(50, 100)"), rows)


TABLES: dict[str, Callable[[Results], str]] = {
    "answers": answers_table, "architectures": architectures_table, "course": course_table,
}  # fmt: skip


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _steps(
    predicted: float, results: Results, name: str, architecture: str,
    over: Callable[[Array], Array],
) -> str:  # fmt: skip
    """Return a quantity as ``predicted → at the first step → at the last``."""
    measured = (over(results.of(name, architecture, step)).mean() for step in (STARTED, TRAINED))
    return " → ".join(f"{value:.2g}" for value in (predicted, *measured))


def _mean(values: Array) -> Array:
    return np.asarray(values.mean(axis=1))


def _last(values: Array) -> Array:
    return values[:, -1]
