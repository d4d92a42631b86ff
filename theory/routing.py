"""Mixture of experts at initialisation: how often two tokens use the same experts."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri, softmax

from ropeleak.spec import Experts

Array = NDArray[np.float64]

_LOG2_POINTS = 10
_DEGREE = 4


def _weights(experts: Experts, logits: Array) -> Array:
    """Return the factor on every expert's output, shape of ``logits`` (…, count)."""
    kth = np.partition(logits, -experts.active, axis=-1)[..., -experts.active, None]
    chosen = logits >= kth
    if experts.router == "softmax-all":
        weight = np.where(chosen, softmax(logits, axis=-1), 0.0)
    elif experts.router == "softmax":
        weight = softmax(np.where(chosen, logits, -np.inf), axis=-1)
    else:
        weight = np.where(chosen, expit(logits), 0.0)
        if experts.router == "sigmoid":
            weight = weight / weight.sum(axis=-1, keepdims=True)
    return np.asarray(weight * experts.scale)


@lru_cache(maxsize=32)
def routing_overlap(experts: Experts, logit_std: float) -> tuple[float, ...]:
    """Return the polynomial in the tokens' correlation ``c`` that multiplies the MLP kernel.

    ``ρ(c) = E Σ_e w_e w'_e`` plus one for every shared expert: the routing weights of two tokens
    whose router logits are Gaussian with correlation ``c``. A quasi-random integral, fitted by a
    polynomial that is exact at ``c = 0`` and ``c = 1``; coefficients from the constant up.
    """
    from scipy.stats import qmc  # slow to import, and most stacks have no experts

    points = qmc.Sobol(2 * experts.count, scramble=True, rng=0).random_base2(_LOG2_POINTS)
    normal = ndtri(np.clip(points, 1e-9, 1 - 1e-9)) * logit_std
    first, other = normal[:, : experts.count], normal[:, experts.count :]
    own = _weights(experts, first)
    c = np.linspace(0, 1, 9)
    overlap = np.array(
        [(own * _weights(experts, x * first + np.sqrt(1 - x**2) * other)).sum(-1).mean() for x in c]
    )
    powers = c[1:-1, None] ** np.arange(1, _DEGREE)
    rest = overlap[1:-1] - overlap[0] - (overlap[-1] - overlap[0]) * c[1:-1] ** _DEGREE
    basis = powers - c[1:-1, None] ** _DEGREE
    middle = np.linalg.lstsq(basis, rest, rcond=None)[0]
    top = overlap[-1] - overlap[0] - middle.sum()
    return (float(overlap[0] + experts.shared), *map(float, middle), float(top))
