"""The closed mean-field recursion: every observable of a stack, without sampling."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ropeleak.observables import dataset
from ropeleak.spec import Stack

from .band import make_band
from .grid import Grid, dense_grid, log_grid
from .leak import Leaks, widest_offset
from .memory import check_memory
from .provenance import attributes
from .reach import reaches
from .recursion import snapshots
from .refine import refine

Array = NDArray[np.float64]


AUTO_DENSE = 160
"""Contexts up to this run on all positions unless told otherwise."""
DIRECT_DENSE = 512
"""Longer contexts are refined from the grid when all positions are asked for."""
Positions = Literal["auto", "dense", "grid"]
Keep = Literal["summary", "full"]

_TINY = 1e-300


def predict(
    stack: Stack,
    *,
    keep: Keep = "summary",
    positions: Positions = "auto",
    progress: Callable[[int], None] | None = None,
) -> xr.Dataset:
    """Return every observable of ``stack`` by the closed mean-field recursion.

    Parameters
    ----------
    stack
        The architecture.
    keep
        ``full`` adds the matrices ``K``, ``Q`` and ``Q_common`` (depth, query, key).
    positions
        ``dense`` runs on all positions, ``grid`` on a log-spaced grid (positions below 64
        exact), ``auto`` on all positions of a short context and on the grid of a longer one.
    progress
        Called with the number of finished blocks.

    Returns
    -------
    xarray.Dataset
        With the variables of `ropeleak.observables`.

    Raises
    ------
    RopeleakError
        If the recursion needs more memory than it may use.

    Notes
    -----
    To the map of uniform attention the recursion adds, for each query and to second order in the
    scores: what keys share and RoPE tells apart, the weight that an unusual key draws, the
    ``χ²`` spread of a query's norm, the keys that two queries choose together, and what a finite
    number of heads, hidden units and dimensions leaves in an MLP's mean.

    Against the sampled recursion, in the mean over positions of stacks of 32 blocks: everything is
    within 3% up to ``σ = 2.5``, but for ``leak_residual``, 4% too low in block 2 at ``σ = 1.6``,
    and 8% in block 2 and 4% in block 4 at ``σ = 2.5``. The recursion drifts, too, for strong
    alignment (``m > 1``), and where tokens of different norms are attended to without a norm
    before.
    """
    grid = choose_grid(stack, positions)
    fine = positions == "dense" and not grid.is_dense
    check_memory(stack, grid, keep, fine=fine)
    steps = refine(stack, grid) if fine else snapshots(stack, grid)
    nodes = np.arange(stack.context) if fine else grid.nodes
    bands = {
        w: make_band(grid, w) for w in {widest_offset(stack, b) for b in range(stack.n_blocks)}
    }

    record, leaks = Recorder(), Leaks(stack, bands)
    largest = 0.0
    for step in steps:
        fingerprint = np.maximum(step.q_diag - step.q_common, 0.0) * stack.bos.is_constant
        record.add(
            k_diag=step.k_diag,
            q_diag=step.q_diag,
            q_common=step.q_common,
            k_bos=step.k_bos,
            beacon=np.clip(fingerprint / np.maximum(step.k_diag, _TINY), 0.0, 1.0),
        )
        if keep == "full":
            record.add(**step.matrices())
        if step.block is None or step.rows is None:
            continue
        index, rows = step.block.index, step.rows
        leaks.add(step.block)
        record.add(
            log_z=rows.moments.log_z, sink=rows.sink, sink_excess=rows.sink * rows.n_keys
        )
        if progress is not None:
            progress(index + 1)
        largest = max(largest, float(step.block.row.score_std.max()))
    for found in leaks.all():
        record.add(
            leak_mask=np.sqrt(found.mask),
            leak_residual=np.sqrt(found.residual),
            leak_total=np.sqrt(max(found.total, 0.0)),
        )
    values = {**record.arrays(), "reach": np.array(reaches(stack), dtype=float)}
    beyond = nodes[None, :] > values["reach"][:, None]
    values["beacon"] = np.where(beyond, 0.0, values["beacon"])
    attrs = attributes(stack, largest, dense=fine or grid.is_dense)
    return dataset(values, stack.n_blocks, nodes, attrs)


def choose_grid(stack: Stack, positions: Positions, extra: tuple[int, ...] = ()) -> Grid:
    """Return the nodes on which the recursion runs; ``extra`` positions are nodes."""
    longest = {"auto": AUTO_DENSE, "dense": DIRECT_DENSE, "grid": 0}[positions]
    return dense_grid(stack.context) if stack.context <= longest else log_grid(stack, extra)


class Recorder:
    """Collects arrays by name, one entry per block."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Array]] = {}

    def add(self, **values: Array | float) -> None:
        """Append one entry to each named list."""
        for name, value in values.items():
            self._rows.setdefault(name, []).append(np.asarray(value, dtype=float))

    def arrays(self) -> dict[str, Array]:
        """Return the lists as arrays, the block first."""
        return {name: np.array(rows) for name, rows in self._rows.items()}
