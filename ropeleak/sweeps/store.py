"""Where finished points go: memory, and a file if there is one."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ropeleak.budget import allowed_bytes
from ropeleak.errors import RopeleakError
from ropeleak.output import ENGINE, check_writable, save_netcdf

from .dataset import check_same, experiment, flat, labelled, read_header
from .grid import Grid
from .journal import Journal
from .task import DONE, Finished, Task

PART = ".part"
"""What the name of a journal has more than that of the file that it becomes."""
COPIED = 256
"""Points that are copied at once."""
_HEADER, _VALUE = "header", "value:"


class Store(Protocol):
    """Keeps the points that were computed.

    Attributes
    ----------
    status
        Of every point of the grid (N,): 0, `DONE` or `FAILED`.
    where
        What a stopped sweep goes on from; None where nothing is left of it.
    """

    status: NDArray[np.int8]
    where: Path | None

    def put(self, finished: Finished) -> None:
        """Keep points, all of them or none; they lie in one `run_of`."""

    def run_of(self, index: int) -> range:
        """Return the points around one that are kept together."""

    def finish(self) -> xr.Dataset:
        """Return the dataset of all points, and write it where there is a file."""

    def close(self) -> None:
        """Let go of files; what was put stays."""

    def discard(self) -> None:
        """Let go of files, and remove what was made for this sweep."""

    def reason(self) -> str:
        """Return why the first of the points that failed did."""


class MemoryStore:
    """Arrays of all points, and nothing on disk.

    Parameters
    ----------
    grid, task
        What is computed.

    Raises
    ------
    RopeleakError
        If the points need more memory than is allowed.
    """

    where: Path | None = None

    def __init__(self, grid: Grid, task: Task) -> None:
        check_memory(grid, task)
        self.grid, self.task = grid, task
        self.status = np.zeros(grid.size, dtype=np.int8)
        self._values = task.labels.empty(grid.size)
        self._reasons = np.full(grid.size, "", dtype=object)
        self._approximations = np.full(grid.size, "", dtype=object)

    def put(self, finished: Finished) -> None:
        """Keep points; a text that many points share is held once."""
        at = finished.indices
        for name, values in finished.values.items():
            self._values[name][at] = values
        self._reasons[at] = finished.reasons
        self._approximations[at] = finished.approximations
        self.status[at] = finished.status

    def run_of(self, index: int) -> range:
        """Return all points."""
        return range(self.grid.size)

    def finish(self) -> xr.Dataset:
        """Return the dataset."""
        return labelled(
            self.grid, self.task, self._values, self.status, self._reasons, self._approximations
        )

    def close(self) -> None:
        """Do nothing."""

    def discard(self) -> None:
        """Do nothing."""

    def reason(self) -> str:
        """Return why the first of the points that failed did."""
        return next((reason for reason in self._reasons if reason), "")

    def batches(self) -> Iterator[Finished]:
        """Yield the points that were put."""
        every = Finished(
            np.arange(self.grid.size), self._values, self.status, self._reasons.tolist(),
            self._approximations.tolist(), 0.0,
        )  # fmt: skip
        there = np.flatnonzero(self.status)
        for start in range(0, there.size, COPIED):
            yield every.rows(there[start : start + COPIED])


class FileStore(MemoryStore):
    """Arrays of all points, a journal of them beside a netCDF file, and the file in the end.

    Points that the file or the journal has already are not computed again, unless they failed.

    Parameters
    ----------
    grid, task
        What is computed.
    path
        The netCDF file.

    Raises
    ------
    RopeleakError
        If a file cannot be written or is of something else, or there is too little memory.
    """

    def __init__(self, grid: Grid, task: Task, path: Path) -> None:
        super().__init__(grid, task)
        target = check_writable(path)
        self.path, self.where = path, path.with_name(path.name + PART)
        self._changed, self._headed = not target.exists(), False
        check_writable(self.where)
        self._journal = Journal(self.where)
        try:
            if target.exists():
                self._take_up_file(target)
            self._take_up_journal(self.where)
        except BaseException:
            self._journal.close()
            raise

    def put(self, finished: Finished) -> None:
        """Keep points, in the journal first."""
        if not self._headed:
            self._journal.append({_HEADER: json.dumps(experiment(self.task))})
            self._headed = True
        identities = [self.grid.point(int(index)).identity for index in finished.indices]
        self._journal.append(
            {
                "identity": np.array(identities),
                "status": finished.status,
                "reasons": np.array(finished.reasons, dtype=str),
                "approximations": np.array(finished.approximations, dtype=str),
                **{_VALUE + name: values for name, values in finished.values.items()},
            }
        )
        self._changed = True
        super().put(finished)

    def finish(self) -> xr.Dataset:
        """Write the file, remove the journal, and return the dataset."""
        dataset = super().finish()
        if self._changed:
            save_netcdf(dataset, self.path)
        self._journal.remove()
        return dataset

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def discard(self) -> None:
        """Remove the journal."""
        self._journal.remove()

    def _take_up_file(self, path: Path) -> None:
        try:
            with xr.open_dataset(path, engine=ENGINE) as dataset:
                told, grid = read_header(dataset.attrs, path)
                check_same(told, self.task, path)
                kept = dataset.load()
        except (OSError, KeyError):  # what HDF5 says of a file that is not its own
            raise RopeleakError(f"{path} is not a sweep: give another file") from None
        self._take_up(path, [p.identity for p in grid.points()], flat(kept, grid))

    def _take_up_journal(self, path: Path) -> None:
        for record in self._journal.records():
            if _HEADER in record:
                check_same(json.loads(str(record[_HEADER])), self.task, path)
                self._headed = True
                continue
            values = {k.removeprefix(_VALUE): v for k, v in record.items() if k.startswith(_VALUE)}
            found = Finished(
                np.arange(len(record["status"])), values, record["status"],
                record["reasons"].tolist(), record["approximations"].tolist(), 0.0,
            )  # fmt: skip
            self._take_up(path, record["identity"].tolist(), found)
            self._changed = True

    def _take_up(self, path: Path, identities: Sequence[str], found: Finished) -> None:
        """Put what was computed before."""
        super().put(taken_up(path, self._places, identities, found))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {point.identity: point.index for point in self.grid.points()}


def taken_up(
    path: Path, places: Mapping[str, int], identities: Sequence[str], found: Finished
) -> Finished:
    """Return points that were computed before, at their places in a grid; failed ones are left out.

    Parameters
    ----------
    path
        Where they come from.
    places
        Places in the grid by identity.
    identities
        Of the points ``found``.

    Raises
    ------
    RopeleakError
        If the grid does not have them all: they would be lost.
    """
    rows = np.flatnonzero(found.status == DONE)
    at = [places.get(identities[row]) for row in rows.tolist()]
    if None in at:
        raise RopeleakError(
            f"{path} holds points that are not in this grid: add their values or models to it, or"
            " write to another place"
        )
    return found.rows(rows)._replace(indices=np.array(at, dtype=np.int64))


def check_memory(grid: Grid, task: Task) -> None:
    """Raise `RopeleakError` if the arrays of a grid need more memory than is allowed."""
    entries = task.labels.entries
    needed, allowed = 8.0 * entries * grid.size, allowed_bytes()
    if needed > allowed:
        raise RopeleakError(
            f"{grid.size:,} points of {entries:,} numbers each need {needed / 2**30:.1f} GB and"
            f" {allowed / 2**30:.1f} GB are allowed: keep fewer variables or positions, write to a"
            " .zarr folder, or set a larger ROPELEAK_MEMORY_GB"
        )
