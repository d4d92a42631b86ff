"""Integrands of the softmax theorems.

Written by ``make formulas``: to change a formula, change its theorem.

A mean over the scores of a row of ``n`` keys, beside a null key of weight ``null``, is
``outside + ∫ (alone + of_keys · of_null) dt/t``; every theorem has these four. ``deficit``,
``first`` and ``second`` are themselves means over the weight ``y = e^s`` of one key.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Parts(NamedTuple):
    """What a mean is made of; the factors of the product depend on keys and null key apart."""

    outside: float
    alone: Array | float
    of_keys: Array
    of_null: Array | float


def of_deficit(t: Array, y: Array) -> Array:
    """Return what ``deficit`` is the mean of."""
    return -np.expm1(-t * y)


def of_first(t: Array, y: Array) -> Array:
    """Return what ``first`` is the mean of."""
    return t * y * np.exp(-t * y)


def of_second(t: Array, y: Array) -> Array:
    """Return what ``second`` is the mean of."""
    return t**2 * y**2 * np.exp(-t * y)


def null_key_denominator(t: Array, n: Array, null: Array, deficit: Array) -> Parts:
    """Theorem null-key-denominator: the denominator with a key that writes nothing."""
    return Parts(
        outside=0,
        alone=np.exp(-t),
        of_keys=-np.exp(n * np.log1p(-deficit)),
        of_null=np.exp(-null * t),
    )


def null_key_row_sum(t: Array, n: Array, null: Array, deficit: Array) -> Parts:
    """Theorem null-key-row-sum: what a null key leaves to the others."""
    return Parts(
        outside=1,
        alone=0,
        of_keys=-t * np.exp(n * np.log1p(-deficit)),
        of_null=null * np.exp(-null * t),
    )


def null_key_row_sum_square(t: Array, n: Array, null: Array, deficit: Array) -> Parts:
    """Theorem null-key-row-sum-square: how unevenly a null key leaves its rest."""
    return Parts(
        outside=1,
        alone=0,
        of_keys=-np.exp(n * np.log1p(-deficit)),
        of_null=-null * t * (null * t - 2) * np.exp(-null * t),
    )


def null_key_participation(t: Array, n: Array, null: Array, deficit: Array, second: Array) -> Parts:
    """Theorem null-key-participation: the participation ratio beside a null key."""
    return Parts(
        outside=0,
        alone=0,
        of_keys=n * second * np.exp((n - 1) * np.log1p(-deficit)),
        of_null=np.exp(-null * t),
    )


def key_share(t: Array, n: Array, deficit: Array, first: Array) -> Parts:
    """Theorem key-share: the mean weight of a key unlike the others."""
    return Parts(
        outside=0,
        alone=0,
        of_keys=first * np.exp((n - 1) * np.log1p(-deficit)),
        of_null=1,
    )
