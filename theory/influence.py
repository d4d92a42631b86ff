r"""Mean attention as a map of influence: entropy of its rows, and rollout through layers.

Rollout follows the mean weights alone: a layer is ``(1-λ) I + λ A``, and the influence of token
``j`` on token ``i`` is the entry of the product over layers. With uniform attention ``A = U`` and a
causal mask it is the closed form of the theorem ``rollout``.
"""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ropeleak.errors import RopeleakError
from ropeleak.spec import Attention, Stack

from .dense import Mask, check
from .grid import Positions, dense_grid
from .mean_field import choose_grid
from .recursion import snapshots

Array = NDArray[np.float64]


def mean_attention(stack: Stack) -> Array:
    """Return ``E a_ij`` of every block (L, T, T) by the closed recursion on all positions.

    Raises
    ------
    RopeleakError
        If all positions need more memory than is allowed.
    """
    check(stack, "summary")
    steps = snapshots(stack, dense_grid(stack.context))
    return np.array([step.block.row.weights for step in steps if step.block is not None])


def uniform_attention(attention: Attention, context: int) -> Array:
    """Return the averaging matrix of a mask (T, T): attention in the limit of small scores."""
    mask = Mask(attention, context)
    return np.asarray(mask.visible / mask.n_keys[:, None])


def rollout(weights: Array, share: float) -> Array:
    """Return the influence of every token on every token (T, T) after all layers.

    Parameters
    ----------
    weights
        Attention of every layer (L, T, T).
    share
        ``λ``: what attention writes, as a share of the stream; 1 leaves the residual out.
    """
    total = np.eye(weights.shape[-1])
    for layer in weights:
        total = (1 - share) * total + share * layer @ total
    return total


def entropy(stack: Stack, positions: Positions = "auto") -> xr.DataArray:
    """Return the mean entropy of attention (``block``, ``query``), nats.

    The theorem ``attention-entropy``, of what a row's scores do not share.

    Parameters
    ----------
    stack
        The architecture.
    positions
        As in `predict`.

    Raises
    ------
    RopeleakError
        If scores have a mean, or weights do not sum to one.
    """
    for attention in dict.fromkeys(stack.attention):
        soft = attention.softmax
        lacking = (
            (soft.kind != "softmax" or soft.null_logit is not None, "weights that sum to one"),
            (attention.alignment or attention.sink_bias, "alignment=0 and sink_bias=0"),
        )
        for applies, needed in lacking:
            if applies:
                raise RopeleakError(f"the entropy of attention is predicted for {needed} only")
    grid = choose_grid(stack, positions)
    found = []
    for step in snapshots(stack, grid):
        if step.block is not None:
            row = step.block.row
            found.append(row.moments.log_z - row.own_std**2 * (1 - row.moments.participation))
    return xr.DataArray(
        np.array(found),
        {"block": np.arange(1, stack.n_blocks + 1), "query": grid.nodes},
        ("block", "query"),
        "entropy",
        {"units": "nats", "long_name": "entropy of attention", "definition": "-E Σ_j a_ij ln a_ij"},
    )
