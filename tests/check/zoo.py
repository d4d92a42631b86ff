"""Correct rotary functions, in the ways that people write them."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ropeleak import Rope
from ropeleak.check import adapters

Array = NDArray[Any]
YARN = Rope(type="yarn", factor=8.0, original_context=4096, base=500_000.0)
LLAMA3 = Rope(
    type="llama3", factor=8.0, original_context=8192, base=500_000.0,
    low_freq_factor=1.0, high_freq_factor=4.0,
)  # fmt: skip
LINEAR = Rope(type="linear", factor=3.0)
NTK = Rope(type="ntk", factor=4.0)
PARTIAL = Rope(fraction=0.25)
PROPORTIONAL = Rope(type="proportional", fraction=0.5)
TABLE = 8192
HEAD = 64


class Correct(NamedTuple):
    """A correct implementation, and how it is to be checked."""

    fn: Any
    rope: Rope = Rope()
    options: Mapping[str, Any] = MappingProxyType({})


def angles(positions: Array, frequencies: Array) -> Array:
    """Angles in float32, shape ``positions.shape + (pairs,)``."""
    return positions.astype(np.float32)[..., None] * frequencies.astype(np.float32)


def cos_sin(x: Array, positions: Array, frequencies: Array) -> tuple[Array, Array]:
    """Tables of one entry per pair in the dtype of ``x``, with an axis for the heads."""
    theta = angles(positions, frequencies)[..., None, :, :]
    return np.cos(theta).astype(x.dtype), np.sin(theta).astype(x.dtype)


def halves(x: Array, cos: Array, sin: Array) -> Array:
    size = x.shape[-1] // 2
    a, b = x[..., :size], x[..., size:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def pairs(x: Array, cos: Array, sin: Array) -> Array:
    out = np.empty_like(x)
    a, b = x[..., ::2], x[..., 1::2]
    out[..., ::2], out[..., 1::2] = a * cos - b * sin, b * cos + a * sin
    return out


def powers(d: int, base: float = 10000.0) -> Array:
    return np.asarray(base ** (-np.arange(0, d, 2) / d))


def half(x: Array, positions: Array) -> Array:
    return halves(x, *cos_sin(x, positions, powers(x.shape[-1])))


def interleaved(x: Array, positions: Array) -> Array:
    return pairs(x, *cos_sin(x, positions, powers(x.shape[-1])))


def partial(x: Array, positions: Array) -> Array:
    r = x.shape[-1] // 4
    turned = halves(x[..., :r], *cos_sin(x, positions, powers(r)))
    return np.concatenate([turned, x[..., r:]], axis=-1)


def scaled(rope: Rope) -> Callable[[Array, Array], Array]:
    """A scaled RoPE whose frequencies and attention factor come from elsewhere."""

    def rotate(x: Array, positions: Array) -> Array:
        theta = angles(positions, rope.inverse_frequencies(x.shape[-1], 1))[..., None, :, :]
        a = np.float32(rope.attention_scale(1))
        return halves(x, (np.cos(theta) * a).astype(x.dtype), (np.sin(theta) * a).astype(x.dtype))

    return rotate


def interpolated(x: Array, positions: Array) -> Array:
    """Linear scaling of the positions themselves: every angle is rounded twice."""
    theta = positions.astype(np.float32) / np.float32(3.0)
    return halves(x, *cos_sin(x, theta, powers(x.shape[-1])))


def modulo(x: Array, positions: Array) -> Array:
    """Angles in float64, taken modulo 2π before they are rounded."""
    theta = np.mod(positions[..., None] * powers(x.shape[-1]), 2 * np.pi).astype(np.float32)
    theta = theta[..., None, :, :]
    return halves(x, np.cos(theta).astype(x.dtype), np.sin(theta).astype(x.dtype))


def rotate_half(x: Array) -> Array:
    size = x.shape[-1] // 2
    return np.concatenate([-x[..., size:], x[..., :size]], axis=-1)


def apply_tables(q: Array, k: Array, cos: Array, sin: Array) -> tuple[Array, Array]:
    """The form of transformers: tables as wide as the head."""
    cos, sin = cos[:, None].astype(q.dtype), sin[:, None].astype(q.dtype)
    return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin


def tables(x: Array, position_ids: Array) -> tuple[Array, Array]:
    theta = angles(position_ids, powers(x.shape[-1]))
    theta = np.concatenate([theta, theta], axis=-1)
    return np.cos(theta), np.sin(theta)


def apply_complex(xq: Array, xk: Array, freqs_cis: Array) -> tuple[Array, Array]:
    """The form of Meta's Llama: complex numbers of neighbouring entries."""

    def rotate(x: Array) -> Array:
        y = x.astype(np.float32)
        z = (y[..., ::2] + 1j * y[..., 1::2]) * freqs_cis[None, :, None]
        return np.stack([z.real, z.imag], axis=-1).reshape(x.shape).astype(x.dtype)

    return rotate(xq), rotate(xk)


FREQS_CIS = np.exp(1j * angles(np.arange(TABLE + 1), powers(HEAD))).astype(np.complex64)
COS, SIN = (f(angles(np.arange(TABLE + 1), powers(HEAD))) for f in (np.cos, np.sin))


def precomputed(q: Array, k: Array, positions: Array) -> tuple[Array, Array]:
    cos, sin = (t[positions][:, None].astype(q.dtype) for t in (COS, SIN))
    return halves(q, cos, sin), halves(k, cos, sin)


def in_place(q: Array, k: Array, positions: Array) -> tuple[Array, Array]:
    """Queries and keys are overwritten, as fused kernels do."""
    cos, sin = cos_sin(q, positions, powers(q.shape[-1]))
    q[...], k[...] = halves(q, cos, sin), halves(k, cos, sin)
    return q, k


def matrices(x: Array, positions: Array) -> Array:
    """Tokens times explicit matrices, one row of tokens at a time: ``x`` is ``(tokens, size)``."""
    out = []
    for vector, p in zip(x, positions, strict=True):
        theta = np.float32(p) * powers(x.shape[-1]).astype(np.float32)
        matrix = np.zeros((x.shape[-1], x.shape[-1]), dtype=np.float32)
        for i, angle in enumerate(theta):
            c, s = np.cos(angle), np.sin(angle)
            matrix[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [[c, -s], [s, c]]
        out.append(matrix @ vector.astype(np.float32))
    return np.array(out).astype(x.dtype)


def tokens_first(q: Array, k: Array, positions: Array) -> tuple[Array, Array]:
    """Rows of shape ``(tokens, heads, size)`` with positions of shape ``(tokens,)``."""
    theta = angles(positions, powers(q.shape[-1]))[:, None]
    cos, sin = np.cos(theta).astype(q.dtype), np.sin(theta).astype(q.dtype)
    return halves(q, cos, sin), halves(k, cos, sin)


SHORT = {"max_position": TABLE}
ZOO: dict[str, Correct] = {
    "half": Correct(half),
    "interleaved": Correct(interleaved),
    "partial": Correct(partial, PARTIAL, {"head_size": (8, 32, 64)}),
    "yarn": Correct(scaled(YARN), YARN, {"head_size": (16, 64, 128)}),
    "llama3": Correct(scaled(LLAMA3), LLAMA3, {"head_size": (16, 64, 128)}),
    "linear": Correct(interpolated, LINEAR),
    "ntk": Correct(scaled(NTK), NTK, {"head_size": (16, 64, 128)}),
    "proportional": Correct(scaled(PROPORTIONAL), PROPORTIONAL, {"head_size": (16, 64)}),
    "modulo 2π": Correct(modulo),
    "cos and sin": Correct(adapters.cos_sin(apply_tables, tables)),
    "freqs_cis": Correct(adapters.freqs_cis(apply_complex, FREQS_CIS), options=SHORT),
    "precomputed": Correct(precomputed, options={**SHORT, "head_size": HEAD}),
    "matrices": Correct(
        adapters.single(matrices, axes="td"), options={"head_size": 8, "max_position": 4096}
    ),
    "in place": Correct(in_place),
    "tokens first": Correct(adapters.positional(tokens_first, axes="thd", positions="t")),
}
