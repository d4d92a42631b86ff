"""Control variates of the leaks: what of a draw's mean squares is chance.

Scores have mean 0 over weights where queries and keys are independent, whatever the residual
stream is. So a statistic that is linear in them is chance alone, and explains the linear part of
what ``ln Z`` and the leaks of the draw happen to be. Antithetic pairs, draws with ``W_Q`` and
``-W_Q``, would cancel the same part and take twice the work.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


SHARE = 0.25
"""Share of a layer's time that the control of its residual leak may take."""
SLOW = 3.0
"""How much longer an operation on the band takes than one of a matrix product."""


def content_pairs(contents: int, inputs: int, d: int, context: int, widest: int) -> int:
    """Return how many pairs of contents the expected residual leak is found from.

    It is of order ``T³`` where a layer is of order ``T²``, so long contexts have fewer.
    """
    band = SLOW * sum(2.0 * (context - offset) ** 2 for offset in range(1, widest + 1))
    layer = inputs * (8.0 * d * d * context + 2.0 * d * context**2)
    return min(contents // 2, int(SHARE * layer / (2.0 * d * context**2 + band)))


class Ramp(NamedTuple):
    """``ln n_i``, which every denominator holds, on the band of a layer.

    Attributes
    ----------
    level
        ``ln n_i`` (T,).
    mean
        Its mean over the queries of every offset (T,), 0 beyond the band.
    weight
        Sum over offsets of what it differs from that mean by (T,).
    """

    level: Floats
    mean: Floats
    weight: Floats


def ramp(n_keys: NDArray[np.int64], widest: int) -> Ramp:
    """Return the ramp of a layer whose queries see so many keys."""
    level, query = np.log(n_keys), np.arange(n_keys.size)
    mean = np.cumsum(level[::-1])[::-1] / (level.size - query)
    mean[(query == 0) | (query > widest)] = 0
    return Ramp(level, mean, level * np.minimum(query, widest) - np.cumsum(mean))


def linear_chance(
    ramp: Ramp, mean_score: Floats, by_query: Floats, by_offset: Floats, entries: int
) -> tuple[float, float]:
    """Return what is linear in the scores of the mask leak and of its product with the residual.

    Parameters
    ----------
    ramp
        Of the layer.
    mean_score
        Mean score of the keys that every query sees (T,).
    by_query, by_offset
        Sums of the scores over a query's band and over an offset's queries (T,).
    entries
        Number of entries of the band.
    """
    mask = 2 * float(ramp.weight @ mean_score)
    cross = float(ramp.level @ by_query - ramp.mean @ by_offset)
    return mask / max(entries, 1), cross / max(entries, 1)
