"""Where the matrices of a block are in the tensors of a checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Sizes(NamedTuple):
    """What decides the shapes of a block's matrices.

    Attributes
    ----------
    d, d_ff
        Width, and that of the MLP or of one expert.
    groups, queries, size
        Key-value heads, query heads of each, and the size of a head.
    experts
        Number of routed experts; 0 without.
    """

    d: int
    d_ff: int
    groups: int
    queries: int
    size: int
    experts: int


class Span(NamedTuple):
    """Which rows of a tensor are one matrix: ``first + step·index + stride·(0 .. length-1)``.

    Attributes
    ----------
    total
        Rows of the tensor.
    length, first, step, stride
        Rows of the matrix; where the first matrix begins; from one matrix to the next; from one
        row to the next.
    """

    total: int
    length: int
    first: int = 0
    step: int = 0
    stride: int = 1

    def rows(self, index: int, of: slice | None = None) -> slice:
        """Return the rows ``of`` matrix ``index``; all of them unless given."""
        begin, end = (0, self.length) if of is None else (of.start, of.stop)
        first = self.first + self.step * index
        return slice(first + self.stride * begin, first + self.stride * end, self.stride)


@dataclass(frozen=True)
class Part:
    """Where a matrix is: some rows of a tensor whose other axis is the residual stream's.

    Parameters
    ----------
    name
        Below the block; ``{expert}`` stands for the expert's number.
    span
        Which rows.
    d_first
        Whether the axis of the residual stream comes first.
    stacked
        Whether all experts are in one tensor, along its first axis.
    weight, bias
        What follows the name.
    """

    name: str
    span: Callable[[Sizes], Span]
    d_first: bool = False
    stacked: bool = False
    weight: str = ".weight"
    bias: str = ".bias"

    def shape(self, sizes: Sizes) -> tuple[int, ...]:
        """Return the shape of the whole tensor."""
        total = self.span(sizes).total
        matrix = (sizes.d, total) if self.d_first else (total, sizes.d)
        return (sizes.experts, *matrix) if self.stacked else matrix


Parts = Mapping[str, Part]


def _queries(s: Sizes) -> Span:
    n = s.queries * s.size
    return Span(s.groups * n, n, 0, n)


def _keys(s: Sizes) -> Span:
    return Span(s.groups * s.size, s.size, 0, s.size)


def attention(
    query: str = "self_attn.q_proj",
    key: str = "self_attn.k_proj",
    value: str = "self_attn.v_proj",
    output: str = "self_attn.o_proj",
) -> dict[str, Part]:
    """Return the matrices of an attention that has one tensor for each."""
    return {
        "query": Part(query, _queries),
        "key": Part(key, _keys),
        "value": Part(value, _keys),
        "output": Part(output, _queries, d_first=True),
    }


def joined(name: str, output: str) -> dict[str, Part]:
    """Return the matrices of an attention with one tensor: all queries, all keys, all values."""

    def part(kind: int) -> Part:
        def span(s: Sizes) -> Span:
            n = s.queries * s.size if kind == 0 else s.size
            first = (0, s.queries, s.queries + 1)[kind] * s.groups * s.size
            return Span((s.queries + 2) * s.groups * s.size, n, first, n)

        return Part(name, span)

    return {"query": part(0), "key": part(1), "value": part(2),
            "output": Part(output, _queries, d_first=True)}  # fmt: skip


def joined_by_group(name: str, output: str) -> dict[str, Part]:
    """Return the matrices of an attention with one tensor: queries, key and value of each group."""

    def part(kind: int) -> Part:
        def span(s: Sizes) -> Span:
            n = s.queries * s.size if kind == 0 else s.size
            first = (0, s.queries, s.queries + 1)[kind] * s.size
            step = (s.queries + 2) * s.size
            return Span(s.groups * step, n, first, step)

        return Part(name, span)

    return {"query": part(0), "key": part(1), "value": part(2),
            "output": Part(output, _queries, d_first=True)}  # fmt: skip


def _features(s: Sizes) -> Span:
    return Span(s.d_ff, s.d_ff)


def plain(up: str, down: str) -> dict[str, Part]:
    """Return the matrices of an MLP without a gate."""
    return {"up": Part(up, _features), "down": Part(down, _features, d_first=True)}


def gated(
    up: str = "mlp.up_proj", gate: str = "mlp.gate_proj", down: str = "mlp.down_proj"
) -> dict[str, Part]:
    """Return the matrices of a gated MLP."""
    return {**plain(up, down), "gate": Part(gate, _features)}


def _half(number: int) -> Callable[[Sizes], Span]:
    return lambda s: Span(2 * s.d_ff, s.d_ff, number * s.d_ff)


def _every_other(number: int) -> Callable[[Sizes], Span]:
    return lambda s: Span(2 * s.d_ff, s.d_ff, number, stride=2)


def gate_then_up(gate_up: str, down: str) -> dict[str, Part]:
    """Return the matrices of an MLP whose gate and up are one tensor, one after the other."""
    return {"gate": Part(gate_up, _half(0)), "up": Part(gate_up, _half(1)),
            "down": Part(down, _features, d_first=True)}  # fmt: skip


def stacked(prefix: str, interleaved: bool) -> dict[str, Part]:
    """Return the matrices of experts in one tensor each, inputs before outputs.

    Parameters
    ----------
    interleaved
        Whether gates and ups alternate, or come one after the other.
    """
    span = _every_other if interleaved else _half

    def part(name: str, span: Callable[[Sizes], Span], d_first: bool) -> Part:
        return Part(prefix + name, span, d_first, stacked=True, weight="", bias="_bias")

    return {
        "gate": part("gate_up_proj", span(0), True),
        "up": part("gate_up_proj", span(1), True),
        "down": part("down_proj", _features, False),
    }


def router(name: str) -> Part:
    """Return the matrix of a router."""
    return Part(name, lambda s: Span(s.experts, s.experts))
