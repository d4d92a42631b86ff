"""Theorems: some stated in the paper and proven in its appendix, all of them in a supplement."""

import re
from collections.abc import Mapping

from ropeleak.theory.theorems import TABLE, load
from ropeleak.theory.theorems.latex import WIDE, document

from .sources import text

COLUMN = 40
"""Characters of a formula that a column holds."""
STATED = re.compile(r"\\input\{generated/theorem-([a-z-]+)\}")
SUPPLEMENT = re.compile(r"\\supplement\{([a-z-]+)\}")
"""A reference by name to a theorem that only the supplement holds."""


def stated() -> list[str]:
    """Return the theorems that the text states and the appendix proves, in the text's order."""
    return list(dict.fromkeys(STATED.findall(text())))


def supplementary() -> list[str]:
    """Return the theorems that the text leaves to the supplement."""
    return list(dict.fromkeys(SUPPLEMENT.findall(text())))


def files() -> Mapping[str, str]:
    """Return the generated files by name: a statement each, and all proofs."""
    statements = {f"theorem-{name}.tex": _parts(name, COLUMN)[0] for name in stated()}
    return {**statements, "proofs.tex": "\n".join(map(_proof, stated()))}


def supplement() -> str:
    """Return a document of all theorems with their proofs."""
    return document([load(name) for name in TABLE])


def _proof(name: str) -> str:
    head = rf"\begin{{proof}}[Proof of theorem~\ref{{thm:{name}}}]"
    return _parts(name, WIDE)[1].replace(r"\begin{proof}", head, 1)


def _parts(name: str, width: int) -> tuple[str, str]:
    """Return a theorem's statement and its proof."""
    statement, start, proof = load(name).latex(stated(), width).partition(r"\begin{proof}")
    return statement, start + proof
