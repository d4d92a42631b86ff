"""The band of offsets over which a leak is averaged, and where its entries lie.

What depends on positions alone is worked out once for a grid.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from .grid import Grid, Resolution, log_nodes

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_EXACT_BAND = 96
"""Up to this context every entry of the band is summed; beyond, offsets and rows are sampled."""


@dataclass(frozen=True)
class Places:
    """Positions among the nodes of a grid: some for every offset of a band.

    What is read at them belongs to some blocks, the first dimension (B) of every array.

    Attributes
    ----------
    lower, upper, share
        The nodes around a position, and how far it is on the way to the upper one (O, N).
    at_lower, at_upper
        Places of columns ``lower`` and ``upper`` of the same offset in the rows of `rows`, as
        indices into the flat array (O, N, N).
    between
        Whether any position is not a node.
    """

    lower: Index
    upper: Index
    share: Array
    at_lower: Index
    at_upper: Index
    between: bool

    @classmethod
    def of(cls, grid: Grid, positions: Index) -> "Places":
        """Return where positions (O, N) lie."""
        p, (o, n) = grid.nodes, positions.shape
        lower = np.searchsorted(p, positions, side="right") - 1
        upper = np.minimum(lower + 1, p.size - 1)
        share = (positions - p[lower]) / np.maximum(p[upper] - p[lower], 1)
        start = np.arange(o * n).reshape(o, n, 1) * p.size
        flat = start + lower[:, None, :], start + upper[:, None, :]
        return cls(lower, upper, share, *flat, bool(share.any()))

    def rows(self, values: Array) -> Array:
        """Return values (B, S, …) at the positions (B, O, N, …)."""
        return self._of_each(values[:, self.lower], lambda: values[:, self.upper])

    def own_rows(self, values: Array) -> Array:
        """Return values that each offset has of its own (B, O, S, R) at the positions."""
        offset = np.arange(values.shape[1])[:, None]
        return self._of_each(values[:, offset, self.lower], lambda: values[:, offset, self.upper])

    def pairs(self, matrix: Array) -> Array:
        """Return matrices (B, S, S) at every two positions of an offset (B, O, N, N)."""
        flat = self.rows(matrix).reshape(matrix.shape[0], -1)
        below = flat.take(self.at_lower, axis=1)
        if self.between:
            share = self.share[:, None, :]
            below += share * (flat.take(self.at_upper, axis=1) - below)
        return below

    def own(self, rows: Array) -> Array:
        """Return what `rows` of another `Places` of the band have at one's own place (B, O, N)."""

        def column(at: Index) -> Array:
            return np.take_along_axis(rows, at[None, :, :, None], axis=3)[..., 0]

        return self._of_each(column(self.lower), lambda: column(self.upper))

    def _of_each(self, below: Array, above: Callable[[], Array]) -> Array:
        if self.between:
            share = self.share.reshape(*self.share.shape, *[1] * (below.ndim - 3))
            below += share * (above() - below)
        return below


@dataclass(frozen=True)
class Band:
    """The offsets ``1 ≤ Δ ≤ widest`` of a layer, on a coarser grid of its own.

    Attributes
    ----------
    entries
        Number of entries that count at every offset, also those that are not sampled (widest,).
    queries
        Queries whose entries count in mean squares; all queries count in what is subtracted.
    index
        Which nodes of the recursion's grid the coarser grid keeps (S,).
    refine
        Interpolation from the coarser grid to all nodes (G, S).
    offsets
        Those that are looked at (O,).
    query, key
        Positions at which entries of each offset are looked at.
    centring
        ``Σ_nm centring_nm x_n x_m`` is the mean square of what centring leaves of entries ``x`` of
        an offset, times its weight in a mean over the band (O, N, N).
    of_queries
        The same over the whole band for what depends on the query alone (S, S).
    """

    grid: Grid
    entries: Index
    queries: range
    index: Index
    refine: Array
    offsets: Index
    query: Places
    key: Places
    centring: Array
    of_queries: Array


def make_band(grid: Grid, widest: int, queries: range | None = None) -> Band:
    """Return the band of a layer on a grid, sampled where offsets or positions are many.

    All queries count unless some are given.
    """
    queries = queries or range(grid.context)
    return _band(grid.nodes.tobytes(), grid.context, grid.resolution, widest, queries)


@lru_cache(maxsize=8)
def _band(nodes: bytes, context: int, resolution: Resolution, widest: int, queries: range) -> Band:
    grid = Grid(np.frombuffer(nodes, dtype=np.int64), context, resolution)
    kept = np.arange(grid.size)
    offsets = np.arange(1, min(widest, queries.stop - 1) + 1)
    if context > _EXACT_BAND:
        near = np.arange(min(resolution.exact // 2, context))
        wanted = np.union1d(near, log_nodes(0, context - 1, resolution.band_ratio))
        kept = np.unique(np.searchsorted(grid.nodes, wanted))
        if offsets.size > resolution.offsets:
            sampled = np.geomspace(1, offsets.size, resolution.offsets)
            offsets = np.unique(np.round(sampled).astype(np.int64))
    coarse = Grid(grid.nodes[kept], context)
    keys = np.zeros((offsets.size, coarse.size + 1), dtype=np.int64)
    share, counted = np.zeros((2, *keys.shape))
    for row, count in enumerate((context - offsets).tolist()):
        found = np.union1d(coarse.nodes[coarse.nodes < count], [count - 1])
        keys[row, : found.size] = found
        share[row, : found.size] = Grid(found, count).cell / count
        at = keys[row] + offsets[row]
        among = share[row] * ((at >= queries.start) & (at < queries.stop))
        counted[row] = among / among.sum() if among.any() else share[row]
    entries = _entries(queries, np.arange(1, widest + 1))
    weight = _offset_weights(offsets, entries)
    centring = weight[:, None, None] * _centring(share, counted)
    query = Places.of(coarse, keys + offsets[:, None] * (share > 0))
    of_queries = np.zeros((coarse.size, coarse.size))
    for row, positions in enumerate(keys + offsets[:, None] * (share > 0)):
        to_query = coarse.interpolation(positions)
        of_queries += to_query.T @ (to_query.T @ centring[row]).T
    refine = coarse.interpolation(grid.nodes).toarray()
    return Band(
        grid, entries, queries, kept, refine, offsets, query, Places.of(coarse, keys), centring,
        of_queries,
    )  # fmt: skip


def _entries(queries: range, offsets: Index) -> Index:
    """Return how many entries of some queries there are at every offset (O,)."""
    first = np.maximum(queries.start, offsets)
    return np.asarray(np.maximum(queries.stop - first, 0))


def _offset_weights(offsets: Index, entries: Index) -> Array:
    """Return how much sampled offsets count in a mean over all entries of the band (O,)."""
    share = entries / max(entries.sum(), 1)
    if offsets.size == entries.size:
        return np.asarray(share)
    every = np.arange(1, offsets.max() + 1)
    spline = CubicSpline(np.log(offsets), np.eye(offsets.size))
    return np.asarray(share[: every.size] @ spline(np.log(every)))


def _centring(share: Array, counted: Array) -> Array:
    """Return what `Band.centring` is before its weights, of shares (O, N).

    ``share`` counts in the mean that is subtracted, ``counted`` in the mean square.
    """
    cross = counted[:, :, None] * share[:, None, :]
    square = share[:, :, None] * share[:, None, :]
    return np.asarray(
        counted[:, :, None] * np.eye(share.shape[1]) - cross - cross.swapaxes(1, 2) + square
    )
