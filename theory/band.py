"""The band of offsets over which a leak is averaged, and sums over its entries.

Every mean over the band is linear in the kernels of two queries and of two keys; what depends on
positions alone is worked out once for a grid.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from .grid import EXACT, Grid, log_nodes

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_EXACT_BAND = 96
"""Up to this context every offset of the band is summed; beyond, offsets and rows are sampled."""
_KEY_RATIO = 1.1
_MOST_OFFSETS = 14


class Entries(Protocol):
    """The entries of a band, on S nodes."""

    @property
    def of_queries(self) -> Array:
        """``Σ of_queries_ij K_ij`` is the centred mean square of what depends on the query (S, S)."""

    def products(
        self, query: Array, key: Array, query_follows: Array, key_follows: Array
    ) -> tuple[float, float]:
        """Return centred mean squares of entries whose covariance is a product.

        Parameters
        ----------
        query, key
            Covariance of two queries, and of two keys (S, S).
        query_follows, key_follows
            The same for what takes the place of a key, as a product of factors: of a query at an
            offset (O, S, r), and of a key (S, r).

        Returns
        -------
        of keys, of what follows
        """

    def covariances(
        self, query: Array, pairs: Array, by_offset: Array, other: Array
    ) -> tuple[float, float]:
        """Return the centred mean square of entries, and their product with what queries have.

        Parameters
        ----------
        query, pairs, by_offset
            Factors of an entry: of its query (S,), of query and key (S, S), of its offset (O,).
        other
            Of the query (S,).
        """


@dataclass(frozen=True)
class Band:
    """The offsets ``1 ≤ Δ ≤ widest`` of a layer, on a coarser grid of its own.

    Attributes
    ----------
    index
        Which nodes of the recursion's grid the coarser grid keeps (S,).
    refine
        Interpolation from the coarser grid to all nodes (G, S).
    offsets
        Those that are looked at (O,).
    """

    grid: Grid
    widest: int
    index: Index
    refine: Array
    offsets: Index
    entries: Entries


def make_band(grid: Grid, widest: int) -> Band:
    """Return the band of a layer on a grid, sampled where offsets or positions are many."""
    return _band(grid.nodes.tobytes(), grid.context, widest)


@lru_cache(maxsize=8)
def _band(nodes: bytes, context: int, widest: int) -> Band:
    grid = Grid(np.frombuffer(nodes, dtype=np.int64), context)
    kept = np.arange(grid.size)
    offsets = np.arange(1, widest + 1)
    if context > _EXACT_BAND:
        near = np.arange(min(EXACT // 2, context))
        wanted = np.union1d(near, log_nodes(0, context - 1, _KEY_RATIO))
        kept = np.unique(np.searchsorted(grid.nodes, wanted))
        if widest > _MOST_OFFSETS:
            offsets = np.unique(np.round(np.geomspace(1, widest, _MOST_OFFSETS)).astype(np.int64))
    coarse = Grid(grid.nodes[kept], context)
    weight = _offset_weights(offsets, widest, context)
    entries: Entries
    if coarse.is_dense and offsets.size == widest:
        entries = EveryEntry.of(weight, context)
    else:
        entries = SampledEntries.of(coarse, offsets, weight)
    refine = coarse.interpolation(grid.nodes).toarray()
    return Band(grid, widest, kept, refine, offsets, entries)


def _offset_weights(offsets: Index, widest: int, context: int) -> Array:
    """Return how much sampled offsets count in a mean over all entries of the band (O,)."""
    every = np.arange(1, widest + 1)
    count = (context - every) / (context - every).sum()
    if offsets.size == every.size:
        return np.asarray(count)
    spline = CubicSpline(np.log(offsets), np.eye(offsets.size))
    return np.asarray(count @ spline(np.log(every)))


@dataclass(frozen=True)
class EveryEntry:
    """All entries of a band where every position is a node.

    Attributes
    ----------
    weight
        How much each offset counts in a mean over the band (O,).
    """

    weight: Array
    of_queries: Array

    @classmethod
    def of(cls, weight: Array, context: int) -> "EveryEntry":
        """Return the entries of a context."""
        of_queries = np.zeros((context, context))
        for offset, share in enumerate(weight.tolist(), start=1):
            n = context - offset
            of_queries[offset:, offset:] += share * (np.eye(n) - 1 / n) / n
        return cls(weight, of_queries)

    def products(
        self, query: Array, key: Array, query_follows: Array, key_follows: Array
    ) -> tuple[float, float]:
        """As `Entries.products`."""
        found = np.zeros(2)
        query_own, key_own = np.diag(query), np.diag(key)
        for offset, share in enumerate(self.weight.tolist(), start=1):
            n = query_own.size - offset
            of_two, other = query[offset:, offset:], query_follows[offset - 1, offset:]
            followed = np.einsum("ir,ir->i", other, key_follows[:n])
            own = query_own[offset:] @ np.column_stack([key_own[:n], followed])
            both = (
                np.einsum("ij,ij->", of_two, key[:n, :n]),
                np.einsum("ir,ir->", other, of_two @ key_follows[:n]),
            )
            found += share / n * (own - np.array(both) / n)
        return float(found[0]), float(found[1])

    def covariances(
        self, query: Array, pairs: Array, by_offset: Array, other: Array
    ) -> tuple[float, float]:
        """As `Entries.covariances`."""
        found = np.zeros(2)
        for offset, share in enumerate(self.weight.tolist(), start=1):
            entries = query[offset:] * np.diag(pairs, -offset) * by_offset[offset - 1]
            centred = entries - entries.mean()
            found += share * np.array([centred @ entries, centred @ other[offset:]]) / centred.size
        return float(found[0]), float(found[1])


@dataclass(frozen=True)
class Places:
    """Positions among the nodes of a grid: some for every offset of a band.

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
        """Return values (S, …) at the positions (O, N, …)."""
        return self._of_each(values[self.lower], lambda: values[self.upper])

    def own_rows(self, values: Array) -> Array:
        """Return values that each offset has of its own (O, S, R) at the positions (O, N, R)."""
        offset = np.arange(values.shape[0])[:, None]
        return self._of_each(values[offset, self.lower], lambda: values[offset, self.upper])

    def pairs(self, matrix: Array) -> Array:
        """Return a matrix (S, S) at every two positions of an offset (O, N, N)."""
        flat = self.rows(matrix).ravel()
        below = flat.take(self.at_lower)
        if self.between:
            share = self.share[:, None, :]
            below += share * (flat.take(self.at_upper) - below)
        return below

    def own(self, rows: Array) -> Array:
        """Return what `rows` of another `Places` of the band (O, N, S) have at one's own place."""
        index = np.arange(rows.shape[1])

        def column(at: Index) -> Array:
            return np.take_along_axis(rows, at[:, :, None], axis=2)[:, :, 0]

        assert index.size == self.lower.shape[1]
        return self._of_each(column(self.lower), lambda: column(self.upper))

    def _of_each(self, below: Array, above: Callable[[], Array]) -> Array:
        if self.between:
            share = self.share.reshape(*self.share.shape, *[1] * (below.ndim - 2))
            below += share * (above() - below)
        return below


@dataclass(frozen=True)
class SampledEntries:
    """Entries of some offsets at some positions, between which covariances are interpolated.

    Attributes
    ----------
    query, key
        Positions of the entries of each offset.
    centring
        ``Σ_nm centring_nm x_n x_m`` is the mean square of what centring leaves of entries ``x`` of
        an offset, times how much the offset counts in a mean over the band (O, N, N).
    """

    query: Places
    key: Places
    centring: Array
    of_queries: Array

    @classmethod
    def of(cls, grid: Grid, offsets: Index, weight: Array) -> "SampledEntries":
        """Return the entries at the nodes of a grid.

        Parameters
        ----------
        weight
            How much each offset counts in a mean over the band (O,).
        """
        keys = np.zeros((offsets.size, grid.size + 1), dtype=np.int64)
        share = np.zeros(keys.shape)
        for row, count in enumerate((grid.context - offsets).tolist()):
            found = np.union1d(grid.nodes[grid.nodes < count], [count - 1])
            keys[row, : found.size] = found
            share[row, : found.size] = Grid(found, count).cell / count
        queries = np.minimum(keys + offsets[:, None], grid.context - 1)
        one = np.eye(keys.shape[1])
        centring = weight[:, None, None] * share[:, :, None] * (one - share[:, None, :])
        of_queries = np.zeros((grid.size, grid.size))
        for positions, square in zip(queries, centring, strict=True):
            to_query = grid.interpolation(positions)
            of_queries += to_query.T @ (to_query.T @ square).T
        return cls(Places.of(grid, queries), Places.of(grid, keys), centring, of_queries)

    def products(
        self, query: Array, key: Array, query_follows: Array, key_follows: Array
    ) -> tuple[float, float]:
        """As `Entries.products`."""
        of_two = self.query.pairs(query)
        of_two *= self.centring
        followed = of_two @ self.key.rows(key_follows)
        of_keys = np.vdot(of_two, self.key.pairs(key))
        return float(of_keys), float(np.vdot(followed, self.query.own_rows(query_follows)))

    def covariances(
        self, query: Array, pairs: Array, by_offset: Array, other: Array
    ) -> tuple[float, float]:
        """As `Entries.covariances`."""
        entries = self.query.rows(query) * self.key.own(self.query.rows(pairs))
        entries *= by_offset[:, None]
        centred = np.einsum("onm,om->on", self.centring, entries)
        return float(np.vdot(centred, entries)), float(np.vdot(centred, self.query.rows(other)))
