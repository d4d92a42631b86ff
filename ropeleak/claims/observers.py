"""Observers of one activation, who tell at which of two positions it was read.

What an observer knows of the weights it has learnt from examples: some contents are for fitting,
the others are held out.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Array = NDArray[np.float64]

FITTED_ON = 3 / 4
"""Share of the contents that observers are fitted on."""


class Seen(NamedTuple):
    """What observers of two positions found.

    Attributes
    ----------
    probe, likelihood
        Share of the held-out activations that Fisher's linear discriminant and a Gaussian
        likelihood ratio get right.
    distance
        ``d′²`` of the best linear observer, estimated without bias from all contents.
    """

    probe: float
    likelihood: float
    distance: float


BLIND = Seen(0.5, 0.5, 0.0)
"""What they find where nothing is to be found."""


def fitted_on(contents: int) -> int:
    """Return how many contents with the token at one position an observer is fitted on."""
    return int(contents // 2 * FITTED_ON)


def observe(first: Array, second: Array) -> Seen:
    """Return what observers find in activations at two positions (contents, d).

    All contents differ, and there are more of them than entries.
    """
    n = first.shape[0]
    fit = fitted_on(2 * n)
    train, test = [x[:fit] for x in (first, second)], [x[fit:] for x in (first, second)]
    centre = [x.mean(axis=0) for x in train]
    whiten = np.linalg.inv(np.linalg.cholesky(_covariance(train)))
    train, test = [[x @ whiten.T for x in part] for part in (train, test)]
    centre = [whiten @ c for c in centre]

    direction, middle = centre[0] - centre[1], (centre[0] + centre[1]) / 2
    linear = [(x - middle) @ direction for x in test]
    d = first.shape[1]
    free = 2 * fit - 2  # a covariance that was fitted leaves more in what is held out
    held_out = free / (free - d - 1) * (1 + 1 / fit)
    spread = [
        held_out * ((x - c) ** 2).sum() / ((fit - 1) * d)
        for x, c in zip(train, centre, strict=True)
    ]
    ratio = [
        sum(
            s * (((x - c) ** 2).sum(axis=1) / v + d * np.log(v))
            for s, c, v in zip((-1, 1), centre, spread, strict=True)
        )
        for x in test
    ]
    distance = _distance(first, second)
    return Seen(_right(linear), _right(ratio), distance)


def _right(evidence: list[Array]) -> float:
    """Return the share that evidence for the first of two kinds decides rightly."""
    return float(((evidence[0] > 0).mean() + (evidence[1] < 0).mean()) / 2)


def _covariance(groups: list[Array]) -> Array:
    """Return the covariance within groups of activations (n, d)."""
    rest = np.concatenate([x - x.mean(axis=0) for x in groups])
    return np.asarray(rest.T @ rest / (len(rest) - len(groups)))


def _distance(first: Array, second: Array) -> float:
    """Return Mahalanobis' squared distance of two means, without bias for Gaussians."""
    n, d = first.shape
    free = 2 * n - 2
    difference = first.mean(axis=0) - second.mean(axis=0)
    plain = difference @ np.linalg.solve(_covariance([first, second]), difference)
    return float(plain * (free - d - 1) / free - 2 * d / n)


def probe_right(d_prime: float, width: int, fitted: int) -> float:
    """Return the share that Fisher's discriminant gets right, fitted on so many of each kind.

    With ``d′`` between the kinds and a covariance of ``width`` entries, both estimated: ``Φ(d′/2 /
    √(T_μ T_Σ))``, ``T_μ = 1 + 2d/(n d′²)`` and ``T_Σ = 1 + d/(2n-d)`` (Raudys and Young, Journal of
    Multivariate Analysis 89, 2004).
    """
    if d_prime == 0:
        return 0.5
    means = 1 + 2 * width / (fitted * d_prime**2)
    covariance = 1 + width / (2 * fitted - width)
    return float(norm.cdf(d_prime / 2 / np.sqrt(means * covariance)))


def ideal_right(d_prime: float) -> float:
    """Return the share that an observer who knows the weights gets right."""
    return float(norm.cdf(d_prime / 2))
