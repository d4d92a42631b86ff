r"""Close pairs of tokens where a sliding window is narrower than the grid's spacing.

Far from the origin a window layer makes neighbours alike: ``K_ij`` gets a ridge along the
diagonal, a few windows wide, that changes slowly with ``i``. Where the grid's cells are wider than
that, the ridge is kept apart from the smooth part of ``K``, as a function ``r_i(Δ)`` of the offset.
A window layer averages it over two windows of ``W`` keys, one for each query,
``r(Δ) → Σ_u (W-|Δ-u|)_+ r(|u|) / W²``; a global layer sees its sum over all offsets; an MLP and a
norm act on it entry by entry.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ropeleak.spec import Attention

from .grid import Grid, log_nodes

if TYPE_CHECKING:
    from .together import Some

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_COARSE = 4
"""A window is resolved where at least this many cells fall into it."""
_CELLS = 12
_RATIO = 1.12


@dataclass(frozen=True)
class Vicinity:
    """The offsets at which the ridge is kept, and the nodes that need one.

    Attributes
    ----------
    offsets
        ``0 = Δ_0 < Δ_1 < …`` (B,), linear in between; empty if the grid resolves every window.
    beyond
        Nodes whose windows the grid does not resolve (G,).
    """

    offsets: Index
    beyond: NDArray[np.bool_]

    @classmethod
    def of(cls, stack: "Some", grid: Grid) -> "Vicinity":
        """Return the vicinity for a stack on a grid."""
        windows = {a.window for a in stack.attention if a.window is not None}
        spacing = np.diff(grid.nodes, prepend=0)
        coarse = [np.flatnonzero(spacing > max(w / _COARSE, 1)) for w in windows]
        first = min((int(found[0]) for found in coarse if found.size), default=grid.size)
        beyond = np.arange(grid.size) >= first
        if first == grid.size:
            return cls(np.zeros(0, dtype=np.int64), beyond)
        farthest = sum(a.window for a in stack.attention if a.window is not None)
        near = [np.linspace(0, 2 * w, 2 * _CELLS + 1).astype(np.int64) for w in windows]
        far = log_nodes(min(windows), max(farthest, min(windows) + 1), _RATIO)
        return cls(np.unique(np.concatenate([[0, 1], *near, far])), beyond)

    def sums(self, offset: int, reach: int, weight: Array) -> Array:
        """Return weights (B,) of ``Σ_u weight_u r(|u|)``, ``u`` within ``reach`` of an offset."""
        u = np.abs(np.arange(offset - reach, offset + reach + 1))
        total = np.zeros(self.offsets.size)
        inside = u < self.offsets[-1]
        u, weight = u[inside], weight[inside]
        lower = np.searchsorted(self.offsets, u, side="right") - 1
        share = (u - self.offsets[lower]) / (self.offsets[lower + 1] - self.offsets[lower])
        np.add.at(total, lower, weight * (1 - share))
        np.add.at(total, lower + 1, weight * share)
        return total


@dataclass(frozen=True)
class Ridge:
    """What one attention layer does to the ridge.

    Attributes
    ----------
    offsets
        As in `Vicinity` (B,).
    beyond
        Nodes at which ``shared`` keys make a ridge rather than a part of the smooth kernel (G,).
    spread
        The map of a window layer (B, B); zero for another.
    between
        Weights of the mean over two keys of one row (B,).
    shared
        Keys that two queries at an offset share, over ``W²`` (B,).
    rotated
        Weights of the mean of ``κ r`` over two keys of one row (B,).
    turned
        ``κ`` at the offsets (B,).
    sum
        Weights of the sum over all offsets, for a layer without a window (B,).
    """

    offsets: Index
    beyond: NDArray[np.bool_]
    spread: Array
    between: Array
    shared: Array
    rotated: Array
    turned: Array
    sum: Array

    @classmethod
    def of(
        cls, vicinity: Vicinity, attention: Attention, frequencies: Array, share: Array
    ) -> "Ridge":
        """Return the ridge of one layer with some rotation frequencies."""
        b, offsets = vicinity.offsets.size, vicinity.offsets
        zero = np.zeros(b)
        if not b:
            none = np.zeros_like(vicinity.beyond)
            return cls(offsets, none, np.zeros((0, 0)), zero, zero, zero, zero, zero)
        turned = np.cos(np.outer(offsets, frequencies)) @ share
        w = attention.window
        if w is None:
            far = int(offsets[-1])
            none = np.zeros_like(vicinity.beyond)
            whole = vicinity.sums(0, far, np.ones(2 * far + 1))
            return cls(offsets, none, np.zeros((b, b)), zero, zero, zero, turned, whole)
        lag = np.arange(1 - w, w)
        triangle = (w - np.abs(lag)) / w**2
        spread = np.array([vicinity.sums(int(x), w - 1, triangle) for x in offsets])
        kappa = np.cos(np.outer(np.arange(w), frequencies)) @ share
        rotated = vicinity.sums(0, w - 1, triangle * kappa[np.abs(lag)])
        shared = np.maximum(w - offsets, 0) / w**2
        return cls(offsets, vicinity.beyond, spread, spread[0], shared, rotated, turned, zero)
