"""What an architecture is, in a few words and numbers."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .spec import Attention, Rope, Stack


def sig(value: float | None, digits: int = 2) -> str:
    """Return a number with a few significant digits; ``-`` for None and NaN.

    Examples
    --------
    >>> sig(0.4799), sig(123.4), sig(0.0), sig(3.2e-7), sig(1234567.0)
    ('0.48', '123', '0', '3.2e-07', '1.2e+06')
    """
    if value is None or value != value:
        return "-"
    if 10**digits <= abs(value) < 1e5:
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def percent(share: float) -> str:
    """Return a share as a percentage, ``3.1%``; what is tiny stays visible as ``< 0.01%``."""
    if share != share:
        return "-"
    if 0 < abs(share) < 1e-4:
        return "< 0.01%"
    return f"{sig(100 * share)}%"


def spread(values: Iterable[float], digits: int = 2) -> str:
    """Return ``0.48``, or ``0.03 to 0.48`` where the values differ at that many digits."""
    numbers = list(values)
    low, high = sig(min(numbers), digits), sig(max(numbers), digits)
    return low if low == high else f"{low} to {high}"


def keys_seen(attention: "Attention") -> str:
    """Return which keys a query sees: ``full``, ``window 1024``, ``ring`` and so on."""
    words: str
    if attention.mask != "causal":
        words = attention.mask
    elif attention.window is not None:
        words = f"window {attention.window}"
        if attention.sinks:
            words += f" + {attention.sinks} first"
    elif attention.chunk is not None:
        words = f"chunk {attention.chunk}"
    elif attention.prefix:
        words = f"prefix {attention.prefix}"
    else:
        words = "full"
    if attention.sink_bias:
        words += f", sink bias {attention.sink_bias:g}"
    return words if attention.rope is not None else f"{words}, NoPE"


def keys_words(stack: "Stack") -> str:
    """Return which keys are seen over all blocks: ``17 x window 512; 1 x full``."""
    return _counted(keys_seen(attention) for attention in stack.attention)


def rope_words(rope: "Rope | None", brief: bool = False) -> str:
    """Return a RoPE in words: ``llama3, base 500000, factor 8``; only its type when brief."""
    if rope is None:
        return "none"
    if brief:
        return rope.type
    words = [rope.type, f"base {rope.base:g}"]
    if rope.factor is not None and rope.factor != 1:
        words.append(f"factor {rope.factor:g}")
    if rope.fraction != 1:
        words.append(f"{percent(rope.fraction)} of each head")
    return ", ".join(words)


def _counted(words: Iterable[str]) -> str:
    """Return ``a``, or ``17 x a, 17 x b`` where blocks differ, the first met first."""
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{count} x {word}" for word, count in counts.items())


def _mlp(stack: "Stack") -> str:
    def words(block: int) -> str:
        mlp = stack.mlp[block]
        if mlp.kind == "none":
            return "none"
        text = f"{mlp.kind} {mlp.activation}, d_ff {stack.block_d_ff(block)}"
        if mlp.experts is not None:
            text += f", {mlp.experts.active} of {mlp.experts.count} experts"
        return text

    return _counted(words(block) for block in range(stack.n_blocks))


def _shape(stack: "Stack") -> str:
    return (
        f"{stack.n_blocks} blocks, d_model {stack.d_model}, {stack.n_heads} heads of"
        f" {stack.d_head} ({stack.n_kv_heads} key-value), context {stack.context}"
    )


def _norm(stack: "Stack") -> str:
    if stack.norm.placement == "none":
        return "none"
    return f"{stack.norm.kind}, {stack.norm.placement}, eps {stack.norm.eps:g}"


def _over_blocks(gain: Callable[[int], float], stack: "Stack") -> str:
    return spread((gain(block) for block in range(stack.n_blocks)), 3)


def _mlp_gain(stack: "Stack") -> Callable[[int], float]:
    return lambda block: 0.0 if stack.mlp[block].kind == "none" else stack.mlp_gain(block)


AT_INIT = ("score_std σ", "attention_gain γ", "embedding_var v0", "mlp_gain")
"""Rows that tell nothing of trained weights."""
ROWS: dict[str, Callable[["Stack"], str]] = {
    "shape": _shape,
    "attention": keys_words,
    "rope": lambda s: _counted(rope_words(a.rope) for a in s.attention),
    "norm": _norm,
    "mlp": _mlp,
    "bos": lambda s: s.bos.kind,
    "score_std σ": lambda s: _over_blocks(s.score_std, s),
    "attention_gain γ": lambda s: _over_blocks(s.attention_gain, s),
    "embedding_var v0": lambda s: sig(s.embedding_var, 3),
    "mlp_gain": lambda s: _over_blocks(_mlp_gain(s), s),
}
"""What `numbers` tells, by name: one row each."""


def numbers(stack: "Stack", at_init: bool = True) -> dict[str, str]:
    """Return what decides an architecture's leak, in words, by name; at initialisation or not."""
    return {name: row(stack) for name, row in ROWS.items() if at_init or name not in AT_INIT}
