r"""Mean attention weights: which keys draw more than their share.

To second order in the scores ``a_ij ∝ exp(σ_i² (½ C_jj - c_ij))``, where ``c_ij`` is the mean of
``C_jk κ(j-k)`` over the row's keys ``k``. Keys of another size, and a query's own token under
alignment, are too far from the rest for an expansion: their mean weight is an integral.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, roots_hermitenorm

from ropeleak.spec import Stack

from .averaging import Averaging
from .layer import Layer
from .softmax import LARGEST_SCORE_STD

Array = NDArray[np.float64]

TINY = 1e-300
_HERMITE_NODES = 15
_SAME_SIZE = 0.01
_LARGEST_TILT = 30.0
"""Largest log-ratio of two mean weights."""


def tilt(stack: Stack, layer: Layer, variance: Array, rotated: Array, size: Array) -> Array:
    """Return ``E a_ij`` relative to uniform attention, before normalisation (G, G)."""
    attention, averaging = layer.attention, layer.averaging
    if attention.softmax.kind == "sigmoid":
        return np.ones_like(rotated)
    alike = np.ptp(size) <= _SAME_SIZE * size.max()
    key_mean = averaging.mean @ rotated
    if alike:  # a key is one of its row's
        key_mean += (averaging.mean > 0) * (size - np.diag(rotated)) / averaging.n_keys[:, None]
    strength = np.minimum(variance, LARGEST_SCORE_STD**2)[:, None]
    row = (averaging.mean * key_mean).sum(1, keepdims=True)
    drawn = strength * (row - key_mean)
    if attention.qk_norm == "none":  # the query's norm varies: a χ² mixture
        half = stack.head_size(attention) / 2
        drawn = -half * np.log1p(-np.clip(drawn / half, None, 0.5))
    if not alike:
        drawn += _size_tilt(strength * size, averaging)
    drawn = np.clip(drawn, -_LARGEST_TILT, _LARGEST_TILT)
    return np.asarray(np.exp(drawn - drawn.max(1, keepdims=True)))


class LiftedKey(NamedTuple):
    """The weight of one key whose score is lifted (N,), and ``ln Z`` less that of the rest."""

    mean: Array
    square: Array
    log_z: Array

    @classmethod
    def of(cls, lift: Array, variance: Array, centre: Array, spread: Array) -> "LiftedKey":
        """Return it for a score of some ``variance`` lifted by ``lift``.

        ``a = sigmoid(lift + s - ln Σ e^{s'})`` over the other keys, whose sum has the mean and the
        variance of `rest_of_row`.
        """
        x, w = roots_hermitenorm(_HERMITE_NODES)
        w = w / w.sum()
        variance = np.minimum(variance, LARGEST_SCORE_STD**2)
        score = (lift + centre)[:, None] + np.sqrt(variance + spread)[:, None] * x
        weight = expit(score)
        return cls(weight @ w, weight**2 @ w, np.logaddexp(0, score) @ w)

    def lift(self, participation: Array, after: "LiftedKey") -> Array:
        """Return the participation ratio of a row when the key's weight becomes ``after``."""
        rest = 1 - 2 * self.mean + self.square  # E (1 - a)²
        others = np.maximum(participation - self.square, 0.0) / np.maximum(rest, TINY)
        return np.asarray(after.square + (1 - 2 * after.mean + after.square) * others)


def _size_tilt(variance: Array, averaging: Averaging) -> Array:
    """Return the log of the mean weight of keys whose scores have some ``variance`` (G, G).

    The other keys of a row sum to a log-normal.
    """
    n = averaging.n_keys[:, None]
    total = n * (averaging.mean * variance).sum(1, keepdims=True)
    others = np.maximum(total - variance, 0.0) / np.maximum(n - 1, 1.0)
    centre, spread = rest_of_row(n, others)
    x, w = roots_hermitenorm(_HERMITE_NODES)
    weight = expit(centre[..., None] + np.sqrt(variance + spread)[..., None] * x) @ (w / w.sum())
    return np.asarray(np.log(np.maximum(weight, TINY)))


def rest_of_row(n: Array, variance: Array) -> tuple[Array, Array]:
    """Return mean and variance of ``-ln Σ e^{s_j}`` over all keys of a row but one."""
    others = np.maximum(n - 1, TINY)
    variance = np.minimum(variance, LARGEST_SCORE_STD**2)
    spread = np.log1p(np.expm1(variance) / others)
    return -np.log(others) - (variance - spread) / 2, spread
