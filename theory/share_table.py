r"""Mean key weights by table: the integrals of `shares`, and polynomials between them.

For a number of keys, ``ln E a`` is smooth in the two variances. The table holds its Chebyshev
coefficients in ``ln(1 + v/4)``, which are worked out when a number of keys is first met and shared
by all layers, blocks and stacks after that. It is as exact as the integrals, whose own error is
``1e-5``.
"""

from functools import lru_cache
from itertools import groupby
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from .axes import by_value
from .shares import key_shares

Array = NDArray[np.float64]

_RANGES = ((1.0, 7), (4.0, 10), (16.0, 16))
"""Largest variance of a table, and how many values of each variance it takes."""
_SCALE = 4.0
_ROWS_KEPT = 16
"""Masks whose coefficients are kept together."""
_TINY = 1e-300


def log_key_shares(own: Array, rest: Array, n: Array, dof: int | None) -> Array:
    """Return the logarithms of `key_shares`, from a table unless variances are very large.

    Parameters
    ----------
    own, rest, n, dof
        As in `key_shares`, of every stack that runs along: (…, N, K); numbers of keys (N,) are
        whole.

    Returns
    -------
    ndarray
        Shape (…, N, K).
    """
    largest = np.maximum(own, rest).max(axis=(-2, -1))
    ranges = np.searchsorted([limit for limit, _ in _RANGES], largest)

    def values(place: int, which: Any) -> Array:
        if place < len(_RANGES):
            return _table(dof, *_RANGES[place]).values(own[which], rest[which], n)
        both = (x[which].reshape(-1, *x.shape[-2:]) for x in (own, rest))
        shares = np.array([key_shares(x, y, n, dof) for x, y in zip(*both, strict=True)])
        return np.log(np.maximum(shares.reshape(own[which].shape), _TINY))

    return by_value(ranges, values)


@lru_cache(maxsize=32)
def _table(dof: int | None, limit: float, count: int) -> "ShareTable":
    return ShareTable(dof, limit, count)


class ShareTable:
    """``ln E a`` for variances up to a limit.

    Parameters
    ----------
    dof
        As in `key_shares`.
    limit, count
        Largest variance, and how many values of each variance are integrated.
    """

    def __init__(self, dof: int | None, limit: float, count: int) -> None:
        self.dof, self._top, self._count = dof, np.log1p(limit / _SCALE), count
        self._coefficients: dict[int, Array] = {}
        self._of_row: dict[bytes, Array] = {}

    def values(self, own: Array, rest: Array, n: Array) -> Array:
        """Return ``ln E a`` (…, N, K) for variances (…, N, K) and numbers of keys (N,)."""
        by_own, by_rest = self._polynomials(np.array([own, rest]))
        return np.asarray(np.vecdot(by_own @ self._coefficients_of(n), by_rest))

    def _coefficients_of(self, n: Array) -> Array:
        key = n.tobytes()
        if key not in self._of_row:
            numbers = n.astype(int).tolist()
            missing = sorted(set(numbers) - self._coefficients.keys())
            for _, alike in groupby(missing, _bits):  # or they would depend on what comes with them
                self._add(list(alike))
            if len(self._of_row) == _ROWS_KEPT:
                self._of_row.clear()
            self._of_row[key] = np.stack([self._coefficients[number] for number in numbers])
        return self._of_row[key]

    def _add(self, numbers: list[int]) -> None:
        nodes = chebyshev.chebpts1(self._count)
        variance = _SCALE * np.expm1((nodes + 1) * self._top / 2)
        pairs = np.meshgrid(variance, variance, indexing="ij")
        shape = len(numbers), self._count**2
        own, rest = (np.broadcast_to(x.ravel(), shape) for x in pairs)
        shares = key_shares(own, rest, np.array(numbers, dtype=float), self.dof)
        to_coefficients = np.linalg.inv(chebyshev.chebvander(nodes, self._count - 1))
        for number, row in zip(numbers, np.log(np.maximum(shares, _TINY)), strict=True):
            values = row.reshape(self._count, self._count)
            self._coefficients[number] = to_coefficients @ values @ to_coefficients.T

    def _polynomials(self, variance: Array) -> Array:
        """Return Chebyshev polynomials of variances (…, count)."""
        place = np.log1p(variance / _SCALE) * (2 / self._top) - 1
        place = np.minimum(place, 1.0, out=place)
        found = np.ones((self._count, *place.shape))
        found[1] = place
        place *= 2
        for k in range(2, self._count):
            np.multiply(place, found[k - 1], out=found[k])
            found[k] -= found[k - 2]
        return np.moveaxis(found, 0, -1)


def _bits(number: int) -> int:
    """Return ``k`` where `key_shares` integrates as for ``2^k`` keys."""
    return (number - 1).bit_length()
