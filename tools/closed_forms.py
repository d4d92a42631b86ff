"""Write theory/closed_forms.py from the theorems: ``python -m tools.closed_forms``.

Claims without sums or integrals that predictions use, printed as NumPy code, so that predicting
does not load SymPy.
"""

import subprocess
import sys
from pathlib import Path

import sympy as sp
from sympy.printing.numpy import SciPyPrinter

from ropeleak.theory.theorems import load

TARGET = Path(__file__).parents[1] / "theory" / "closed_forms.py"
CLAIMS = ("ruler-linear", "ruler-norm")

HEAD = '''"""Closed forms that predictions use, written by ``make formulas``.

To change one, change its theorem.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]
'''


def code(formula: sp.Expr) -> str:
    """Return a formula as NumPy code."""
    text = SciPyPrinter({"fully_qualified_modules": False}).doprint(formula)
    for function in ("abs", "log", "sqrt"):
        text = text.replace(f"{function}(", f"np.{function}(")
    return str(text.replace("polygamma(", "special.polygamma("))


def claim(name: str) -> str:
    """Return the function of a theorem's claim, in the order of its arguments."""
    theorem = load(name)
    names = {
        argument: sp.Symbol(str(argument).lower(), **argument.assumptions0)
        for argument in theorem.arguments
    }
    arguments = ", ".join(f"{argument}: Array | float" for argument in names.values())
    return (
        f"def {name.replace('-', '_')}({arguments}) -> Array:\n"
        f'    """Theorem {name}: {theorem.title[0].lower()}{theorem.title[1:]}."""\n'
        f"    return np.asarray({code(theorem.formula.xreplace(names))})\n"
    )


def rendered() -> str:
    """Return the module."""
    text = "\n\n".join([HEAD, *map(claim, CLAIMS)])
    ruff = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(TARGET), "-"]
    done = subprocess.run(ruff, input=text, capture_output=True, encoding="utf-8", check=True)
    return done.stdout


def main() -> None:
    """Write the module where it is out of date."""
    new = rendered()
    old = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
    TARGET.write_text(new, encoding="utf-8")
    print(f"{TARGET.name} is {'up to date' if new == old else 'rewritten'}")


if __name__ == "__main__":
    main()
