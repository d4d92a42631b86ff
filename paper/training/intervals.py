"""Numbers with 95% intervals: means over seeds, and rank correlations over architectures."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import spearmanr, t

Array = NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 2000


class Interval(NamedTuple):
    """A value and the ends of its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return it as ``0.42 [0.31, 0.50]``."""
        return "{:.3g} [{:.3g}, {:.3g}]".format(*self)


def over_seeds(values: ArrayLike) -> Interval:
    """Return the mean of one number per seed (n,) with Student's interval.

    Seeds are few, so the interval is wide: 4.3 standard errors for three of them.
    """
    x = np.asarray(values, dtype=float)
    mean, se = float(x.mean()), float(x.std(ddof=1)) / np.sqrt(x.size)
    half = float(t.ppf((1 + LEVEL) / 2, x.size - 1)) * se
    return Interval(mean, mean - half, mean + half)


def rank_correlation(predicted: ArrayLike, measured: ArrayLike) -> Interval:
    """Return Spearman's correlation over architectures, with a bootstrap interval.

    Architectures are resampled, and the seeds of each.

    Parameters
    ----------
    predicted
        One number per architecture (n,); equal ones share a rank.
    measured
        One per architecture and seed (n, seeds); the mean over seeds is ranked.
    """
    x, y = np.asarray(predicted, dtype=float), np.asarray(measured, dtype=float)
    n, seeds = y.shape
    random = np.random.default_rng(0)
    found: list[float] = []
    while len(found) < RESAMPLES:
        rows = random.integers(0, n, n)
        taken = np.take_along_axis(y[rows], random.integers(0, seeds, (n, seeds)), axis=1)
        if np.unique(x[rows]).size > 1:
            found.append(_spearman(x[rows], taken.mean(axis=1)))
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(found, [tail, 100 - tail])
    return Interval(_spearman(x, y.mean(axis=1)), float(low), float(high))


def _spearman(x: Array, y: Array) -> float:
    return float(spearmanr(x, y).statistic)
