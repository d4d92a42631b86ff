"""What an architecture by itself lets through, whoever writes its code."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ropeleak.describe import keys_seen, rope_words

from . import reference
from ._search import EXAMPLES
from ._subject import subject_of
from .attention import check_causality, check_shift_equivariance
from .report import Cause, Finding, Report
from .suite import CHECKS

if TYPE_CHECKING:
    from ropeleak.spec import Attention, Stack

MAX_POSITION = 131_072


def check_stack(
    stack: "Stack", *, dtype: str = "fp32", max_position: int = MAX_POSITION,
    examples: int = EXAMPLES, seed: int = 0,
) -> tuple[Report, ...]:  # fmt: skip
    """Check the attention layers of an architecture, as `ropeleak.check.reference` computes them.

    Dynamic NTK and LongRoPE take their frequencies from the length of a row; chunks, and queries
    that grow with their position, see where the row starts. Each of them breaks the invariance
    against an offset of the position ids, however well it is written.

    Parameters
    ----------
    stack
        The architecture.
    dtype, max_position, examples, seed
        As `check_relative_invariance` takes them.

    Returns
    -------
    tuple of Report
        One for each kind of attention layer, the first met first.

    Raises
    ------
    RopeleakError
        If an option is not allowed, or the mask is a ring.
    """

    def findings(layer: "Attention") -> Iterator[Finding]:
        size = stack.rotary_size(layer)
        options: dict[str, Any] = {"dtype": dtype, "max_position": max_position, "head_size": size}
        cases: dict[str, Any] = {"examples": examples, "seed": seed}
        rotations: list[Finding] = []
        if layer.rope is not None:
            subject = subject_of(reference.rotary(layer.rope), rope=layer.rope, **options)
            rotations = [check(subject, **cases) for check in CHECKS]
        yield from rotations
        attend, limits = reference.attention(layer), _limits(layer)
        offset, index = check_shift_equivariance(attend, limits=limits, **options, **cases)
        if not offset:
            known = dict.fromkeys(cause for finding in rotations for cause in finding.causes)
            offset = replace(offset, causes=(*known, *_reasons(layer)))
        yield offset
        yield index
        if layer.mask == "causal":
            yield check_causality(attend, **options, **cases)

    def words(layer: "Attention") -> str:
        count = stack.attention.count(layer)
        blocks = f"all {count}" if count == stack.n_blocks else f"{count} of {stack.n_blocks}"
        rope = "" if layer.rope is None else f", RoPE {rope_words(layer.rope)}"
        return (
            f"{stack.name}, {blocks} blocks: {keys_seen(layer)}{rope}; {dtype},"
            f" positions up to {max_position}"
        )

    layers = dict.fromkeys(stack.attention)
    return tuple(Report(words(layer), tuple(findings(layer))) for layer in layers)


def _limits(layer: "Attention") -> tuple[int, ...]:
    """Positions at which the layer changes what it does."""
    rope, scaled = layer.rope, layer.softmax.length_scaling != "none"
    found = (
        layer.chunk, layer.softmax.length_reference if scaled else None,
        *((rope.original_context, rope.max_context) if rope else ()),
    )  # fmt: skip
    return tuple(limit for limit in found if limit)


def _reasons(layer: "Attention") -> Iterator[Cause]:
    """Why the layer sees an offset of the position ids, whatever its RoPE."""
    if layer.chunk is not None:
        yield Cause(
            "chunks",
            f"a query sees its own chunk of {layer.chunk} positions, so where a row starts decides"
            " which keys it sees",
        )
    if layer.softmax.length_scaling != "none":
        yield Cause(
            "query-scale",
            f"queries are multiplied by a factor of their position"
            f" ({layer.softmax.length_scaling}, reference {layer.softmax.length_reference})",
        )
