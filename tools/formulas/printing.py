"""How a formula is printed as NumPy code, and what a file of formulas is made of."""

import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import sympy as sp
from sympy.printing.numpy import SciPyPrinter

from ropeleak.theory.theorems import load

THEORY = Path(__file__).parents[2] / "theory"


class _Printer(SciPyPrinter):  # type: ignore[misc]
    """Names NumPy ``np`` and SciPy's sub-packages by their last part."""

    def _module_format(self, fqn: str, register: bool = True) -> str:
        return fqn.replace("numpy.", "np.").replace("scipy.", "")


def code(expression: sp.Expr) -> str:
    """Return an expression as NumPy code."""
    return str(_Printer().doprint(expression))


def function(theorem: str, arguments: str, returns: str, value: str, name: str = "") -> str:
    """Return the function of a theorem's claim; it is named like the theorem, or by ``name``."""
    title = load(theorem).title
    return (
        f"def {name or theorem.replace('-', '_')}({arguments}) -> {returns}:\n"
        f'    """Theorem {theorem}: {title[0].lower()}{title[1:]}."""\n'
        f"    return {value}\n"
    )


@dataclass(frozen=True)
class File:
    """A module of ``theory/`` that is written from theorems.

    Parameters
    ----------
    name
        Its name without the suffix.
    about, notes
        First line and rest of its docstring.
    before
        Imports and definitions that the functions need.
    functions
        What returns their code.
    """

    name: str
    about: str
    notes: str
    before: str
    functions: Callable[[], Iterable[str]]

    @property
    def path(self) -> Path:
        """Where it stands."""
        return THEORY / f"{self.name}.py"

    def rendered(self) -> str:
        """Return what it should hold."""
        origin = "Written by ``make formulas``: to change a formula, change its theorem."
        docstring = "\n\n".join(filter(None, (f'"""{self.about}.', origin, self.notes)))
        text = "\n\n".join((f'{docstring}\n"""', self.before, *self.functions()))
        ruff = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(self.path), "-"]
        done = subprocess.run(ruff, input=text, capture_output=True, encoding="utf-8", check=True)
        return done.stdout

    def write(self) -> bool:
        """Write it, and return whether it was out of date."""
        new = self.rendered()
        stale = not self.path.exists() or self.path.read_text(encoding="utf-8") != new
        if stale:
            self.path.write_text(new, encoding="utf-8")
        return stale
