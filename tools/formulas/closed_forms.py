"""``theory/closed_forms.py``: claims without sums or integrals that predictions use."""

import sympy as sp

from ropeleak.theory.theorems import load

from .printing import File, code, function

CLAIMS = ("ruler-linear", "ruler-norm")

BEFORE = """
import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]
"""


def claim(name: str) -> str:
    """Return the function of a theorem's claim, in the order of its arguments."""
    theorem = load(name)
    names = {
        argument: sp.Symbol(str(argument).lower(), **argument.assumptions0)
        for argument in theorem.arguments
    }
    arguments = ", ".join(f"{argument}: Array | float" for argument in names.values())
    return function(
        name, arguments, "Array", f"np.asarray({code(theorem.formula.xreplace(names))})"
    )


FILE = File(
    "closed_forms", "Closed forms that predictions use", "", BEFORE, lambda: map(claim, CLAIMS)
)
