"""Steps of a derivation, each an equation that SymPy proves or refuses.

A step holds both sides unevaluated, as they are printed, and a rule that decides it. Nothing is
decided by floating-point numbers; `Cited` steps, which no rule decides, say where their proof is.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import sympy as sp


def _factored(term: sp.Expr, *limits: sp.Tuple) -> sp.Expr:
    """Return a sum with the constants of its term outside."""
    return sp.factor_terms(sp.Sum(term, *limits))


def _split(term: sp.Expr, limits: sp.Tuple) -> sp.Expr:
    """Return a sum from 0 with a last index like ``n + 1`` as the sum to ``n`` and one term."""
    index, first, last = limits
    if last.is_Add or first != 0:
        return sp.Sum(term, limits)
    return sp.Sum(term, (index, first, last - 1)) + term.subs(index, last)


def _binomials(expression: sp.Expr) -> sp.Expr:
    """Return an expression with the powers of each base collected and binomials simplified."""
    bases = {power.base for power in expression.atoms(sp.Pow) if power.base.is_Add}
    whole = expression.subs({base: sp.Dummy(positive=True) for base in bases})
    return sp.gammasimp(sp.combsimp(sp.factor_terms(sp.powsimp(sp.factor(whole)))))


SIMPLIFIERS: dict[str, Callable[[sp.Expr], sp.Expr]] = {
    "simplify": sp.simplify,
    "expand": sp.expand,
    "exponents": lambda e: sp.simplify(sp.powdenest(sp.expand_power_base(sp.expand(e)))),
    "trigonometry": lambda e: sp.simplify(sp.expand(sp.expand(e).rewrite(sp.exp))),
    "gamma": lambda e: sp.gammasimp(sp.combsimp(sp.expand_func(e.rewrite(sp.gamma)))),
    "powers": lambda e: e.rewrite(sp.Pow),
    "binomials": _binomials,
    "sums": lambda e: sp.simplify(sp.factor_terms(e.replace(sp.Sum, _factored))),
    "splitting": lambda e: sp.simplify(e.replace(sp.Sum, _split)),
    "floors": lambda e: sp.simplify(e.rewrite(sp.floor)),
    "minmax": lambda e: sp.simplify(e.rewrite(sp.Piecewise)),
    "polylogarithms": lambda e: sp.simplify(sp.expand_func(e)),
    "logarithms": lambda e: sp.simplify(sp.expand_log(sp.expand(e))),
}


def _difference(left: sp.Expr, right: sp.Expr) -> sp.Expr:
    if isinstance(right, sp.MatrixBase):
        return left.doit() - right
    return left - right


def is_zero(expression: sp.Expr, by: str = "simplify") -> bool:
    """Return whether a simplifier of `SIMPLIFIERS` reduces an expression to zero."""
    value = sp.sympify(expression)
    if isinstance(value, sp.MatrixBase):
        return all(is_zero(entry, by) for entry in value)
    if value == 0 or SIMPLIFIERS["powers"](value) == 0:
        return True
    return by != "powers" and SIMPLIFIERS[by](value.doit()) == 0


@dataclass(frozen=True)
class Step(ABC):
    """One equation ``lhs = rhs`` and, in words, why it holds."""

    text: str
    lhs: sp.Expr
    rhs: sp.Expr
    relation: ClassVar[str] = "="
    rule: ClassVar[str]

    @abstractmethod
    def prove(self) -> bool:
        """Return whether the rule proves the equation."""


@dataclass(frozen=True)
class Identity(Step):
    """Both sides, evaluated (integrals, sums, limits, derivatives), differ by zero."""

    by: str = "simplify"
    rule: ClassVar[str] = "identity"

    def prove(self) -> bool:
        """Evaluate both sides and simplify the difference."""
        return is_zero(_difference(self.lhs, self.rhs), self.by)


@dataclass(frozen=True)
class TermByTerm(Step):
    """Two sums or integrals over the same range whose terms are equal."""

    by: str = "simplify"
    rule: ClassVar[str] = "term by term"

    def prove(self) -> bool:
        """Compare ranges and simplify the difference of the terms."""
        left, right = self.lhs, self.rhs
        if type(left) is not type(right) or not isinstance(left, (sp.Sum, sp.Integral)):
            return False
        return left.limits == right.limits and is_zero(left.function - right.function, self.by)


@dataclass(frozen=True)
class Antiderivative(Step):
    """A definite integral from a primitive: its derivative and its values at the ends.

    Parameters
    ----------
    primitive
        ``F`` with ``F' `` the integrand; the value is ``F(b) - F(a)``, as limits.
    """

    primitive: sp.Expr
    by: str = "simplify"
    rule: ClassVar[str] = "primitive"

    def prove(self) -> bool:
        """Differentiate the primitive, take its limits at both ends, look for gaps in between."""
        if not isinstance(self.lhs, sp.Integral) or len(self.lhs.limits) != 1:
            return False
        x, a, b = self.lhs.limits[0]
        if not is_zero(sp.diff(self.primitive, x) - self.lhs.function, self.by):
            return False
        ends = sp.limit(self.primitive, x, b, "-") - sp.limit(self.primitive, x, a, "+")
        return is_zero(ends - self.rhs, self.by) and self._is_whole(x, a, b)

    def _is_whole(self, x: sp.Symbol, a: sp.Expr, b: sp.Expr) -> bool:
        """Return whether every singularity of the primitive is outside, or at an end."""
        gaps = sp.singularities(self.primitive, x)
        return gaps.is_finite_set is True and all(
            sp.simplify(a - gap).is_nonnegative or sp.simplify(gap - b).is_nonnegative
            for gap in gaps
        )


@dataclass(frozen=True)
class Substitution(Step):
    """A change of the integration variable.

    Parameters
    ----------
    old
        The variable of the left integral as an increasing expression in that of the right.
    """

    old: sp.Expr
    by: str = "simplify"
    rule: ClassVar[str] = "substitution"

    def prove(self) -> bool:
        """Substitute, multiply by the derivative, which is positive, compare integrands, ends."""
        if not isinstance(self.lhs, sp.Integral) or not isinstance(self.rhs, sp.Integral):
            return False
        x, a, b = self.lhs.limits[0]
        u, c, d = self.rhs.limits[0]
        jacobian = sp.diff(self.old, u)
        replaced = self.lhs.function.subs(x, self.old) * jacobian
        ends = [sp.limit(self.old, u, end) - to for end, to in ((c, a), (d, b)) if to.is_finite]
        far = [sp.limit(self.old, u, end) == to for end, to in ((c, a), (d, b)) if to.is_infinite]
        return (
            jacobian.is_positive is True
            and is_zero(replaced - self.rhs.function, self.by)
            and all(is_zero(end, self.by) for end in ends)
            and all(far)
        )


@dataclass(frozen=True)
class SumInduction(Step):
    """A sum ``Σ_{j=a}^{n} f(j)`` in closed form, by induction on its last index."""

    by: str = "simplify"
    rule: ClassVar[str] = "induction on the last index"

    def prove(self) -> bool:
        """Check the first term, and that the closed form grows by the next one."""
        if not isinstance(self.lhs, sp.Sum) or len(self.lhs.limits) != 1:
            return False
        j, first, n = self.lhs.limits[0]
        if not isinstance(n, sp.Symbol):
            return False
        term = self.lhs.function
        start = self.rhs.subs(n, first) - term.subs({j: first, n: first})
        growth = self.rhs.subs(n, n + 1) - self.rhs - term.subs(j, n + 1)
        return not term.has(n) and is_zero(start, self.by) and is_zero(growth, self.by)


@dataclass(frozen=True)
class Recurrence(Step):
    """``f(n)``, defined by ``f(n0)`` and ``f(n+1) = F(n, f(n))``, in closed form ``rhs``.

    Parameters
    ----------
    index, start, first
        ``n``, ``n0`` and ``f(n0)``.
    update
        ``F``, an expression in ``index`` and ``lhs``.
    """

    index: sp.Symbol
    start: sp.Expr
    first: sp.Expr
    update: sp.Expr
    by: str = "simplify"
    rule: ClassVar[str] = "induction"

    def prove(self) -> bool:
        """Check the first value, and that the closed form satisfies the recursion."""
        n = self.index
        begins = is_zero(self.rhs.subs(n, self.start) - self.first, self.by)
        follows = self.update.subs(self.lhs, self.rhs) - self.rhs.subs(n, n + 1)
        return begins and self.update.has(self.lhs) and is_zero(follows, self.by)


@dataclass(frozen=True)
class Series(Step):
    """The expansion of ``lhs`` about ``variable = 0``, up to (without) a power."""

    variable: sp.Symbol
    power: int
    by: str = "simplify"
    rule: ClassVar[str] = "series"

    def prove(self) -> bool:
        """Expand the left side and compare coefficients."""
        expansion = sp.series(self.lhs.doit(), self.variable, 0, self.power).removeO()
        return is_zero(expansion - self.rhs, self.by)


@dataclass(frozen=True)
class Nonnegative(Step):
    """``lhs >= 0``: it equals ``rhs``, whose sign follows from the domains of its symbols."""

    by: str = "simplify"
    rule: ClassVar[str] = "sign"

    def prove(self) -> bool:
        """Check the identity, and ask SymPy for the sign of the right side."""
        return is_zero(self.lhs - self.rhs, self.by) and self.rhs.is_nonnegative is True


@dataclass(frozen=True)
class Cited:
    """A step that rests on a known theorem: named, not verified here."""

    text: str
    source: str


@dataclass(frozen=True)
class Definition:
    """What a symbol stands for; nothing to prove."""

    text: str
    lhs: sp.Expr
    rhs: sp.Expr
