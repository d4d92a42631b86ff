"""Closed forms that predictions use.

Written by ``make formulas``: to change a formula, change its theorem.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]


def ruler_linear(
    d: Array | float,
    q_ii: Array | float,
    q_jj: Array | float,
    q_ij: Array | float,
    k_ii: Array | float,
    k_jj: Array | float,
) -> Array:
    """Theorem ruler-linear: the linear ruler."""
    return np.asarray(
        np.sqrt(2) * np.sqrt(d) * np.sqrt((q_ii - 2 * q_ij + q_jj) / (k_ii + k_jj - q_ii - q_jj))
    )


def ruler_norm(d: Array | float, k_ii: Array | float, k_jj: Array | float) -> Array:
    """Theorem ruler-norm: the norm ruler."""
    return np.asarray(abs(np.log(k_ii / k_jj)) / np.sqrt(special.polygamma(1, (1 / 2) * d)))
