"""A Zarr folder that finished points are written into, and that can be read meanwhile."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import xarray as xr

from ropeleak.errors import RopeleakError
from ropeleak.output import check_writable

from .dataset import check_same, flat, labelled, read_header
from .grid import Grid
from .journal import lock
from .store import taken_up
from .task import DONE, Finished, Task

CHUNK = 64
"""Points in one chunk, at most."""
FORMAT = 2
"""Version 3 has no texts yet that other programs can rely on."""
LOCK = ".ropeleak-lock"
BEFORE = ".before"
"""What the name of a folder has more while one with more points takes its place."""


class ZarrStore:
    """The folder of a sweep: a chunk holds some points that follow each other in the grid.

    A chunk of an array is written whole or not at all, and the status of points last: one that is
    marked as done is there, whatever happens in between.

    Parameters
    ----------
    grid, task
        What is computed.
    path
        The folder. Points that it has already are not computed again, unless they failed; where
        the grid has other values or models than before, the folder is made anew from them.

    Raises
    ------
    RopeleakError
        If zarr is missing, or the folder cannot be written or is of something else.
    """

    where: Path | None
    _lock: BinaryIO
    _group: Any

    def __init__(self, grid: Grid, task: Task, path: Path) -> None:
        try:
            import zarr  # noqa: F401
        except ImportError:
            raise RopeleakError(
                f"writing {path} needs zarr: pip install 'ropeleak[zarr]', or write to a .nc file"
            ) from None
        self.grid, self.task, self.path, self.where = grid, task, path, path
        self._steps = chunk_shape(grid.shape)
        before = path.with_name(path.name + BEFORE)
        with _told(path):
            if before.exists() and not path.exists():
                os.rename(before, path)
            self._is_new = not path.exists()
            if self._is_new:
                check_writable(path)
                self._make(path)
            old = self._read_grid()
            self._lock = _locked(path)
            try:
                self._open(path)
                if old.as_json() != grid.as_json():
                    self._regrid(old, before)
            except BaseException:
                self._lock.close()
                raise

    def put(self, finished: Finished) -> None:
        """Keep points of one chunk, their status last."""
        run = self.run_of(int(finished.indices[0]))
        box = _box(run, self.grid.shape, self._steps)
        parts: dict[str, Any] = {
            **finished.values,
            "reason": np.array(finished.reasons, dtype=object),
            "approximations": np.array(finished.approximations, dtype=object),
            "status": finished.status,
        }
        with _told(self.path):
            for name, values in parts.items():
                whole = self._group[name][box]
                points = np.array(whole, dtype=values.dtype).reshape(len(run), *values.shape[1:])
                points[finished.indices - run.start] = values
                self._group[name][box] = points.reshape(whole.shape)
        self.status[finished.indices] = finished.status

    def run_of(self, index: int) -> range:
        """Return the points of a chunk."""
        return _run(index, self.grid.shape, self._steps)

    def finish(self) -> xr.Dataset:
        """Return the dataset, whose values are read when they are looked at."""
        self.close()
        dataset: xr.Dataset = xr.open_zarr(self.path, chunks=None)
        return dataset

    def close(self) -> None:
        """Let go of the folder."""
        self._lock.close()

    def discard(self) -> None:
        """Remove the folder if it was made for this sweep."""
        self.close()
        if self._is_new:
            shutil.rmtree(self.path, ignore_errors=True)

    def reason(self) -> str:
        """Return why the first of the points that failed did."""
        return next((text for text in self._group["reason"][...].ravel().tolist() if text), "")

    def _make(self, path: Path) -> None:
        """Make a folder without points, at once."""
        values = {
            name: np.broadcast_to(np.nan, (self.grid.size, *self.task.labels.shape(name)))
            for name in self.task.labels.names
        }
        texts = np.full(self.grid.size, "", dtype=object)
        status = np.zeros(self.grid.size, dtype=np.int8)
        empty = labelled(self.grid, self.task, values, status, texts, texts)
        chunks = {
            name: {"chunks": (*self._steps, *array.shape[len(self._steps) :])}
            for name, array in empty.data_vars.items()
        }
        temporary = path.with_name(f".ropeleak-{secrets.token_hex(6)}.zarr")
        try:
            empty.to_zarr(temporary, encoding=chunks, zarr_format=FORMAT, consolidated=True)
            os.rename(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _open(self, path: Path) -> None:
        import zarr

        self._group = zarr.open_group(path, mode="r+")
        status = np.array(self._group["status"][...], dtype=np.int8).reshape(-1)
        self.status = np.where(status == DONE, status, 0).astype(np.int8)

    def _read_grid(self) -> Grid:
        """Return the grid of the folder, whose points must be those of the task."""
        try:
            with xr.open_zarr(self.path, chunks=None) as dataset:
                attributes = dataset.attrs
        except (OSError, KeyError, ValueError):
            raise RopeleakError(f"{self.path} is not a sweep: give another folder") from None
        told, grid = read_header(attributes, self.path)
        check_same(told, self.task, self.path)
        return grid

    def _regrid(self, old: Grid, before: Path) -> None:
        """Put a folder for the grid in the place of one for another, with the points of that."""
        fresh = self.path.with_name(f".ropeleak-{secrets.token_hex(6)}.zarr")
        places = {point.identity: point.index for point in self.grid.points()}
        try:
            self._make(fresh)
            self._open(fresh)
            for part in self._points(old):
                identities = [old.point(int(index)).identity for index in part.indices]
                for found in self._by_chunk(taken_up(self.path, places, identities, part)):
                    self.put(found)
            lock_file = _locked(fresh)
            os.rename(self.path, before)
            os.rename(fresh, self.path)
            self._lock.close()
            self._lock = lock_file
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)
        self._open(self.path)

    def _points(self, old: Grid) -> Iterator[Finished]:
        """Yield the points of the folder, whose grid is another, chunk by chunk."""
        steps, start = chunk_shape(old.shape), 0
        with xr.open_zarr(self.path, chunks=None) as dataset:
            while start < old.size:
                run = _run(start, old.shape, steps)
                box = dict(zip(old.dims, _box(run, old.shape, steps), strict=True))
                yield flat(dataset.isel(box), old)._replace(indices=np.array(run))
                start = run.stop

    def _by_chunk(self, finished: Finished) -> Iterator[Finished]:
        """Yield points in parts that lie in one chunk each."""
        starts = np.array([self.run_of(int(index)).start for index in finished.indices])
        for start in np.unique(starts):
            yield finished.rows(np.flatnonzero(starts == start))


def chunk_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the steps of chunks of at most `CHUNK` points that follow each other.

    Examples
    --------
    >>> chunk_shape((5, 40, 3)), chunk_shape((2, 1000)), chunk_shape((4, 4))
    ((1, 21, 3), (1, 64), (4, 4))
    """
    steps: list[int] = []
    room = CHUNK
    for length in reversed(shape):
        steps.append(min(length, max(room, 1)))
        room = room // length if steps[-1] == length else 0
    return tuple(reversed(steps))


def _run(index: int, shape: tuple[int, ...], steps: tuple[int, ...]) -> range:
    """Return the points of the chunk around one."""
    place = [int(k) for k in np.unravel_index(index, shape)]
    first = [k - k % step for k, step in zip(place, steps, strict=True)]
    lengths = (min(step, n - k) for k, step, n in zip(first, steps, shape, strict=True))
    start = int(np.ravel_multi_index(first, shape))
    return range(start, start + prod(lengths))


def _box(run: range, shape: tuple[int, ...], steps: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the chunk of `_run` in every dimension."""
    first = map(int, np.unravel_index(run.start, shape))
    return tuple(slice(k, k + step) for k, step in zip(first, steps, strict=True))


def _locked(folder: Path) -> BinaryIO:
    """Return a file that stands for the folder while it is open."""
    file = open(folder / LOCK, "wb")  # noqa: SIM115
    try:
        lock(file, folder)
    except BaseException:
        file.close()
        raise
    return file


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what the disk says into one sentence."""
    try:
        yield
    except OSError as error:
        raise RopeleakError(f"cannot write {path}: {error.strerror or error}") from None
