"""A Monte Carlo of random-weight stacks, written to be read: the independent witness of the theory.

One draw of weights at a time, all contents of a draw in one batch, plain NumPy.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, expit

from ropeleak import Attention, Mlp, Stack

Array = NDArray[np.float64]

ACTIVATIONS: dict[str, Callable[[Array, float], Array]] = {
    "silu": lambda x, k: x * expit(k * x),
    "gelu": lambda x, k: x * (1 + erf(x / np.sqrt(2))) / 2,
    "gelu_tanh": lambda x, k: x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2,
    "quick_gelu": lambda x, k: x * expit(1.702 * x),
    "relu": lambda x, k: np.maximum(x, 0),
    "relu2": lambda x, k: np.maximum(x, 0) ** 2,
    "tanh": lambda x, k: np.tanh(x),
    "linear": lambda x, k: x,
}


@dataclass
class Estimate:
    """Mean over weight draws and its standard error."""

    mean: Array
    se: Array


def normalise(stack: Stack, x: Array) -> Array:
    if stack.norm.kind == "layer":
        x = x - x.mean(-1, keepdims=True)
    return np.asarray(x / np.sqrt((x**2).mean(-1, keepdims=True) + stack.norm.eps))


def turn(stack: Stack, attention: Attention, x: Array, angle: Array) -> Array:
    """RoPE, half layout, on (..., T, d_head); ``angle`` is (T, pairs)."""
    rope = attention.rope
    if rope is None:
        return x
    size = 2 * angle.shape[-1]
    cos, sin = np.cos(angle), np.sin(angle)
    a, b, rest = x[..., : size // 2], x[..., size // 2 : size], x[..., size:]
    scale = rope.attention_scale(stack.context)
    return np.concatenate([scale * (a * cos - b * sin), scale * (b * cos + a * sin), rest], axis=-1)


def scores(stack: Stack, attention: Attention, q: Array, k: Array) -> Array:
    """``q_i R(j-i) k_j``; in a ring the offset is taken modulo the context."""
    context = q.shape[-2]
    if attention.rope is None:
        return np.asarray(np.einsum("chte,chse->chts", q, k, optimize=True))
    frequencies = attention.rope.inverse_frequencies(stack.d_head, stack.context)
    positions = np.arange(context)
    if attention.mask != "ring":
        angle = np.outer(positions, frequencies)
        q, k = (turn(stack, attention, x, angle) for x in (q, k))
        return np.asarray(np.einsum("chte,chse->chts", q, k, optimize=True))
    s = np.empty((*q.shape[:2], context, context))
    still = turn(stack, attention, k, 0 * np.outer(positions, frequencies))
    for offset in range(context):
        turned = turn(stack, attention, q, np.outer(np.full(context, offset), frequencies))
        key = (positions - offset) % context
        s[:, :, positions, key] = np.einsum("chte,chte->cht", turned, still[:, :, key])
    return s


def visible(attention: Attention, context: int) -> NDArray[np.bool_]:
    i, j = np.arange(context)[:, None], np.arange(context)
    if attention.mask != "causal":
        return np.ones((context, context), bool)
    mask = j < np.maximum(i + 1, attention.prefix)
    if attention.window is not None:
        mask &= (j > i - attention.window) | (j < attention.sinks)
    if attention.chunk is not None:
        mask &= i // attention.chunk == j // attention.chunk
    return mask


def attend(
    stack: Stack, block: int, u: Array, rng: np.random.Generator, out: dict[str, Array]
) -> Array:
    attention, soft = stack.attention[block], stack.attention[block].softmax
    contents, context, d = u.shape
    heads, size = stack.n_heads, stack.d_head
    kv = stack.n_kv_heads
    sigma = stack.score_std(block)
    scale = stack.score_scale(attention)
    qk_var = (
        1 / d
        if attention.qk_norm != "none"
        else sigma / (scale * np.sqrt(size * stack.rotary_gain(attention)) * d)
    )
    rho = min(attention.alignment / (sigma * np.sqrt(size)), 1.0)
    wk = rng.normal(size=(kv, d, size)) * np.sqrt(qk_var)
    wk = np.repeat(wk, heads // kv, axis=0)
    wq = rho * wk + np.sqrt(1 - rho**2) * rng.normal(size=(heads, d, size)) * np.sqrt(qk_var)
    gain = stack.attention_gain(block)
    wv = np.repeat(rng.normal(size=(kv, d, size)), heads // kv, axis=0) / np.sqrt(d)
    wo = rng.normal(size=(heads, size, d)) * np.sqrt(gain / (heads * size))
    sink_logit = soft.sink_logit_std * rng.normal(size=heads)

    q, k, v = (np.einsum("ctd,hde->chte", u, w, optimize=True) for w in (wq, wk, wv))
    if attention.qk_norm != "none":
        q, k = (x / np.sqrt((x**2).mean(-1, keepdims=True)) for x in (q, k))
    if attention.sink_bias:  # token 0 of the first input is BOS
        pairs = np.arange(size // 2)[size // 2 - round(attention.sink_band * size / 2) :]
        slow = np.isin(np.arange(size) % (size // 2), pairs)
        bos = k[0, :, 0] * slow
        q = q + attention.sink_bias / scale * (bos / (bos**2).sum(-1, keepdims=True))[:, None]
    s = scale * scores(stack, attention, q, k)
    if soft.softcap is not None:
        s = soft.softcap * np.tanh(s / soft.softcap)
    mask = visible(attention, context)
    n = mask.sum(-1)
    s = s * soft.query_scale(np.arange(context), n)[:, None]
    if soft.kind == "sigmoid":
        bias = -np.log(n)[:, None] if soft.bias is None else soft.bias
        a = np.where(mask, expit(s + bias), 0)
        log_z = np.broadcast_to(-np.asarray(bias).reshape(-1, 1)[:, 0], (contents, heads, context))
    else:
        e = np.where(mask, np.exp(s), 0)
        z = e.sum(-1, keepdims=True)
        if soft.null_logit is not None:
            z = z + np.exp(soft.null_logit + sink_logit)[:, None, None]
        a, log_z = e / z, np.log(z[..., 0])
    out["log_z"] = log_z.mean((0, 1))
    out["sink"] = a[..., 0].mean((0, 1))
    out["leak"] = leaks(s, log_z, attention)
    return np.asarray(np.einsum("chts,chse,hed->ctd", a, v, wo, optimize=True))


def leaks(s: Array, log_z: Array, attention: Attention) -> Array:
    """Mean squares of the centred mask, residual and total leak: U-statistics over contents."""
    contents, heads, context, _ = s.shape
    limit = min(context // 2, (attention.window or attention.chunk or context) - 1)
    total = np.zeros(3)
    entries = 0
    for offset in range(1, limit + 1):
        i = np.arange(offset, context)
        score = s[:, :, i, i - offset]
        for row, part in enumerate((log_z[:, :, i], score, score - log_z[:, :, i])):
            x = part - part.mean(-1, keepdims=True)
            total[row] += (
                ((x.sum(0) ** 2).sum() - (x**2).sum()) / (contents * (contents - 1)) / heads
            )
        entries += i.size
    return total / max(entries, 1)


def feed_forward(stack: Stack, mlp: Mlp, block: int, u: Array, rng: np.random.Generator) -> Array:
    d, width = stack.d_model, stack.block_d_ff(block)
    std = np.sqrt(stack.preactivation_var() / d)
    phi = ACTIVATIONS[mlp.activation]
    down = rng.normal(size=(width, d)) * np.sqrt(stack.mlp_gain(block) / width)
    up = u @ (rng.normal(size=(d, width)) * std)
    if mlp.kind == "plain":
        return np.asarray(phi(up, mlp.activation_scale) @ down)
    gate = u @ (rng.normal(size=(d, width)) * std)
    return np.asarray((phi(gate, mlp.activation_scale) * (up + mlp.offset)) @ down)


def measure(stack: Stack, draws: int, contents: int, seed: int) -> dict[str, Estimate]:
    """Return estimates of the observables; K and Q are (depth, T, T)."""
    rng = np.random.default_rng(seed)
    samples: dict[str, list[Array]] = {}
    for _ in range(draws):
        for name, value in one_draw(stack, contents, rng).items():
            samples.setdefault(name, []).append(value)
    return {
        name: Estimate(np.mean(v, axis=0), np.std(v, axis=0, ddof=1) / np.sqrt(draws))
        for name, v in samples.items()
    }


def one_draw(stack: Stack, contents: int, rng: np.random.Generator) -> dict[str, Array]:
    d, context = stack.d_model, stack.context
    v0 = stack.embedding_var
    x = rng.normal(size=(contents, context, d)) * np.sqrt(v0 * (1 - stack.alpha))
    shared = rng.normal(size=d) * np.sqrt(v0 * stack.alpha)
    x = x + shared
    if stack.bos.kind in ("constant", "other"):
        x[:, 0] = np.sqrt(1 - stack.alpha) * rng.normal(size=d) * np.sqrt(v0) + shared
    elif stack.bos.kind == "zero":
        x[:, 0] = 0
    elif stack.bos.kind == "mean":
        x[:, 0] = shared
    kernels = [kernels_of(x)]
    attention_out: list[dict[str, Array]] = []
    for block in range(stack.n_blocks):
        found: dict[str, Array] = {}
        x = one_block(stack, block, x, rng, found)
        attention_out.append(found)
        kernels.append(kernels_of(x))
    result = {name: np.array([k[name] for k in kernels]) for name in kernels[0]}
    for name in attention_out[0]:
        result[name] = np.array([a[name] for a in attention_out])
    return result


def one_block(
    stack: Stack, block: int, x: Array, rng: np.random.Generator, found: dict[str, Array]
) -> Array:
    norm, mlp = stack.norm, stack.mlp[block]

    def read(x: Array) -> Array:
        return normalise(stack, x) if norm.before_branch else x

    def write(y: Array) -> Array:
        return stack.residual_multiplier * (normalise(stack, y) if norm.after_branch else y)

    def settle(x: Array) -> Array:
        return normalise(stack, x) if norm.after_sum else x

    after = settle(x + write(attend(stack, block, read(x), rng, found)))
    if mlp.kind == "none":
        return after
    source = x if norm.parallel else after
    return settle(after + write(feed_forward(stack, mlp, block, read(source), rng)))


def kernels_of(x: Array) -> dict[str, Array]:
    contents, _, d = x.shape
    k = np.einsum("cid,cjd->ij", x, x, optimize=True) / (contents * d)
    total = x.sum(0)
    q = (total @ total.T / d - contents * k) / (contents * (contents - 1))
    return {"K": k, "Q": q}
