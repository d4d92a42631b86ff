"""The claims in the paper: their ledger, the predecessors and the plugs, as tables."""

from ropeleak.claims import names
from ropeleak.claims.ledger import deciding, text
from ropeleak.figures.recipe import escaped

from .material import Material
from .tables import code, tabular


def claims(material: Material) -> str:
    """Return verdicts and the numbers that decide, a row per number."""
    rows = []
    for name in names():
        finding = material.finding(name)
        for index, row in enumerate(deciding(finding)):
            first = (code(name), rf"\textbf{{{finding.verdict}}}") if not index else ("", "")
            rows.append([*first, escaped(row.words), escaped(text(row.theory)),
                         escaped(text(row.measured))])  # fmt: skip
    header = ("claim", "verdict", "deciding number", "theory", "measured")
    return tabular("lp{2.4cm}p{6.4cm}rr", header, rows)


def plugs(material: Material) -> str:
    """Return what interventions leave."""
    header, *rows = material.finding("plugs").evidence.table
    escape = [[escaped(cell) for cell in row] for row in (header, *rows)]
    return tabular("lrrrrp{2.2cm}p{3.9cm}", escape[0], escape[1:])


def predecessors(material: Material) -> str:
    """Return what was found of results of the literature."""
    return tabular("l", ("result",), [])
