"""Exact means over Gaussian variables, as SymPy expressions that print as means."""

from collections.abc import Mapping
from typing import Any

import sympy as sp

Z = sp.Symbol("z", real=True)
DENSITY = sp.exp(-(Z**2) / 2) / sp.sqrt(2 * sp.pi)
"""Density of a standard normal variable ``z``."""

MEAN = r"\mathbb{E}"
"""How a mean is printed; one over a standard normal ``z`` has it as an index."""

Covariance = Mapping[tuple[sp.Symbol, sp.Symbol], sp.Expr]


def mean_over_normal(expression: sp.Expr) -> sp.Integral:
    """Return ``E f(z)`` as an unevaluated integral."""
    return sp.Integral(expression * DENSITY, (Z, -sp.oo, sp.oo))


def independent(*variables: sp.Symbol) -> dict[tuple[sp.Symbol, sp.Symbol], sp.Expr]:
    """Return the covariance of independent standard normal variables."""
    return {(x, x): sp.S.One for x in variables}


def averaged_over_normal(integral: sp.Integral) -> sp.Expr | None:
    """Return ``f(z)`` of an integral that is ``E f(z)``, or None if it is not."""
    if integral.limits != (sp.Tuple(Z, -sp.oo, sp.oo),):
        return None
    inside = integral.function / DENSITY
    return None if inside.has(Z**2) else inside


class GaussianMean(sp.Expr):  # type: ignore[misc]
    """``E[polynomial]`` in centred Gaussian symbols; `doit` sums over pairings (Isserlis)."""

    is_commutative = True

    def __new__(cls, polynomial: sp.Expr, covariance: Covariance) -> "GaussianMean":
        """Take the covariance of pairs of symbols, in either order; a missing pair has 0."""
        if isinstance(covariance, sp.Tuple):
            rows = covariance
        else:
            rows = sp.Tuple(*(sp.Tuple(x, y, value) for (x, y), value in covariance.items()))
        return super().__new__(cls, sp.sympify(polynomial), rows)  # type: ignore[no-any-return]

    def doit(self, **hints: Any) -> sp.Expr:
        """Return the mean."""
        polynomial, rows = self.args
        table = {frozenset((x, y)): value for x, y, value in rows}
        variables = sorted({s for pair in table for s in pair}, key=lambda s: s.name)
        total = sp.S.Zero
        for powers, coefficient in sp.Poly(sp.expand(polynomial), *variables).terms():
            factors = [s for s, power in zip(variables, powers, strict=True) for _ in range(power)]
            total += coefficient * _pairings(factors, table)
        return total

    def _latex(self, printer: Any) -> str:
        return rf"{MEAN}\left[{printer._print(self.args[0])}\right]"


def _pairings(factors: list[sp.Symbol], table: Mapping[frozenset[sp.Symbol], sp.Expr]) -> sp.Expr:
    if len(factors) % 2:
        return sp.S.Zero
    if not factors:
        return sp.S.One
    first, *rest = factors
    total = sp.S.Zero
    for n, other in enumerate(rest):
        pair = table.get(frozenset((first, other)), sp.S.Zero)
        if pair != 0:
            total += pair * _pairings([*rest[:n], *rest[n + 1 :]], table)
    return total
