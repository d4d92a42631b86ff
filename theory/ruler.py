r"""The ruler: how well one activation tells which of two positions it was read at.

Two sequences hold the same token ``t``, one at ``i`` and one at ``i'``; the rest is random. With
``Q`` conditioned on ``t``, the linear cue is ``d'² = d (Q_ii + Q_i'i' - 2 Q_ii') / mean(K - Q)``
and the norm cue ``|ln K_ii/K_i'i'| / √ψ'(d/2)``, which is ``√(d/2) |ln K_ii/K_i'i'|`` for large
widths: the theorems ``ruler-linear`` and ``ruler-norm``.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ropeleak.errors import RopeleakError
from ropeleak.spec import Stack

from .closed_forms import ruler_linear, ruler_norm
from .grid import Grid
from .mean_field import choose_grid
from .memory import check_memory
from .recursion import initial_state, run
from .state import OtherContent, State

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]


CUES = {
    "linear": "d′ of a linear readout",
    "norm": "d′ of the norm",
    "combined": "d′ of both cues",
}


def ruler(stack: Stack, i: int, i2: int) -> "xr.Dataset":
    """Return the discriminability d′ between the same token at ``i`` and at ``i2``.

    Parameters
    ----------
    stack
        The architecture.
    i, i2
        Two positions of its context.

    Returns
    -------
    xarray.Dataset
        ``linear``, ``norm`` and ``combined`` (``depth``), in standard deviations.

    Raises
    ------
    RopeleakError
        If a position is outside the context.
    """
    return labelled(cues(stack, i, i2), i, i2)


def cues(stack: Stack, i: int, i2: int) -> dict[str, Array]:
    """Return the variables of `ruler` as plain arrays (L+1,)."""
    for position in (i, i2):
        if not 0 <= position < stack.context:
            raise RopeleakError(
                f"position {position} is outside the context of {stack.context} tokens:"
                f" give positions from 0 to {stack.context - 1}"
            )
    grid = choose_grid(stack, "auto", extra=(i, i2))
    check_memory(stack, grid, "summary")
    first, second = (int(np.searchsorted(grid.nodes, x)) for x in (i, i2))
    state = conditioned_state(stack, grid, first, second)
    linear, norm = [], []
    blocks = run(stack, grid, state)
    for depth in range(stack.n_blocks + 1):
        if depth:
            state = next(blocks).after
        q = {name: kernel.pairs for name, kernel in state.other.items()}
        k = state.same.diag[[first, second]]
        own = np.array([q["first"][first, first], q["second"][second, second]])
        between = q["between"][first, second]
        floor = 1e-12 * k.sum()
        told = own.sum() - 2 * between > floor
        spread = np.maximum(k, own + floor)
        linear.append(
            float(ruler_linear(stack.d_model, own[0], own[1], between, spread[0], spread[1]))
            if told
            else 0.0
        )
        norm.append(float(ruler_norm(stack.d_model, k[0], k[1])))
    found = np.array([linear, norm, np.hypot(linear, norm)])
    return dict(zip(CUES, found, strict=True))


def conditioned_state(stack: Stack, grid: Grid, first: int, second: int) -> State:
    """Return the embedding's state when two kinds of input hold one token at two nodes.

    ``Q`` is kept for two inputs of the first kind, two of the second, and one of each; and ``Q∅``
    where heads may read a BOS that is not there.
    """
    plain = initial_state(stack, grid)
    base = plain.other["bos"]
    pairs_of = {"first": (first, first), "second": (second, second), "between": (first, second)}
    other = {}
    if any(attention.sink_bias for attention in stack.attention):
        other["common"] = plain.other["common"]
    for name, (k, l) in pairs_of.items():
        pairs = base.pairs.copy()
        pairs[k, l] = np.sqrt(plain.same.diag[k] * plain.same.diag[l])
        anchors = tuple(dict.fromkeys([*base.anchors, (k, l)]))
        other[name] = OtherContent(pairs, base.spread, anchors)
    return State(plain.same, other)


def labelled(found: dict[str, Array], i: int, i2: int) -> "xr.Dataset":
    """Return `cues` as a dataset."""
    import xarray as xr

    return xr.Dataset(
        {
            name: ("depth", values, {"units": "standard deviations", "long_name": CUES[name]})
            for name, values in found.items()
        },
        {"depth": np.arange(found["linear"].size)},
        {"i": i, "i2": i2},
    )
