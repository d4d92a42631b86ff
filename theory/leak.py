r"""Leakage in nats: what position does to a head's content-averaged scores and denominators.

Over weights, the content-averaged score ``s̄_ij`` of a head is Gaussian with covariance
``E[s̄_ij s̄_i'j'] = σ_i σ_i' D_ii' D_jj' κ(Δ-Δ')``, plus the mean ``m κ(Δ) C_ij`` of aligned
queries and keys, and ``b κ_P(Δ) C_0j`` where heads read sinks. ``ln Z_i`` has its mean and, to
first order, follows the weighted mean of the row's scores. Centring removes the mean over ``i`` at
equal offset ``Δ = i - j``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ropeleak.spec import Attention, Stack

from .band import Band
from .layer import Layer, band_share, rotations
from .recursion import Block

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_RANK = 8
_SMALL_EIGENVALUE = 1e-3
_TINY = 1e-300
_ENTRIES = 1 << 14
"""Entries of arrays of all the blocks that are worked on together."""


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


def widest_offset(stack: Stack, block: int) -> int:
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

    def __init__(self, stack: Stack, bands: Mapping[int, Band]) -> None:
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


def leaks(stack: Stack, band: Band, blocks: Sequence[Block]) -> list[Leak]:
    """Return the leaks of attention layers of one kind, for the residual streams that they read.

    In chunked attention the band counts all pairs at its offsets, also those that the chunk
    hides.
    """
    if not band.entries.any():
        return [Leak(0.0, 0.0, 0.0)] * len(blocks)
    layer, kept = blocks[0].layer, band.index
    at = np.ix_(kept, kept)
    diag = np.array([block.before.same.diag[kept] for block in blocks])
    norm = np.ones_like(diag)
    if layer.attention.qk_norm != "none" or stack.norm.before_branch:
        norm = 1 / np.sqrt(diag + (stack.norm.eps if stack.norm.before_branch else _TINY))
    both = _outer(norm)
    alike = np.array([block.before.other["bos"].pairs[at] for block in blocks]) * both
    score_std = np.array([block.row.score_std[kept] for block in blocks])
    sigma = score_std / np.sqrt(np.maximum(diag * norm**2, _TINY))
    scores = alike * _outer(sigma)

    values, vectors = _largest(alike)
    follows = _row_means(band, layer, blocks, vectors)  # of ln Z, by eigenvector and rotation
    fluctuation = _inner(layer, follows, values) * scores
    turns = np.outer(layer.frequencies, band.offsets)
    cosine, sine = np.cos(turns) * layer.share[:, None], np.sin(turns) * layer.share[:, None]
    heard = np.moveaxis(follows.real @ cosine + follows.imag @ sine, -1, 1)

    at_query = band.query.pairs(scores)
    at_query *= band.centring
    followed = at_query @ band.key.rows(vectors * values[:, None, :])
    mask = np.einsum("sm,bsm->b", band.of_queries, fluctuation)
    residual = np.einsum("bonm,bonm->b", at_query, band.key.pairs(alike))
    cross = np.einsum("bonr,bonr->b", followed, band.query.own_rows(heard))
    log_z = np.array([block.row.moments.log_z for block in blocks])
    mean_score = np.zeros((len(blocks), *band.query.lower.shape))
    if layer.attention.alignment:
        drawn = np.array([max(stack.score_std(block.index), _TINY) for block in blocks])
        aligned = layer.attention.alignment * sigma / drawn[:, None]
        pairs = np.array([block.before.same.pairs[at] for block in blocks])
        turned = band.query.rows(aligned) * cosine.sum(0)[:, None]
        mean_score += turned * band.key.own(band.query.rows(pairs * both))
    if blocks[0].row.shift is not None:
        shifts = [block.row.shift for block in blocks if block.row.shift is not None]
        scale = band.query.rows(np.array([block.row.scale[kept] for block in blocks]))
        towards = np.array([shift.towards[kept] for shift in shifts])
        turned = _sink_turn(stack, layer, band.offsets)[:, None] * scale
        mean_score += turned * band.key.rows(towards)
        first = np.array([max(block.row.inverse[0], _TINY) for block in blocks])
        unit = np.array([shift.unit for shift in shifts])
        apart = alike * first[:, None, None] ** 2 - _outer(towards)
        read = band.centring * band.key.pairs(unit[:, None, None] * apart)
        residual += np.einsum("bonm,bon,bom->b", read, scale, scale)
    if mean_score.any():
        residual += _covariance(band, mean_score, mean_score)
        cross += _covariance(band, mean_score, band.query.rows(log_z[:, kept]))
    mask += _spread_of_mean(band, layer.attention, log_z)
    return [
        Leak(*row)
        for row in zip(
            np.maximum(mask, 0.0).tolist(), np.maximum(residual, 0.0).tolist(), cross.tolist(),
            strict=True,
        )
    ]  # fmt: skip


def _outer(rows: Array) -> Array:
    """Return the products of every two entries of a row (B, S, S)."""
    return np.asarray(rows[:, :, None] * rows[:, None, :])


def _covariance(band: Band, x: Array, y: Array) -> Array:
    """Return the mean over the band of what centring leaves of a product of entries (B, O, N)."""
    return np.asarray(np.einsum("onm,bon,bom->b", band.centring, x, y))


def _sink_turn(stack: Stack, layer: Layer, offsets: Index) -> Array:
    """Return a sink bias times ``κ_P(Δ)`` (O,)."""
    frequencies, _ = rotations(stack, layer.attention)
    slow = np.cos(np.outer(offsets, frequencies)) @ band_share(stack, layer.attention)
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
    band: Band, layer: Layer, blocks: Sequence[Block], vectors: Array
) -> NDArray[np.complex128]:
    """Return ``Σ_j a_ij e^{iθ(i-j)} v_r(j)``, (B, S, r, P); zero without a denominator."""
    b, s, rank = vectors.shape
    turns = layer.frequencies.size
    if layer.attention.softmax.kind == "sigmoid":
        return np.zeros((b, s, rank, turns), dtype=complex)
    turn = layer.turns
    turned = (turn.conj() * layer.smear)[:, None, :] * (band.refine @ vectors)[..., None]
    flat = turned.reshape(b, band.grid.size, -1)
    weights = np.array([block.row.weights[band.index] for block in blocks])
    means = weights @ flat.real + 1j * (weights @ flat.imag)
    return np.asarray(means.reshape(b, s, rank, turns) * turn[band.index, None, :])


def _inner(layer: Layer, follows: NDArray[np.complex128], values: Array) -> Array:
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
    mean = (sums[:, -1:] - sums[:, offsets]) / (grid.context - offsets)
    start = np.minimum(np.maximum(offsets, queries.start), queries.stop)
    stop = slice(queries.stop, queries.stop + 1)
    first, second = sums[:, stop] - sums[:, start], squares[:, stop] - squares[:, start]
    spread = second - 2 * mean * first + counted * mean**2
    return np.asarray(spread.sum(1) / counted.sum())
