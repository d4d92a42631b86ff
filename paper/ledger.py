"""The claims in the paper: their ledger, that of the predecessors, and the plugs, as tables."""

from collections.abc import Mapping, Sequence

from ropeleak.claims import CLAIMS, PREDECESSORS, names
from ropeleak.claims.claim import Finding
from ropeleak.claims.ledger import as_latex, table

from .material import Material

LEDGER = {"claim": "p{3.6cm}", "verdict": "p{1.7cm}", "decides": "p{4.7cm}", "theory": "p{1.4cm}",
          "measured": "p{1.9cm}", "rule": "p{2.7cm}"}  # fmt: skip
PLUGS = {"intervention": "p{2.6cm}", "exact, because": "p{4.4cm}", "cost": "p{4.2cm}",
         **dict.fromkeys(("mask leak²", "residual leak²", "beacon at 100", "d′(50,100)"),
                         "p{1.1cm}")}  # fmt: skip
"""Columns of tables that are as wide as a page."""


def claims(material: Material) -> str:
    """Return verdicts and the numbers that decide, a row per number."""
    return _ledger([material.finding(name) for name in names(CLAIMS)])


def predecessors(material: Material) -> str:
    """Return the same of results of the literature."""
    return _ledger([material.finding(name) for name in names(PREDECESSORS)])


def plugs(material: Material) -> str:
    """Return what interventions leave."""
    return _ragged(material.finding("plugs").evidence.table, PLUGS)


def _ledger(findings: Sequence[Finding]) -> str:
    """Return a ledger without its last column, which the text says."""
    return _ragged([row[:-1] for row in table(findings)], LEDGER)


def _ragged(rows: Sequence[Sequence[str]], widths: Mapping[str, str]) -> str:
    ragged = {name: rf">{{\raggedright\arraybackslash}}{width}" for name, width in widths.items()}
    return as_latex(rows, ragged)
