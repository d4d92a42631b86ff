"""What was measured of the trained decoders, as it is kept under version control."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ropeleak import predict
from ropeleak.output import ENGINE
from ropeleak.spec import Stack

FOLDER = Path(__file__).parent / "results"
TRAINED, AFTERWARDS = "trained.nc", "afterwards.nc"
PAIR = (50, 100)
"""Positions that the probe tells apart."""

Array = NDArray[np.float64]


class Quantity(NamedTuple):
    """What is measured: the dimension beside the step and the seed, if any, the unit, and words."""

    dim: str | None
    unit: str
    words: str


QUANTITIES: Mapping[str, Quantity] = {
    "mask": Quantity("block", "nats²", "mask leak, mean square"),
    "residual": Quantity("block", "nats²", "residual leak, mean square"),
    "total": Quantity("block", "nats²", "total leak, mean square"),
    "early": Quantity("block", "nats²", "residual leak of the first quarter of the queries"),
    "late": Quantity("block", "nats²", "residual leak of the last quarter of the queries"),
    "sink": Quantity("block", "attention weight", "attention of late queries to token 0"),
    "sink_excess": Quantity("block", "ratio to uniform", "the same over uniform attention"),
    "beacon": Quantity("depth", "share of variance", f"BOS's fingerprint at position {PAIR[1]}"),
    "d_prime": Quantity("depth", "standard deviations", "d′ of a held-out linear probe of `PAIR`"),
    "accuracy": Quantity("depth", "share", "share that this probe gets right"),
    "log_position": Quantity("depth", "R²", "a held-out linear probe of the position's logarithm"),
    "loss_early": Quantity(None, "nats a byte", "loss of the first half of the queries"),
    "loss_late": Quantity(None, "nats a byte", "loss of the second half of the queries"),
}
"""Leaks are means over pairs of different contents: where there is none they scatter about 0."""


class Prediction(NamedTuple):
    """What is predicted of an architecture before training.

    Attributes
    ----------
    mask, residual
        Leaks of every block, nats² (L,).
    position
        d′ of the linear cue between `PAIR` after the last block, standard deviations.
    """

    mask: Array
    residual: Array
    position: float


@dataclass(frozen=True)
class Results:
    """Measurements of trained decoders.

    Attributes
    ----------
    trained
        `QUANTITIES` over ``architecture``, ``seed``, ``step`` and their own dimension; NaN where
        an architecture has no such block. ``stack`` holds the architectures, as JSON.
    afterwards
        The baseline, changed without being trained again: leaks and losses over
        ``intervention`` in place of ``architecture``.
    """

    trained: xr.Dataset
    afterwards: xr.Dataset

    @classmethod
    def load(cls, folder: Path = FOLDER) -> "Results":
        """Read the files of a folder."""
        return cls(
            *(xr.load_dataset(folder / name, engine=ENGINE) for name in (TRAINED, AFTERWARDS))
        )

    @property
    def architectures(self) -> list[str]:
        """Their names, in their order."""
        return [str(name) for name in self.trained["architecture"].values]

    @cached_property
    def predictions(self) -> dict[str, Prediction]:
        """What is predicted of every architecture, by name."""
        stacks = [Stack.model_validate_json(text) for text in self.trained["stack"].values]
        return {stack.name: predicted(stack) for stack in stacks}

    def of(self, name: str, architecture: str, step: int = -1) -> Array:
        """Return a quantity of an architecture, a row per seed; blocks that it has not are cut."""
        values = self.trained[name].sel(architecture=architecture).isel(step=step)
        found = np.asarray(values.values, dtype=float)
        return found if found.ndim == 1 else found[:, ~np.isnan(found).all(axis=0)]

    def after(self, name: str, intervention: str, step: int = -1) -> Array:
        """Return a quantity of the changed baseline, a row per seed."""
        values = self.afterwards[name].sel(intervention=intervention).isel(step=step)
        return np.asarray(values.values, dtype=float)


def predicted(stack: Stack) -> Prediction:
    """Return what is predicted of an architecture."""
    result = predict(stack)
    mask, residual = (
        np.asarray(result.dataset[f"leak_{hole}"].values, dtype=float) ** 2
        for hole in ("mask", "residual")
    )
    return Prediction(mask, residual, float(result.ruler(*PAIR)["linear"].values[-1]))
