r"""The recursion on every position of a long context.

With all positions as nodes the recursion multiplies matrices, ``O(T³)`` a block. Here the first
order, uniform attention over the keys that a mask allows, is summed exactly over all positions
(``O(T²)`` a block, by running sums), and so are norms and MLPs, entry by entry. What mean
weights, repeated choices and finite width add is smooth in position; it is taken from the grid,
as the difference between the recursion's map and its first order there.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ropeleak.spec import Stack

from .grid import Grid, dense_grid
from .mlp import Kernel, horner, mlp_kernel
from .recursion import Block, RowSummary, Snapshot, initial_state, run
from .running_sums import Keys, row_blocks
from .scores import plain_moments
from .softmax import Moments
from .state import State

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_TINY = 1e-300


def refine(stack: Stack, grid: Grid) -> Iterator[Snapshot]:
    """Yield the embedding, then every block of the recursion on ``grid``, at every position.

    ``Q∅``, which knows no position, is smooth and comes from the grid as a whole.
    """
    every = dense_grid(stack.context)
    between = grid.interpolation(every.nodes)
    kernels = _whole(initial_state(stack, every))
    running = {name: np.zeros((every.size + 1, every.size)) for name in kernels}
    lower = all(Keys.of(a, every).is_causal for a in dict.fromkeys(stack.attention))

    def snapshot(
        state: State, block: Block | None = None, rows: RowSummary | None = None
    ) -> Snapshot:
        common = state.other["common"].pairs
        return Snapshot(
            k_diag=np.diag(kernels["same"]).copy(),
            k_bos=kernels["same"][:, 0].copy(),
            q_diag=np.diag(kernels["bos"]).copy(),
            q_common=between @ np.diag(common),
            matrices=lambda: {
                "K": _symmetric(kernels["same"]),
                "Q": _symmetric(kernels["bos"]),
                "Q_common": (between @ (between @ common).T).T,
            },
            block=block,
            rows=rows,
        )

    start = initial_state(stack, grid)
    yield snapshot(start)
    with ThreadPoolExecutor(max_workers=len(kernels)) as pool:
        for block in run(stack, grid, start):
            rows = fine_rows(stack, grid, every, block)
            keys = Keys.of(block.layer.attention, every)
            before = np.diag(kernels["same"]).copy()
            reads = 1 / np.sqrt(before + stack.norm.eps) if stack.norm.before_branch else None
            sums = keys.causal_sums if lower else keys.running_sums
            list(pool.map(partial(sums, reads), kernels.values(), running.values()))
            both = keys.own_mean(running["same"])
            step = Step.of(stack, grid, block, keys, rows.moments, before, both)
            advance = partial(step.advance, lower=lower)
            list(pool.map(advance, kernels, kernels.values(), running.values()))
            yield snapshot(block.after, block, rows)


def _whole(state: State) -> dict[str, Array]:
    return {"same": state.same.matrix, "bos": state.other["bos"].pairs}


def _symmetric(kernel: Array) -> Array:
    """Return the symmetric matrix whose lower triangle is that of ``kernel``."""
    return np.tril(kernel) + np.tril(kernel, -1).T


def fine_rows(stack: Stack, grid: Grid, every: Grid, block: Block) -> RowSummary:
    """Return a block's rows at every position: exact numbers of keys, smooth factors."""
    weights = grid.interpolation(every.nodes)
    allowed = block.layer.attention.key_range(every.nodes, every.context)
    n = allowed.n_keys.astype(float)
    row, coarse, attention = block.row, block.row.n_keys, block.layer.attention
    smooth = (row.own_std, row.score_std**2, row.common)
    here = plain_moments(stack, attention, coarse, *smooth)
    plain = plain_moments(stack, attention, n, *(weights @ part for part in smooth))
    found = row.moments
    repeated = (found.participation - here.participation) * coarse
    moments = Moments(
        plain.log_z + weights @ (found.log_z - here.log_z),
        plain.row_sum + weights @ (found.row_sum - here.row_sum),
        plain.row_sum_square + weights @ (found.row_sum_square - here.row_sum_square),
        plain.participation + (weights @ repeated) / n,
    )
    sees_first = (allowed.first == 0) | (allowed.sinks > 0)
    sink = np.where(sees_first, weights @ (block.row.sink * coarse), 0.0) / n
    return RowSummary(moments, sink, n)


@dataclass(frozen=True)
class Smooth:
    """A function of two positions, known at a grid's nodes and linear in between.

    Attributes
    ----------
    lower, share
        The node below a position (T,) and how far the position is on the way to the next (T,).
    columns, slope
        Values at nodes and positions (G, T), and their differences along the nodes (G-1, T).
    """

    lower: Index
    share: Array
    columns: Array
    slope: Array

    @classmethod
    def of(cls, grid: Grid, context: int, values: Array) -> "Smooth":
        """Return the function with ``values`` (G, G) at the nodes."""
        positions = np.arange(context)
        lower = np.clip(np.searchsorted(grid.nodes, positions, side="right") - 1, 0, grid.size - 2)
        share = (positions - grid.nodes[lower]) / (grid.nodes[lower + 1] - grid.nodes[lower])
        columns = np.ascontiguousarray((grid.interpolation(positions) @ values.T).T)
        return cls(lower, share, columns, np.diff(columns, axis=0))

    def add_to(self, total: Array, rows: slice) -> None:
        """Add the function at some rows and the first columns to ``total`` (R, C)."""
        lower, stop = self.lower[rows], total.shape[1]
        at = slice(lower[0], lower[0] + 1) if lower[0] == lower[-1] else lower
        total += self.columns[at, :stop]
        total += self.slope[at, :stop] * self.share[rows, None]


@dataclass(frozen=True)
class Change:
    """How one branch changes a kernel: its variance is known, its smooth part is on the grid.

    Attributes
    ----------
    diag
        Variance that the branch writes (T,).
    smooth
        What the grid adds to the first order, by kernel.
    write, settle
        Factors of the norms after the branch and after the sum (T,); None for one.
    """

    diag: Array
    smooth: dict[str, Smooth]
    write: Array | None
    settle: Array | None

    def apply(self, name: str, stream: Array, branch: Array, rows: slice) -> Array:
        """Return the rows of a kernel (R, C) after the branch is added to the stream."""
        self.smooth[name].add_to(branch, rows)
        if name == "same":
            own = np.arange(rows.start, rows.stop)
            branch[own - rows.start, own] = self.diag[rows]
        _scale(branch, self.write, rows)
        branch += stream
        _scale(branch, self.settle, rows)
        return branch

    def variance(self, stream: Array) -> Array:
        """Return the variance of the stream after the branch (T,)."""
        total = stream + (self.diag if self.write is None else self.diag * self.write**2)
        return total if self.settle is None else total * self.settle**2


@dataclass(frozen=True)
class Step:
    """One block's change of a kernel at every position."""

    keys: Keys
    row_sum: Array
    gain: float
    attention: Change
    mlp: Change | None
    parallel: bool
    correlate: Array
    kernel: Kernel | None

    @classmethod
    def of(
        cls,
        stack: Stack,
        grid: Grid,
        block: Block,
        keys: Keys,
        moments: Moments,
        before: Array,
        both: Array,
    ) -> "Step":
        """Return the step of a block.

        Parameters
        ----------
        moments
            Moments of the block's rows (T,).
        before
            Variance of the stream (T,).
        both
            Mean of the attention input's kernel over two keys of a query (T,).
        """
        norm, eps = stack.norm, stack.norm.eps

        def smooth(values: dict[str, Array]) -> dict[str, Smooth]:
            return {name: Smooth.of(grid, stack.context, part) for name, part in values.items()}

        def change(diag: Array, stream: Array, values: dict[str, Array]) -> Change:
            write = 1 / np.sqrt(diag + eps) if norm.after_branch else np.ones_like(diag)
            write *= stack.residual_multiplier
            total = stream + diag * write**2
            return Change(
                diag,
                smooth(values),
                None if (write == 1).all() else write,
                1 / np.sqrt(total + eps) if norm.after_sum else None,
            )

        gain = stack.attention_gain(block.index)
        weights = grid.interpolation(np.arange(stack.context))
        size = before / (before + eps) if norm.before_branch else before
        own = keys.row_means(np.append(0.0, np.cumsum(size)))
        missing = block.attention.writes.same.diag - gain * _first_order_variance(block)
        written = gain * _row_variance(moments, keys.n_keys, own, both)
        attention = change(written + weights @ missing, before, _attention_remainder(block, gain))
        between = attention.variance(before)
        source = before if norm.parallel else between
        kernel = mlp = None
        if block.mlp is not None:
            size = source / (source + eps) if norm.before_branch else source
            kernel = mlp_kernel(stack, block.index, np.maximum(size, _TINY))
            diag = np.broadcast_to(kernel.variance(), source.shape)
            mlp = change(diag, between, _mlp_remainder(stack, block))
        return cls(
            keys,
            moments.row_sum,
            gain,
            attention,
            mlp,
            norm.parallel,
            1 / np.sqrt(np.maximum(source, _TINY)),
            kernel,
        )

    def advance(self, name: str, kernel: Array, running: Array, *, lower: bool) -> None:
        """Update a kernel (T, T) in place; ``running`` are its `Keys.running_sums`.

        With ``lower`` the upper triangle is left undefined.
        """
        everywhere = None
        if self.kernel is not None and self.kernel.size.size == 1:
            everywhere = self.kernel.between(slice(None), slice(None))
        for rows in row_blocks(kernel.shape[0]):
            columns = slice(0, rows.stop)
            stream = kernel[rows, columns]
            branch = self.keys.mean(running[:, columns], rows)
            branch *= self.gain * self.row_sum[rows, None]
            branch *= self.row_sum[columns]
            after = self.attention.apply(name, stream, branch, rows)
            if self.mlp is not None and self.kernel is not None:
                c = (stream if self.parallel else after) * self.correlate[columns]
                c *= self.correlate[rows, None]
                np.clip(c, -1.0, 1.0, out=c)
                between = self.kernel.between(rows, columns) if everywhere is None else everywhere
                branch = horner(between, c)
                after = self.mlp.apply(name, after, branch, rows)
            kernel[rows, columns] = after
            if not lower:
                kernel[: rows.start, rows] = after[:, : rows.start].T


def _attention_remainder(block: Block, gain: float) -> dict[str, Array]:
    """Return what the grid's attention adds to uniform averages over keys (G, G)."""
    u, writes = block.attention.reads, block.attention.writes
    row_sum = block.row.moments.row_sum
    first = gain * np.outer(row_sum, row_sum)
    return {
        "same": writes.same.pairs - first * _uniform(block),
        **{
            name: q.pairs - first * _averaged(block, u.other[name].pairs)
            for name, q in writes.other.items()
        },
    }


def _mlp_remainder(stack: Stack, block: Block) -> dict[str, Array]:
    """Return what finite width adds to the MLP's kernel on the grid (G, G)."""
    assert block.mlp is not None
    u, writes = block.mlp.reads, block.mlp.writes
    size = np.maximum(u.same.diag, _TINY)
    kernel = mlp_kernel(stack, block.index, size)
    polynomial = kernel.between(slice(None), slice(None))
    inverse = 1 / np.sqrt(size)
    scale = np.outer(inverse, inverse)

    def remainder(read: Array, written: Array) -> Array:
        return written - horner(polynomial, np.clip(read * scale, -1.0, 1.0))

    return {
        "same": remainder(u.same.pairs, writes.same.pairs),
        **{name: remainder(u.other[name].pairs, q.pairs) for name, q in writes.other.items()},
    }


def _averaged(block: Block, pairs: Array) -> Array:
    mean = block.layer.averaging.mean
    return np.asarray(mean @ pairs @ mean.T)


def _uniform(block: Block) -> Array:
    """Return the mean of ``K`` over two queries' keys, repeated keys included (G, G)."""
    same, averaging = block.attention.reads.same, block.layer.averaging
    held = same.diag - np.diag(same.pairs) + same.near @ block.layer.ridge.sum
    extra = averaging.shared(np.ones_like(same.pairs), held)
    return _averaged(block, same.pairs) + extra


def _first_order_variance(block: Block) -> Array:
    same, averaging, ridge = block.attention.reads.same, block.layer.averaging, block.layer.ridge
    limit = np.diag(same.pairs)
    held = same.diag - limit + same.near @ ridge.sum
    both = np.diag(_averaged(block, same.pairs)) + same.near @ ridge.between
    both += averaging.repeated(np.ones_like(same.pairs), held)
    return _row_variance(block.row.moments, block.row.n_keys, averaging.mean @ same.diag, both)


def _row_variance(moments: Moments, n: Array, own: Array, both: Array) -> Array:
    """Return ``Φ_ii`` of uniform mean attention: ``both`` averages over two keys of a row."""
    repeated = np.maximum(moments.row_sum_square - moments.participation, 0.0)
    distinct = np.where(n > 1, (both - own / n) / np.maximum(1 - 1 / n, _TINY), 0.0)
    return np.asarray(moments.participation * own + repeated * distinct)


def _scale(kernel: Array, factor: Array | None, rows: slice) -> None:
    if factor is not None:
        kernel *= factor[: kernel.shape[1]]
        kernel *= factor[rows, None]
