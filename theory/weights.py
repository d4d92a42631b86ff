r"""Mean attention weights: which keys draw more than their share.

What all scores of a row share cancels. The rest is taken as independent scores that have the same
variance about their row's mean: of ``n`` independent ones of variance ``v_j`` that is
``(1 - 2/n) v_j + v̄/n``, of the row's ``σ_i² (C_jj - 2 c_ij + c̄_i)``, where ``c_ij`` is the mean of
``C_jk κ(j-k)`` over the row's keys ``k`` and ``c̄_i`` the mean of these. The mean weight of a key
among independent ones is an integral (theorem ``key-share``). So it is exact for scores that are
independent, and for all others to second order in the scores (theorem ``key-weights``).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.special import expit, roots_hermitenorm

from .averaging import Averaging
from .layer import Layer
from .share_table import log_key_shares
from .softmax import LARGEST_SCORE_STD
from .together import Some

Array = NDArray[np.float64]

TINY = 1e-300
_HERMITE_NODES = 15
_NODES = 8
"""Variances of each row at which mean weights are integrated."""


def tilt(stack: Some, layer: Layer, variance: Array, rotated: Array, size: Array) -> Array:
    """Return ``E a_ij`` relative to uniform attention, before normalisation (…, G, G)."""
    attention, averaging = layer.attention, layer.averaging
    if attention.softmax.kind == "sigmoid":
        return np.ones_like(rotated)
    strength = np.minimum(variance, LARGEST_SCORE_STD**2)[..., None]
    own = strength * apart(averaging, rotated, size)
    dof = None if attention.qk_norm != "none" else stack.head_size(attention)
    n = averaging.n_keys
    total = (n * np.vecdot(averaging.mean, own))[..., None]

    def log_share(at: Array) -> Array:
        rest = np.maximum(total - at, 0.0) / np.maximum(n - 1, 1.0)[:, None]
        return log_key_shares(at, rest, n, dof)

    found = _interpolated(log_share, own, averaging.mean > 0)
    found -= found.max(-1, keepdims=True)
    return np.asarray(np.exp(found))


def apart(averaging: Averaging, rotated: Array, size: Array) -> Array:
    """Return ``v_ij / σ_i²`` of independent scores that spread about their row as these do.

    Parameters
    ----------
    rotated
        ``C_jk κ(j-k)`` of different tokens (…, G, G).
    size
        ``C_jj`` (…, G).
    """
    n = averaging.n_keys[:, None]
    with_row = averaging.mean @ rotated
    with_row += (averaging.mean > 0) * ((size - np.linalg.diagonal(rotated))[..., None, :] / n)
    about = size[..., None, :] + np.vecdot(averaging.mean, with_row)[..., None]
    about -= 2 * with_row
    mean = np.vecdot(averaging.mean, about)[..., None]
    about -= mean / np.maximum(n - 1, 1.0)
    about *= n / np.maximum(n - 2, 1.0)
    return np.asarray(np.maximum(about, 0.0))


def _interpolated(f: Callable[[Array], Array], x: Array, among: NDArray[np.bool_]) -> Array:
    """Return a smooth ``f`` at ``x`` (…, G, G), from a few values between each row's ends.

    ``among`` are the entries that matter; others are cut off at the row's ends.
    """
    low = np.where(among, x, np.inf).min(-1, keepdims=True)
    high = np.where(among, x, 0.0).max(-1, keepdims=True)
    middle, half = (high + low) / 2, np.maximum((high - low) / 2, TINY)
    nodes, to_powers = _powers()
    powers = np.moveaxis(f(np.maximum(middle + half * nodes, 0.0)) @ to_powers, -1, 0)[..., None]
    place = (x - middle) / half
    np.maximum(place, -1.0, out=place)
    np.minimum(place, 1.0, out=place)
    found = place * powers[-1]
    for power in powers[-2:0:-1]:
        found += power
        found *= place
    found += powers[0]
    return np.asarray(found)


@lru_cache(maxsize=1)
def _powers() -> tuple[Array, Array]:
    """Return nodes, and what makes coefficients of powers of values at them."""
    nodes = chebyshev.chebpts1(_NODES)
    return np.asarray(nodes), np.asarray(np.linalg.inv(np.vander(nodes, increasing=True)).T)


class LiftedKey(NamedTuple):
    """The weight of one key whose score is lifted (…, N), and ``ln Z`` less that of the rest."""

    mean: Array
    square: Array
    log_z: Array

    @classmethod
    def of(cls, lift: Array, variance: Array, centre: Array, spread: Array) -> "LiftedKey":
        """Return it for a score of some ``variance`` lifted by ``lift``.

        ``a = sigmoid(lift + s - ln Σ e^{s'})`` over the other keys, whose sum has the mean and the
        variance of `rest_of_row`.
        """
        x, w = _normal_nodes()
        variance = np.minimum(variance, LARGEST_SCORE_STD**2)
        score = (lift + centre)[..., None] + np.sqrt(variance + spread)[..., None] * x
        weight = expit(score)
        return cls(weight @ w, weight**2 @ w, np.logaddexp(0, score) @ w)

    def lift(self, participation: Array, after: "LiftedKey") -> Array:
        """Return the participation ratio of a row when the key's weight becomes ``after``."""
        rest = 1 - 2 * self.mean + self.square  # E (1 - a)²
        others = np.maximum(participation - self.square, 0.0) / np.maximum(rest, TINY)
        return np.asarray(after.square + (1 - 2 * after.mean + after.square) * others)


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
