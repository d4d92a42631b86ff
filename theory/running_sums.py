"""Running sums of a kernel over all positions, and means over a mask's keys made from them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ropeleak.spec import Attention

from .grid import Grid

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_ENTRIES = 1 << 16
"""Matrix entries that one step works on: they stay in a core's cache."""


@dataclass(frozen=True)
class Keys:
    """A mask at every position, as ends of running sums (T,)."""

    n_keys: Array
    ends: tuple[tuple[int, Index], ...]

    @classmethod
    def of(cls, attention: Attention, every: Grid) -> "Keys":
        """Return the keys of one layer."""
        keys = attention.key_range(every.nodes, every.context)
        ends = ((1, keys.stop), (-1, keys.first), (1, keys.sinks))
        return cls(keys.n_keys.astype(float), tuple((sign, end) for sign, end in ends if end.any()))

    @property
    def is_causal(self) -> bool:
        """Whether every query sees all tokens up to its own."""
        return bool((self.n_keys == np.arange(1, self.n_keys.size + 1)).all())

    def mean(self, running: Array, queries: slice) -> Array:
        """Return means over the keys of some queries, from running sums (T + 1, C)."""
        total = self._total([running[_view(end[queries])] for _, end in self.ends])
        return np.asarray(total / self.n_keys[queries, None])

    def row_means(self, running: Array) -> Array:
        """Return means over the keys of all queries, from running sums (…, T + 1)."""
        return np.asarray(self._total([running[..., _view(x)] for _, x in self.ends]) / self.n_keys)

    def _total(self, at_ends: list[Array]) -> Array:
        total = at_ends[0]
        for (sign, _), part in zip(self.ends[1:], at_ends[1:], strict=True):
            total = total + part if sign > 0 else total - part
        return total

    def running_sums(self, scale: Array | None, kernel: Array, out: Array) -> None:
        """Set ``out`` to running sums over rows (T + 1, T) of ``kernel Uᵀ``, rows scaled."""
        size = kernel.shape[0]
        out[0] = 0.0
        for rows in row_blocks(size):
            part = _scaled(kernel[rows], scale, rows)
            running = np.zeros((part.shape[0], size + 1))
            np.cumsum(part, axis=1, out=running[:, 1:])
            for row, mean in enumerate(self.row_means(running), start=rows.start):
                np.add(out[row], mean, out=out[row + 1])

    def causal_sums(self, scale: Array | None, kernel: Array, out: Array) -> None:
        """Set the lower triangle of `running_sums` from that of the kernel, for a causal mask."""
        for rows in row_blocks(kernel.shape[0]):
            columns = slice(0, rows.stop)
            part = _scaled(kernel[rows, columns], scale, rows)
            sums = np.cumsum(part, axis=1)
            means = sums / self.n_keys[columns]
            for row, query in enumerate(range(rows.start, rows.stop)):
                below = out[query + 1]
                np.add(out[query, :query], means[row, :query], out=below[:query])
                above = below[query - 1] * query if query else 0.0  # the sum is symmetric
                below[query] = (above + sums[row, query]) / (query + 1)

    def own_mean(self, running: Array) -> Array:
        """Return the mean of a kernel over two keys of one query (T,), from `running_sums`."""
        query = np.arange(self.n_keys.size)
        return self._total([running[end, query] for _, end in self.ends]) / self.n_keys


def _scaled(kernel: Array, factor: Array | None, rows: slice) -> Array:
    if factor is None:
        return kernel
    scaled = kernel * factor[: kernel.shape[1]]
    scaled *= factor[rows, None]
    return scaled


def row_blocks(size: int) -> Iterator[slice]:
    """Yield consecutive rows of a matrix, a cache's worth at a time."""
    step = max(_ENTRIES // size, 1)
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))


def _view(index: Index) -> slice | Index:
    """Return consecutive indices as a slice, which needs no copy."""
    if index.size and (np.diff(index) == 1).all():
        return slice(int(index[0]), int(index[-1]) + 1)
    return index
