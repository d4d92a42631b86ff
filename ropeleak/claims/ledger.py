"""The ledger: verdicts and the numbers that decide, as data, as tables, and as a figure."""

import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ropeleak.latex import escaped, tabular
from ropeleak.output import atomic, check_figure

from .claim import SOURCE, Finding
from .number import Number, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AFTER_TRAINING = Path(__file__).with_name("after_training.json")
"""What training says of the claims; written by ``paper/training``."""
NOTHING = "-"
"""Cell of a table where there is nothing to say."""
Table = Sequence[Sequence[str]]
"""A header and rows of plain text."""
WIDTHS = {"claim": "p{2.4cm}", "verdict": "p{1.3cm}", "decides": "p{3.8cm}", "rule": "p{2.3cm}",
          "after training": "p{2.8cm}", "theory": "p{1.5cm}", "measured": "p{1.8cm}",
          "exact, because": "p{2.4cm}", "cost": "p{3.2cm}"}  # fmt: skip
"""Columns of LaTeX's tables that are not as wide as their widest cell; fit for a page's width."""


def deciding(finding: Finding) -> list[Row]:
    """Return the rows that the rule looks at, each once, in its order."""
    wanted = dict.fromkeys(test.name for test in finding.claim.rule.tests)
    rows = {row.name: row for row in finding.evidence.rows}
    return [rows[name] for name in wanted]


@lru_cache(maxsize=1)
def after_training() -> Mapping[str, str]:
    """Return what training says, by the claim's id; nothing where it was not put to the test."""
    if not AFTER_TRAINING.exists():
        return {}
    entries = json.loads(AFTER_TRAINING.read_text(encoding="utf-8"))
    return {name: str(entry["says"]) for name, entry in entries.items()}


def as_data(finding: Finding) -> dict[str, Any]:
    """Return everything about a finding for a program."""
    claim, found = finding.claim, finding.evidence
    return {
        "id": claim.id,
        "paper": claim.paper,
        "claim": claim.says,
        "question": claim.question,
        "observable": claim.observable,
        "rule": str(claim.rule),
        "verdict": finding.verdict,
        "says": found.says,
        "numbers": [
            {"name": row.name, "words": row.words, "theory": _number(row.theory),
             "measured": _number(row.measured), "decides": row in deciding(finding)}
            for row in found.rows
        ],
        "table": [dict(zip(found.table[0], cells, strict=True)) for cells in found.table[1:]],
        "after_training": after_training().get(claim.id),
        "seconds": finding.seconds,
    }  # fmt: skip


def table(findings: Sequence[Finding]) -> Table:
    """Return the ledger, a row per deciding number.

    The last column is what training says, and the paper in a ledger of predecessors.
    """
    source = all(finding.claim.paper == SOURCE for finding in findings)
    header = ("claim", "verdict", "decides", "theory", "measured", "rule",
              "after training" if source else "arXiv")  # fmt: skip
    rows = [header]
    for finding in findings:
        claim = finding.claim
        end = after_training().get(claim.id, NOTHING) if source else claim.paper
        for index, row in enumerate(deciding(finding)):
            tests = [test for test in claim.rule.tests if test.name == row.name]
            rule = "; ".join(f"{t.otherwise} unless {t.sense} {t.threshold:g}" for t in tests)
            first, last = ((f"{claim.id}: {claim.says}", finding.verdict), end)
            cells = row.words, text(row.theory), text(row.measured), rule
            rows.append((*first, *cells, last) if not index else ("", "", *cells, ""))
    return rows


def markdown(findings: Sequence[Finding]) -> str:
    """Return the ledger as a Markdown table."""
    header, *rows = table(findings)
    marked = []
    for claim, verdict, *cells in rows:
        name, _, says = claim.partition(": ")
        first = (f"`{name}`: {says}", f"**{verdict}**") if claim else ("", "")
        marked.append((*first, *cells))
    return as_markdown([header, *marked])


def latex(findings: Sequence[Finding]) -> str:
    r"""Return the ledger as a ``tabular`` of booktabs."""
    return as_latex(table(findings))


def variants_markdown(finding: Finding) -> str:
    """Return what an experiment says of many variants as a Markdown table."""
    return as_markdown(finding.evidence.table)


def variants_latex(finding: Finding) -> str:
    r"""Return what an experiment says of many variants as a ``tabular`` of booktabs."""
    return as_latex(finding.evidence.table)


def as_markdown(table: Table) -> str:
    """Return a table in Markdown."""
    header, *rows = ([cell.replace("|", r"\|") for cell in row] for row in table)
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def as_latex(table: Table, widths: Mapping[str, str] = WIDTHS) -> str:
    """Return a table in LaTeX, with columns as wide as given or as their widest cell."""
    header, *rows = ([escaped(cell) for cell in row] for row in table)
    columns = "".join(widths.get(name, "l") for name in table[0])
    return tabular(columns, header, rows)


def text(number: Number | None) -> str:
    """Return a number with its error, or a dash where there is none."""
    return NOTHING if number is None else str(number)


def plot(finding: Finding, path: str | os.PathLike[str] | None = None) -> "Figure":
    """Draw a finding; save it where a path is given.

    Raises
    ------
    RopeleakError
        If the file cannot be written or its suffix names no known format.
    """
    from ropeleak.drawing import claims, style

    if path is not None:
        check_figure(path)
    panels = [
        claims.Panel([claims.Line(*curve) for curve in panel.curves], *panel[1:])
        for panel in finding.evidence.panels
    ]
    facts = [f"{row.name}: {row.number}" for row in deciding(finding)]
    figure = claims.plot(f"{finding.claim.says}: {finding.verdict}", panels, facts)
    if path is not None:
        with atomic(path) as temporary:
            style.save(figure, temporary)
    return figure


def _number(number: Number | None) -> dict[str, Any] | None:
    if number is None:
        return None
    return {"value": number.value, "se": number.se, "source": number.source}
