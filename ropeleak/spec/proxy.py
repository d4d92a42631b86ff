"""Narrow stand-ins: the same theory, fewer features, so that a published model runs on a CPU."""

from collections.abc import Callable
from math import sqrt
from typing import TYPE_CHECKING

from ropeleak.errors import RopeleakError

if TYPE_CHECKING:
    from .attention import Attention
    from .mlp import Mlp
    from .stack import Stack

SAME = 1e-9
"""Gains that differ by less than this share are the same."""


def proxy(stack: "Stack", width: int) -> "Stack":
    """Return ``stack`` with ``d_model = width``: see `Stack.proxy`."""
    if not width >= 1:
        raise RopeleakError(f"width={width} is not allowed: give a whole number from 1")
    if width >= stack.d_model:
        return stack
    share = width / stack.d_model
    n_kv_heads = max(round(stack.n_kv_heads * share), 1)
    per_group = max(round(stack.n_heads * share / n_kv_heads), 1)
    narrow = stack.replace(
        d_model=width,
        n_heads=n_kv_heads * per_group,
        n_kv_heads=n_kv_heads,
        attention=tuple(_narrow_latent(a, share) for a in stack.attention),
        mlp=tuple(_narrow_mlp(stack, block, share) for block in range(stack.n_blocks)),
        init=stack.init.replace(std=stack.init.std / sqrt(share)),
    )
    narrow = narrow.replace(
        init=narrow.init.replace(
            embedding_var=stack.embedding_var,
            score_std=_to_keep(stack, narrow, lambda s, b: s.score_std(b)),
            attention_gain=_to_keep(stack, narrow, lambda s, b: s.attention_gain(b)),
            mlp_gain=_to_keep(stack, narrow, _mlp_gain),
        ),
    )
    return narrow.replace(approximations=(*stack.approximations, _words(stack, narrow)))


def _narrow_latent(attention: "Attention", share: float) -> "Attention":
    latent = attention.latent
    if latent is None:
        return attention
    q_rank = latent.q_rank and max(round(latent.q_rank * share), 1)
    kv_rank = max(round(latent.kv_rank * share), 1)
    return attention.replace(latent=latent.replace(q_rank=q_rank, kv_rank=kv_rank))


def _narrow_mlp(stack: "Stack", block: int, share: float) -> "Mlp":
    return stack.mlp[block].replace(d_ff=max(round(stack.block_d_ff(block) * share), 1))


def _mlp_gain(stack: "Stack", block: int) -> float:
    return stack.mlp_gain(block) if stack.mlp[block].kind != "none" else 0.0


def _to_keep(
    stack: "Stack", narrow: "Stack", gain: Callable[["Stack", int], float]
) -> float | None:
    """Return what a gain must be set to so that rounded sizes do not change it, if anything."""
    wanted = [gain(stack, block) for block in range(stack.n_blocks)]
    found = [gain(narrow, block) for block in range(stack.n_blocks)]
    off = max(abs(a - b) for a, b in zip(wanted, found, strict=True))
    even = max(wanted) - min(wanted) <= SAME * max(wanted)
    return wanted[0] if even and off > SAME * max(wanted) else None


def _words(stack: "Stack", narrow: "Stack") -> str:
    """Return what was shrunk, in words."""
    sizes = (
        ("d_model", stack.d_model, narrow.d_model),
        ("heads", stack.n_heads, narrow.n_heads),
        ("key-value heads", stack.n_kv_heads, narrow.n_kv_heads),
        ("d_ff", stack.d_ff, narrow.d_ff),
    )
    shrunk = ", ".join(f"{name} {old} -> {new}" for name, old, new in sizes if old != new)
    changes = [
        name
        for name, gain in (
            ("σ", lambda s, b: s.score_std(b)),
            ("γ", lambda s, b: s.attention_gain(b)),
            ("the MLP gain", _mlp_gain),
        )
        if any(
            abs(gain(stack, b) - gain(narrow, b)) > SAME * gain(stack, b)
            for b in range(stack.n_blocks)
        )
    ]
    kept = "; σ, γ, v0, the MLP gains, head size, depth, context and masks are the original's"
    if changes:
        kept += f", but for rounding in {' and '.join(changes)} of some blocks"
    return f"a narrow stand-in was measured: {shrunk}{kept}"
