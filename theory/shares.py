r"""The mean weight of one key among others whose scores spread otherwise.

``E a = ∫ ξ(t) φ(t)^{n-1} dt`` with ``φ(t) = E exp(-t e^{σz})`` of the others and
``ξ(t) = E e^{τz} exp(-t e^{τz})`` of the key itself: the claim of the theorem ``key-share``. On the
line of ``ln t``, both are tabulated in the deviation and interpolated, by the logarithms.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from .integrands import key_share, of_deficit, of_first
from .softmax import LARGEST_SCORE_STD, chi_square_nodes

Array = NDArray[np.float64]

_LOG_T_STEP = 0.7
_Z_STEP = 0.12
_STD_STEP = 0.125
_TAIL = 16.0
"""Exponents below minus this are left out of the line."""
_TINY = 1e-300


@lru_cache(maxsize=64)
def _lines(log2_n: int, n_stds: int) -> tuple[Array, CubicSpline, CubicSpline]:
    """Return ``t`` (U,), and ``ln(-ln φ)`` and ``ln ξ`` on it as functions of the deviation."""
    std = np.arange(n_stds + 1) * _STD_STEP
    largest = float(std[-1])
    lowest = -(log2_n * np.log(2) + largest**2 + _TAIL)
    t = np.exp(np.arange(lowest, 7 * largest + 4, _LOG_T_STEP))
    z = np.arange(-8.0, 8.0 + 2 * largest, min(_Z_STEP, 0.4 / max(largest, 1.0)))
    weight = np.exp(-(z**2) / 2)
    weight /= np.sqrt(2 * np.pi) / (z[1] - z[0])
    y = np.exp(np.multiply.outer(std, z))
    missing, first = (
        np.stack([mean(t[:, None], row) @ weight for row in y]) for mean in (of_deficit, of_first)
    )
    log_phi = np.log1p(-np.minimum(missing, 1 - 1e-16))
    rows = np.log(np.maximum(-log_phi, _TINY)), np.log(np.maximum(first, _TINY))
    return t, CubicSpline(std, rows[0]), CubicSpline(std, rows[1])


def key_shares(own: Array, rest: Array, n: Array, dof: int | None) -> Array:
    """Return the mean weights of keys.

    Parameters
    ----------
    own, rest
        Variances of the scores of a key and of the others of its row (N, K).
    n
        Numbers of keys (N,).
    dof
        Head size, when variances are a ``χ²_dof / dof`` mixture because a query's norm varies.

    Returns
    -------
    ndarray
        Shape (N, K).
    """
    norms, chances = chi_square_nodes(dof)
    largest = np.sqrt(max(own.max(), rest.max()) * norms.max())
    log2_n = max(int(np.ceil(np.log2(n.max()))), 1)
    n_stds = int(np.ceil(min(largest, LARGEST_SCORE_STD) / _STD_STEP)) + 1
    t, of_rest, of_own = _lines(log2_n, max(n_stds, 8))
    total = np.zeros(own.shape)
    for norm, chance in zip(norms, chances, strict=True):
        stds = (np.minimum(np.sqrt(norm * x), LARGEST_SCORE_STD) for x in (rest, own))
        missing = -np.expm1(-np.exp(of_rest(next(stds))))
        first = np.exp(of_own(next(stds)))
        parts = key_share(t, n[:, None, None], np.minimum(missing, 1 - 1e-16), first)
        total += chance * parts.of_keys.sum(-1) * _LOG_T_STEP
    return total
