"""``theory/rounding.py``: the theorems on precision, as checks of rotary code use them."""

import sympy as sp

from ropeleak.theory.theorems import load
from ropeleak.theory.theorems.precision import bits
from ropeleak.theory.theorems.rope import p, sigma

from .printing import File, code, function

squares, pairs = sp.symbols("squares pairs", positive=True)

NOTES = """
Each is the RMS by which two scores of unit variance differ that are equal in exact arithmetic.
``bits`` are those of the significand; ``squares`` is the sum over the pairs and the four rotated
vectors of the squared spacing of floating-point numbers at the angle.
""".strip()

BEFORE = """
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
"""


def of_unit_variance(name: str) -> sp.Expr:
    """Return a claim for unit variance, its sums put into numbers or arguments."""
    formula = load(name).formula
    sums = {
        total: squares if total.atoms(sp.Indexed) else total.doit().evalf(20)
        for total in formula.atoms(sp.Sum)
    }
    return formula.xreplace({**sums, p: pairs, sigma: sp.S.One})


def of_angles() -> str:
    """Return the function of rounded angles, which depends on the positions."""
    variance = code(of_unit_variance("precision-angle") ** 2)
    return function(
        "precision-angle", "squares: Array, pairs: int", "Array", f"np.sqrt({variance})",
        "of_angles",
    )  # fmt: skip


def of_bits(theorem: str, name: str) -> str:
    """Return a function of the significand's bits alone."""
    factor = sp.N(sp.powsimp(of_unit_variance(theorem) * 2**bits), 15)
    return function(theorem, "bits: int", "float", f"{factor} * 2.0**-bits", name)


FILE = File(
    "rounding", "Rounding errors of a score", NOTES, BEFORE,
    lambda: (
        of_angles(), of_bits("precision-tables", "of_tables"),
        of_bits("precision-rotation", "of_rotation"),
    ),
)  # fmt: skip
