"""Tables of the paper, in LaTeX."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ropeleak.figures.recipe import escaped

from .material import Material
from .training.questions import QUESTIONS

DOCS = Path(__file__).parents[1] / "docs"
LADDER, REALITY = DOCS / "ladder.md", DOCS / "reality.md"
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?")

Row = Sequence[str]


def tabular(columns: str, header: Row, rows: Iterable[Row]) -> str:
    """Return a table of cells that are LaTeX already."""
    lines = [rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}", r"\toprule"]
    lines += [_line(header), r"\midrule", *map(_line, rows), r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join(lines)


def code(name: str) -> str:
    """Return a name as it stands in code."""
    return rf"\code{{{escaped(name)}}}"


def ladder(material: Material) -> str:
    """Return by how much the closed recursion is off the sampled one at most, by σ."""
    text = LADDER.read_text(encoding="utf-8")
    rows = []
    header: list[str] = []
    for part in text.split("\n## σ = ")[1:]:
        upper = part.split("Sampled against")[0]
        header, cells = markdown_table(upper)
        worst = [max(map(_size, column)) for column in list(zip(*cells, strict=True))[1:]]
        rows.append([part.split("\n")[0].strip(), *(f"{value:.0f}" for value in worst)])
    names = [code(name.strip("`")) for name in header[1:]]
    return tabular("r" * (len(names) + 1), [r"$\sigma$", *names], rows)


def ladder_depth() -> int:
    """Return the largest depth that the ladder compares."""
    _, rows = markdown_table(LADDER.read_text(encoding="utf-8"))
    return max(int(row[0]) for row in rows)


def reality(material: Material) -> str:
    """Return how far predictions are from models of transformers, a row per family and scale."""
    text = REALITY.read_text(encoding="utf-8")
    rows: list[Row] = []
    for part in text.split("### Weights of standard deviation ")[1:]:
        std = part.split("\n")[0].strip()
        _, cells = markdown_table(part)
        rows += [(code(row[0]), std, row[1], row[2], *map(_percent, row[3:])) for row in cells]
    header = ("family", "std", r"$\sigma$", "draws", r"$K_{ii}$", r"\BOS", r"$a_{i0}$", "part.")
    return tabular("lrrrrrrr", header, rows)


def training(material: Material) -> str:
    """Return the questions about trained models and their answers."""
    rows = []
    for question in QUESTIONS:
        answer = question.answer(material.trained)
        rule = f"{question.sense} {question.threshold:g}"
        rows.append([
            escaped(question.asks), escaped(question.number_is), escaped(str(answer.number)),
            rule, rf"\textbf{{{answer.verdict}}}",
        ])  # fmt: skip
    header = ("question", "number", r"value, $95\%$ interval", "yes where", "answer")
    return tabular("p{5.2cm}p{5.2cm}llr", header, rows)


def markdown_table(text: str) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the first table in a text."""
    lines = list(_cells(text))
    if len(lines) < 3:
        raise SystemExit("a generated page has lost its table: make it anew")
    return lines[0], lines[2:]


def _cells(text: str) -> Iterator[list[str]]:
    started = False
    for line in text.splitlines():
        if line.startswith("|"):
            started = True
            yield [cell.strip() for cell in line.strip().strip("|").split("|")]
        elif started:
            return


def _size(cell: str) -> float:
    """Return the size of the first number in a cell; 0 where it is within noise."""
    found = NUMBER.search(cell)
    return abs(float(found[0])) if found else 0.0


def _percent(cell: str) -> str:
    """Return ``median ± error, z`` as LaTeX."""
    bold = cell.startswith("**")
    median, error, z = NUMBER.findall(cell.replace("*", ""))
    text = rf"${float(median):.2g}\pm{float(error):.2g}$, ${float(z):.1f}$"
    return rf"\textbf{{{text}}}" if bold else text


def _line(cells: Row) -> str:
    return " & ".join(cells) + r" \\"
