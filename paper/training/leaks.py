"""Leaks by query: what `ropeleak.simulate` sums over the band, kept apart for early and late."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Leaks(NamedTuple):
    """Squares of a layer's leaks by query, nats², over pairs of different contents.

    Attributes
    ----------
    mask, residual, cross
        Sums over the band's offsets, means over heads (T,); `cross` is the product of the two.
    entries
        Offsets of the band that a query has (T,).
    """

    mask: Array
    residual: Array
    cross: Array
    entries: Array

    def square(self, name: str, queries: slice = slice(None)) -> float:
        """Return the mean square of a leak over some queries; ``total`` is of both together.

        It is 0 where the band has no entries.
        """
        if name == "total":
            mask, residual, cross = (self.square(part, queries) for part in self._fields[:3])
            return mask + residual - 2 * cross
        return float(getattr(self, name)[queries].sum() / max(self.entries[queries].sum(), 1.0))


def leaks(scores: NDArray[np.floating], log_z: NDArray[np.floating], widest: int) -> Leaks:
    """Return the leaks of one layer.

    Parameters
    ----------
    scores
        (contents, heads, T, T).
    log_z
        (contents, heads, T).
    widest
        Largest offset of the band.
    """
    contents, heads, tokens, _ = scores.shape
    sums, own = _sums(scores, log_z, widest)
    means = [sums[1] * sums[1], sums[0] * sums[0], sums[0] * sums[1]]
    pairs = [product.sum((0, 1)) - one for product, one in zip(means, own, strict=True)]
    mask, residual, cross = np.stack(pairs) / (heads * contents * (contents - 1))
    return Leaks(mask, residual, cross, np.minimum(np.arange(tokens), widest).astype(float))


@njit(cache=True)
def _sums(scores: Any, log_z: Any, widest: int) -> Any:
    """Return sums over contents of centred scores and log denominators, and of their products.

    Returns
    -------
    sums
        Of scores and of log denominators (2, heads, widest, T).
    own
        Of the squares of log denominators, of scores, and of their product (3, T).
    """
    contents, heads, tokens, _ = scores.shape
    sums, own = np.zeros((2, heads, widest, tokens)), np.zeros((3, tokens))
    for content in range(contents):
        for head in range(heads):
            s, z = scores[content, head], log_z[content, head]
            for offset in range(1, widest + 1):
                mean_s = mean_z = 0.0
                for i in range(offset, tokens):
                    mean_s += s[i, i - offset]
                    mean_z += z[i]
                mean_s /= tokens - offset
                mean_z /= tokens - offset
                for i in range(offset, tokens):
                    x, y = s[i, i - offset] - mean_s, z[i] - mean_z
                    sums[0, head, offset - 1, i] += x
                    sums[1, head, offset - 1, i] += y
                    own[0, i] += y * y
                    own[1, i] += x * x
                    own[2, i] += x * y
    return sums, own
