"""The positions on which the recursion runs: all of them, or a grid that grows with the log.

Between two nodes every kernel is interpolated linearly, so a sum over tokens is a weighted sum
over nodes; the weights are exact sums of hat functions. With all positions as nodes the hats are
single tokens and nothing is approximated.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ropeleak.spec import Stack

Array = NDArray[np.float64]
Positions = Literal["auto", "dense", "grid", "coarse"]
Index = NDArray[np.int64]


class Resolution(NamedTuple):
    """How close the nodes of a grid are.

    Attributes
    ----------
    exact
        Positions below this are always nodes.
    ratio
        Growth of ``1 + position`` from one node to the next.
    per_window
        Nodes that resolve a sliding window.
    band_ratio, offsets
        The same growth where leaks are averaged, and the offsets that are looked at there.
    """

    exact: int
    ratio: float
    per_window: int
    band_ratio: float
    offsets: int


RESOLUTIONS = {
    "grid": Resolution(64, 1.08, 16, 1.1, 14),
    "coarse": Resolution(16, 1.15, 8, 1.2, 10),
}
FINE = RESOLUTIONS["grid"]
DIRECT_DENSE = 512
"""Longer contexts are refined from the grid when all positions are asked for."""
WINDOWS_RESOLVED = 16
"""A sliding window is resolved over this many windows."""
GAP = 4
"""Windows between the last node that resolves a window and the next."""
CHUNK_RATIO = 2.0
CHUNK_NODES = 1000
"""Growth of the distance from a chunk's start from one node to the next; nodes in all chunks."""


@dataclass(frozen=True)
class Grid:
    """Nodes ``0 = p_0 < p_1 < … < p_{G-1} = context - 1``."""

    nodes: Index
    context: int
    resolution: Resolution = FINE

    @property
    def size(self) -> int:
        """Number of nodes ``G``."""
        return int(self.nodes.size)

    @property
    def is_dense(self) -> bool:
        """Whether every position is a node."""
        return self.size == self.context

    @property
    def name(self) -> str:
        """What a choice of such positions is called."""
        names = {resolution: name for name, resolution in RESOLUTIONS.items()}
        return "dense" if self.is_dense else names[self.resolution]

    @property
    def cell(self) -> Array:
        """Number of tokens that a node stands for, shape (G,)."""
        return np.asarray(self.prefix_weights(np.array([self.context]))[0])

    def prefix_weights(self, stop: Index) -> Array:
        """Return weights (N, G) such that ``weights @ f(nodes)`` is ``Σ_{j < stop} f(j)``."""
        p = self.nodes
        h = np.diff(p, append=p[-1] + 1).astype(float)
        left, right = (h + 1) / 2, (h - 1) / 2  # Σ over a cell of 1 - t/h and of t/h
        full = left.copy()
        full[1:] += right[:-1]
        cell = np.clip(np.searchsorted(p, stop, side="right") - 1, 0, p.size - 1)
        m = (np.minimum(stop, self.context) - p[cell]).astype(float)
        rows = np.arange(stop.size)
        weights = np.where(np.arange(p.size) < cell[:, None], full, 0.0)
        up = m * (m - 1) / 2 / h[cell]
        weights[rows, cell] = m - up + np.where(cell > 0, right[cell - 1], 0.0)
        inside = cell + 1 < p.size
        weights[rows[inside], cell[inside] + 1] = up[inside]
        return weights

    def interpolation(self, positions: Index) -> csr_array:
        """Return sparse weights (N, G) such that ``weights @ f(nodes)`` is ``f(positions)``."""
        p = self.nodes
        cell = np.clip(np.searchsorted(p, positions, side="right") - 1, 0, max(p.size - 2, 0))
        upper = np.minimum(cell + 1, p.size - 1)
        t = (positions - p[cell]) / np.maximum(p[upper] - p[cell], 1)
        rows = np.arange(positions.size)
        data, at = np.concatenate([1 - t, t]), np.concatenate([cell, upper])
        return csr_array((data, (np.tile(rows, 2), at)), shape=(positions.size, p.size))


def dense_grid(context: int) -> Grid:
    """Return the grid of all positions."""
    return Grid(np.arange(context), context)


def log_nodes(start: int, stop: int, ratio: float) -> Index:
    """Return integers from ``start`` to ``stop`` with ``1 + position`` growing by ``ratio``."""
    count = max(int(np.ceil(np.log((stop + 1) / (start + 1)) / np.log(ratio))), 1) + 1
    return np.unique(np.round(np.geomspace(start + 1, stop + 1, count)).astype(np.int64) - 1)


def log_grid(stack: Stack, extra: tuple[int, ...] = (), resolution: Resolution = FINE) -> Grid:
    """Return the grid on which ``stack`` is resolved to better than a percent.

    The first positions are exact, then spacing grows with the logarithm; where a layer has a
    window or chunks, spacing is a fraction of it over the first positions. After the last window
    that is resolved comes a cell of several windows, so that no window lies in both regions.
    ``extra`` positions and their neighbours are nodes too.
    """
    last = stack.context - 1
    exact = resolution.exact
    if last < exact:
        return Grid(np.arange(stack.context), stack.context, resolution)
    nodes = np.union1d(np.arange(exact), log_nodes(exact, last, resolution.ratio))
    for chunk in {a.chunk for a in stack.attention if a.chunk is not None}:
        starts = np.arange(0, last, chunk)
        wanted = int(np.ceil(np.log(chunk) / np.log(CHUNK_RATIO))) + 1
        count = min(wanted, max(CHUNK_NODES // starts.size, 2))
        local = np.unique(np.round(np.geomspace(1, chunk, count)).astype(np.int64)) - 1
        nodes = np.union1d(nodes, starts[:, None] + local)
    near = np.unique(np.add.outer(np.array(extra, dtype=np.int64), [-1, 0, 1]))
    ends = [a.prefix + step for a in stack.attention if a.prefix for step in (-1, 0)]
    nodes = np.union1d(nodes, np.append(near, np.array(ends, dtype=np.int64)))
    for window in sorted({a.window for a in stack.attention if a.window is not None}, reverse=True):
        stop = window * WINDOWS_RESOLVED
        for position in near.tolist():
            if stop <= position < stop + GAP * window:
                stop = position + 1
        step = max(window // resolution.per_window, 1)
        fine = np.append(np.arange(window - 1, stop, step), np.arange(window - 2, window + 1))
        apart = (nodes < stop) | (nodes >= stop + GAP * window)
        nodes = np.union1d(nodes[apart], fine)
    nodes = np.append(nodes[(nodes >= 0) & (nodes < last)], last)
    return Grid(nodes, stack.context, resolution)
