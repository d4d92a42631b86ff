r"""Leakage in nats: what position does to a head's content-averaged scores and denominators.

Over weights, the content-averaged score ``s̄_ij`` of a head is Gaussian with covariance
``E[s̄_ij s̄_i'j'] = σ_i σ_i' D_ii' D_jj' κ(Δ-Δ')``, plus the mean ``m κ(Δ) C_ij`` of aligned
queries and keys, and ``b κ_P(Δ) C_0j`` where heads read sinks. ``ln Z_i`` has its mean and, to
first order, follows the weighted mean of the row's scores. Centring removes the mean over ``i`` at
equal offset ``Δ = i - j``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ropeleak.spec import Attention

from .axes import outer, per_node
from .band import Band
from .layer import Layer, band_share
from .recursion import Block
from .together import Some

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
Index = NDArray[np.int64]
Number = TypeVar("Number", np.float64, np.complex128)

_RANK = 8
_SMALL_EIGENVALUE = 1e-3
_TINY = 1e-300
_ENTRIES = 1 << 14
"""Entries of arrays of all the blocks that are worked on together."""


@dataclass(frozen=True)
class Leak:
    """Mean squares over the band, nats²: of one stack, or of those that run together (B,)."""

    mask: Array
    residual: Array
    cross: Array

    @property
    def total(self) -> Array:
        """``leak_total² = residual² + mask² - 2 cross``."""
        return self.residual + self.mask - 2 * self.cross


def widest_offset(stack: Some, block: int) -> int:
    """Return ``Δ_max``: half the context, or the window less one where that is smaller."""
    attention = stack.attention[block]
    limits = [stack.context // 2]
    limits += [size - 1 for size in (attention.window, attention.chunk) if size is not None]
    return min(limits)


class Leaks:
    """The leak of every block, in the order in which blocks are added.

    Blocks whose layers are alike are worked on together, as many as fit into a core's cache.

    Parameters
    ----------
    stack
        The architecture.
    bands
        By their widest offset, see `widest_offset`.
    """

    def __init__(self, stack: Some, bands: Mapping[int, Band]) -> None:
        self._stack, self._bands = stack, bands
        self._waiting: list[Block] = []
        self._found: list[Leak] = []

    def add(self, block: Block) -> None:
        """Take one more block."""
        self._waiting.append(block)
        largest = max(band.centring.size + band.grid.context for band in self._bands.values())
        size = max(block.row.mean.size, largest)
        if len(self._waiting) * size >= _ENTRIES:
            self._work_off()

    def all(self) -> list[Leak]:
        """Return the leaks of the blocks so far."""
        self._work_off()
        return list(self._found)

    def _work_off(self) -> None:
        alike: dict[int, list[Block]] = {}
        for block in self._waiting:
            alike.setdefault(id(block.layer), []).append(block)
        found = {
            block.index: leak
            for blocks in alike.values()
            for block, leak in zip(blocks, self._of(blocks), strict=True)
        }
        self._found += [found[block.index] for block in self._waiting]
        self._waiting = []

    def _of(self, blocks: list[Block]) -> list[Leak]:
        band = self._bands[widest_offset(self._stack, blocks[0].index)]
        return leaks(self._stack, band, blocks)


def leaks(stack: Some, band: Band, blocks: Sequence[Block]) -> list[Leak]:
    """Return the leaks of attention layers of one kind, for the residual streams that they read.

    In chunked attention the band counts all pairs at its offsets, also those that the chunk
    hides.
    """
    layer, kept = blocks[0].layer, band.index
    lead = blocks[0].before.same.diag.shape[:-1]
    if not band.entries.any():
        return [Leak(*np.zeros((3, *lead)))] * len(blocks)

    def every(arrays: Iterable[Array], axes: int = 1) -> Array:
        """Return arrays of all blocks (…, S, …) as one of blocks and stacks (B, S, …)."""
        found = np.array(list(arrays))
        return found.reshape(-1, *found.shape[found.ndim - axes :])

    def of_stacks(array: NDArray[Number]) -> NDArray[Number]:
        """Return an array of the layer (…, G, P) for all blocks and stacks: (B, G, P)."""
        return np.tile(array, (len(blocks), 1, 1)) if lead else array[None]

    def kept_pairs(matrix: Array) -> Array:
        return np.asarray(matrix[..., kept[:, None], kept])

    diag = every(block.before.same.diag[..., kept] for block in blocks)
    norm = np.ones_like(diag)
    if layer.attention.qk_norm != "none" or stack.norm.before_branch:
        norm = 1 / np.sqrt(diag + (stack.norm.eps if stack.norm.before_branch else _TINY))
    both = outer(norm)
    alike = every((kept_pairs(block.before.other["bos"].pairs) for block in blocks), 2) * both
    score_std = every(block.row.score_std[..., kept] for block in blocks)
    sigma = score_std / np.sqrt(np.maximum(diag * norm**2, _TINY))
    scores = alike * outer(sigma)

    values, vectors = _largest(alike)
    rank, share = vectors.shape[-1], layer.share
    follows = np.zeros((*diag.shape, rank, share.size), dtype=complex)
    if layer.attention.softmax.kind != "sigmoid":  # which has no denominator
        weights = every((block.row.weights[..., kept, :] for block in blocks), 2)
        turn, smeared = (of_stacks(x) for x in (layer.turns, layer.turns.conj() * layer.smear))
        follows = _row_means(band, turn, smeared, weights, vectors)
    fluctuation = _inner(layer, follows, values) * scores
    angle = layer.frequencies[..., :, None] * band.offsets
    cosine, sine = (of_stacks(f(angle) * share[:, None]) for f in (np.cos, np.sin))
    heard = np.moveaxis(follows.real @ cosine[:, None] + follows.imag @ sine[:, None], -1, 1)

    at_query = band.query.pairs(scores)
    at_query *= band.centring
    followed = at_query @ band.key.rows(vectors * values[:, None, :])
    mask = np.vecdot(band.of_queries.ravel(), _flat(fluctuation))
    residual = np.vecdot(_flat(at_query), _flat(band.key.pairs(alike)))
    cross = np.vecdot(_flat(followed), _flat(band.query.own_rows(heard)))
    log_z = every(block.row.moments.log_z for block in blocks)
    mean_score = np.zeros((len(diag), *band.query.lower.shape))
    if layer.attention.alignment:
        drawn = every(per_node(stack.score_std(block.index)) for block in blocks)
        aligned = layer.attention.alignment * sigma / np.maximum(drawn, _TINY)
        pairs = every((kept_pairs(block.before.same.pairs) for block in blocks), 2)
        turned = band.query.rows(aligned) * cosine.sum(1)[..., None]
        mean_score += turned * band.key.own(band.query.rows(pairs * both))
    if blocks[0].row.shift is not None:
        shifts = [block.row.shift for block in blocks if block.row.shift is not None]
        scale = band.query.rows(np.array([block.row.scale[kept] for block in blocks]))
        towards = np.array([shift.towards[kept] for shift in shifts])
        turned = _sink_turn(stack, layer, band.offsets)[:, None] * scale
        mean_score += turned * band.key.rows(towards)
        first = np.array([max(block.row.inverse[0], _TINY) for block in blocks])
        unit = np.array([shift.unit for shift in shifts])
        apart = alike * first[:, None, None] ** 2 - outer(towards)
        read = band.centring * band.key.pairs(unit[:, None, None] * apart)
        residual += np.einsum("bonm,bon,bom->b", read, scale, scale)
    if mean_score.any():
        residual += _covariance(band, mean_score, mean_score)
        cross += _covariance(band, mean_score, band.query.rows(log_z[:, kept]))
    mask += _spread_of_mean(band, layer.attention, log_z)
    found = (np.maximum(mask, 0.0), np.maximum(residual, 0.0), cross)
    return [Leak(*row) for row in zip(*(x.reshape(-1, *lead) for x in found), strict=True)]


def _flat(x: Array) -> Array:
    """Return all entries of a block or stack in a row (B, N)."""
    return x.reshape(x.shape[0], -1)


def _covariance(band: Band, x: Array, y: Array) -> Array:
    """Return the mean over the band of what centring leaves of a product of entries (B, O, N)."""
    return np.asarray(np.einsum("onm,bon,bom->b", band.centring, x, y))


def _sink_turn(stack: Some, layer: Layer, offsets: Index) -> Array:
    """Return a sink bias times ``κ_P(Δ)`` (O,)."""
    slow = np.cos(np.outer(offsets, layer.frequencies)) @ band_share(stack, layer.attention)
    return np.asarray(layer.attention.sink_bias * slow)


def _largest(matrices: Array) -> tuple[Array, Array]:
    """Return eigenvalues (B, r) and eigenvectors (B, S, r) that make up symmetric matrices.

    Small eigenvalues are 0.
    """
    values, vectors = np.linalg.eigh((matrices + matrices.swapaxes(1, 2)) / 2)
    order = np.argsort(-np.abs(values), axis=1)[:, :_RANK]
    values = np.take_along_axis(values, order, axis=1)
    size = np.abs(values)
    values[size < _SMALL_EIGENVALUE * size[:, :1]] = 0.0
    rank = max(int((values != 0).any(0).sum()), 1)
    found = np.take_along_axis(vectors, order[:, None, :rank], axis=2)
    return values[:, :rank], found


def _row_means(
    band: Band, turn: Complex, smeared: Complex, weights: Array, vectors: Array
) -> Complex:
    """Return ``Σ_j a_ij e^{iθ(i-j)} v_r(j)`` (B, S, r, P).

    Parameters
    ----------
    turn, smeared
        ``e^{iθp}`` at every node, and the mean of ``e^{-iθp}`` over its cell (B, G, P).
    weights
        ``E a_ij`` (B, S, G).
    vectors
        ``v_r`` (B, S, r).
    """
    b, s, rank = vectors.shape
    turned = smeared[:, :, None, :] * (band.refine @ vectors)[..., None]
    flat = turned.reshape(b, band.grid.size, -1)
    means = weights @ flat.real + 1j * (weights @ flat.imag)
    return np.asarray(means.reshape(b, s, rank, -1) * turn[:, band.index, None, :])


def _inner(layer: Layer, follows: Complex, values: Array) -> Array:
    """Return covariances of ``ln Z_i`` and ``ln Z_i'`` less the factor of the queries (B, S, S)."""
    parts = np.concatenate([follows.real, follows.imag], axis=2)
    weighted = parts * (np.concatenate([values, values], axis=1)[..., None] * layer.share)[:, None]
    b, s = follows.shape[:2]
    return np.asarray(weighted.reshape(b, s, -1) @ parts.reshape(b, s, -1).swapaxes(1, 2))


def _spread_of_mean(band: Band, attention: Attention, log_z: Array) -> Array:
    """Return the centred mean square of ``E ln Z`` (B, G) over the whole band, (B,).

    Every offset counts.
    """
    grid, queries = band.grid, band.queries
    every = np.arange(grid.context)
    log_n = np.log(attention.key_range(every, grid.context).n_keys)
    above = log_z - log_n[grid.nodes]
    everywhere = log_n + np.array([np.interp(every, grid.nodes, row) for row in above])
    everywhere -= everywhere.mean(1, keepdims=True)
    counted = band.entries
    offsets = np.arange(1, counted.size + 1)
    sums, squares = np.zeros((2, log_z.shape[0], grid.context + 1))
    np.cumsum(everywhere, axis=1, out=sums[:, 1:])
    np.cumsum(everywhere**2, axis=1, out=squares[:, 1:])
    mean = (sums[:, -1:] - sums.take(offsets, axis=1)) / (grid.context - offsets)
    start = np.minimum(np.maximum(offsets, queries.start), queries.stop)
    first, second = (x[:, queries.stop, None] - x.take(start, axis=1) for x in (sums, squares))
    spread = second - 2 * mean * first + counted * mean**2
    return np.asarray(spread.sum(1) / counted.sum())
