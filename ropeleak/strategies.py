"""Hypothesis strategies for RoPE: head sizes, bases, positions where things break, ropes, stacks.

They need Hypothesis (``pip install 'ropeleak[check]'``) and make property tests of one's own code
short:

>>> from hypothesis import given
>>> from ropeleak import strategies as rst
>>> @given(rst.ropes(), rst.head_sizes(), rst.positions(8192))
... def test_my_frequencies(rope, size, position): ...
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

from ropeleak.errors import RopeleakError
from ropeleak.spec import Attention, Bos, Rope, Stack
from ropeleak.spec.rope import RopeType

try:
    from hypothesis import strategies as st
except ImportError:
    raise RopeleakError(
        "hypothesis is not installed, and ropeleak searches for failing examples with it:"
        " pip install 'ropeleak[check]'"
    ) from None

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

HEAD_SIZES = (2, 4, 8, 16, 32, 64, 80, 96, 128, 256)
"""Head sizes of published models, and small ones that a failing example shrinks to."""

BASES = (10_000.0, 100.0, 150_000.0, 500_000.0, 1_000_000.0, 10_000_000.0)
"""RoPE bases (``rope_theta``) of published models; 100 is that of vision transformers."""

NASTY_POSITIONS = tuple(
    sorted(
        {0, 1, 2}
        # Where signed and unsigned integers of 8 and 16 bits wrap around.
        | {2**bits + near for bits in (7, 8, 15, 16) for near in (-1, 0, 1)}
        # Contexts in which models were trained, and their ends.
        | {2**bits + near for bits in (11, 12, 13, 17) for near in (-1, 0, 1)}
        # Integers are exact up to 2^8 in bf16, 2^11 in fp16 and 2^24 in fp32.
        | {2**bits + near for bits in (8, 11, 24) for near in (1, 3)}
        # The largest number of fp16, and the first that it rounds to infinity.
        | {65_504, 65_519, 65_520}
        | {2**20 - 1, 2**20, 2**20 + 1}
    )
)
"""Positions next to the limits of formats and contexts."""


def head_sizes(sizes: Sequence[int] = HEAD_SIZES) -> "SearchStrategy[int]":
    """Head sizes, small ones first."""
    return st.sampled_from(sorted(sizes))


def bases() -> "SearchStrategy[float]":
    """RoPE bases: those of published models, and any from 10 to 10⁸."""
    return st.sampled_from(BASES) | st.floats(10.0, 1e8)


def rope_types() -> "SearchStrategy[RopeType]":
    """Names of the RoPE types that `ropeleak.Rope` knows."""
    return st.sampled_from(get_args(RopeType))


def positions(max_position: int = 2**20, near: Sequence[int] = ()) -> "SearchStrategy[int]":
    """Positions from 0 to ``max_position``: half of them next to a limit, the others anywhere.

    Parameters
    ----------
    max_position
        The largest.
    near
        Limits of one's own, such as a trained context, tried as often as all `NASTY_POSITIONS`.

    Raises
    ------
    RopeleakError
        If ``max_position`` is negative.
    """
    if max_position < 0:
        raise RopeleakError(f"max_position={max_position} must not be negative: give 0 or more")
    nasty = [p for p in NASTY_POSITIONS if p < max_position]
    found = st.sampled_from([*nasty, max_position]) | st.integers(0, max_position)
    own = sorted({p for limit in near for p in (limit - 1, limit, limit + 1)})
    own = [p for p in own if 0 <= p <= max_position]
    return found | st.sampled_from(own) if own else found


def rows(
    max_position: int = 2**20,
    *,
    min_size: int = 1,
    max_size: int = 6,
    contiguous: bool = False,
    near: Sequence[int] = (),
) -> "SearchStrategy[tuple[int, ...]]":
    """The positions of the tokens of one row.

    Parameters
    ----------
    max_position
        The largest.
    min_size, max_size
        Number of tokens.
    contiguous
        Whether each position follows the one before; else they are any, in any order.
    near
        As `positions` takes it.
    """
    one = positions(max_position, near)
    if not contiguous:
        return st.lists(one, min_size=min_size, max_size=max_size).map(tuple)
    most = min(max_size, max_position + 1)

    def row(end: int, length: int) -> tuple[int, ...]:
        last = max(end, length - 1)
        return tuple(range(last - length + 1, last + 1))

    return st.builds(row, one, st.integers(min(min_size, most), most))


@st.composite
def ropes(
    draw: Any, types: Sequence[RopeType] = get_args(RopeType), head_size: int | None = None
) -> Rope:
    """RoPEs of every type with valid settings, as `ropeleak.Rope`.

    Parameters
    ----------
    types
        Types to choose from.
    head_size
        Needed for ``longrope``, whose lists have one entry per pair; left out without it.
    """
    allowed = [name for name in types if name != "longrope" or head_size is not None]
    kind = draw(st.sampled_from(allowed))
    fields: dict[str, Any] = {"type": kind, "base": draw(bases())}
    factor = st.sampled_from([1.5, 2.0, 4.0, 8.0, 32.0]) | st.floats(1.01, 64.0)
    context = st.sampled_from([512, 2048, 4096, 8192])
    if kind not in ("default", "proportional"):
        fields["factor"] = draw(factor)
    if kind in ("dynamic", "yarn", "longrope", "llama3"):
        fields["original_context"] = draw(context)
    if kind == "llama3":
        fields["low_freq_factor"] = draw(st.sampled_from([0.5, 1.0, 2.0]))
        fields["high_freq_factor"] = fields["low_freq_factor"] * draw(st.floats(1.5, 8.0))
    if kind == "longrope" and head_size is not None:
        size = head_size // 2
        short = st.floats(1.0, 2.0)
        fields["short_factor"] = tuple(draw(st.lists(short, min_size=size, max_size=size)))
        fields["long_factor"] = tuple(f * fields["factor"] for f in fields["short_factor"])
    if kind == "proportional":
        fields["fraction"] = draw(st.sampled_from([0.25, 0.5, 1.0]))
    return Rope(**fields)


@st.composite
def stacks(draw: Any, max_context: int = 64, max_blocks: int = 4) -> Stack:
    """Small architectures, as `ropeleak.Stack`: depth, heads, windows, RoPE and BOS vary."""
    heads = draw(st.sampled_from([1, 2, 4]))
    size = draw(st.sampled_from([8, 16, 32]))
    context = draw(st.integers(2, max_context))
    window = draw(st.none() | st.integers(1, context))
    rope = draw(ropes(types=("default", "linear", "ntk", "llama3", "proportional")))
    return Stack.build(
        context=context,
        n_blocks=draw(st.integers(1, max_blocks)),
        d_model=heads * size,
        n_heads=heads,
        n_kv_heads=draw(st.sampled_from([h for h in (1, 2, 4) if heads % h == 0])),
        attention=Attention(window=window, rope=rope),
        bos=Bos(kind=draw(st.sampled_from(["constant", "random"]))),
    )
