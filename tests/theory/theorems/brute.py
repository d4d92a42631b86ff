"""Softmax moments by brute force: Gauss-Legendre panels instead of trapezoidal sums."""

from typing import NamedTuple

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray

Array = NDArray[np.float64]

NODES, WEIGHTS = leggauss(16)


def panels(start: float, stop: float, width: float) -> tuple[Array, Array]:
    """Return nodes and weights of an integral, panel by panel."""
    ends = np.linspace(start, stop, max(int(np.ceil((stop - start) / width)), 1) + 1)
    middle, half = (ends[1:] + ends[:-1]) / 2, np.diff(ends) / 2
    nodes = middle[:, None] + half[:, None] * NODES
    return nodes.ravel(), (half[:, None] * WEIGHTS).ravel()


class Row(NamedTuple):
    """Means over the scores of a row, ``φ(t)^n`` taken as a power of ``φ`` itself."""

    log_z: float
    row_sum: float
    row_sum_square: float
    participation: float
    gradient: float
    """``-∂_n E ln Z``."""
    one_key: float
    """``E a`` of one key of another deviation among ``n - 1``."""


def row(n: int, sigma: float, *, null: float = 0.0, own: float | None = None) -> Row:
    """Return the means for ``n`` keys and a null key of weight ``null``."""
    own = sigma if own is None else own
    top = max(sigma, own)
    z, share = panels(-10.0, 10.0 + 2 * top, 0.5 / max(top, 1.0))
    share = share * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    low = -(np.log(n) + 2 * top**2 + 42 + np.log1p(null))
    high = 10 * top + 5 - min(np.log(null), 0.0) if null else 10 * top + 5
    u, du = panels(low, high, 0.5)
    t = np.exp(u)
    weights = np.multiply.outer(t, np.exp(sigma * z))
    phi = np.exp(-weights) @ share
    missing = -np.expm1(-weights) @ share
    log_phi = np.where(missing < 0.5, np.log1p(-np.minimum(missing, 0.6)), np.log(phi + 1e-300))
    squares = (weights**2 * np.exp(-weights)) @ share
    single = np.multiply.outer(t, np.exp(own * z))
    first = (single * np.exp(-single)) @ share
    kept, lost = np.exp(n * log_phi), t * null
    damp = np.exp(-lost)
    return Row(
        float(du @ (np.exp(-t) - damp * kept)),
        1 - float(du @ (lost * damp * kept)),
        1 - float(du @ ((2 * lost - lost**2) * damp * kept)),
        n * float(du @ (squares * damp * np.exp((n - 1) * log_phi))),
        float(du @ (kept * log_phi)),
        float(du @ (first * np.exp((n - 1) * log_phi))),
    )
