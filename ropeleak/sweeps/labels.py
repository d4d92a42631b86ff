"""What is kept of every point: names, depths and positions that fit all of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ropeleak.errors import RopeleakError
from ropeleak.numbers import Numbers
from ropeleak.observables import HEADS, OBSERVABLES
from ropeleak.selection import between
from ropeleak.spec.explain import nearest, shorten
from ropeleak.spec.stack import MAX_BLOCKS, MAX_CONTEXT

from .grid import Grid

Array = NDArray[np.float64]
At = Literal["all"] | Sequence[int] | None

ALL_UP_TO = 160
"""A context that all points share, up to which every position is kept unless told otherwise."""
SUMMARY = tuple(
    name for name, row in OBSERVABLES.items() if "key" not in row.dims and name not in HEADS
)
EXACT = ("reach",)
"""Variables without a standard error."""


@dataclass(frozen=True)
class Labels:
    """The variables that are kept, and the labels of their dimensions.

    Attributes
    ----------
    names
        Variables, standard errors among them.
    n_blocks
        Largest depth of any point.
    query
        Positions (N,).
    """

    names: tuple[str, ...]
    n_blocks: int
    query: tuple[int, ...]

    def dims(self, name: str) -> tuple[str, ...]:
        """Return the dimensions of a variable of one point."""
        return OBSERVABLES[name.removesuffix("_se")].dims

    def coordinates(self) -> dict[str, NDArray[np.int64]]:
        """Return the labels of the dimensions that the variables have."""
        every = {
            "depth": np.arange(self.n_blocks + 1),
            "block": np.arange(1, self.n_blocks + 1),
            "query": np.array(self.query, dtype=np.int64),
        }
        used = {dim for name in self.names for dim in self.dims(name)}
        return {dim: labels for dim, labels in every.items() if dim in used}

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a variable of one point."""
        coordinates = self.coordinates()
        return tuple(coordinates[dim].size for dim in self.dims(name))

    @property
    def entries(self) -> int:
        """Numbers that are kept of one point."""
        return sum(prod(self.shape(name)) for name in self.names)

    def empty(self, count: int) -> dict[str, Array]:
        """Return arrays (count, …) of NaN by name."""
        return {name: np.full((count, *self.shape(name)), np.nan) for name in self.names}

    def fill(self, arrays: Mapping[str, Array], row: int, found: Numbers) -> None:
        """Set one row of `empty` arrays to what was found for a point.

        Between the positions of ``found`` a quantity is interpolated in ``ln(1+i)``; past its last
        block and position it stays NaN.
        """
        query = np.array(self.query, dtype=np.int64)
        inside = query <= found.positions[-1]
        left, right, share = between(found.positions, query[inside])
        for name in self.names:
            values = found.variables[name]
            if "query" in self.dims(name):
                values = (1 - share) * values[:, left] + share * values[:, right]
                arrays[name][row, : values.shape[0], inside] = values.T
            else:
                arrays[name][row, : values.shape[0]] = values


def make_labels(
    grid: Grid, errors: bool, variables: Iterable[str] | None = None, at: At = None
) -> Labels:
    """Return what is kept of the points of a grid.

    Parameters
    ----------
    errors
        Whether variables have standard errors.
    variables
        Their names; all but the matrices unless given.
    at
        Positions, or ``"all"``. Unless given, all of them where every point has the same short
        context, and otherwise 0, 1, 2, 5, 10, 20, 50, … and the last of the longest.

    Raises
    ------
    RopeleakError
        If there is no such variable, or no such position in any point.
    """
    names = SUMMARY if variables is None else tuple(dict.fromkeys(variables))
    for name in names:
        if name not in SUMMARY:
            close = nearest(name, SUMMARY, cutoff=0.0)
            raise RopeleakError(f"{shorten(name)} is not kept in sweeps: did you mean {close}?")
    if not names:
        raise RopeleakError(f"there are no variables to keep: give some of {', '.join(SUMMARY)}")
    if errors:
        pairs = ((name, f"{name}_se") if name not in EXACT else (name,) for name in names)
        names = tuple(name for pair in pairs for name in pair)
    positions = _positions(_sizes(grid, "context", MAX_CONTEXT), at)
    if not any("query" in OBSERVABLES[name.removesuffix("_se")].dims for name in names):
        positions = ()
    return Labels(names, max(_sizes(grid, "n_blocks", MAX_BLOCKS)), positions)


def _sizes(grid: Grid, field: str, most: int) -> set[int]:
    """Return the values of a size over the whole grid, those left out that it cannot have."""
    every = {size for label in grid.models for size in grid.values(field, label)}
    allowed: Any = {size for size in every if isinstance(size, int) and 1 <= size <= most}
    return allowed or {1}


def _positions(contexts: set[int], at: At) -> tuple[int, ...]:
    longest = max(contexts)
    if at == "all" or (at is None and len(contexts) == 1 and longest <= ALL_UP_TO):
        return tuple(range(longest))
    if at is None:
        decades = (m * 10**k for k in range(len(str(longest))) for m in (1, 2, 5))
        return (*sorted({0, longest - 1, *(i for i in decades if i < longest)}),)
    found = sorted(set(at))
    outside = [i for i in found if not 0 <= i < longest]
    if outside or not found:
        told = outside[0] if outside else "nothing"
        raise RopeleakError(f"at={told} is not allowed: give positions from 0 to {longest - 1}")
    return tuple(found)
