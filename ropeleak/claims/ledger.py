"""The ledger: verdicts and the numbers that decide, as data, as Markdown, and as a figure."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ropeleak.output import atomic, check_figure

from .claim import Finding
from .number import Number, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def deciding(finding: Finding) -> list[Row]:
    """Return the rows that the rule looks at, each once, in its order."""
    wanted = dict.fromkeys(test.name for test in finding.claim.rule.tests)
    rows = {row.name: row for row in finding.evidence.rows}
    return [rows[name] for name in wanted]


def as_data(finding: Finding) -> dict[str, Any]:
    """Return everything about a finding for a program."""
    claim, found = finding.claim, finding.evidence
    return {
        "id": claim.id,
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
        "seconds": finding.seconds,
    }  # fmt: skip


def markdown(findings: Sequence[Finding]) -> str:
    """Return the ledger as a Markdown table, a row per deciding number."""
    lines = ["| claim | verdict | deciding number | theory | measured | rule |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for finding in findings:
        for index, row in enumerate(deciding(finding)):
            tests = [test for test in finding.claim.rule.tests if test.name == row.name]
            rule = "; ".join(f"{t.otherwise} unless {t.sense} {t.threshold:g}" for t in tests)
            first = (f"`{finding.claim.id}`: {finding.claim.says}", f"**{finding.verdict}**")
            cells = (*(first if not index else ("", "")), row.words, text(row.theory),
                     text(row.measured), rule)  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def text(number: Number | None) -> str:
    """Return a number with its error, or a dash where there is none."""
    return "-" if number is None else str(number)


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
    found = finding.evidence
    figure = claims.plot(
        f"{finding.claim.says}:\n{finding.verdict}", [claims.Line(*c) for c in found.curves],
        found.x_label, found.y_label, found.categories,
        [f"{row.name}: {row.number}" for row in deciding(finding)],
    )  # fmt: skip
    if path is not None:
        with atomic(path) as temporary:
            style.save(figure, temporary)
    return figure


def _number(number: Number | None) -> dict[str, Any] | None:
    if number is None:
        return None
    return {"value": number.value, "se": number.se, "source": number.source}
