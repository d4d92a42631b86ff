"""Theorems in the paper: statements in its text, and an appendix of proofs."""

import re
from collections.abc import Mapping
from functools import cache

from ropeleak.theory.theorems import load

from .sources import text

STATED = re.compile(r"\\input\{generated/theorem-([a-z-]+)\}")
REFERRED = re.compile(r"\\ref\{thm:([a-z-]+)\}")


def stated() -> list[str]:
    """Return the theorems that the text states, in its order."""
    return list(dict.fromkeys(STATED.findall(text())))


def proven() -> list[str]:
    """Return the theorems that the appendix proves: those that are stated or referred to."""
    return list(dict.fromkeys([*stated(), *REFERRED.findall(text())]))


def files() -> Mapping[str, str]:
    """Return the generated files by name: a statement each, and all proofs."""
    statements = {f"theorem-{name}.tex": _parts(name)[0] for name in stated()}
    return {**statements, "proofs.tex": proofs()}


def proofs() -> str:
    """Return the proofs; theorems that the text does not state are stated before theirs."""
    parts = []
    for name in proven():
        statement, proof = _parts(name)
        if name in stated():
            head = rf"\begin{{proof}}[Proof of theorem~\ref{{thm:{name}}}]"
            parts.append(proof.replace(r"\begin{proof}", head, 1))
        else:
            parts.append(statement + proof)
    return "\n".join(parts)


@cache
def _parts(name: str) -> tuple[str, str]:
    """Return a theorem's statement and its proof."""
    whole = load(name).latex(among=proven())
    statement, start, proof = whole.partition(r"\begin{proof}")
    return statement, start + proof
