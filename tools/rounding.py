"""Write theory/rounding.py from the theorems on precision: ``python -m tools.rounding``.

Tolerances are the closed forms that SymPy has derived, printed as NumPy code, so that a check of
rotary code does not load SymPy.
"""

from pathlib import Path
from typing import NamedTuple

import sympy as sp
from sympy.printing.numpy import NumPyPrinter

from ropeleak.theory.theorems import load
from ropeleak.theory.theorems.precision import bits
from ropeleak.theory.theorems.rope import p, sigma

from .integrands import write

TARGET = Path(__file__).parents[1] / "theory" / "rounding.py"
squares, pairs = sp.symbols("squares pairs", positive=True)


class Law(NamedTuple):
    """A function of the module: its theorem, its name and its arguments with their types."""

    theorem: str
    name: str
    arguments: str
    doc: str


LAWS = (
    Law("precision-angle", "of_angles", "squares: Array, pairs: int", "angles"),
    Law("precision-tables", "of_tables", "bits: int", "cosines and sines"),
    Law("precision-rotation", "of_rotation", "bits: int", "products and sums"),
)

HEAD = '''"""Rounding errors of a score, written by ``make formulas``.

To change one, change its theorem.

Each is the RMS by which two scores of unit variance differ that are equal in exact arithmetic.
``bits`` are those of the significand; ``squares`` is the sum over the pairs and the four rotated
vectors of the squared spacing of floating-point numbers at the angle.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
'''


def code(formula: sp.Expr) -> str:
    """Return a claim for unit variance as NumPy code, its sums put into numbers or arguments."""
    sums = {
        total: squares if total.atoms(sp.Indexed) else total.doit().evalf(20)
        for total in formula.atoms(sp.Sum)
    }
    plain = formula.xreplace({**sums, p: pairs, sigma: sp.S.One})
    if plain.has(squares):
        above, below = sp.fraction(plain**2)
        return f"np.sqrt({above} / ({printed(below)}))"
    return f"{sp.N(sp.powsimp(plain * 2**bits), 15)} * 2.0**-bits"


def printed(expression: sp.Expr) -> str:
    """Return a product with spaces between its factors."""
    return str(NumPyPrinter().doprint(expression)).replace("*", " * ")


def law(row: Law) -> str:
    """Return the function of a theorem."""
    theorem = load(row.theorem)
    kind = "Array" if "Array" in row.arguments else "float"
    return (
        f"def {row.name}({row.arguments}) -> {kind}:\n"
        f'    """Theorem {row.theorem}: the error of rounded {row.doc}."""\n'
        f"    return {code(theorem.formula)}\n"
    )


def rendered() -> str:
    """Return the module."""
    return "\n\n".join([HEAD, *map(law, LAWS)])


def main() -> None:
    """Write the module where it is out of date."""
    write(TARGET, rendered())


if __name__ == "__main__":
    main()
