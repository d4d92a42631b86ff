r"""The attention block's mean-field map: ``K += γ Φ[C]``, ``Q += γ Φ[D]``.

``Φ`` averages the input's kernel over the keys of two queries with mean attention. Two things are
added: a query's own weights concentrate on few keys (the participation ratio), and queries whose
scores correlate choose the same keys more often than chance.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .axes import outer, per_node, times
from .grid import Grid
from .layer import Layer
from .scores import Row, attention_rows
from .state import OtherContent, SameContent, State
from .together import Some
from .weights import TINY

Array = NDArray[np.float64]

_LARGEST_EXCESS = 1e3
"""Largest mean weight of one key relative to uniform of which the square is taken."""


def attention_branch(
    stack: Some, block: int, layer: Layer, grid: Grid, u: State
) -> tuple[State, Row]:
    """Return what attention writes, and its rows, for the state ``u`` of its input."""
    row = attention_rows(stack, block, layer, grid, u)
    same, gap = _same(row, layer, u.same)
    diag = same.diag
    matrices = outer(diag) * _matrix_variance(stack)
    chosen = _choice_variance(row, layer) * gap**2 / stack.n_heads
    branch = State(
        replace(same, spread=chosen + matrices),
        {name: _other(stack, row, layer, u, q, diag, matrices) for name, q in u.other.items()},
    )
    if row.shift is not None:
        every, with_bos = _read_by_bias(stack, row, layer, u)
        branch = branch.with_common(every + with_bos, {"common": every})
    return branch.scaled(np.sqrt(per_node(stack.attention_gain(block)))), row


def _read_by_bias(stack: Some, row: Row, layer: Layer, u: State) -> tuple[Array, Array]:
    """Return what inputs have in common because a bias prefers one direction (G, G), of order 1/d.

    Keys whose inputs lie along the direction that a sink bias reads draw more weight, so that this
    direction is written whatever the input. It overlaps with what is written of BOS: the second
    array, for inputs that begin with it.
    """
    moments, (mean, square) = row.moments, row.at_sink
    moved = np.maximum(moments.row_sum - mean - (moments.participation - square), 0.0)
    size = float(u.same.diag.mean()) / stack.d_model
    along = np.sqrt(row.noise) * moved
    every = np.outer(along, along) * layer.band_kernel * size
    bias = layer.attention.sink_bias * row.scale * moved
    turned = (row.mean * layer.band_kernel).sum(1)
    overlap = np.outer(row.sink, bias * turned) * size * stack.bos.is_constant
    return every, overlap + overlap.T


def _same(row: Row, layer: Layer, same: SameContent) -> tuple[SameContent, Array]:
    """Return ``Φ[K]``, its spread left out, and what choosing one key adds (G, G)."""
    limit = np.linalg.diagonal(same.pairs)
    moments, ridge = row.moments, layer.ridge
    held = same.diag - limit
    between = row.mean @ same.pairs @ row.mean.mT
    apart = (between - row.shared(layer, limit)) / np.maximum(1 - row.mass, TINY)
    apart[row.mass > 1 - 1e-9] = 0.0
    own = times(row.mean, same.diag)
    gap = np.maximum((own[..., :, None] + own[..., None, :]) / 2 - apart, 0.0)
    alike = _correlation(row, layer, same.pairs * row.alike)
    together = np.expm1(alike * row.both_free) * gap
    if row.shift is None:
        together *= row.mass
    else:
        at_sink = outer(row.at_sink[0])
        together *= row.mass - at_sink
        lifted = np.clip(same.pairs * row.alike, 0, 1)
        together += at_sink * np.expm1(lifted * row.both_free_at_sink) * gap
    ridge_mass = same.near @ ridge.sum
    pairs = outer(moments.row_sum) * (between + row.shared(layer, held + ridge_mass) + together)

    both = np.linalg.diagonal(between)
    distinct = _distinct_keys(row, layer, same, both)
    repeated = np.maximum(moments.row_sum_square - moments.participation, 0.0)
    diag = moments.participation * own + repeated * distinct
    near = _near(row, layer, same, both, own)
    return SameContent(pairs, diag, np.zeros_like(pairs), near), gap


def _distinct_keys(row: Row, layer: Layer, same: SameContent, both: Array) -> Array:
    """Return the mean of ``K`` over two different keys of one row (G,), from that over any two."""
    limit = np.linalg.diagonal(same.pairs)
    ridge = layer.ridge
    pairs = both - row.repeated(layer, limit - same.near @ ridge.sum)
    pairs += same.near @ ridge.between
    return np.where(row.n_keys > 1, pairs / np.maximum(1 - row.repeat, TINY), 0.0)


def _near(row: Row, layer: Layer, same: SameContent, between: Array, own: Array) -> Array:
    """Return the ridge that a window layer writes (G, B)."""
    ridge = layer.ridge
    if not ridge.beyond.any():
        return np.zeros_like(same.near)
    limit = np.linalg.diagonal(same.pairs)[..., None]
    source = same.near.copy()
    source[..., 0] = same.diag - limit[..., 0]
    passed = source @ ridge.spread.T
    alike = (limit + same.near) * ridge.turned / np.maximum(same.diag, TINY)[..., None]
    distinct = between[..., None] + same.near @ ridge.spread.T - ridge.shared * limit
    gap = own[..., None] - distinct / (1 - ridge.shared)
    together = np.expm1(np.clip(alike, 0, 1) * row.freedom[..., None]) * np.maximum(gap, 0.0)
    written = passed + ridge.shared * together
    written[..., 0] = 0.0
    row_sum = row.moments.row_sum[..., None]
    return np.where(ridge.beyond[:, None], written * row_sum**2, 0.0)


def _other(
    stack: Some,
    row: Row,
    layer: Layer,
    u: State,
    q: OtherContent,
    diag: Array,
    matrices: Array,
) -> OtherContent:
    """Return ``Φ`` between two inputs.

    Where they hold the same token, at ``k`` and at ``l``, the scores that queries ``i`` and ``j``
    give it correlate by ``κ((i-k) - (j-l))``.
    """
    size, moments = u.same.diag, row.moments
    if not q.anchors and not q.pairs.any():
        return OtherContent(q.pairs, matrices)
    mean = row.mean @ q.pairs @ row.mean.mT
    row_sum = outer(moments.row_sum)
    if not q.anchors:
        return OtherContent(row_sum * mean, matrices)
    choice, together = np.zeros_like(mean), np.zeros_like(mean)
    for k, l in q.anchors:
        held = q.pairs[..., k, l, None, None]
        free = row.both_free_at_sink if k == l == 0 else row.both_free
        whole = np.maximum(np.sqrt(size[..., k] * size[..., l]), TINY)[..., None, None]
        both_read = outer(row.mean[..., k], row.mean[..., l])
        alike = np.clip(q.pairs * _alike(row, layer, k, l), 0, 1) * free
        chosen = np.expm1(alike * np.maximum(held / whole, 0.0))
        together += both_read * chosen * np.maximum(held - mean, 0.0)
        square = outer(_mean_square(row, k), _mean_square(row, l))
        choice += np.maximum(square - both_read**2, 0.0) * held**2
    together[row.single[..., :, None] | row.single[..., None, :]] = 0.0
    pairs = row_sum * (mean + together)
    for k, l in q.anchors:
        held, whole = q.pairs[..., k, l], size[..., k] * size[..., l]
        passed = np.sqrt(diag[..., k] * diag[..., l] / np.maximum(whole, TINY)) * held
        alone = row.single[..., k] & row.single[..., l] & (whole > 0)
        pairs[..., k, l] = np.where(alone, passed, pairs[..., k, l])
    return OtherContent(pairs, choice / stack.n_heads + matrices, q.anchors)


def _alike(row: Row, layer: Layer, k: int, l: int) -> Array:
    if k == l:
        return row.alike
    kernel = layer.shifted_kernel(int(layer.nodes[k] - layer.nodes[l]))
    return np.asarray(kernel * outer(row.inverse))


def _correlation(row: Row, layer: Layer, alike: Array) -> Array:
    """Return the correlation of two rows' scores of one key (G, G).

    ``alike`` is that of random heads; the noise of a sink bias is the same for all queries.
    """
    if row.shift is None:
        return np.asarray(np.clip(alike, 0, 1))
    noise = row.noise / np.maximum(row.own_std**2, TINY)
    random, common = np.sqrt(np.clip(1 - noise, 0, 1)), np.sqrt(np.clip(noise, 0, 1))
    together = alike * outer(random) + layer.band_kernel * outer(common)
    return np.asarray(np.clip(together, 0, 1))


def _mean_square(row: Row, key: int) -> Array:
    """Return ``E a²`` of one key (G,)."""
    mean, square = row.at_sink
    if key == 0 and mean.any():
        return np.where(mean > 0, square, 0.0)
    per_key = np.maximum(row.moments.participation - square, 0.0) / row.n_keys
    excess = row.mean[..., key] * row.n_keys / np.maximum(1 - mean, TINY)
    return np.asarray(np.minimum(excess, _LARGEST_EXCESS) * per_key)


def _choice_variance(row: Row, layer: Layer) -> Array:
    """Return the variance of a head's overlap that comes from which keys it chose (G, G)."""
    moments, n, (at_sink, square) = row.moments, row.n_keys, row.at_sink
    per_key = np.maximum(moments.participation - square, 0.0) / n
    mean = (moments.row_sum - at_sink) / n
    spare = outer(per_key) - outer(mean) ** 2
    return np.maximum(layer.averaging.common_keys * spare, 0.0)


def _matrix_variance(stack: Some) -> float:
    """Return the relative variance of an overlap that a finite number of values leaves."""
    return 1 / (stack.n_kv_heads * stack.d_head)
