"""The decoder that experiments start from, and what is read off its numbers."""

from typing import Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ropeleak.selection import at_position
from ropeleak.spec import Stack

from .lab import Budget
from .number import Curve, Draws, Means, Number, Statistic, curve, jackknife, predicted

Leak = TypeVar("Leak", float, NDArray[np.float64])

WINDOW = 16
"""Keys of the windows that are compared with full attention."""
FACTOR = 4.0
"""Contexts are this many times the trained length where a RoPE scaling extends them."""
ALIGNED = 2.0
"""``m`` of the stacks whose queries and keys are aligned, as training may make them."""
READS = 2.0
"""Sink bias (nats) of the stacks whose heads read sinks, as training may make them."""
LEAK = {"mask": 0, "residual": 1}
"""Columns of the mean squares that a draw leaves."""


def decoder(budget: Budget, **changes: Any) -> Stack:
    """Return the decoder of a budget: pre-norm attention blocks, σ = γ = 1; fields may be changed.

    It has no MLPs: they read each token alone and dilute what attention writes.
    """
    fields: dict[str, Any] = {
        "name": "decoder", "context": budget.context, "n_blocks": budget.n_blocks,
        "d_model": 128, "n_heads": 4, "mlp": {"kind": "none"},
        "init": {"scheme": "fan_in", "score_std": 1.0, "attention_gain": 1.0},
    }  # fmt: skip
    return Stack.build(**{**fields, **changes})


def ropes(context: int, trained: int | None = None) -> dict[str, dict[str, Any]]:
    """Return the RoPE scalings that reach ``context`` from a trained length, by name.

    The trained length is a quarter of the context unless given.
    """
    trained = max(int(context / FACTOR), 1) if trained is None else trained
    extended = {
        "factor": max(context / trained, 1.0), "original_context": trained, "max_context": context,
    }  # fmt: skip
    bands = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    return {
        "none": {"type": "default"},
        "linear": {"type": "linear", **extended},
        "NTK": {"type": "ntk", **extended},
        "YaRN": {"type": "yarn", **extended},
        "llama3": {"type": "llama3", **extended, **bands},
    }


def square(means: Means, hole: str, block: int = -1) -> float:
    """Return a measured leak of a block as a mean square (nats²)."""
    return float(means["leak"][block, LEAK[hole]])


def squares(means: Means, hole: str) -> NDArray[np.float64]:
    """Return a measured leak of every block as a mean square (L,), nats²."""
    return np.asarray(means["leak"][:, LEAK[hole]])


def total_square(means: Means, block: int = -1) -> float:
    """Return the measured total leak of a block as a mean square (nats²)."""
    mask, residual, cross = means["leak"][block]
    return float(mask + residual - 2 * cross)


def predicted_square(dataset: xr.Dataset, hole: str, block: int = -1) -> Number:
    """Return a predicted leak of a block as a mean square (nats²)."""
    return predicted(float(dataset[f"leak_{hole}"].values[block]) ** 2)


def beacon(means: Means, position: int, depth: int = -1) -> float:
    """Return the measured beacon strength at a depth and position."""
    shared = means["q_diag"][depth, position] - means["q_common"][depth, position]
    return float(shared / means["k_diag"][depth, position])


def predicted_at(dataset: xr.Dataset, name: str, position: int, index: int = -1) -> Number:
    """Return a predicted quantity at a position and depth or block."""
    return predicted(float(np.asarray(at_position(dataset[name], position).values)[index]))


def both(
    label: str, x: Any, draws: Draws, statistic: Statistic, theory: Any
) -> tuple[Curve, Curve]:
    """Return what was measured and what is predicted as two curves of one label."""
    value, error = jackknife(statistic, draws)
    return curve(label, x, value, error), curve(f"{label}, theory", x, theory)


def removed(after: Leak, before: Leak) -> Leak:
    """Return the share of a leak that a change takes away."""
    return 1 - after / before
