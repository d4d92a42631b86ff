"""The claims about position leakage, each as an experiment that decides it.

A row of a table per claim; nothing of an experiment is loaded before it is asked for.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from ropeleak.errors import RopeleakError
from ropeleak.spec.explain import nearest, shorten

if TYPE_CHECKING:
    from .claim import Claim

__all__ = ["CLAIMS", "PREDECESSORS", "load", "names"]

CLAIMS = (
    "relative_scores", "mask_denominator", "closed_origin", "fifty_vs_hundred", "bos_anchor",
    "ntk_suppresses", "window_accumulates", "sinks_fingerprint", "beyond_training", "plugs",
)  # fmt: skip
"""The modules of the claims, in their order; a claim's id has hyphens."""
PREDECESSORS = (
    "score_maps", "variance_shrinkage", "nearby_similarity", "residual_rollout", "mask_comparison",
)  # fmt: skip
"""The modules of what earlier papers showed."""


def names(modules: Sequence[str] = (*CLAIMS, *PREDECESSORS)) -> tuple[str, ...]:
    """Return the ids of claims in their order: of all of them, or `CLAIMS` or `PREDECESSORS`."""
    return tuple(module.replace("_", "-") for module in modules)


def load(name: str) -> "Claim":
    """Return a claim by its id.

    Raises
    ------
    RopeleakError
        If there is none of that id (the nearest is suggested).
    """
    key = name.strip().lower()
    if key not in names():
        close = nearest(name, list(names()), cutoff=0.0)
        raise RopeleakError(f"there is no claim {shorten(name)}: did you mean {close}?")
    claim: Claim = import_module(f".{key.replace('-', '_')}", __name__).CLAIM
    return claim
