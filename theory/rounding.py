"""Rounding errors of a score.

Written by ``make formulas``: to change a formula, change its theorem.

Each is the RMS by which two scores of unit variance differ that are equal in exact arithmetic.
``bits`` are those of the significand; ``squares`` is the sum over the pairs and the four rotated
vectors of the squared spacing of floating-point numbers at the angle.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def of_angles(squares: Array, pairs: int) -> Array:
    """Theorem precision-angle: relative invariance with rounded angles."""
    return np.sqrt((1 / 12) * squares / pairs)


def of_tables(bits: int) -> float:
    """Theorem precision-tables: relative invariance with rounded tables."""
    return 0.690683400968584 * 2.0**-bits


def of_rotation(bits: int) -> float:
    """Theorem precision-rotation: relative invariance with a rounded rotation."""
    return 1.20317250836541 * 2.0**-bits
