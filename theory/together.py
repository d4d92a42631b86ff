"""Stacks of one kind that run through the recursion together, an axis of their own before others.

The recursion is many small array operations, whose cost is that of a call more than that of the
numbers. Stacks that differ in their initial weights or in how fast RoPE turns share the calls. What
one of them gets does not depend on the others, to the last bit.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ropeleak.spec import Attention, Stack

from .grid import Grid
from .ordinary import KINDS
from .vicinity import Vicinity

Array = NDArray[np.float64]

_ALIKE = tuple(sorted({*Stack.model_fields} - {"name", "init", "attention", "approximations"}))
_LAYERS_ALIKE = tuple(sorted({*Attention.model_fields} - {"rope", "scale"}))
"""Fields that must be the same."""
_ENTRIES = 1 << 14
"""Entries of a kernel of all stacks that run together: they stay in a core's cache."""


class Stacks:
    """Some stacks of one `kind`: a stack whose numbers are arrays (B,).

    What is the same for all of them is that of the first.
    """

    def __init__(self, stacks: Iterable[Stack]) -> None:
        self.stacks = tuple(stacks)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stacks[0], name)

    def _each(self, name: str, *arguments: object) -> Array:
        values = (getattr(stack, name) for stack in self.stacks)
        return np.array([value(*arguments) if arguments else value for value in values])

    @property
    def embedding_var(self) -> Array:
        """``v0`` of every stack."""
        return self._each("embedding_var")

    @property
    def qk_floor(self) -> Array:
        """As in `Stack`, of every stack."""
        return self._each("qk_floor")

    def score_std(self, block: int) -> Array:
        """``σ`` of every stack."""
        return self._each("score_std", block)

    def attention_gain(self, block: int) -> Array:
        """``γ`` of every stack."""
        return self._each("attention_gain", block)

    def mlp_gain(self, block: int) -> Array:
        """As in `Stack`, of every stack."""
        return self._each("mlp_gain", block)

    def preactivation_var(self) -> Array:
        """As in `Stack`, of every stack."""
        return np.array([stack.preactivation_var() for stack in self.stacks])

    def layers(self, attention: Attention) -> Iterator[tuple[Stack, Attention]]:
        """Yield every stack with its layers that stand where the first has ``attention``."""
        block = self.stacks[0].attention.index(attention)
        return ((stack, stack.attention[block]) for stack in self.stacks)


Some = Stack | Stacks
"""One stack, or several of one kind."""


def first(stack: Some) -> Stack:
    """Return the stack, or the first of several."""
    return stack.stacks[0] if isinstance(stack, Stacks) else stack


def kind(stack: Stack, grid: Grid) -> object | None:
    """Return what stacks have in common that can run together; equal for no others.

    Stacks with a ring mask, with heads that read sinks, with windows that the grid does not
    resolve or with a token at position 0 that needs a recursion of its own run alone: None.
    """
    alone = any(a.mask == "ring" or a.sink_bias for a in stack.attention)
    if alone or stack.bos.kind in KINDS or Vicinity.of(stack, grid).offsets.size:
        return None
    distinct = list(dict.fromkeys(stack.attention))
    return (
        tuple(getattr(stack, name) for name in _ALIKE),
        tuple(distinct.index(attention) for attention in stack.attention),
        tuple(
            (_turns(stack, attention), *(getattr(attention, name) for name in _LAYERS_ALIKE))
            for attention in distinct
        ),
    )


def _turns(stack: Stack, attention: Attention) -> int:
    """Return how many pairs RoPE turns."""
    if attention.rope is None:
        return 0
    return attention.rope.rotary_dim(stack.rotary_size(attention)) // 2


def together(stacks: Sequence[Stack], grids: Sequence[Grid]) -> Iterator[tuple[list[int], bool]]:
    """Yield the places of stacks that run together, and whether they are of a `kind`.

    Every place comes once.
    """
    kinds: dict[object, list[int]] = {}
    for place, (stack, grid) in enumerate(zip(stacks, grids, strict=True)):
        of_kind = kind(stack, grid)
        if of_kind is None:
            yield [place], False
        else:
            kinds.setdefault(of_kind, []).append(place)
    for places in kinds.values():
        most = max(_ENTRIES // grids[places[0]].size ** 2, 1)
        yield from ((places[k : k + most], True) for k in range(0, len(places), most))
