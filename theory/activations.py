r"""Mean-field kernels of MLP activations, by Hermite expansion.

For jointly Gaussian pre-activations of variances ``p``, ``p'`` and correlation ``c``,
``E[φ(a)φ(a')] = Σ_k α_k(p) α_k(p') c^k`` (Mehler), where ``α_k`` are the coefficients of
``φ(√p z)`` in orthonormal Hermite polynomials.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, expit

Array = NDArray[np.float64]

ORDER = 12
"""Highest power of the correlation kept; the rest of the variance is put on the last power."""

_ROUNDING = 1e-13

ACTIVATIONS: dict[str, Callable[[Array, float], Array]] = {
    "silu": lambda x, scale: x * expit(scale * x),
    "gelu": lambda x, scale: x * (1 + erf(scale * x / np.sqrt(2))) / 2,
    "gelu_tanh": lambda x, scale: (
        x * (1 + np.tanh(np.sqrt(2 / np.pi) * scale * (x + 0.044715 * x**3))) / 2
    ),
    "quick_gelu": lambda x, scale: x * expit(1.702 * scale * x),
    "relu": lambda x, scale: np.maximum(x, 0.0),
    "relu2": lambda x, scale: np.maximum(x, 0.0) ** 2,
    "tanh": lambda x, scale: np.tanh(scale * x),
    "linear": lambda x, scale: x,
}


@lru_cache(maxsize=8)
def _hermite_basis(order: int, nodes: int = 400) -> tuple[Array, Array, Array]:
    """Return nodes (n,), weights (n,) and orthonormal Hermite polynomials (order + 1, n)."""
    z = np.linspace(-9.0, 9.0, nodes)  # trapezoid: exact for smooth φ, O(h²) at a kink
    weight = np.exp(-(z**2) / 2) * (z[1] - z[0]) / np.sqrt(2 * np.pi)
    basis = np.empty((order + 1, nodes))
    basis[0] = 1.0
    basis[1] = z
    for k in range(1, order):
        basis[k + 1] = (z * basis[k] - np.sqrt(k) * basis[k - 1]) / np.sqrt(k + 1)
    return z, weight, basis


def hermite_coefficients(
    activation: str, variance: Array, scale: float = 1.0, order: int = ORDER
) -> Array:
    """Return ``α_k(p)``, shape (order + 1, variance.size).

    The last coefficient carries all the variance beyond ``order - 1``, so that the squares sum to
    ``E φ(√p z)²`` exactly.
    """
    z, weight, basis = _hermite_basis(order)
    p = np.atleast_1d(np.asarray(variance, dtype=float))
    phi = ACTIVATIONS[activation](np.sqrt(p)[:, None] * z, scale)
    alpha = ((phi * weight)[:, None, :] @ basis.T)[:, 0]  # each as if it were alone
    total = np.vecdot(phi**2, weight)
    rest = np.maximum(total - np.vecdot(alpha[:, :-1], alpha[:, :-1]), 0.0)
    alpha[:, -1] = np.sqrt(rest)
    alpha[np.abs(alpha) < _ROUNDING * np.abs(alpha).max()] = 0.0
    return np.ascontiguousarray(alpha.T)
