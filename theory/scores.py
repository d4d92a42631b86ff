r"""The rows of an attention layer: mean weights, moments, and what two rows have in common.

What all scores of a row share cancels in the softmax; the rest, of variance
``σ_i² = σ² (1 - c̄_i)``, decides the participation ratio and the denominator. ``c̄_i`` is the mean of
``C_jk κ(j-k)`` over pairs of the row's keys: RoPE enters here, because keys at different offsets
are read through different rotations.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ropeleak.spec import Attention

from .axes import least, on_diagonal, outer, per_node, times
from .grid import Grid
from .layer import Layer
from .sink import Shift, read_sink
from .softmax import LARGEST_SCORE_STD, Moments, row_moments, sigmoid_moments
from .state import State
from .together import Some
from .weights import TINY, LiftedKey, rest_of_row, tilt

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """What one attention layer does at every query.

    Attributes
    ----------
    mean
        Mean attention over the row sum, as an operator on nodes (G, G); rows sum to 1.
    excess
        Mean attention to one key relative to uniform, the query's own token set apart (G, G).
    own_share
        Share of the row that alignment gives to the query's own token (G,).
    mass, repeat
        ``Σ_k a_ik a_jk`` of mean attention over the keys that two queries share (G, G), and over
        those of one query (G,).
    moments
        Moments of a row.
    n_keys
        ``n_i`` (G,).
    score_std, own_std
        Standard deviation of one score, query scale included, and of what it does not share with
        the row (G,).
    common
        Mean correlation of two scores of a row, as a share of the query's variance (G,).
    alike
        ``κ(i-j)`` over the standard deviations of two queries (G, G), which turns a covariance of
        the input into the correlation of two rows' scores of one key.
    inverse
        One over the standard deviation of a query's input (G,).
    scale
        The query's scale (G,).
    shift
        What a sink bias does to the scores, the query's scale left out; None without one.
    noise
        Variance of a score's shift, which is the same for all queries (G,).
    at_sink
        Mean and mean square of what a sink bias makes a row give to token 0 (G,); 0 without one.
    """

    mean: Array
    excess: Array
    own_share: Array
    mass: Array
    repeat: Array
    moments: Moments
    n_keys: Array
    score_std: Array
    own_std: Array
    common: Array
    alike: Array
    inverse: Array
    scale: Array
    shift: Shift | None
    noise: Array
    at_sink: tuple[Array, Array]

    @property
    def weights(self) -> Array:
        """``E a_ij`` as an operator on nodes (G, G); rows sum to the row sum."""
        return self.mean * self.moments.row_sum[..., None]

    @property
    def sink(self) -> Array:
        """``E a_i0`` (G,)."""
        return self.mean[..., 0] * self.moments.row_sum

    @cached_property
    def single(self) -> NDArray[np.bool_]:
        """Queries that see one key (G,)."""
        return np.asarray(self.repeat > 1 - 1e-9)

    @cached_property
    def both_free(self) -> Array:
        """The smaller ``freedom`` of two queries (G, G)."""
        return least(self.freedom)

    @cached_property
    def freedom(self) -> Array:
        """Log-ratio of the largest and smallest chance that two rows choose the same key (G,).

        A key that a sink bias lifts is not among them.
        """
        m, (mean, square) = self.moments, self.at_sink
        others = m.participation / np.maximum(m.row_sum_square, TINY) - square
        ratio = self.n_keys * others / np.maximum(1 - 2 * mean + square, TINY)
        return np.log(np.maximum(ratio, 1.0))

    @cached_property
    def both_free_at_sink(self) -> Array:
        """The same for token 0 (G, G)."""
        if self.shift is None:
            return self.both_free
        return least(self.sink_freedom)

    @property
    def sink_freedom(self) -> Array:
        """The same for token 0 where a sink bias lifts it (G,)."""
        mean, square = self.at_sink
        lifted = np.log(np.maximum(square / np.maximum(mean**2, TINY), 1.0))
        return np.where(mean > 0, lifted, self.freedom)

    def shared(self, layer: Layer, held: Array) -> Array:
        """Return ``Σ_k a_ik a_jk held_k`` over the keys that two queries share (G, G)."""
        return _shared(layer, self.excess, self.own_share, held)

    def repeated(self, layer: Layer, held: Array) -> Array:
        """Return ``Σ_k a_ik² held_k`` (G,)."""
        return _repeated(layer, self.excess, self.own_share, held)


def attention_rows(stack: Some, block: int, layer: Layer, grid: Grid, u: State) -> Row:
    """Return the rows of a block's attention for the state of its input."""
    attention, averaging, same = layer.attention, layer.averaging, u.same
    soft = attention.softmax
    n = averaging.n_keys
    factor = np.ones_like(n)
    rotated = same.pairs * layer.kernel
    if attention.qk_norm != "none":
        factor = 1 / np.sqrt(np.maximum(same.diag + per_node(stack.qk_floor), TINY))
        rotated *= outer(factor)
    limit = np.linalg.diagonal(rotated)
    size = same.diag * factor**2
    own = np.sqrt(size)

    scale = soft.query_scale(grid.nodes, n)
    drawn = per_node(stack.score_std(block)) * np.maximum(size, TINY)  # of a key like the query
    sigma = capped(drawn, soft.softcap) / np.maximum(size, TINY) * scale
    variance = sigma**2 * size

    excess = tilt(stack, layer, variance, rotated, size)
    mean = averaging.mean * excess
    total = mean.sum(-1, keepdims=True)
    mean, excess = mean / total, excess / total
    own_share = np.zeros_like(n)
    if attention.alignment:
        m = attention.alignment
        aligned = np.exp(m * scale[:, None] * rotated)
        mean_aligned = np.vecdot(mean, aligned)
        mean, excess = (x * aligned / mean_aligned[..., None] for x in (mean, excess))
        lift = m * scale * (size - limit)
        rest = rest_of_row(n, variance)
        plain, lifted = (LiftedKey.of(x, variance, *rest) for x in (np.zeros_like(n), lift))
        gained = (lifted.mean - plain.mean) / np.maximum(1 - plain.mean, TINY)
        own_share = np.where(n > 1, gained, 0.0)
        mean = mean * (1 - own_share)[..., None] + on_diagonal(own_share)

    repeat = _repeated(layer, excess, own_share, np.ones_like(n))
    pairs = np.vecdot(mean @ rotated, mean)
    pairs -= _repeated(layer, excess, own_share, limit)
    pairs += same.near @ layer.ridge.rotated * factor**2
    common = np.where(n > 1, pairs / np.maximum(1 - repeat, TINY), 0.0)
    own_std = np.sqrt(np.maximum(variance * (times(mean, size) - common), 0.0))

    def moments_at(own_std: Array) -> Moments:
        found = plain_moments(stack, attention, n, own_std, variance, common)
        if attention.alignment:
            found = found._replace(
                log_z=found.log_z + np.log(mean_aligned) + lifted.log_z - plain.log_z,
                participation=plain.lift(found.participation, lifted),
            )
        return found

    moments = moments_at(own_std)
    noise = zero = np.zeros_like(n)
    at_sink = zero, zero
    shift = Shift.of(stack, layer, u, factor)
    if shift is not None:
        own_var, shifted = own_std**2, scale[:, None] * shift.mean
        noises = np.outer(1 / shift.squares, scale**2 * (mean @ shift.apart))
        own_noises = np.outer(1 / shift.squares, scale**2 * shift.apart[0])
        reads = [
            read_sink(mean, excess, own_share, n, shifted, own_var, *pair)
            for pair in zip(noises, own_noises, strict=True)
        ]
        mean, excess, own_share = (
            np.tensordot(shift.weights, [getattr(r, name) for r in reads], 1)
            for name in ("mean", "excess", "own_share")
        )
        spread = zip(noises, reads, strict=True)
        found = [read.moments(moments_at(np.sqrt(own_var + x))) for x, read in spread]
        moments = Moments(*np.tensordot(shift.weights, np.array(found), 1))
        at_sink = (
            mean[:, 0] * (reads[0].after.mean > 0),
            np.tensordot(shift.weights, [r.after.square for r in reads], 1),
        )
        noise = shift.weights @ noises
        own_std = np.sqrt(own_var + noise)
        repeat = _repeated(layer, excess, own_share, np.ones_like(n))
    inverse = np.divide(factor, own, out=np.zeros_like(own), where=own > 0)
    return Row(
        mean=mean,
        excess=excess,
        own_share=own_share,
        mass=_shared(layer, excess, own_share, np.ones_like(n)),
        repeat=repeat,
        moments=moments,
        n_keys=n,
        score_std=sigma * own,
        own_std=own_std,
        common=common,
        alike=layer.kernel * outer(inverse),
        inverse=inverse,
        scale=scale,
        shift=shift,
        noise=noise,
        at_sink=at_sink,
    )


def capped(sigma: ArrayLike, softcap: float | None) -> Array:
    """Return the standard deviation of a score after the soft cap, shape of ``sigma``."""
    before = np.asarray(sigma, dtype=float)
    if softcap is None:
        return before
    z = np.linspace(-8, 8, 801)
    weight = np.exp(-(z**2) / 2)
    after = softcap * np.tanh(np.multiply.outer(before, z) / softcap)
    return np.asarray(np.sqrt(after**2 @ weight / weight.sum()))


def uncapped(sigma: Array, softcap: float) -> Array:
    """Return the standard deviation before the soft cap of scores that have ``sigma`` after it."""
    before = np.linspace(0, LARGEST_SCORE_STD, 257)
    return np.interp(sigma, capped(before, softcap), before)


def _shared(layer: Layer, excess: Array, own_share: Array, held: Array) -> Array:
    averaging = layer.averaging
    total = averaging.shared(excess, held)
    if not own_share.any():
        return total
    rest = 1 - own_share
    weights = excess * (averaging.mean > 0) / averaging.n_keys[:, None]
    cross = rest[..., None] * weights * (own_share * held)[..., None, :]
    kept = on_diagonal(own_share**2 * held)
    return np.asarray(outer(rest) * total + cross + cross.mT + kept)


def _repeated(layer: Layer, excess: Array, own_share: Array, held: Array) -> Array:
    total = layer.averaging.repeated(excess, held)
    if not own_share.any():
        return total
    rest, own = 1 - own_share, np.linalg.diagonal(excess) / layer.averaging.n_keys
    return np.asarray(rest**2 * total + own_share * (2 * rest * own + own_share) * held)


def plain_moments(
    stack: Some, attention: Attention, n: Array, own_std: Array, variance: Array, common: Array
) -> Moments:
    """Return the moments of rows of ``n`` keys (…, N), alignment left out.

    ``variance`` is that of the score of a unit key, ``common`` the share of it that two scores of
    a row have in common, and ``own_std`` the standard deviation of what they do not.
    """
    soft = attention.softmax
    shared = np.maximum(variance * common, 0.0)
    if soft.kind == "sigmoid":
        bias = -np.log(n) if soft.bias is None else np.full_like(n, soft.bias)
        total = shared + own_std**2
        alike = np.divide(shared, total, out=np.zeros_like(total), where=total > 0)
        return sigmoid_moments(n, np.sqrt(total), bias, alike)
    cap, scale = soft.softcap, 1 / soft.temperature
    if cap is not None and soft.length_scaling == "none":  # scores are of one shape at all queries
        cap *= scale
        own_std = uncapped(own_std, cap)
    else:
        cap = None
    return row_moments(
        n,
        own_std,
        softcap=cap,
        **_law(stack, attention),
        null_logit=soft.null_logit,
        null_var=shared + soft.sink_logit_std**2,
    )


class Law(TypedDict):
    """What a row's scores are distributed by, in the words of `row_moments`."""

    dof: float | None
    unit: int | None


def _law(stack: Some, attention: Attention) -> Law:
    """Return the law of a row's scores.

    A query is Gaussian, or a direction, or the part of a direction that one of several heads has,
    whose squared norm is a beta; keys likewise.
    """
    size = stack.head_size(attention)
    if attention.qk_norm == "none":
        return {"dof": size, "unit": None}
    if attention.qk_norm != "projection":
        return {"dof": None, "unit": size}
    others = 1 - 1 / stack.n_heads
    dof = (size + 2 / stack.n_heads) / others if others else None  # of the same variance
    return {"dof": dof, "unit": size * stack.n_kv_heads}
