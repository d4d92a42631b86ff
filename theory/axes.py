"""Products and diagonals along the last axes: stacks that run together have an axis before them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def per_node(numbers: ArrayLike) -> Array:
    """Return numbers of stacks (…) as arrays (…, 1) that go with those of their nodes."""
    return np.asarray(numbers, dtype=float)[..., None]


def outer(x: Array, y: Array | None = None) -> Array:
    """Return the products of all entries of two rows (…, G, G), or of one row with itself."""
    return np.asarray(x[..., :, None] * (x if y is None else y)[..., None, :])


def least(x: Array) -> Array:
    """Return the smaller of every two entries of a row (…, G, G)."""
    return np.minimum(x[..., :, None], x[..., None, :])


def on_diagonal(x: Array) -> Array:
    """Return the matrices (…, G, G) whose diagonal is ``x``."""
    return np.asarray(x[..., None] * np.eye(x.shape[-1]))


def times(matrix: Array, x: Array) -> Array:
    """Return the product of matrices (…, G, G) and columns (…, G)."""
    return np.asarray((matrix @ x[..., None])[..., 0])


def by_value(values: NDArray[Any], make: Callable[[int, Any], Array]) -> Array:
    """Return what is made for stacks (B, …) that share a value, put together in their order.

    Parameters
    ----------
    values
        One of every stack (B,), or of the only one ().
    make
        From a value and the index of the stacks that have it to their arrays.
    """
    if values.ndim == 0 or (values == values[0]).all():
        return make(int(values.flat[0]), ...)
    every = np.unique(values).tolist()
    parts = [(values == value, make(value, values == value)) for value in every]
    found = np.empty((values.size, *parts[0][1].shape[1:]))
    for which, part in parts:
        found[which] = part
    return found
