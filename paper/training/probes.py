"""Probes of position: fitted on some contents, tried on others."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FITTED_ON = 2 / 3
"""Share of the contents that a probe is fitted on."""
RIDGE = 1e-3
"""Share of the activations' variance that is added to its covariance."""
FLOOR = 1e-12
"""Variance of activations that are all the same."""


class ToldApart(NamedTuple):
    """How well held-out activations of two kinds are told apart.

    Attributes
    ----------
    accuracy
        Share that lies on the right side.
    d_prime
        Difference of the two means along the probe over the standard deviation within.
    """

    accuracy: float
    d_prime: float


def told_apart(first: Array, second: Array) -> ToldApart:
    """Fit a linear probe to two kinds of activations, each (contents, d), and try it."""
    fit = int(len(first) * FITTED_ON)
    centre = [x[:fit].mean(0) for x in (first, second)]
    within = np.concatenate([x[:fit] - c for x, c in zip((first, second), centre, strict=True)])
    direction = np.linalg.solve(_shrunk(within), centre[0] - centre[1])
    middle = (centre[0] + centre[1]) / 2
    a, b = ((x[fit:] - middle) @ direction for x in (first, second))
    spread = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2 + FLOOR)
    return ToldApart(
        float(((a > 0).mean() + (b < 0).mean()) / 2), float((a.mean() - b.mean()) / spread)
    )


def _shrunk(centred: Array) -> Array:
    """Return a covariance that is shrunk towards an isotropic one, more so from fewer samples."""
    n, d = centred.shape
    covariance, share = centred.T @ centred / n, d / (d + n)
    isotropic = (np.trace(covariance) / d + FLOOR) * np.eye(d)
    return np.asarray((1 - share) * covariance + share * isotropic)


def log_position(x: Array) -> float:
    """Return how much of ``ln(1+i)`` a linear probe of held-out activations knows, R².

    Parameters
    ----------
    x
        Activations of positions 1, 2, … (contents, positions, d).
    """
    contents, positions, d = x.shape
    fit = int(contents * FITTED_ON)
    target = np.log1p(1 + np.arange(positions))
    mean, level = x[:fit].mean((0, 1)), target.mean()
    train = (x[:fit] - mean).reshape(-1, d)
    covariance = train.T @ train / len(train)
    ridge = (RIDGE * np.trace(covariance) / d + FLOOR) * np.eye(d)
    towards = train.T @ np.tile(target - level, fit) / len(train)
    guess = (x[fit:] - mean) @ np.linalg.solve(covariance + ridge, towards)
    return float(1 - ((guess - (target - level)) ** 2).mean() / target.var())
