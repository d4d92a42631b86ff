"""Tables of the paper, in LaTeX."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ropeleak.latex import escaped, tabular

from .material import Material
from .training.questions import QUESTIONS

DOCS = Path(__file__).parents[1] / "docs"
LADDER, REALITY = DOCS / "ladder.md", DOCS / "reality.md"
SYMBOLS = {
    "k_diag": "$K_{ii}$", "q_diag": "$Q_{ii}$", "bos_part": r"\BOS", "log_z": r"$\E\ln Z_i$",
    "sink": "$a_{i0}$", "sink_excess": "sink", "participation": "$P_i$",
    "leak_mask": "mask", "leak_residual": "residual",
}  # fmt: skip
"""What quantities are called at the head of a column."""
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?")

Row = Sequence[str]


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
    names = [SYMBOLS[name.strip("`")] for name in header[1:]]
    return tabular("r" * (len(names) + 1), [r"$\sigma$", *names], rows)


def ladder_depth() -> int:
    """Return the largest depth that the ladder compares."""
    _, rows = markdown_table(LADDER.read_text(encoding="utf-8"))
    return max(int(row[0]) for row in rows)


def reality(material: Material) -> str:
    """Return how far predictions are from models of transformers, scales of weights abreast."""
    text = REALITY.read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    above, header = [""], ["family"]
    for part in text.split("### Weights of standard deviation ")[1:]:
        (_, _, _, *names), rows = markdown_table(part)
        for family, size, _, *cells in rows:
            found.setdefault(code(family), []).extend([size, *map(_percent, cells)])
        width = len(names) + 1
        above.append(rf"\multicolumn{{{width}}}{{c}}{{weights of {part.split()[0]}}}")
        header += [r"$\sigma$", *(SYMBOLS[name.strip("`")] for name in names)]
    lines = [(family, *cells) for family, cells in found.items()]
    first = " & ".join(above) + " \\\\\n" + header[0]
    return tabular("l" + "r" * (len(header) - 1), [first, *header[1:]], lines)


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
    return tabular("p{5.9cm}p{4.4cm}llr", header, rows)


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
    """Return ``median ± error, z`` as ``median (z)``, bold where it was."""
    median, _, z = NUMBER.findall(cell.replace("*", ""))
    mark, mark_z = (r"\textbf" if part.count("**") else "" for part in cell.split(","))
    return f"{mark}{{{float(median):.2g}}} ({mark_z}{{{float(z):.1f}}})"
