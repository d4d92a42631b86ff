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

from ropeleak.spec import Attention, Stack

from .band import Band
from .layer import Layer, band_share, rotations
from .recursion import Block
from .scores import Row

Array = NDArray[np.float64]
Index = NDArray[np.int64]

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


def widest_offset(stack: Stack, block: int) -> int:
    """Return ``Δ_max``: half the context, or the window less one where that is smaller."""
    attention = stack.attention[block]
    limits = [stack.context // 2]
    limits += [size - 1 for size in (attention.window, attention.chunk) if size is not None]
    return min(limits)


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
    mean_score = np.zeros(band.query.lower.shape)
    if layer.attention.alignment:
        aligned = layer.attention.alignment * sigma / max(stack.score_std(block.index), _TINY)
        same = band.query.rows(before.same.pairs[at] * both)
        turned = band.query.rows(aligned) * cosine.sum(0)[:, None]
        mean_score += turned * band.key.own(same)
    if row.shift is not None:
        scale = band.query.rows(row.scale[band.index])
        towards = row.shift.towards[band.index]
        mean_score += (
            _sink_turn(stack, layer, band.offsets)[:, None] * scale * band.key.rows(towards)
        )
        size = max(row.inverse[0], _TINY) ** -2
        noise = row.shift.unit * (alike / size - np.outer(towards, towards))
        read = band.centring * band.key.pairs(noise)
        residual += float(np.einsum("onm,on,om->", read, scale, scale))
    if mean_score.any():
        residual += _covariance(band, mean_score, mean_score)
        cross += _covariance(band, mean_score, band.query.rows(log_z[band.index]))
    mask += _spread_of_mean(band, layer.attention, log_z)
    return Leak(max(mask, 0.0), max(residual, 0.0), cross)


def _covariance(band: Band, x: Array, y: Array) -> float:
    """Return the mean over the band of what centring leaves of a product of entries (O, N)."""
    return float(np.einsum("onm,on,om->", band.centring, x, y))


def _sink_turn(stack: Stack, layer: Layer, offsets: Index) -> Array:
    """Return a sink bias times ``κ_P(Δ)`` (O,)."""
    frequencies, _ = rotations(stack, layer.attention)
    slow = np.cos(np.outer(offsets, frequencies)) @ band_share(stack, layer.attention)
    return np.asarray(layer.attention.sink_bias * slow)


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


def _spread_of_mean(band: Band, attention: Attention, log_z: Array) -> float:
    """Return the centred mean square of ``E ln Z`` over the whole band, every offset counted."""
    grid, queries = band.grid, band.queries
    every = np.arange(grid.context)
    log_n = np.log(attention.key_range(every, grid.context).n_keys)
    everywhere = log_n + np.interp(every, grid.nodes, log_z - log_n[grid.nodes])
    everywhere -= everywhere.mean()
    counted = band.entries
    offsets = np.arange(1, counted.size + 1)
    sums, squares = (np.append(0.0, np.cumsum(everywhere**power)) for power in (1, 2))
    mean = (sums[-1] - sums[offsets]) / (grid.context - offsets)
    start = np.minimum(np.maximum(offsets, queries.start), queries.stop)
    first, second = sums[queries.stop] - sums[start], squares[queries.stop] - squares[start]
    return float((second - 2 * mean * first + counted * mean**2).sum() / counted.sum())
