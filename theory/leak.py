r"""Leakage in nats: what position does to a head's content-averaged scores and denominators.

Over weights, the content-averaged score ``s̄_ij`` of a head is Gaussian with covariance
``E[s̄_ij s̄_i'j'] = σ_i σ_i' D_ii' D_jj' κ(Δ-Δ')``, plus the mean ``m κ(Δ) C_ij`` of aligned
queries and keys, and ``b κ_P(Δ) C_0j`` where heads read sinks. ``ln Z_i`` has its mean and, to
first order, follows the weighted mean of the row's scores. Centring removes the mean over ``i`` at
equal offset ``Δ = i - j``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.sparse import csr_array

from ropeleak.spec import Attention, Stack

from .grid import EXACT, Grid, log_nodes
from .layer import Layer, band_share, rotations
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
class Offset:
    """One offset ``Δ`` of a band: its queries and keys, and how much each counts.

    Attributes
    ----------
    share, counted
        Of every query in the mean that centring subtracts, and in the mean square.
    """

    value: int
    to_query: csr_array
    to_key: csr_array
    share: Array
    counted: Array


@dataclass(frozen=True)
class Band:
    """The offsets ``1 ≤ Δ ≤ widest`` of a layer, on a coarser grid of its own.

    Attributes
    ----------
    queries
        Queries whose entries count in mean squares; all queries count in what is subtracted.
    index
        Which nodes of the recursion's grid the coarser grid keeps (S,).
    refine
        Interpolation from the coarser grid to all nodes (G, S).
    """

    grid: Grid
    widest: int
    queries: range
    index: Index
    refine: csr_array
    offsets: tuple[Offset, ...]

    @property
    def every(self) -> Index:
        """All offsets, also those that are not sampled (widest,)."""
        return np.arange(1, self.widest + 1)

    @property
    def entries(self) -> Index:
        """Number of entries that count at `every` offset."""
        first = np.maximum(self.queries.start, self.every)
        return np.asarray(np.maximum(self.queries.stop - first, 0))


def widest_offset(stack: Stack, block: int) -> int:
    """Return ``Δ_max``: half the context, or the window less one where that is smaller."""
    attention = stack.attention[block]
    limits = [stack.context // 2]
    limits += [size - 1 for size in (attention.window, attention.chunk) if size is not None]
    return min(limits)


def make_band(grid: Grid, widest: int, queries: range | None = None) -> Band:
    """Return the band of a layer on a grid, sampled where offsets or positions are many.

    All queries count unless some are given.
    """
    context = grid.context
    queries = range(context) if queries is None else queries
    exact = context <= _EXACT_BAND
    kept = np.arange(grid.size)
    offsets = np.arange(1, widest + 1)
    if not exact:
        near = np.arange(min(EXACT // 2, context))
        wanted = np.union1d(near, log_nodes(0, context - 1, _KEY_RATIO))
        kept = np.unique(np.searchsorted(grid.nodes, wanted))
        if widest > _MOST_OFFSETS:
            offsets = np.unique(np.round(np.geomspace(1, widest, _MOST_OFFSETS)).astype(np.int64))
    coarse = Grid(grid.nodes[kept], context)
    found = []
    for offset in offsets.tolist():
        count = context - offset
        keys = coarse.nodes[coarse.nodes < count]
        keys = np.union1d(keys, [count - 1])
        share = Grid(keys, count).cell / count
        query = keys + offset
        among = share * ((query >= queries.start) & (query < queries.stop))
        counted = among / max(among.sum(), _TINY)
        to_query, to_key = coarse.interpolation(query), coarse.interpolation(keys)
        found.append(Offset(offset, to_query, to_key, share, counted))
    return Band(grid, widest, queries, kept, coarse.interpolation(grid.nodes), tuple(found))


def leak(stack: Stack, band: Band, block: Block) -> Leak:
    """Return the leak of one attention layer, for the residual stream that it reads.

    In chunked attention the band counts all pairs at its offsets, also those that the chunk
    hides.
    """
    if not band.entries.any():
        return Leak(0.0, 0.0, 0.0)
    layer, row, before = block.layer, block.row, block.before
    at = np.ix_(band.index, band.index)
    diag = before.same.diag[band.index]
    norm = np.ones_like(diag)
    if layer.attention.qk_norm != "none" or stack.norm.before_branch:
        norm = 1 / np.sqrt(diag + (stack.norm.eps if stack.norm.before_branch else _TINY))
    both = np.outer(norm, norm)
    alike = before.other["bos"].pairs[at] * both
    same = before.same.pairs[at] * both
    sigma = row.score_std[band.index] / np.sqrt(np.maximum(diag * norm**2, _TINY))
    scores = alike * np.outer(sigma, sigma)

    values, vectors = _largest(alike)
    follows = _row_means(band, layer, row, vectors)  # of ln Z, by eigenvector and rotation
    fluctuation = _inner(layer, follows, values) * scores
    turns = np.outer(layer.frequencies, [offset.value for offset in band.offsets])
    cosine, sine = np.cos(turns) * layer.share[:, None], np.sin(turns) * layer.share[:, None]
    heard = follows.real @ cosine + follows.imag @ sine  # (S, r, offset)
    aligned = layer.attention.alignment * sigma / max(stack.score_std(block.index), _TINY)
    log_z = row.moments.log_z[band.index]
    read = _SinkScores.of(stack, band, layer, row, alike)

    at_offset = np.zeros((len(band.offsets), 3))
    for index, offset in enumerate(band.offsets):
        to_query, to_key = offset.to_query, offset.to_key
        weights = offset.share, offset.counted
        at_query = _between(to_query, scores, to_query)
        at_key = _between(to_key, alike, to_key)
        followed = (to_query @ heard[:, :, index]) @ (to_key @ (vectors * values)).T
        mean_score = np.zeros_like(offset.share)
        residual = at_query * at_key
        if layer.attention.alignment:
            turned = (to_query @ aligned) * cosine[:, index].sum()
            mean_score = turned * _paired(to_query, same, to_key)
        if read is not None:
            scale = to_query @ read.scale
            mean_score = mean_score + read.turned[index] * scale * (to_key @ read.towards)
            residual += np.outer(scale, scale) * _between(to_key, read.noise, to_key)
        mean_log_z = to_query @ log_z
        at_offset[index] = (
            _centred(_between(to_query, fluctuation, to_query), *weights),
            _centred(residual, *weights) + _covariance(mean_score, mean_score, *weights),
            _centred(at_query * followed, *weights) + _covariance(mean_score, mean_log_z, *weights),
        )
    mask, residual, cross = _band_mean(band, at_offset).tolist()
    mask += _spread_of_mean(band, layer.attention, row.moments.log_z)
    return Leak(max(mask, 0.0), max(residual, 0.0), cross)


@dataclass(frozen=True)
class _SinkScores:
    """What a sink bias adds to content-averaged scores on a band.

    Attributes
    ----------
    scale
        Factor on the scores of each query (S,).
    turned
        Bias times ``κ_P(Δ)`` (offset,).
    towards
        ``k_0·k_j/|k_0|²`` (S,).
    noise
        Covariance of the shifts of two keys, over weights, of what contents share (S, S).
    """

    scale: Array
    turned: Array
    towards: Array
    noise: Array

    @classmethod
    def of(
        cls, stack: Stack, band: Band, layer: Layer, row: Row, alike: Array
    ) -> "_SinkScores | None":
        if row.shift is None:
            return None
        attention, towards = layer.attention, row.shift.towards[band.index]
        frequencies, _ = rotations(stack, attention)
        offsets = [offset.value for offset in band.offsets]
        slow = np.cos(np.outer(offsets, frequencies)) @ band_share(stack, attention)
        size = max(row.inverse[0], _TINY) ** -2
        noise = row.shift.unit * (alike / size - np.outer(towards, towards))
        return cls(row.scale[band.index], attention.sink_bias * slow, towards, noise)


def _band_mean(band: Band, at_offset: Array) -> Array:
    """Return the mean over all entries of the band, from values at its sampled offsets (N, 3)."""
    every, count = band.every, band.entries
    sampled = np.array([offset.value for offset in band.offsets])
    values = at_offset
    if sampled.size < every.size:
        values = CubicSpline(np.log(sampled), at_offset)(np.log(every))
    return np.asarray(count @ values / count.sum())


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
    turn = np.exp(1j * np.outer(band.grid.nodes, layer.frequencies))
    turned = (turn.conj() * layer.smear)[:, None, :] * (band.refine @ vectors)[:, :, None]
    flat = turned.reshape(band.grid.size, -1)
    weights = row.weights[band.index]
    means = weights @ flat.real + 1j * (weights @ flat.imag)
    return np.asarray(means.reshape(-1, rank, turns) * turn[band.index, None, :])


def _inner(layer: Layer, follows: NDArray[np.complex128], values: Array) -> Array:
    """Return the covariance of ``ln Z_i`` and ``ln Z_i'`` less the factor of the queries (G, G)."""
    weighted = follows * (values[:, None] * layer.share)
    g = follows.shape[0]
    return np.asarray((weighted.reshape(g, -1) @ follows.reshape(g, -1).conj().T).real)


def _between(left: csr_array, matrix: Array, right: csr_array) -> Array:
    return np.asarray((right @ (left @ matrix).T).T)


def _paired(left: csr_array, matrix: Array, right: csr_array) -> Array:
    """Return ``matrix`` at (left_n, right_n), shape (N,)."""
    return np.asarray(right.multiply(left @ matrix).sum(axis=1)).ravel()


def _centred(matrix: Array, share: Array, counted: Array) -> float:
    """Return what centring with the shares of all leaves of a variance, in the mean of some."""
    mean = matrix @ share
    return float(counted @ np.diag(matrix) - 2 * counted @ mean + share @ mean)


def _covariance(x: Array, y: Array, share: Array, counted: Array) -> float:
    return float(counted @ ((x - share @ x) * (y - share @ y)))


def _spread_of_mean(band: Band, attention: Attention, log_z: Array) -> float:
    """Return the centred mean square of ``E ln Z`` over the whole band, every offset counted."""
    grid, queries = band.grid, band.queries
    every = np.arange(grid.context)
    log_n = np.log(attention.key_range(every, grid.context).n_keys)
    everywhere = log_n + np.interp(every, grid.nodes, log_z - log_n[grid.nodes])
    everywhere -= everywhere.mean()
    offsets, counted = band.every, band.entries
    sums, squares = (np.append(0.0, np.cumsum(everywhere**power)) for power in (1, 2))
    mean = (sums[-1] - sums[offsets]) / (grid.context - offsets)
    start = np.minimum(np.maximum(offsets, queries.start), queries.stop)
    first, second = sums[queries.stop] - sums[start], squares[queries.stop] - squares[start]
    return float((second - 2 * mean * first + counted * mean**2).sum() / counted.sum())
