"""Weight initialisation: from a scheme to the standard deviation of every matrix.

This is the only place where a weight's variance is decided: the theory reads its gains from it
and the Monte Carlo draws its weights with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ._base import Gain, Positive, Spec

if TYPE_CHECKING:
    from .stack import Stack

Scheme = Literal["normal", "gpt2", "neox", "mup", "fan_in"]


class Init(Spec):
    """How weights are drawn: independent Gaussians whose scale a scheme decides.

    ======= ====================================================================================
    normal  every matrix ``N(0, std²)``: the default of Hugging Face configs
    gpt2    as ``normal``, but what writes to the residual stream has ``std / √(2 n_blocks)``
    neox    GPT-NeoX: ``√(2/(5 d))``, and ``2/(n_blocks √d)`` for what writes to the residual
            stream (small_init and wang_init)
    mup     muP: hidden matrices ``1/√fan_in``, embedding variance 1, scores divided by
            ``d_head`` instead of ``√d_head``
    fan_in  every matrix ``1/√fan_in``, embedding variance 1
    ======= ====================================================================================

    The remaining fields override what follows from the scheme by the number itself, in the
    symbols of the theory: ``score_std`` is ``σ``, ``attention_gain`` ``γ``, ``embedding_var``
    ``v0``, ``mlp_gain`` the per-coordinate variance that the MLP adds for a unit-RMS token.
    """

    scheme: Scheme = "normal"
    std: Positive = 0.02
    score_std: Gain | None = None
    attention_gain: Gain | None = None
    embedding_var: Annotated[float, Field(gt=0, le=1e6)] | None = None
    mlp_gain: Gain | None = None


@dataclass(frozen=True)
class WeightScale:
    """Standard deviations of the entries of every weight matrix of a block."""

    query: float
    key: float
    value: float
    output: float
    up: float
    down: float
    embedding: float


def _normal(stack: "Stack") -> WeightScale:
    s = stack.init.std
    return WeightScale(s, s, s, s, s, s, s)


def _gpt2(stack: "Stack") -> WeightScale:
    s = stack.init.std
    out = s / sqrt(2 * stack.n_blocks)
    return WeightScale(s, s, s, out, s, out, s)


def _neox(stack: "Stack") -> WeightScale:
    s = sqrt(2 / (5 * stack.d_model))
    out = 2 / (stack.n_blocks * sqrt(stack.d_model))
    return WeightScale(s, s, s, out, s, out, s)


def _fan_in(stack: "Stack") -> WeightScale:
    s = 1 / sqrt(stack.d_model)
    out = 1 / sqrt(stack.n_heads * stack.d_head)
    return WeightScale(s, s, s, out, s, 1 / sqrt(stack.d_ff), 1.0)


SCHEMES: dict[str, Callable[["Stack"], WeightScale]] = {
    "normal": _normal,
    "gpt2": _gpt2,
    "neox": _neox,
    "mup": _fan_in,
    "fan_in": _fan_in,
}
