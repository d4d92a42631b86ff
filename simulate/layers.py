"""What the kernels know of one attention layer: its scalars, and its mask and RoPE by position."""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from ropeleak.spec import Attention, Stack
from ropeleak.spec.sink import sink_band

from . import _kernels as kernels

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LAYER = np.dtype(
    [(name, "i8") for name in (
        "context", "widest", "entries", "most_keys", "groups", "size", "d_nope", "d_value",
        "q_rank", "kv_rank", "ring", "causal", "softmax", "has_null", "qk_norm", "pairs",
    )]
    + [(name, "f8") for name in ("softcap", "null_logit", "null_std", "sink_bias", "qk_eps")]
)  # fmt: skip

QK_NORMS = {
    "none": kernels.QK_NONE,
    "head": kernels.QK_HEAD,
    "projection": kernels.QK_PROJECTION,
    "l2": kernels.QK_L2,
}


def widest_offset(attention: Attention, context: int) -> int:
    """Return ``Δ_max``: half the context, or the window less one where that is smaller."""
    limits = [size - 1 for size in (attention.window, attention.chunk) if size is not None]
    return min([context // 2, *limits])


def padded(context: int) -> int:
    """Return the context rounded up to whole vectors."""
    return -(-context // kernels.LANES) * kernels.LANES


def leading(context: int) -> int:
    """Return the length of a row in memory: whole vectors, but no multiple of 256 bytes.

    Rows a power of two apart would share a few cache sets.
    """
    width = padded(context)
    return width + kernels.LANES if width % 64 == 0 else width


def layer_record(stack: Stack, attention: Attention, keys: dict[str, Integers]) -> NDArray[np.void]:
    """Return the scalars of one layer, `LAYER` (1,)."""
    latent, soft, context = attention.latent, attention.softmax, stack.context
    widest = widest_offset(attention, context)
    size = stack.head_size(attention)
    null = soft.null_logit
    values: dict[str, float] = {
        "context": context,
        "widest": widest,
        "entries": sum(context - offset for offset in range(1, widest + 1)),
        "most_keys": int((keys["high"] - keys["low"] + keys["sinks"]).max()),
        "groups": stack.n_heads if latent else stack.n_kv_heads,
        "size": size,
        "d_nope": latent.d_nope if latent else size,
        "d_value": latent.d_value if latent else size,
        "q_rank": (latent.q_rank or 0) if latent else 0,
        "kv_rank": latent.kv_rank if latent else 0,
        "ring": attention.mask == "ring",
        "causal": attention.mask == "causal" and not attention.prefix,
        "softmax": int(kernels.SIGMOID if soft.kind == "sigmoid" else kernels.SOFTMAX),
        "has_null": null is not None and soft.kind != "sigmoid",
        "qk_norm": int(QK_NORMS[attention.qk_norm]),
        "pairs": rotated_pairs(stack, attention).shape[0],
        "softcap": soft.softcap or 0.0,
        "null_logit": null or 0.0,
        "null_std": soft.sink_logit_std,
        "sink_bias": attention.sink_bias,
        "qk_eps": stack.norm.eps,
    }
    record = np.zeros(1, LAYER)
    for name in LAYER.names or ():
        record[name] = values[name]
    return record


def visibility(attention: Attention, context: int) -> dict[str, Integers]:
    """Return which queries need and see each key, and which keys each block of queries needs.

    The queries that see a key are contiguous for every mask. A leak's band may hold pairs that a
    chunk hides: their scores are needed all the same.
    """
    query = np.arange(context)
    see = attention.key_range(query, context)
    widest = widest_offset(attention, context)
    seen_from, seen_to = np.zeros((2, padded(context)), dtype=np.int64)
    seen_from[:context] = np.searchsorted(see.stop, query, side="right")
    seen_to[:context] = np.searchsorted(see.first, query, side="right")
    seen_to[: attention.sinks] = context
    from_query, to_query = seen_from.copy(), seen_to.copy()
    to_query[:context] = np.maximum(seen_to[:context], np.minimum(query + widest + 1, context))
    starts = np.arange(0, context, kernels.WIDTH)
    wanted = np.maximum(np.minimum(see.first, query - widest), 0)
    low = np.minimum.reduceat(wanted, starts) // kernels.TILE * kernels.TILE
    high = np.maximum.reduceat(see.stop, starts)
    return {
        "from_query": from_query,
        "to_query": to_query,
        "seen_from": seen_from,
        "seen_to": seen_to,
        "n_keys": see.n_keys,
        "low": low,
        "high": high,
        "sinks": np.minimum(np.maximum.reduceat(see.sinks, starts), low),
    }


def score_scale(stack: Stack, attention: Attention, sigma: float, parameter_free: bool) -> float:
    """Return the factor on ``q·k``, of queries and keys as the kernels make them."""
    if attention.qk_norm == "none" or parameter_free:
        return stack.score_scale(attention)
    size = stack.head_size(attention)  # queries and keys are unit-RMS
    return sigma / sqrt(size * stack.rotary_gain(attention))


def sink_weights(
    stack: Stack, attention: Attention, sigma: float, parameter_free: bool
) -> dict[str, Floats]:
    """Return what the entries of BOS's key count in the bias of queries (size,).

    The bias is these weights times the key over its square in the band, rotated as a query is.
    """
    weights = np.zeros(stack.head_size(attention))
    if attention.sink_bias:
        band, pairs = sink_band(stack, attention), rotated_pairs(stack, attention)
        still = np.setdiff1d(np.arange(weights.size), pairs)[: band.still]
        scale = score_scale(stack, attention, sigma, parameter_free)
        weights[still] = attention.sink_bias / scale
        if attention.rope is not None:  # a rotation multiplies by the attention factor
            rotated = scale * attention.rope.attention_scale(stack.context)
            weights[pairs[band.pairs]] = attention.sink_bias / rotated
    return {"sink": weights}


def factors(
    stack: Stack, attention: Attention, sigma: float, parameter_free: bool
) -> dict[str, Floats]:
    """Return the factor on queries, that on capped scores, and sigmoid's bias, each (ld,)."""
    soft, context = attention.softmax, stack.context
    query = np.arange(context)
    n_keys = attention.key_range(query, context).n_keys
    scale = score_scale(stack, attention, sigma, parameter_free)
    after = np.zeros(leading(context))
    after[:context] = soft.query_scale(query, n_keys)
    bias = np.zeros(leading(context))
    if soft.kind == "sigmoid":
        bias[:context] = -np.log(n_keys) if soft.bias is None else soft.bias
    capped = soft.softcap is not None
    return {"q_factor": scale * (np.ones_like(after) if capped else after), "factor": after,
            "bias": bias}  # fmt: skip


def rotated_pairs(stack: Stack, attention: Attention) -> Integers:
    """Return the features of a head that RoPE turns together, (pairs, 2)."""
    if attention.rope is None:
        return np.zeros((0, 2), dtype=np.int64)
    count = attention.rope.rotary_dim(stack.rotary_size(attention)) // 2
    k = np.arange(count)
    if attention.rope.layout == "interleaved":
        pairs = np.stack([2 * k, 2 * k + 1], axis=1)
    else:
        pairs = np.stack([k, k + count], axis=1)
    return pairs + (attention.latent.d_nope if attention.latent else 0)


def rotations(stack: Stack, attention: Attention) -> dict[str, Floats]:
    """Return cos and sin of every position and of one context more, each (pairs, ld)."""
    rope, context = attention.rope, stack.context
    ld = leading(context)
    if rope is None:
        none = np.zeros((0, ld))
        return {"cos": none, "sin": none, "turn_cos": none, "turn_sin": none}
    frequencies = rope.inverse_frequencies(stack.rotary_size(attention), context)
    scale = rope.attention_scale(context)
    angle = np.outer(frequencies, np.arange(ld))
    turn = np.repeat(frequencies[:, None] * context, ld, axis=1)
    return {
        "cos": scale * np.cos(angle),
        "sin": scale * np.sin(angle),
        "turn_cos": np.cos(turn),
        "turn_sin": np.sin(turn),
    }
