"""The mean-field recursion itself: the order parameters from the embedding through the blocks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .attention import attention_branch
from .axes import per_node
from .grid import Grid
from .layer import Layer
from .mlp import mlp_branch
from .scores import Row
from .softmax import Moments
from .state import OtherContent, SameContent, State
from .together import Some
from .vicinity import Vicinity

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Branch:
    """What a branch reads and what it writes, before any norm of its output."""

    reads: State
    writes: State


@dataclass(frozen=True)
class Block:
    """What one block leaves behind."""

    index: int
    before: State
    after: State
    layer: Layer
    row: Row
    attention: Branch
    mlp: Branch | None


@dataclass(frozen=True)
class RowSummary:
    """A block's attention rows, as observables need them (N,)."""

    moments: Moments
    sink: Array
    n_keys: Array


@dataclass(frozen=True)
class Snapshot:
    """What observables are read from: the embedding, or a block and the stream after it.

    Attributes
    ----------
    k_diag, k_bos, q_diag, q_common
        As in `ropeleak.observables` (N,).
    matrices
        Makes ``K``, ``Q`` and ``Q_common`` (N, N); valid until the next snapshot is taken.
    block, rows
        The block on the grid, and its rows; None for the embedding.
    """

    k_diag: Array
    k_bos: Array
    q_diag: Array
    q_common: Array
    matrices: Callable[[], dict[str, Array]]
    block: Block | None = None
    rows: RowSummary | None = None


def initial_state(stack: Some, grid: Grid) -> State:
    """Return the order parameters of the embedding.

    ``Q`` is kept twice: ``bos`` for the stack's BOS policy, ``common`` for ordinary content at
    position 0 (``Q∅``).
    """
    v0, g = per_node(stack.embedding_var), grid.size
    collision = 1 / stack.vocab_size if stack.vocab_size else 0.0
    diag = v0 * np.ones(g)
    pairs = diag[..., None] * np.full(g, stack.alpha + (1 - stack.alpha) * collision)
    spread = np.zeros_like(pairs)
    constant, ordinary = pairs.copy(), pairs.copy()
    if stack.bos.is_constant:
        first = {"zero": 0.0, "mean": stack.alpha}.get(stack.bos.kind, 1.0) * v0
        to_content = 0.0 * v0 if stack.bos.kind == "zero" else stack.alpha * v0
        for matrix in (pairs, constant):
            matrix[..., 0, :] = matrix[..., :, 0] = to_content
        constant[..., :1, 0] = diag[..., :1] = first
        if not first.any():  # Q∅ is in units of K, and K_00 is no unit for ordinary content
            ordinary[..., 0, :] = ordinary[..., :, 0] = 0.0
    anchors = ((0, 0),) if stack.bos.is_constant else ()
    return State(
        SameContent(
            pairs, diag, spread, np.zeros((*diag.shape, Vicinity.of(stack, grid).offsets.size))
        ),
        {
            "bos": OtherContent(constant, spread, anchors),
            "common": OtherContent(ordinary, spread),
        },
    )


def run(stack: Some, grid: Grid, state: State) -> Iterator[Block]:
    """Yield the blocks of ``stack`` in turn, from the state of the embedding on."""
    vicinity = Vicinity.of(stack, grid)
    layers = {a: Layer.of(stack, a, grid, vicinity) for a in dict.fromkeys(stack.attention)}
    norm, eps = stack.norm, stack.norm.eps

    def read(stream: State) -> State:
        return stream.normalised(eps) if norm.before_branch else stream

    def gain(variance: Array) -> Array | float:
        after = 1 / np.sqrt(variance + eps) if norm.after_branch else 1.0
        return after * stack.residual_multiplier

    def write(branch: State) -> State:
        return branch.scaled(gain(branch.same.diag))

    def settle(stream: State) -> State:
        return stream.normalised(eps) if norm.after_sum else stream

    for index in range(stack.n_blocks):
        before = state
        layer = layers[stack.attention[index]]
        u = read(before)
        branch, row = attention_branch(stack, index, layer, grid, u)
        attention, mlp = Branch(u, branch), None
        state = settle(before.plus(write(branch)))
        if stack.mlp[index].kind != "none":
            source = before if norm.parallel else state
            rms = np.sqrt(source.same.diag + eps) if norm.before_branch else np.ones(grid.size)
            u = read(source)
            mlp = Branch(u, mlp_branch(stack, index, u, rms, gain))
            state = settle(state.plus(write(mlp.writes)))
        yield Block(index, before, state, layer, row, attention, mlp)


def snapshots(stack: Some, grid: Grid) -> Iterator[Snapshot]:
    """Yield the embedding, then every block, at the nodes of ``grid``."""
    start = initial_state(stack, grid)
    yield _snapshot(start)
    for block in run(stack, grid, start):
        yield _snapshot(block.after, block)


def _snapshot(state: State, block: Block | None = None) -> Snapshot:
    k_bos = state.same.pairs[..., 0, :].copy()
    k_bos[..., 0] = state.same.diag[..., 0]
    bos, common = state.other["bos"], state.other["common"]
    return Snapshot(
        k_diag=state.same.diag,
        k_bos=k_bos,
        q_diag=bos.diag,
        q_common=common.diag,
        matrices=lambda: {"K": state.same.matrix, "Q": bos.pairs, "Q_common": common.pairs},
        block=block,
        rows=RowSummary(block.row.moments, block.row.sink, block.row.n_keys) if block else None,
    )
