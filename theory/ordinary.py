"""What texts share without BOS, where the token that stands for it is no ordinary one.

The recursions carry ``Q∅`` beside ``K``, which is right as long as token 0 has the statistics of
content. A zero vector or a mean embedding has not: ``Q∅`` then takes a recursion of its own.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ropeleak.spec import Stack

if TYPE_CHECKING:
    import xarray as xr

_TINY = 1e-300

KINDS = ("zero", "mean")
"""Tokens at position 0 that are unlike content."""
COMMON = {"q_diag": "q_common", "q_diag_se": "q_common_se", "Q": "Q_common", "Q_se": "Q_common_se"}
"""What ``Q∅`` is called, by the name of what it is with content at position 0."""


def with_own_common(
    stack: Stack, found: "xr.Dataset", predict: "Callable[[Stack], xr.Dataset]"
) -> "xr.Dataset":
    """Return a prediction whose ``Q∅`` is that of the same stack with content at position 0.

    Parameters
    ----------
    stack
        The architecture.
    found
        What was predicted of it.
    predict
        Predicts another stack in the same way.
    """
    if stack.bos.kind not in KINDS:
        return found
    ordinary = predict(stack.set("bos", "random"))
    found = found.copy()
    for name, common in COMMON.items():
        if name in ordinary:
            found[common] = found[common].copy(data=ordinary[name].values)
    shares = {"beacon": found["q_diag"] - found["q_common"]}
    if "beacon_se" in found:
        shares["beacon_se"] = (found["q_diag_se"] ** 2 + found["q_common_se"] ** 2) ** 0.5
    for name, part in shares.items():
        share = np.where(found["k_diag"] > 0, part / np.maximum(found["k_diag"], _TINY), 0.0)
        found[name] = found[name].copy(data=share)
    return found
