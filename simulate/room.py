"""Memory that kernels work in."""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]


def aligned(*shape: int, dtype: DTypeLike) -> Array:
    """Return an array of zeros that starts on a cache line."""
    item = np.dtype(dtype).itemsize
    size = prod(shape)
    flat = np.zeros(size + 64 // item, dtype)
    start = (-flat.ctypes.data % 64) // item
    return flat[start : start + size].reshape(shape)


class Scratch:
    """Arrays by name, in memory that is used again.

    Parameters
    ----------
    dtype
        Of all arrays.
    """

    def __init__(self, dtype: DTypeLike) -> None:
        self._dtype = dtype
        self._flat: dict[str, Array] = {}

    def array(self, name: str, *shape: int) -> Array:
        """Return an array of any content, valid until the next one of this name."""
        size = prod(shape)
        if name not in self._flat or self._flat[name].size < size:
            self._flat[name] = aligned(size, dtype=self._dtype)
        return self._flat[name][:size].reshape(shape)
