"""What was measured of the trained decoders, as it is kept under version control."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ropeleak import predict
from ropeleak.results import ENGINE
from ropeleak.spec import Stack

FOLDER = Path(__file__).parent / "results"
TRAINED, AFTERWARDS = "trained.nc", "afterwards.nc"
PAIR = (50, 100)
"""Positions that the probe tells apart."""

Array = NDArray[np.float64]


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
        Over ``architecture``, ``seed``, ``step``, and ``block`` or ``depth``: what
        `paper.training.measuring` lists; NaN where an architecture has no such block. The
        attribute ``stacks`` holds the architectures.
    afterwards
        The baseline, changed without being trained again: over ``intervention``, ``seed``,
        ``step`` and ``block``.
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
