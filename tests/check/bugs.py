"""Rotary functions with one mistake each, and the name that the checks must give it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ropeleak import Rope
from ropeleak.check import adapters
from tests.check.zoo import (
    HEAD,
    Array,
    angles,
    apply_tables,
    cos_sin,
    half,
    halves,
    interleaved,
    pairs,
    powers,
    rotate_half,
    tables,
)


class Bug(NamedTuple):
    """A wrong implementation."""

    fn: Any
    cause: str
    options: Mapping[str, Any] = MappingProxyType({})


def rounded_to_bf16(x: Array) -> Array:
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def with_positions(change: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
    """The half layout at changed positions."""

    def rotate(x: Array, positions: Array) -> Array:
        return halves(x, *cos_sin(x, change(positions), powers(x.shape[-1])))

    return rotate


def with_frequencies(change: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
    """The half layout at changed frequencies."""

    def rotate(x: Array, positions: Array) -> Array:
        return halves(x, *cos_sin(x, positions, change(powers(x.shape[-1]))))

    return rotate


def with_angles(change: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
    """The half layout with changed angles."""

    def rotate(x: Array, positions: Array) -> Array:
        theta = change(angles(positions, powers(x.shape[-1])))[:, None]
        return halves(x, np.cos(theta).astype(x.dtype), np.sin(theta).astype(x.dtype))

    return rotate


def two_layouts(q: Array, k: Array, positions: Array) -> tuple[Array, Array]:
    return half(q, positions), interleaved(k, positions)


def backwards_q(q: Array, k: Array, positions: Array) -> tuple[Array, Array]:
    return half(q, -positions), half(k, positions)


def backwards(x: Array, positions: Array) -> Array:
    return half(x, -positions)


def attention_factor_on_q(q: Array, k: Array, positions: Array) -> tuple[Array, Array]:
    return (half(q, positions) * np.float32(1.2)).astype(q.dtype), half(k, positions)


def no_minus(x: Array, positions: Array) -> Array:
    cos, sin = cos_sin(x, positions, powers(x.shape[-1]))
    size = x.shape[-1] // 2
    a, b = x[..., :size], x[..., size:]
    return np.concatenate([a * cos + b * sin, b * cos + a * sin], axis=-1)


def own_half(q: Array, k: Array, cos: Array, sin: Array) -> tuple[Array, Array]:
    """Halves are negated but not swapped."""

    def rotate(x: Array) -> Array:
        size = x.shape[-1] // 2
        kept = np.concatenate([-x[..., :size], x[..., size:]], axis=-1)
        cos_, sin_ = (t[:, None].astype(x.dtype) for t in (cos, sin))
        return np.asarray(x * cos_ + kept * sin_)

    return rotate(q), rotate(k)


def interleaved_tables(x: Array, position_ids: Array) -> tuple[Array, Array]:
    """Tables in which neighbours share an angle, for a function that pairs halves."""
    theta = np.repeat(angles(position_ids, powers(x.shape[-1])), 2, axis=-1)
    return np.cos(theta), np.sin(theta)


def half_tables_of_pairs(x: Array, positions: Array) -> Array:
    """Neighbours are paired, but the angles of all entries are those of a table of halves."""
    cos, sin = (t[:, None].astype(x.dtype) for t in tables(x, positions))
    turned = np.empty_like(x)
    turned[..., ::2], turned[..., 1::2] = -x[..., 1::2], x[..., ::2]
    return np.asarray(x * cos + turned * sin)


def first_row(x: Array, positions: Array) -> Array:
    return half(x, np.broadcast_to(positions[:1], positions.shape))


def from_first(x: Array, positions: Array) -> Array:
    return half(x, positions[:, :1] + np.arange(positions.shape[1]))


def index(x: Array, positions: Array) -> Array:
    return half(x, np.broadcast_to(np.arange(positions.shape[1]), positions.shape))


def row_length(x: Array, positions: Array) -> Array:
    """Linear scaling by the number of tokens in the padded batch."""
    return halves(x, *cos_sin(x, positions, powers(x.shape[-1]) / max(1.0, x.shape[-2] / 4)))


def dynamic(x: Array, positions: Array, trained: int = 2048) -> Array:
    """Dynamic NTK: the base of the call's running length."""
    rope = Rope(type="dynamic", factor=2.0, max_context=trained)
    return halves(
        x, *cos_sin(x, positions, rope.inverse_frequencies(x.shape[-1], int(positions.max()) + 1))
    )


def longrope(x: Array, positions: Array, trained: int = 4096) -> Array:
    w = powers(x.shape[-1]) / (1.0 if positions.max() < trained else 4.0)
    return halves(x, *cos_sin(x, positions, w))


class Dial:
    """An offset that grows from call to call."""

    def __init__(self) -> None:
        self.offset = 0

    def __call__(self, q: Array, k: Array, positions: Array) -> tuple[Array, Array]:
        moved = positions + self.offset
        self.offset += positions.shape[1]
        return half(q, moved), half(k, positions)


def absolute(x: Array, positions: Array) -> Array:
    """A sinusoidal embedding added, as before there was RoPE."""
    theta = angles(positions, powers(x.shape[-1]))
    added = np.concatenate([np.sin(theta), np.cos(theta)], axis=-1)
    return np.asarray(x + added[:, None].astype(x.dtype))


def counted_up(x: Array, positions: Array) -> Array:
    """Positions are moved for the next token in the array that the caller gave."""
    out = half(x, positions)
    positions += 1
    return out


def bf16_tables(x: Array, positions: Array) -> Array:
    cos, sin = cos_sin(x.astype(np.float32), positions, powers(x.shape[-1]))
    return halves(x, *(rounded_to_bf16(t).astype(x.dtype) for t in (cos, sin)))


class Cache:
    """A decoder that counts the new token before it asks for its position."""

    def __init__(self, late: int = 1) -> None:
        self.keys: list[Array] = []
        self.late = late

    def __call__(self, q: Array, k: Array) -> tuple[Array, Array]:
        position = np.array([[len(self.keys) + self.late]])
        self.keys.append(half(k, position))
        return half(q, position - self.late), np.concatenate(self.keys, axis=2)


def half_precision(positions: Array) -> Array:
    with np.errstate(over="ignore"):
        return positions.astype(np.float16)


PLAIN: dict[str, Any] = {"rope": Rope()}
FAR = {"max_position": 131_072}
BUGS: dict[str, Bug] = {
    "bf16 positions": Bug(with_positions(rounded_to_bf16), "bf16-positions"),
    "bf16 angles": Bug(with_angles(rounded_to_bf16), "bf16-angles"),
    "fp16 positions": Bug(with_positions(half_precision), "fp16-positions"),
    "fp16 overflow": Bug(with_positions(half_precision), "fp16-overflow", FAR),
    "q and k in different layouts": Bug(two_layouts, "layouts-differ"),
    "scaled only for q": Bug(attention_factor_on_q, "scaled-only-q"),
    "sin sign of q": Bug(backwards_q, "sin-sign-differs"),
    "sin sign of one half": Bug(no_minus, "sin-sign-in-one-half"),
    "sin sign of both": Bug(backwards, "sin-sign", PLAIN),
    "wrong half": Bug(adapters.cos_sin(own_half, tables), "wrong-half"),
    "tables of the other layout": Bug(
        adapters.cos_sin(apply_tables, interleaved_tables), "table-layout"
    ),
    "pairs with tables of halves": Bug(
        half_tables_of_pairs, "table-layout", {"head_size": (8, 64)}
    ),
    "truncated frequencies": Bug(with_frequencies(np.floor), "truncated-frequencies", PLAIN),
    "exponents of the whole head": Bug(
        with_frequencies(lambda w: w**0.5), "wrong-frequencies", PLAIN
    ),
    "wrong base": Bug(
        with_frequencies(lambda w: powers(2 * w.size, 500_000.0)), "wrong-frequencies", PLAIN
    ),
    "degrees for radians": Bug(with_angles(np.radians), "degrees-for-radians", PLAIN),
    "radians for degrees": Bug(with_angles(np.degrees), "degrees-for-radians", PLAIN),
    "dynamic NTK with a stale cache": Bug(dynamic, "dynamic-ntk"),
    "LongRoPE's switch": Bug(longrope, "longrope-switch", {"max_position": 16_384}),
    "positions of the first row": Bug(first_row, "first-row-positions"),
    "index for position": Bug(index, "index-for-position"),
    "first position only": Bug(from_first, "index-for-position"),
    "length of the padded batch": Bug(row_length, "per-batch-length"),
    "8-bit positions": Bug(with_positions(lambda p: p.astype(np.int8)), "int-overflow"),
    "16-bit positions": Bug(with_positions(lambda p: p.astype(np.int16)), "int-overflow", FAR),
    "unsigned positions": Bug(with_positions(lambda p: p.astype(np.uint16)), "int-overflow", FAR),
    "clamped positions": Bug(with_positions(lambda p: np.minimum(p, 2047)), "table-clamped"),
    "angle not reset": Bug(Dial(), "state-between-calls"),
    "positions written into": Bug(counted_up, "positions-changed"),
    "absolute embedding": Bug(absolute, "absolute-embedding"),
    "bf16 tables": Bug(bf16_tables, "bf16-tables", {"dtype": "fp32"}),
    "bf16 frequencies": Bug(with_frequencies(rounded_to_bf16), "rounded-frequencies", PLAIN),
    "nothing rotated": Bug(with_positions(np.zeros_like), "no-rotation", PLAIN),
    "fp32 angles in fp64": Bug(half, "fp32-angles", {"dtype": "fp64"}),
}

__all__ = ["BUGS", "HEAD", "Bug", "Cache", "pairs", "rotate_half"]
