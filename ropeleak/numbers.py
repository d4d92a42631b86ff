"""Observables as plain arrays: enough for a report, which need not wait for xarray to load."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import observables
from .selection import interpolated

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Numbers:
    """What is known of one architecture.

    Attributes
    ----------
    variables
        Arrays of `ropeleak.observables.OBSERVABLES`, and standard errors, by name.
    n_blocks, positions
        Number of blocks, and positions of ``query`` and ``key``.
    attrs
        What produced the numbers.
    """

    variables: Mapping[str, Array]
    n_blocks: int
    positions: NDArray[np.int64]
    attrs: Mapping[str, Any]

    @classmethod
    def of(cls, dataset: "xr.Dataset") -> "Numbers":
        """Return the arrays of a dataset."""
        variables = {
            str(name): values.values for name, values in dataset.data_vars.items()
            if str(name).removesuffix("_se") in observables.OBSERVABLES
        }  # fmt: skip
        return cls(variables, dataset.sizes["block"], dataset["query"].values, dataset.attrs)

    def dataset(self) -> "xr.Dataset":
        """Return the arrays with their coordinates, units and definitions."""
        return observables.dataset(self.variables, self.n_blocks, self.positions, self.attrs)

    def at(self, name: str, position: int) -> Array:
        """Return a variable at one query position: see `ropeleak.selection.at_position`."""
        values, axis = self.variables[name], observables.dims(name).index("query")
        found: Array = interpolated(self.positions, position, lambda node: values.take(node, axis))
        return found
