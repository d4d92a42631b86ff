"""Sink-reading heads: which entries of a head read BOS's key."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .attention import Attention
    from .stack import Stack


class SinkBand(NamedTuple):
    """The entries of a head that turn slowest, in which a sink bias lives.

    Attributes
    ----------
    pairs
        Which of the rotated pairs belong to it (P,).
    still
        How many of the entries that are not rotated, the first of them.
    """

    pairs: NDArray[np.bool_]
    still: int

    @property
    def size(self) -> int:
        """Number of entries."""
        return 2 * int(self.pairs.sum()) + self.still


def sink_band(stack: "Stack", attention: "Attention") -> SinkBand:
    """Return the entries of a head that ``attention.sink_band`` is about.

    What is not rotated comes first, then pairs from the lowest frequency on.
    """
    size, rope = stack.head_size(attention), attention.rope
    frequencies = np.zeros(0)
    if rope is not None:
        frequencies = rope.inverse_frequencies(stack.rotary_size(attention), stack.context)
    wanted = max(2 * round(attention.sink_band * size / 2), 2)
    still = min(size - 2 * frequencies.size, wanted)
    pairs = np.zeros(frequencies.size, dtype=bool)
    pairs[np.argsort(frequencies, kind="stable")[: (wanted - still) // 2]] = True
    return SinkBand(pairs, still)
