r"""Uniform attention, the limit of small scores: exact kernels on all positions.

Every block averages over the visible keys, ``Φ = U C Uᵀ``, so without norms the kernels are the
closed form ``Σ_m C(L, m) γ^m U^m K_0 (U^m)ᵀ``. Scores carry nothing here: the whole leak is that of
the number of keys.
"""

from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import expit, roots_hermitenorm

from ropeleak.spec import Softmax, Stack

from .dense import Band, Kernels, Mask, Rows, check, finished, observables
from .grid import Positions
from .mean_field import Keep

Array = NDArray[np.float64]

METHOD = "uniform"
_NODES = 40


def predict(
    stack: Stack,
    *,
    keep: Keep = "summary",
    positions: Positions = "auto",
    progress: Callable[[int], None] | None = None,
) -> xr.Dataset:
    """Return every observable of ``stack`` in the limit of small scores.

    Parameters
    ----------
    stack
        The architecture; its score standard deviation and alignment are taken as 0.
    keep
        ``full`` adds the matrices ``K``, ``Q`` and ``Q_common`` (depth, query, key).
    positions
        What is reported: all positions (``dense``) or a log-spaced choice (``grid``). All are
        computed.
    progress
        Called with the number of finished blocks.

    Returns
    -------
    xarray.Dataset
        With the variables of `ropeleak.observables`.

    Raises
    ------
    RopeleakError
        If all positions need more memory than may be used.
    """
    check(stack, keep)
    masks = {a: Mask(a, stack.context) for a in dict.fromkeys(stack.attention)}

    def attend(block: int, u: Kernels) -> tuple[Kernels, Rows]:
        attention = stack.attention[block]
        mask = masks[attention]
        row_sums, weights, log_z = null_key(attention.softmax, mask.n_keys)
        together = (row_sums * weights[:, None]).T @ row_sums
        written = {name: mask.average(kernel) * together for name, kernel in u.items()}
        sees_first = (mask.keys.first == 0) | (mask.keys.sinks > 0)
        sink = np.where(sees_first, weights @ row_sums / mask.n_keys, 0.0)
        square = Band(stack, block).mean_square(log_z)
        return written, Rows(log_z, sink, mask.n_keys, square, 0.0, 0.0)

    values = observables(stack, attend, keep, progress)
    for name in ("leak_mask", "leak_residual", "leak_total"):
        values[name] = np.sqrt(np.maximum(values[name], 0.0))
    return finished(
        stack, values, positions, METHOD, ["scores are taken as 0: attention is uniform"]
    )


def null_key(softmax: Softmax, n_keys: Array) -> tuple[Array, Array, Array]:
    """Return the row sums (M, T) of heads with weights (M,), and the mean ``ln Z`` (T,)."""
    one = np.ones(1)
    if softmax.kind == "sigmoid":
        bias = -np.log(n_keys) if softmax.bias is None else np.full_like(n_keys, softmax.bias)
        return (n_keys * expit(bias))[None], one, -bias
    if softmax.null_logit is None:
        return np.ones((1, n_keys.size)), one, np.log(n_keys)
    x, weights = roots_hermitenorm(_NODES) if softmax.sink_logit_std else (np.zeros(1), one)
    weights = weights / weights.sum()
    null = np.exp(softmax.null_logit + softmax.sink_logit_std * x)[:, None]
    return n_keys / (n_keys + null), weights, weights @ np.log(n_keys + null)
