"""What training says of the claims: a sentence and numbers for each, for their ledger."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ropeleak.output import atomic

from .questions import PLUGS, QUESTIONS, REPLACED, Answer
from .results import Results

FILE = Path(__file__).parents[2] / "ropeleak" / "claims" / "after_training.json"
"""Where the ledger of the claims, which is installed without this folder, finds what it shows."""

Says = Callable[[list[Answer]], str]


class Entry(NamedTuple):
    """What a claim has to do with training.

    Attributes
    ----------
    questions
        Ids of the questions that bear on it.
    says
        Takes their answers and returns a sentence.
    """

    questions: tuple[str, ...]
    says: Says


def _list(answers: list[Answer]) -> str:
    """Return every answer in words."""
    return "; ".join(
        f"{answer.question.number_is}: {answer.number} ({answer.verdict})" for answer in answers
    )


def _plugs(answers: list[Answer]) -> str:
    """Return how many plugs hold, and what they cost."""
    stay = [answer for answer in answers if answer.question.id.startswith("stays-plugged")]
    held = sum(answer.verdict == "yes" for answer in stay)
    costs = [answer for answer in answers if answer.question.id.startswith("costs")]
    words = "; ".join(f"{answer.question.id[7:]} {answer.number.value:+.3f}" for answer in costs)
    return f"{held} of {len(stay)} plugged holes stay plugged; loss (nats a byte): {words}"


CLAIMS: Mapping[str, Entry] = {
    "mask-denominator": Entry(("mask-denominator",), _list),
    "fifty-vs-hundred": Entry(("fifty-vs-hundred",), _list),
    "bos-anchor": Entry(tuple(f"bos-anchor: {kind}" for kind in REPLACED), _list),
    "ntk-suppresses": Entry(("ntk-suppresses", "ntk-suppresses-afterwards"), _list),
    "window-accumulates": Entry(("window-accumulates", "window-exceeds"), _list),
    "sinks-fingerprint": Entry(("sinks", "sinks-fingerprint"), _list),
    "beyond-training": Entry(("beyond-training-leak", "beyond-training-loss"), _list),
    "plugs": Entry(
        (*(f"stays-plugged: {name}, {hole}" for name, hole in PLUGS),
         *(f"costs: {name}" for name in dict(PLUGS))),
        _plugs,
    ),
}  # fmt: skip
"""By the claim's id. The other claims are theorems, which hold for any weights."""


def after_training(results: Results) -> dict[str, dict[str, Any]]:
    """Return what training says of each claim.

    Returns
    -------
    dict
        By claim: ``says``, a sentence, and ``numbers``, each with its question, what it is, value,
        ends of its 95% interval, and answer.
    """
    known = {question.id: question for question in QUESTIONS}
    found = {}
    for claim, entry in CLAIMS.items():
        answers = [known[name].answer(results) for name in entry.questions]
        numbers = [
            {"question": answer.question.asks, "is": answer.question.number_is,
             **answer.number._asdict(), "answer": answer.verdict}
            for answer in answers
        ]  # fmt: skip
        found[claim] = {"says": entry.says(answers), "numbers": numbers}
    return found


def write(results: Results, path: Path = FILE) -> None:
    """Write what training says of the claims to a file that ships with the package."""
    text = json.dumps(rounded(after_training(results)), indent=1, ensure_ascii=False) + "\n"
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def rounded(value: Any) -> Any:
    """Return data with its numbers to four digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else value
