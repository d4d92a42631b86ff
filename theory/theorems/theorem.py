"""`Theorem`: a result, its derivation, and the numbers that follow from it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter
from typing import Any, NamedTuple

import sympy as sp

from .latex import WIDE, theorem_latex
from .numeric import closed_form
from .steps import Cited, Definition, Step

Numeric = Callable[..., Any]
Compiler = Callable[[sp.Expr, tuple[sp.Basic, ...]], Numeric]


class Domain(NamedTuple):
    """A symbol, what it means and which values it takes."""

    symbol: sp.Basic
    meaning: str
    values: str


class Outcome(NamedTuple):
    """What became of one step."""

    text: str
    rule: str
    proven: bool


@dataclass(frozen=True)
class Verification:
    """What became of all steps of a theorem."""

    name: str
    outcomes: tuple[Outcome, ...]
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether every step that can be verified is."""
        return all(outcome.proven for outcome in self.outcomes)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The steps that SymPy does not prove."""
        return tuple(outcome for outcome in self.outcomes if not outcome.proven)


@dataclass(frozen=True)
class Theorem:
    """One result.

    Parameters
    ----------
    name, title
        As in the registry, and as in the heading of a paper.
    statement
        What holds, in words; formulas in ``$…$``.
    hypotheses
        What is assumed, one sentence each.
    symbols
        Symbols with meanings and domains.
    steps
        The derivation. The last step is the claim: its right side is what the numbers are made of.
    quantity, relation
        What the claim's right side is, in LaTeX, and how it relates to it.
    arguments
        Arguments of the numeric twin, in order: symbols of the claim.
    compiler
        Makes the numeric twin from the claim's right side.
    validity
        Where the claim is an approximation: what it leaves out and where it may be used.
    references
        arXiv numbers of results that this one contains or extends, and what they show.
    """

    name: str
    title: str
    statement: str
    hypotheses: tuple[str, ...]
    symbols: tuple[Domain, ...]
    steps: tuple[Step | Cited | Definition, ...]
    quantity: str = ""
    relation: str = "="
    arguments: tuple[sp.Basic, ...] = ()
    compiler: Compiler = field(default=closed_form, compare=False)
    validity: str = ""
    references: tuple[tuple[str, str], ...] = ()

    @property
    def proof(self) -> tuple[Step, ...]:
        """The steps that SymPy verifies."""
        return tuple(step for step in self.steps if isinstance(step, Step))

    @property
    def cited(self) -> tuple[Cited, ...]:
        """The steps that rest on known theorems."""
        return tuple(step for step in self.steps if isinstance(step, Cited))

    @property
    def claim(self) -> Step:
        """What the theorem says as an equation, the last step."""
        return self.proof[-1]

    @property
    def formula(self) -> sp.Expr:
        """The right side of the claim."""
        return self.claim.rhs

    @cached_property
    def numeric(self) -> Numeric:
        """The claim's right side as a function of NumPy arrays."""
        return self.compiler(self.formula, self.arguments)

    def __call__(self, *values: Any) -> Any:
        """Return the numeric twin at ``values``, in the order of ``arguments``."""
        return self.numeric(*values)

    def verify(self) -> Verification:
        """Prove every step with SymPy."""
        began = perf_counter()
        outcomes = tuple(Outcome(step.text, step.rule, step.prove()) for step in self.proof)
        return Verification(self.name, outcomes, perf_counter() - began)

    def latex(self, among: Collection[str] = (), width: int = WIDE) -> str:
        """Return statement and proof for a document with amsmath and amsthm.

        Parameters
        ----------
        among
            Names of theorems in the same document, which are referred to by number.
        width
            Characters beyond which formulas are broken into lines.
        """
        return theorem_latex(self, among, width)
