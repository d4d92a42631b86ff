r"""Leakage in nats: what position does to a head's content-averaged scores and denominators.

Over weights, the content-averaged score ``s̄_ij`` of a head is Gaussian with covariance
``E[s̄_ij s̄_i'j'] = σ_i σ_i' D_ii' D_jj' κ(Δ-Δ')``, plus the mean ``m κ(Δ) C_ij`` of aligned
queries and keys. ``ln Z_i`` has its mean and, to first order, follows the weighted mean of the
row's scores. Centring removes the mean over ``i`` at equal offset ``Δ = i - j``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.sparse import csr_array

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
class Offset:
    """One offset ``Δ`` of a band: its queries and keys, and how much each counts."""

    value: int
    to_query: csr_array
    to_key: csr_array
    share: Array


@dataclass(frozen=True)
class Band:
    """The offsets ``1 ≤ Δ ≤ widest`` of a layer, on a coarser grid of its own.

    Attributes
    ----------
    index
        Which nodes of the recursion's grid the coarser grid keeps (S,).
    refine
        Interpolation from the coarser grid to all nodes (G, S).
    """

    grid: Grid
    widest: int
    index: Index
    refine: csr_array
    offsets: tuple[Offset, ...]


def widest_offset(stack: Stack, block: int) -> int:
    """Return ``Δ_max``: half the context, or the window less one where that is smaller."""
    attention = stack.attention[block]
    limits = [stack.context // 2]
    limits += [size - 1 for size in (attention.window, attention.chunk) if size is not None]
    return min(limits)


def make_band(grid: Grid, widest: int) -> Band:
    """Return the band of a layer on a grid, sampled where offsets or positions are many."""
    context = grid.context
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
        to_query, to_key = coarse.interpolation(keys + offset), coarse.interpolation(keys)
        found.append(Offset(offset, to_query, to_key, share))
    return Band(grid, widest, kept, coarse.interpolation(grid.nodes), tuple(found))


def leak(stack: Stack, band: Band, block: Block) -> Leak:
    """Return the leak of one attention layer, for the residual stream that it reads.

    In chunked attention the band counts all pairs at its offsets, also those that the chunk
    hides.
    """
    if not band.offsets:
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

    at_offset = np.zeros((len(band.offsets), 3))
    for index, offset in enumerate(band.offsets):
        to_query, to_key, w = offset.to_query, offset.to_key, offset.share
        at_query = _between(to_query, scores, to_query)
        at_key = _between(to_key, alike, to_key)
        followed = (to_query @ heard[:, :, index]) @ (to_key @ (vectors * values)).T
        mean_score = np.zeros_like(w)
        if layer.attention.alignment:
            turned = (to_query @ aligned) * cosine[:, index].sum()
            mean_score = turned * _paired(to_query, same, to_key)
        mean_log_z = to_query @ log_z
        at_offset[index] = (
            _centred(_between(to_query, fluctuation, to_query), w),
            _centred(at_query * at_key, w) + _covariance(mean_score, mean_score, w),
            _centred(at_query * followed, w) + _covariance(mean_score, mean_log_z, w),
        )
    mask, residual, cross = _band_mean(band, at_offset).tolist()
    mask += _spread_of_mean(band.grid, layer.attention, row.moments.log_z, band.widest)
    return Leak(max(mask, 0.0), max(residual, 0.0), cross)


def _band_mean(band: Band, at_offset: Array) -> Array:
    """Return the mean over all entries of the band, from values at its sampled offsets (N, 3)."""
    every = np.arange(1, band.widest + 1)
    sampled = np.array([offset.value for offset in band.offsets])
    values = at_offset
    if sampled.size < every.size:
        values = CubicSpline(np.log(sampled), at_offset)(np.log(every))
    count = band.grid.context - every
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


def _centred(matrix: Array, share: Array) -> float:
    """Return the mean of the diagonal less the mean of all: what centring leaves of a variance."""
    return float(share @ np.diag(matrix) - share @ matrix @ share)


def _covariance(x: Array, y: Array, share: Array) -> float:
    return float(share @ (x * y) - (share @ x) * (share @ y))


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
