"""The ways to predict, by name: one signature, one dataset."""

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any, Literal, cast, get_args

import xarray as xr

from ropeleak.errors import RopeleakError
from ropeleak.numbers import Numbers
from ropeleak.spec import Stack

from .grid import Positions
from .ordinary import with_own_common

Method = Literal["mean-field", "uniform", "sampled"]

MODULES: dict[Method, str] = {
    "mean-field": "mean_field",
    "uniform": "uniform",
    "sampled": "sampled",
}


def predictor(
    method: str, *, seed: int | None = None, heads: int | None = None
) -> Callable[..., xr.Dataset]:
    """Return the function that predicts a stack by a method.

    Parameters
    ----------
    method
        ``mean-field`` is the closed recursion, ``uniform`` its limit of small scores, ``sampled``
        the recursion with heads drawn at random, whose results have standard errors.
    seed, heads
        Of the sampled method: the seed of its random numbers, and the heads that each of its
        chains draws in every block.

    Raises
    ------
    RopeleakError
        If there is no such method, or ``seed`` or ``heads`` are given to one that does not sample.
    """
    if method not in MODULES:
        raise RopeleakError(f"method={method!r} is not known: give {', '.join(get_args(Method))}")
    sampling = {"seed": seed, "heads": heads}
    given: dict[str, Any] = {name: value for name, value in sampling.items() if value is not None}
    if given and method != "sampled":
        name, value = next(iter(given.items()))
        raise RopeleakError(f"{name}={value} needs method='sampled', not {method!r}: leave it out")
    module = import_module(f".{MODULES[method]}", __package__)
    run = cast("Callable[..., xr.Dataset]", module.predict)

    def predict(stack: Stack, **options: Any) -> xr.Dataset:
        positions = options.get("positions", "auto")
        if positions not in get_args(Positions):
            known = ", ".join(get_args(Positions))
            raise RopeleakError(f"positions={positions!r} is not known: give {known}")
        found = run(stack, **options, **given)
        options["progress"] = None
        return with_own_common(stack, found, lambda other: run(other, **options, **given))

    return predict


def predict_many(stacks: Sequence[Stack], positions: Positions) -> list[Numbers]:
    """Return the closed recursion's prediction of each of some stacks.

    Stacks that differ in their initial weights or in how fast RoPE turns run together, which takes
    a fraction of the time of one after the other. What one of them gets does not depend on the
    others.

    Parameters
    ----------
    stacks
        The architectures.
    positions
        As in `ropeleak.theory.mean_field.predict`.

    Raises
    ------
    RopeleakError
        If one of them cannot be predicted.
    """
    from . import mean_field

    return mean_field.predict_many(
        stacks, positions, partial(predictor("mean-field"), positions=positions)
    )
