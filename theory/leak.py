r"""Leakage in nats: what position does to a head's content-averaged scores and denominators.

Over weights, the content-averaged score ``s̄_ij`` of a head is Gaussian with covariance
``E[s̄_ij s̄_i'j'] = σ_i σ_i' D_ii' D_jj' κ(Δ-Δ')``, plus the mean ``m κ(Δ) C_ij`` of aligned
queries and keys. ``ln Z_i`` has its mean and, to first order, follows the weighted mean of the
row's scores. Centring removes the mean over ``i`` at equal offset ``Δ = i - j``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from ropeleak.spec import Attention, Stack

from .grid import EXACT, Grid, log_nodes
from .layer import Layer
from .recursion import Block
from .scores import Row

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_EXACT_BAND = 96
"""Up to this context every entry of the band is summed; beyond, offsets and rows are sampled."""
_KEY_RATIO = 1.1
_MOST_OFFSETS = 14
_RANK = 8
_SMALL_EIGENVALUE = 1e-3
_TINY = 1e-300


@dataclass(frozen=True)
class Leak:
    """Mean squares over the band, nats²."""

    mask: float
    residual: float
    cross: float

    @property
    def total(self) -> float:
        """``leak_total² = residual² + mask² - 2 cross``."""
        return self.residual + self.mask - 2 * self.cross


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
    query, key
        Positions at which entries of each offset are looked at.
    share
        How much each of them counts (O, N); they sum to one.
    weight
        How much each offset counts in a mean over the band (O,).
    centring
        ``Σ_nm centring_nm x_n x_m`` is the mean square of what centring leaves of entries ``x`` of
        an offset, times its weight (O, N, N).
    of_queries
        The same over the whole band for what depends on the query alone (S, S).
    """

    grid: Grid
    widest: int
    index: Index
    refine: Array
    offsets: Index
    query: Places
    key: Places
    share: Array
    weight: Array
    centring: Array
    of_queries: Array


def widest_offset(stack: Stack, block: int) -> int:
    """Return ``Δ_max``: half the context, or the window less one where that is smaller."""
    attention = stack.attention[block]
    limits = [stack.context // 2]
    limits += [size - 1 for size in (attention.window, attention.chunk) if size is not None]
    return min(limits)


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
    keys = np.zeros((offsets.size, coarse.size + 1), dtype=np.int64)
    share = np.zeros(keys.shape)
    for row, count in enumerate((context - offsets).tolist()):
        found = np.union1d(coarse.nodes[coarse.nodes < count], [count - 1])
        keys[row, : found.size] = found
        share[row, : found.size] = Grid(found, count).cell / count
    weight = _offset_weights(offsets, widest, context)
    one = np.eye(keys.shape[1])
    centring = weight[:, None, None] * share[:, :, None] * (one - share[:, None, :])
    query = Places.of(coarse, keys + offsets[:, None] * (share > 0))
    of_queries = np.zeros((coarse.size, coarse.size))
    for row, positions in enumerate(keys + offsets[:, None] * (share > 0)):
        to_query = coarse.interpolation(positions)
        of_queries += to_query.T @ (to_query.T @ centring[row]).T
    refine = coarse.interpolation(grid.nodes).toarray()
    return Band(
        grid, widest, kept, refine, offsets, query, Places.of(coarse, keys), share, weight,
        centring, of_queries,
    )  # fmt: skip


def _offset_weights(offsets: Index, widest: int, context: int) -> Array:
    """Return how much sampled offsets count in a mean over all entries of the band (O,)."""
    every = np.arange(1, widest + 1)
    count = (context - every) / (context - every).sum()
    if offsets.size == every.size:
        return np.asarray(count)
    spline = CubicSpline(np.log(offsets), np.eye(offsets.size))
    return np.asarray(count @ spline(np.log(every)))


def leak(stack: Stack, band: Band, block: Block) -> Leak:
    """Return the leak of one attention layer, for the residual stream that it reads.

    In chunked attention the band counts all pairs at its offsets, also those that the chunk
    hides.
    """
    if not band.offsets.size:
        return Leak(0.0, 0.0, 0.0)
    layer, row, before = block.layer, block.row, block.before
    at = np.ix_(band.index, band.index)
    diag = before.same.diag[band.index]
    norm = np.ones_like(diag)
    if layer.attention.qk_norm != "none" or stack.norm.before_branch:
        norm = 1 / np.sqrt(diag + (stack.norm.eps if stack.norm.before_branch else _TINY))
    both = np.outer(norm, norm)
    alike = before.other["bos"].pairs[at] * both
    sigma = row.score_std[band.index] / np.sqrt(np.maximum(diag * norm**2, _TINY))
    scores = alike * np.outer(sigma, sigma)

    values, vectors = _largest(alike)
    follows = _row_means(band, layer, row, vectors)  # of ln Z, by eigenvector and rotation
    fluctuation = _inner(layer, follows, values) * scores
    turns = np.outer(layer.frequencies, band.offsets)
    cosine, sine = np.cos(turns) * layer.share[:, None], np.sin(turns) * layer.share[:, None]
    flat = follows.reshape(-1, layer.frequencies.size)
    heard = (cosine.T @ flat.real.T + sine.T @ flat.imag.T).reshape(-1, *vectors.shape)

    at_query = band.query.pairs(scores)
    at_query *= band.centring
    followed = at_query @ band.key.rows(vectors * values)
    mask = float(np.vdot(band.of_queries, fluctuation))
    residual = float(np.vdot(at_query, band.key.pairs(alike)))
    cross = float(np.vdot(followed, band.query.own_rows(heard)))
    log_z = row.moments.log_z
    if layer.attention.alignment:
        aligned = layer.attention.alignment * sigma / max(stack.score_std(block.index), _TINY)
        same = band.query.rows(before.same.pairs[at] * both)
        mean_score = band.query.rows(aligned) * cosine.sum(0)[:, None]
        mean_score *= band.key.own(same)
        residual += _covariance(band, mean_score, mean_score)
        cross += _covariance(band, mean_score, band.query.rows(log_z[band.index]))
    mask += _spread_of_mean(band.grid, layer.attention, log_z, band.widest)
    return Leak(max(mask, 0.0), max(residual, 0.0), cross)


def _covariance(band: Band, x: Array, y: Array) -> float:
    """Return the mean over the band of what centring leaves of a product of entries (O, N)."""
    return float(np.einsum("onm,on,om->", band.centring, x, y))


def _largest(matrix: Array) -> tuple[Array, Array]:
    """Return the eigenvalues (r,) and eigenvectors (S, r) that make up a symmetric matrix."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    order = np.argsort(-np.abs(values))[:_RANK]
    keep = order[np.abs(values[order]) >= _SMALL_EIGENVALUE * np.abs(values).max()]
    return values[keep], vectors[:, keep]


def _row_means(band: Band, layer: Layer, row: Row, vectors: Array) -> NDArray[np.complex128]:
    """Return ``Σ_j a_ij e^{iθ(i-j)} v_r(j)``, shape (S, r, P); zero without a denominator."""
    rank, turns = vectors.shape[1], layer.frequencies.size
    if layer.attention.softmax.kind == "sigmoid" or not rank:
        return np.zeros((band.index.size, rank, turns), dtype=complex)
    turn = layer.turns
    turned = (turn.conj() * layer.smear)[:, None, :] * (band.refine @ vectors)[:, :, None]
    flat = turned.reshape(band.grid.size, -1)
    weights = row.weights[band.index]
    means = weights @ flat.real + 1j * (weights @ flat.imag)
    return np.asarray(means.reshape(-1, rank, turns) * turn[band.index, None, :])


def _inner(layer: Layer, follows: NDArray[np.complex128], values: Array) -> Array:
    """Return the covariance of ``ln Z_i`` and ``ln Z_i'`` less the factor of the queries (G, G)."""
    parts = np.concatenate([follows.real, follows.imag], axis=1)
    weighted = parts * np.outer(np.tile(values, 2), layer.share)
    g = follows.shape[0]
    return np.asarray(weighted.reshape(g, -1) @ parts.reshape(g, -1).T)


def _spread_of_mean(grid: Grid, attention: Attention, log_z: Array, widest: int) -> float:
    """Return the centred mean square of ``E ln Z`` over the whole band, every offset counted."""
    every = np.arange(grid.context)
    log_n = np.log(attention.key_range(every, grid.context).n_keys)
    everywhere = log_n + np.interp(every, grid.nodes, log_z - log_n[grid.nodes])
    everywhere -= everywhere.mean()
    count = grid.context - np.arange(1, widest + 1)
    first = np.cumsum(everywhere[::-1])[count - 1]
    second = np.cumsum(everywhere[::-1] ** 2)[count - 1]
    return float((second - first**2 / count).sum() / count.sum())
