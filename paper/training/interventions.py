"""Changes of the trained baseline that it was not trained with."""

from collections.abc import Mapping
from typing import NamedTuple

from ropeleak.spec import Stack
from ropeleak.spec.bos import BosKind

from .architectures import CONTEXT, FACTOR, Change

LONGER = 4
"""Contexts past the trained one are so many times as long."""
REPLACEMENT = ord("a")
"""The byte that stands in for BOS."""


class Intervention(NamedTuple):
    """One change.

    Attributes
    ----------
    change
        Fields of the stack by their dotted paths.
    bos, byte
        What the contents hold at position 0, and a byte that replaces it.
    silent
        Whether BOS's embedding is made zero.
    """

    change: Change = ()
    bos: BosKind = "constant"
    byte: int | None = None
    silent: bool = False

    def apply(self, stack: Stack) -> Stack:
        """Return the changed stack."""
        for path, value in self.change:
            stack = stack.set(path, value)
        return stack


_LONGER: Change = (("context", LONGER * CONTEXT),)


def _scaled(kind: str) -> Change:
    return (("attention.rope", {"type": kind, "factor": FACTOR}),)


INTERVENTIONS: Mapping[str, Intervention] = {
    "none": Intervention(),
    "constant byte": Intervention(byte=REPLACEMENT),
    "random bytes": Intervention(bos="random"),
    "zero vector": Intervention(silent=True),
    "NTK": Intervention(_scaled("ntk")),
    "linear": Intervention(_scaled("linear")),
    "context ×4": Intervention(_LONGER),
    "context ×4, NTK": Intervention((*_LONGER, *_scaled("ntk"))),
    "context ×4, linear": Intervention((*_LONGER, *_scaled("linear"))),
}
"""By name: what is put in place of BOS, and RoPE scalings at the trained context and past it."""
