"""The dataset of a sweep, and what it says of how it was made."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from ropeleak.errors import RopeleakError
from ropeleak.observables import describe_coordinates, metadata
from ropeleak.theory.provenance import package_version

from .grid import MODEL, Grid
from .task import DONE, FAILED, Finished, Task
from .values import coordinate

ATTRIBUTE = "sweep"
ABOUT_POINTS = {
    "status": "whether the point was computed",
    "reason": "why the point failed",
    "approximations": "what the numbers leave out, one sentence a line",
    "seed": "seed of the point's random numbers",
}
"""Variables of a sweep that are not observables."""
STATES = {0: "missing", DONE: "done", FAILED: "failed"}


def labelled(
    grid: Grid,
    task: Task,
    values: Mapping[str, NDArray[np.float64]],
    status: NDArray[np.int8],
    reasons: ArrayLike,
    approximations: ArrayLike,
) -> xr.Dataset:
    """Return the N-dimensional dataset of a grid.

    Parameters
    ----------
    grid, task
        What was computed.
    values
        Variables (N, …), a row for every point.
    status, reasons, approximations
        Of every point (N,).

    Returns
    -------
    xarray.Dataset
        Over ``model``, where there are several, the fields and the dimensions of the variables;
        fields that change together share a dimension, named with a plus.
    """
    dims, shape = tuple(grid.dims), grid.shape
    data: dict[str, Any] = {
        name: ((*dims, *task.labels.dims(name)), array.reshape(*shape, *array.shape[1:]),
               metadata(name))
        for name, array in values.items()
    }  # fmt: skip
    told = {
        "flag_values": np.array(list(STATES), dtype=np.int8),
        "flag_meanings": " ".join(STATES.values()),
        "long_name": ABOUT_POINTS["status"],
    }
    data["status"] = dims, status.reshape(shape), told
    for name, texts in (("reason", reasons), ("approximations", approximations)):
        array = np.asarray(texts, dtype=object).reshape(shape)
        data[name] = dims, array, {"long_name": ABOUT_POINTS[name]}
    if task.sampled:
        seeds = np.array([task.seed_of(point) for point in grid.points()])
        data["seed"] = dims, seeds.reshape(shape), {"long_name": ABOUT_POINTS["seed"]}
    found = xr.Dataset(data, _coordinates(grid, task), _attributes(grid, task))
    describe_coordinates(found)
    return found


def flat(dataset: xr.Dataset, grid: Grid) -> Finished:
    """Return the points of a dataset, or of a part of one, that `labelled` made of a grid."""
    n_dims = len(grid.dims)

    def rows(name: str) -> Any:
        array = dataset[name].values
        return array.reshape(-1, *array.shape[n_dims:])

    status = rows("status").astype(np.int8)
    return Finished(
        np.arange(status.size),
        {str(name): rows(str(name)) for name in dataset.data_vars if name not in ABOUT_POINTS},
        status,
        [str(text) for text in rows("reason")],
        [str(text) for text in rows("approximations")],
        0.0,
    )


def experiment(task: Task) -> dict[str, Any]:
    """Return what two sweeps must have in common for the points of one to be those of the other."""
    return {
        "ropeleak": package_version(),
        "method": task.method,
        "options": dict(sorted(task.options.items())),
        "seed": task.seed if task.sampled else None,
        "variables": sorted(task.labels.names),
        "blocks": task.labels.n_blocks,
        "positions": list(task.labels.query),
    }


def check_same(told: Mapping[str, Any], task: Task, path: object) -> None:
    """Raise `RopeleakError` unless points kept at ``path`` are those of the task."""
    for name, wanted in experiment(task).items():
        kept = told.get(name)
        if kept != wanted:
            short = not isinstance(wanted, (list, dict))
            values = f" ({kept}, not {wanted})" if short else ""
            raise RopeleakError(
                f"{path} holds a sweep with other {name}{values}: give another file"
            )


def read_header(attrs: Mapping[str, Any], path: object) -> tuple[dict[str, Any], Grid]:
    """Return what `experiment` told, and the grid, from a dataset's attributes.

    Raises
    ------
    RopeleakError
        If it is not the dataset of a sweep.
    """
    try:
        told = json.loads(attrs[ATTRIBUTE])
        return told["experiment"], Grid.from_json(told["grid"])
    except (KeyError, TypeError, ValueError):
        raise RopeleakError(f"{path} is not a sweep: give another file") from None


def _coordinates(grid: Grid, task: Task) -> dict[str, Any]:
    several = len(grid.models) > 1
    found: dict[str, Any] = {
        MODEL: ((MODEL,) if several else (), _texts(list(grid.models), several)),
    }
    for axis in grid.axes:
        for path in axis.paths:
            found[path] = (axis.name,), coordinate(axis.column(path)), {"long_name": path}
    return found | task.labels.coordinates()


def _texts(names: Sequence[str], several: bool) -> Any:
    return np.array(names, dtype=str) if several else names[0]


def _attributes(grid: Grid, task: Task) -> dict[str, Any]:
    told = {"experiment": experiment(task), "grid": grid.as_json()}
    return {
        "method": "monte-carlo" if task.method == "measure" else task.method,
        "ropeleak": package_version(),
        ATTRIBUTE: json.dumps(told),
    }
