"""Functions that theorems name: printed by name, spelled out in proofs, stable in numbers."""

from typing import Any, ClassVar

import numpy as np
import sympy as sp
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Named(sp.Function):  # type: ignore[misc]
    """A function with a name of its own; `doit` spells it out, where SymPy can."""

    tex: ClassVar[str]

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        arguments = ", ".join(printer._print(argument) for argument in self.args)
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"{self.tex}{power}\left({arguments}\right)"


class Dirichlet(Named):
    """``D_n(x) = sin(n x / 2) / (n sin(x / 2))``, the mean of ``n`` turns by ``x`` each."""

    tex = r"\operatorname{D}"
    nargs = 2
    is_real = True

    def doit(self, **hints: Any) -> sp.Expr:
        """Return the ratio of sines."""
        x, n = self.args
        return sp.sin(n * x / 2) / (n * sp.sin(x / 2))


def spacing(x: Any, bits: Any) -> Array:
    """Return the spacing of floating-point numbers with ``bits`` bits at ``x``; 0 at 0."""
    size = np.abs(np.asarray(x, dtype=float))
    _, exponent = np.frexp(size)  # size = f 2^exponent, 1/2 <= f < 1
    return np.asarray(np.where(size > 0, np.ldexp(1.0, exponent - np.asarray(bits, int)), 0.0))


def dirichlet(x: Any, n: Any) -> Array:
    """Return `Dirichlet`, the limits where ``x`` is a whole number of turns included."""
    turns = np.rint(np.asarray(x) / (2 * np.pi))
    rest = np.asarray(x) / (2 * np.pi) - turns
    sign = np.where(turns * (np.asarray(n) - 1) % 2, -1.0, 1.0)
    return np.asarray(sign * np.sinc(n * rest) / np.sinc(rest))


NUMERIC: dict[str, Any] = {
    "Dirichlet": dirichlet,
    "kept": lambda h: np.sinc(np.asarray(h) / (2 * np.pi)),
    "ulp": spacing,
}
"""The functions as lambdified formulas call them."""
