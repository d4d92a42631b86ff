"""The formulas that numbers are computed with, written from the theorems as NumPy code.

What is computed is what SymPy has proven, and computing it does not load SymPy.
"""

from . import closed_forms, integrands, rounding

FILES = (integrands.FILE, closed_forms.FILE, rounding.FILE)
