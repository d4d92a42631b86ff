"""A draw in plain NumPy, float64, written to be read: what the kernels must equal."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, expit

from ropeleak import Attention, Mlp, Stack
from ropeleak.simulate import weights
from ropeleak.simulate.controls import content_pairs
from ropeleak.simulate.plan import Plan

Array = NDArray[np.float64]

ACTIVATIONS: dict[str, Callable[[Array, float], Array]] = {
    "silu": lambda x, k: x * expit(k * x),
    "gelu": lambda x, k: x * (1 + erf(k * x / np.sqrt(2))) / 2,
    "gelu_tanh": lambda x, k: x * (1 + np.tanh(k * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2,
    "quick_gelu": lambda x, k: x * expit(1.702 * k * x),
    "relu": lambda x, k: np.maximum(x, 0),
    "relu2": lambda x, k: np.maximum(x, 0) ** 2,
    "tanh": lambda x, k: np.tanh(k * x),
    "linear": lambda x, k: x,
}


def run(stack: Stack, plan: Plan, draw: int) -> dict[str, Array]:
    """Return the statistics of one draw: K, Q and Q_common (depth, T, T), x (contents, T, d), ….

    Where BOS is constant, the first half of the contents counts and the second half has none.
    """
    x = weights.embeddings(plan, draw).astype(float)
    states, rows = [together(plan, x, x)], []
    chances = [np.zeros_like(states[0])]
    for number in range(stack.n_blocks):
        x, row, chance = run_block(stack, plan, number, draw, x)
        states.append(together(plan, x, x))
        chances.append(chances[-1] + chance * bool(plan.sizes[0]["controls"]))
        rows.append(row)
    found = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    names = ("K", "Q", "Q_common")
    found.update(zip(names, np.moveaxis(np.array(states), 1, 0), strict=True))
    return {**found, "chance": np.moveaxis(np.array(chances), 1, 0), "x": x}


def together(plan: Plan, x: Array, y: Array) -> Array:
    """Products of the same content, of different ones, and of those without BOS: (3, T, T)."""
    n, sets = int(plan.sizes[0]["contents"]), int(plan.sizes[0]["sets"])
    bare = slice((sets - 1) * n, sets * n)
    found = [same(x[:n], y[:n]), different(x[:n], y[:n]), different(x[bare], y[bare])]
    return np.array([(m + m.T) / 2 for m in found])


def same(x: Array, y: Array) -> Array:
    return np.asarray(np.einsum("cid,cjd->ij", x, y) / (x.shape[0] * x.shape[2]))


def different(x: Array, y: Array) -> Array:
    n, _, d = x.shape
    pairs = [x[a] @ y[b].T for a in range(n) for b in range(n) if a != b]
    return np.asarray(np.sum(pairs, axis=0) / (d * max(len(pairs), 1)) * np.ones((x.shape[1], 1)))


def norm(stack: Stack, x: Array) -> Array:
    if stack.norm.kind == "layer":
        x = x - x.mean(-1, keepdims=True)
    return np.asarray(
        x / np.sqrt(np.maximum((x**2).mean(-1, keepdims=True) + stack.norm.eps, 1e-30))
    )


def unit(x: Array, eps: float = 0.0) -> Array:
    return np.asarray(x / np.sqrt(np.maximum((x**2).mean(-1, keepdims=True) + eps, 1e-30)))


def run_block(
    stack: Stack, plan: Plan, number: int, draw: int, x: Array
) -> tuple[Array, dict[str, Array], Array]:
    chances = []

    def read(stream: Array) -> Array:
        return norm(stack, stream) if stack.norm.before_branch else stream

    def add(stream: Array, y: Array) -> Array:
        y = stack.residual_multiplier * (norm(stack, y) if stack.norm.after_branch else y)
        chances.append(2 * together(plan, stream, y))
        stream = stream + y
        return norm(stack, stream) if stack.norm.after_sum else stream

    source = read(x)
    y, row = attend(stack, plan, number, draw, source)
    x = add(x, y)
    mlp = stack.mlp[number]
    if mlp.kind != "none":
        x = add(x, feed(stack, mlp, plan, number, draw, source if stack.norm.parallel else read(x)))
    return x, row, np.sum(chances, axis=0)


def rotate(
    stack: Stack, attention: Attention, x: Array, position: NDArray[np.int64], scaled: bool = True
) -> Array:
    """RoPE on the last axis of (..., T, size), at given positions (T,)."""
    rope = attention.rope
    if rope is None:
        return x
    size, start = stack.rotary_size(attention), x.shape[-1] - stack.rotary_size(attention)
    half = rope.rotary_dim(size) // 2
    angle = np.outer(position, rope.inverse_frequencies(size, stack.context))
    pairs = [
        (2 * k, 2 * k + 1) if rope.layout == "interleaved" else (k, k + half) for k in range(half)
    ]
    out = x.copy()
    for p, pair in enumerate(pairs):
        a, b = pair[0] + start, pair[1] + start
        c, s = np.cos(angle[:, p]), np.sin(angle[:, p])
        scale = rope.attention_scale(stack.context) if scaled else 1.0
        out[..., a] = scale * (c * x[..., a] - s * x[..., b])
        out[..., b] = scale * (c * x[..., b] + s * x[..., a])
    return out


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
    stack: Stack, plan: Plan, number: int, draw: int, u: Array
) -> tuple[Array, dict[str, Array]]:
    attention = stack.attention[number]
    soft, context = attention.softmax, stack.context
    w = {
        name: value.astype(float)
        for name, value in weights.attention_weights(plan, number, draw).items()
    }
    heads, size, contents = stack.n_heads, stack.head_size(attention), u.shape[0]
    eps = stack.norm.eps

    def split(x: Array, n: int) -> Array:  # (contents, T, n·size) -> (contents, n, T, size)
        return x.reshape(contents, context, n, -1).transpose(0, 2, 1, 3)

    if attention.latent:
        rank, kv_rank = attention.latent.q_rank or 0, attention.latent.kv_rank
        low = u @ w["latent"].T
        queries = unit(low[..., :rank]) if rank else u
        keys = unit(low[..., rank : rank + kv_rank])
        q, v = split(queries @ w["q"].T, heads), split(keys @ w["v"].T, heads)
        rotary = np.repeat(low[:, None, :, rank + kv_rank :], heads, axis=1)
        k = np.concatenate([split(keys @ w["k"].T, heads), rotary], axis=-1)
    elif plan.sizes[0]["parameter_free"]:
        q = k = v = split(u, heads)
    else:
        n_kv = stack.n_kv_heads
        q, k, v = u @ w["q"].T, u @ w["k"].T, u @ w["v"].T
        if attention.qk_norm == "projection":
            q, k = unit(q, eps), unit(k, eps)
        q = split(q, heads)
        k, v = (np.repeat(split(x, n_kv), heads // n_kv, axis=1) for x in (k, v))
    position = np.arange(context)
    if attention.qk_norm == "head":
        q, k = unit(q, eps), unit(k, eps)
    turned = rotate(stack, attention, q, position + context)
    q, k = rotate(stack, attention, q, position), rotate(stack, attention, k, position)
    if attention.qk_norm == "l2":
        q, k, turned = (unit(x, eps) for x in (q, k, turned))
    scale = stack.score_scale(attention)
    if attention.qk_norm != "none" and not plan.sizes[0]["parameter_free"]:
        scale = stack.score_std(number) / np.sqrt(size * stack.rotary_gain(attention))
    if attention.sink_bias:
        bias = sink_reader(stack, attention, k[int(plan.sizes[0]["reference"]), :, 0]) / scale
        every = np.repeat(bias[:, None], context, axis=1)
        q = q + rotate(stack, attention, every, position, scaled=False)
        turned = turned + rotate(stack, attention, every, position + context, scaled=False)
    s = scale * q @ k.swapaxes(-1, -2)
    if attention.mask == "ring":
        behind = scale * turned @ k.swapaxes(-1, -2)
        s = np.where(position > position[:, None], behind, s)
    if soft.softcap is not None:
        s = soft.softcap * np.tanh(s / soft.softcap)
    mask = visible(attention, context)
    n = mask.sum(-1)
    s = s * soft.query_scale(position, n)[:, None]
    if soft.kind == "sigmoid":
        bias = np.full(context, soft.bias) if soft.bias is not None else -np.log(n)
        a = np.where(mask, expit(s + bias[:, None]), 0)
        log_z = np.broadcast_to(-bias, s.shape[:3])
    else:
        null = np.full((heads, 1), -np.inf) if soft.null_logit is None else w["null"][:, None]
        top = np.maximum(np.where(mask, s, -np.inf).max(-1), null)
        e = np.exp(np.where(mask, s, -np.inf) - top[..., None])
        z = e.sum(-1) + np.exp(null - top)
        a, log_z = e / z[..., None], np.log(z) + top
    o = (a @ v).transpose(0, 2, 1, 3).reshape(contents, context, -1)
    y = o if plan.sizes[0]["parameter_free"] else o @ w["o"].T
    counted = int(plan.sizes[0]["contents"])
    squares, size_of_squares = leak(s[:counted], log_z[:counted], attention)
    pointed = attention.alignment or attention.sink_bias
    independent = bool(plan.sizes[0]["controls"]) and not pointed
    mean_score = np.where(mask, s, 0).sum(-1) / n
    first_score = np.where(mask[:, 0], s[..., 0] - mean_score, 0)
    chance = leak_chance(stack, plan, number, u[:counted], s[:counted], mean_score[:counted], n)
    chance[1] = squares[1] - chance[1] if np.isfinite(chance[1]) else 0
    row = {
        "leak_chance": chance * independent,
        "mean_score": mean_score[:counted].mean((0, 1)) * independent,
        "first_score": first_score[:counted].mean((0, 1)) * independent,
        "log_z": log_z[:counted].mean((0, 1)),
        "sink": a[:counted, ..., 0].mean((0, 1)),
        "leak": squares,
        "leak_size": np.array(size_of_squares),
    }
    return y, row


def sink_reader(stack: Stack, attention: Attention, key: Array) -> Array:
    """What lifts the score of BOS's key (heads, size) with itself by the sink bias."""
    rope, size = attention.rope, key.shape[-1]
    speed, half = np.zeros(size), 0
    if rope is not None:
        w = rope.inverse_frequencies(size, stack.context)
        half = w.size
        for p in range(half):
            pair = (2 * p, 2 * p + 1) if rope.layout == "interleaved" else (p, p + half)
            speed[list(pair)] = w[p]
        speed[2 * half :] = -1
    slow = np.argsort(speed, kind="stable")[: max(2 * round(attention.sink_band * size / 2), 2)]
    chosen = np.zeros_like(key)
    chosen[:, slow] = key[:, slow]
    return np.asarray(attention.sink_bias * chosen / (chosen**2).sum(-1, keepdims=True))


def leak(s: Array, log_z: Array, attention: Attention) -> tuple[Array, float]:
    """Mean squares of mask and residual leak and their product, and what they are the rest of.

    The three are means over pairs of different contents; the last is the largest mean square of a
    single content, the size that rounding errors are compared with.
    """
    contents, heads, context, _ = s.shape
    limit = min(context // 2, (attention.window or attention.chunk or context) - 1)
    total, own, entries = np.zeros(3), np.zeros(2), 0
    for offset in range(1, limit + 1):
        i = np.arange(offset, context)
        x, y = s[:, :, i, i - offset], log_z[:, :, i]
        x, y = x - x.mean(-1, keepdims=True), y - y.mean(-1, keepdims=True)
        for a in range(contents):
            own += (y[a] ** 2).sum(), (s[a][:, i, i - offset] ** 2).sum()
            for b in set(range(contents)) - {a}:
                total += (y[a] * y[b]).sum(), (x[a] * x[b]).sum(), (x[a] * y[b]).sum()
        entries += i.size * heads * contents
    return total / max(entries * (contents - 1), 1), float(own.max() / max(entries, 1))


def leak_chance(
    stack: Stack,
    plan: Plan,
    number: int,
    u: Array,
    s: Array,
    mean_score: Array,
    n: NDArray[np.int64],
) -> Array:
    """The parts of mask leak and product that are linear in scores, and the expected residual."""
    attention, context = stack.attention[number], stack.context
    limit = min(context // 2, (attention.window or attention.chunk or context) - 1)
    factor = attention.softmax.query_scale(np.arange(context), n)
    pairs = content_pairs(u.shape[0], plan.inputs, u.shape[2], context, limit)
    plain = attention.qk_norm == "none" and not attention.latent and not attention.softmax.softcap
    found, entries = np.zeros(3), 0
    if not plain or pairs == 0 or limit == 0:
        found[1] = np.nan
    for offset in range(1, limit + 1):
        i = np.arange(offset, context)
        level = np.log(n[i]) - np.log(n[i]).mean()
        found[0] += 2 * level @ mean_score.mean((0, 1))[i]
        found[2] += level @ s.mean((0, 1))[i, i - offset]
        for pair in range(pairs):
            d = u[2 * pair] @ u[2 * pair + 1].T / u.shape[2]
            product = np.outer(factor[i], factor[i]) * d[np.ix_(i, i)]
            product *= d[np.ix_(i - offset, i - offset)] * stack.score_std(number) ** 2
            found[1] += (np.trace(product) - product.mean() * i.size) / pairs
        entries += i.size
    return found / max(entries, 1)


def feed(stack: Stack, mlp: Mlp, plan: Plan, number: int, draw: int, u: Array) -> Array:
    if mlp.experts is None:
        return expert(stack, mlp, plan, number, draw, 0, u)
    spec = mlp.experts
    y = sum(
        (expert(stack, mlp, plan, number, draw, spec.count + k, u) for k in range(spec.shared)),
        np.zeros_like(u),
    )
    logits = u @ weights.router_weights(plan, number, draw).astype(float).T
    chosen = logits >= np.sort(logits, axis=-1)[..., -spec.active, None]
    if spec.router in ("softmax", "softmax-all"):
        e = np.exp(logits - logits.max(-1, keepdims=True))
        share = e / (e * (chosen if spec.router == "softmax" else 1)).sum(-1, keepdims=True)
    else:
        share = expit(logits)
        if spec.router == "sigmoid":
            share = share / (share * chosen).sum(-1, keepdims=True)
    share = spec.scale * np.where(chosen, share, 0)
    for e in range(spec.count):
        w = share[..., e, None]
        if spec.router == "sigmoid-input":
            y = y + np.where(w > 0, expert(stack, mlp, plan, number, draw, e, w * u), 0)
        else:
            y = y + w * expert(stack, mlp, plan, number, draw, e, u)
    return y


def expert(
    stack: Stack, mlp: Mlp, plan: Plan, number: int, draw: int, which: int, u: Array
) -> Array:
    w = {k: v.astype(float) for k, v in weights.mlp_weights(plan, number, draw, which).items()}
    phi, up = ACTIVATIONS[mlp.activation], u @ w["up"].T
    if mlp.kind == "plain":
        return np.asarray(phi(up, mlp.activation_scale) @ w["down"].T)
    gate = u @ w["gate"].T
    if mlp.limit is not None:
        gate, up = np.minimum(gate, mlp.limit), np.clip(up, -mlp.limit, mlp.limit)
    return np.asarray((phi(gate, mlp.activation_scale) * (up + mlp.offset)) @ w["down"].T)
