"""Rotary embeddings and attention as their specs describe them, for the checks and beside others'.

They are written for clarity: NumPy, one formula a line. ``check_rope(rotary(rope), rope=rope)``
tells what a RoPE type itself breaks, in whichever dtype.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ropeleak.errors import RopeleakError

from .adapters import Adapted

if TYPE_CHECKING:
    from ropeleak.spec import Attention, Rope

Array = NDArray[Any]


def rotary(rope: "Rope") -> Adapted:
    """Return a RoPE as a function of ``(q, k, positions)``, as the checks take it.

    Angles are computed in fp32 (fp64 for fp64), tables and products in the dtype of the arrays.
    The running length that ``dynamic`` and ``longrope`` depend on is that of the call: its largest
    position and one.

    Parameters
    ----------
    rope
        Its layout, frequencies and attention factor are taken.
    """

    def both(q: Array, k: Array, positions: Array) -> tuple[Array, Array]:
        return turned(q, positions, rope), turned(k, positions, rope)

    return Adapted(both, f"{rope.type} RoPE", "numpy")


def turned(x: Array, positions: Array, rope: "Rope") -> Array:
    """Return rotated vectors.

    Parameters
    ----------
    x
        Shape ``(batch, heads, tokens, head_size)``.
    positions
        Shape ``(batch, tokens)``.
    rope
        What they are rotated by.
    """
    length = int(positions.max()) + 1
    fine = np.float64 if x.dtype == np.float64 else np.float32
    w: Array = rope.inverse_frequencies(x.shape[-1], length).astype(fine)
    angles = positions.astype(fine)[:, None, :, None] * w
    a = fine(rope.attention_scale(length))
    cos, sin = (a * np.cos(angles)).astype(x.dtype), (a * np.sin(angles)).astype(x.dtype)
    n = 2 * w.size
    pairs = slice(0, n, 2), slice(1, n, 2)
    first, second = pairs if rope.layout == "interleaved" else (slice(0, n // 2), slice(n // 2, n))
    out = x.copy()
    out[..., first] = x[..., first] * cos - x[..., second] * sin
    out[..., second] = x[..., second] * cos + x[..., first] * sin
    return out


def attention(layer: "Attention") -> Callable[[Array, Array, Array, Array], Array]:
    """Return an attention layer as a function of ``(q, k, v, positions)``.

    Arrays have the shape ``(batch, heads, tokens, head_size)``, positions ``(batch, tokens)``. Who
    sees whom, chunks and the growth of queries with their position are decided by positions. Norms,
    caps and sinks are left out: they see no positions.

    Raises
    ------
    RopeleakError
        If the mask is a ring, whose offsets are taken modulo the length of the row.
    """
    if layer.mask == "ring":
        raise RopeleakError(
            "attention.mask='ring' has no positions that could be shifted: set it to 'causal'"
        )

    def attend(q: Array, k: Array, v: Array, positions: Array) -> Array:
        seen = layer.key_range(positions[..., None], int(positions.max()) + 1)
        keys = positions[:, None, :]
        allowed = ((seen.first <= keys) & (keys < seen.stop)) | (keys < layer.sinks)
        scale: Array = layer.softmax.query_scale(positions[..., None], seen.n_keys)[:, None]
        if layer.rope is not None:
            q, k = turned(q, positions, layer.rope), turned(k, positions, layer.rope)
        fine = np.float64 if q.dtype == np.float64 else np.float32
        q, k = q.astype(fine), k.astype(fine)
        scores = scale * (q @ k.swapaxes(-1, -2)) / np.sqrt(q.shape[-1])
        scores = np.where(allowed[:, None], scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        return np.asarray((weights @ v.astype(fine)).astype(v.dtype))

    return attend
