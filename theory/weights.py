r"""Mean attention weights: which keys draw more than their share.

What all scores of a row share cancels. What is left of key ``j``'s score has the variance
``v_ij = σ_i² (C_jj - 2 c_ij + c̄_i)``, where ``c_ij`` is the mean of ``C_jk κ(j-k)`` over the row's
other keys ``k`` and ``c̄_i`` the mean of these. The mean weight of such a key among others that are alike
is an integral (theorem ``key-share``); to second order in the scores ``a_ij ∝ exp(v_ij/2)``.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, roots_hermitenorm

from ropeleak.spec import Stack

from .layer import Layer
from .softmax import LARGEST_SCORE_STD, chi_square_nodes

Array = NDArray[np.float64]

TINY = 1e-300
_HERMITE_NODES = 15
_VARIANCES = 8
"""Number of variances at which a row's mean weights are integrated; the rest is interpolated."""


def tilt(stack: Stack, layer: Layer, variance: Array, rotated: Array, size: Array) -> Array:
    """Return ``E a_ij`` relative to uniform attention, before normalisation (G, G)."""
    attention, averaging = layer.attention, layer.averaging
    if attention.softmax.kind == "sigmoid":
        return np.ones_like(rotated)
    seen = averaging.mean > 0
    alone = seen / averaging.n_keys[:, None]  # a key itself among its row's
    key_mean = averaging.mean @ rotated - alone * np.diag(rotated)
    key_mean /= np.maximum(1 - alone, TINY)
    row_mean = (averaging.mean * key_mean).sum(1, keepdims=True)
    own = np.minimum(variance, LARGEST_SCORE_STD**2)[:, None] * (size - 2 * key_mean + row_mean)
    own = np.maximum(own, 0.0)
    others = (averaging.mean * own).sum(1)
    dof = None if attention.qk_norm != "none" else stack.head_size(attention)
    low = np.where(seen, own, np.inf).min(1)
    high = np.where(seen, own, 0.0).max(1)
    middle, half = (high + low) / 2, np.maximum((high - low) / 2, TINY)
    nodes = np.polynomial.chebyshev.chebpts1(_VARIANCES)
    at = np.maximum(middle[:, None] + half[:, None] * nodes, 0.0)
    at_nodes = key_share(at, others, averaging.n_keys, dof)
    coefficients = np.linalg.solve(
        np.polynomial.chebyshev.chebvander(nodes, _VARIANCES - 1), np.log(at_nodes).T
    )
    place = np.clip((own - middle[:, None]) / half[:, None], -1.0, 1.0)
    log_share = np.polynomial.chebyshev.chebval(place.T, coefficients, tensor=False).T
    return np.asarray(np.exp(log_share - log_share.max(1, keepdims=True)))


def key_share(own: Array, others: Array, n: Array, dof: int | None) -> Array:
    """Return the mean weights of keys in rows whose other keys are alike.

    Parameters
    ----------
    own
        Variances of the keys' scores, what they share with their row left out (N, K).
    others
        Mean of these over all keys of the row (N,).
    n
        Numbers of keys (N,).
    dof
        Head size, when variances are a ``χ²_dof / dof`` mixture because a query's norm varies.
    """
    total = np.zeros_like(own)
    x, w = _normal_nodes()
    for norm, share in zip(*chi_square_nodes(dof), strict=True):
        centre, spread = rest_of_row(n, norm * others)
        deviation = np.sqrt(norm * own + spread[:, None])[..., None]
        total += share * (expit(centre[:, None, None] + deviation * x) @ w)
    return np.maximum(total, TINY)


class OwnToken(NamedTuple):
    """The weight ``a_ii`` of a query's own token (N,), and ``ln Z`` less that of the rest."""

    mean: Array
    square: Array
    log_z: Array

    @classmethod
    def of(cls, lift: Array, n: Array, variance: Array) -> "OwnToken":
        """Return it for a score lifted by ``lift``.

        ``a_ii = sigmoid(lift + s_ii - ln Σ_{j≠i} e^{s_ij})``, the sum taken as log-normal.
        """
        x, w = _normal_nodes()
        variance = np.minimum(variance, LARGEST_SCORE_STD**2)
        centre, spread = rest_of_row(n, variance)
        score = (lift + centre)[:, None] + np.sqrt(variance + spread)[:, None] * x
        weight = expit(score)
        return cls(weight @ w, weight**2 @ w, np.logaddexp(0, score) @ w)


def rest_of_row(n: Array, variance: Array) -> tuple[Array, Array]:
    """Return mean and variance of ``-ln Σ e^{s_j}`` over all keys of a row but one."""
    others = np.maximum(n - 1, TINY)
    variance = np.minimum(variance, LARGEST_SCORE_STD**2)
    spread = np.log1p(np.expm1(variance) / others)
    return -np.log(others) - (variance - spread) / 2, spread


def _normal_nodes() -> tuple[Array, Array]:
    """Return nodes and weights of a standard normal variable."""
    x, w = roots_hermitenorm(_HERMITE_NODES)
    return x, w / w.sum()
