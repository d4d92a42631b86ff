"""The claims in the paper: their ledger, that of the predecessors, and the plugs, as tables."""

from ropeleak.claims import CLAIMS, PREDECESSORS, names
from ropeleak.claims.ledger import latex, variants_latex

from .material import Material


def claims(material: Material) -> str:
    """Return verdicts and the numbers that decide, a row per number."""
    return latex([material.finding(name) for name in names(CLAIMS)])


def predecessors(material: Material) -> str:
    """Return the same of results of the literature."""
    return latex([material.finding(name) for name in names(PREDECESSORS)])


def plugs(material: Material) -> str:
    """Return what interventions leave."""
    return variants_latex(material.finding("plugs"))
