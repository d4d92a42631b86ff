"""`Store`: numbers kept on disk, found again by what they were computed from."""

import hashlib
import inspect
import json
import os
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import Any

import xarray as xr

import ropeleak
from ropeleak.errors import RopeleakError
from ropeleak.output import ENGINE, atomic

SOURCES = ("spec", "theory", "simulate", "claims", "check")
"""Packages whose code decides numbers."""


class Store:
    """Datasets by the inputs and the code that they were computed from.

    Parameters
    ----------
    folder
        Where files are kept, in a folder of their own for each state of the code; nowhere unless
        given.
    sources
        The packages whose code decides the numbers.

    Raises
    ------
    RopeleakError
        If the folder cannot be made.
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None = None, sources: Collection[str] = SOURCES
    ) -> None:
        self.folder = None if folder is None else Path(folder) / code_version(tuple(sources))
        self._known: dict[str, xr.Dataset] = {}
        if self.folder is not None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RopeleakError(f"cannot write {folder}: {error.strerror or error}") from None

    def keep(self, kind: str, inputs: dict[str, Any], make: Callable[[], xr.Dataset]) -> xr.Dataset:
        """Return what was computed before from the same inputs, or compute it.

        Parameters
        ----------
        kind
            What it is: the first word of the file's name.
        inputs
            All that decides the numbers, as JSON takes it, but for the code: that of the sources
            and of the file of ``make`` counts by itself.
        make
            Computes them.
        """
        source = inspect.getsourcefile(make)
        assert source is not None
        name = f"{kind}-{_digest(kind, inputs, Path(source).read_bytes().hex())}"
        if name not in self._known:
            path = None if self.folder is None else self.folder / f"{name}.nc"
            self._known[name] = _load(path) or _saved(make(), path)
        return self._known[name]

    def path(self, kind: str, inputs: dict[str, Any]) -> Path | None:
        """Return a file for what is kept while something is computed from these inputs."""
        return None if self.folder is None else self.folder / f"{kind}-{_digest(kind, inputs)}"


@cache
def code_version(sources: tuple[str, ...] = SOURCES) -> str:
    """Return a short name for the version and the code that decides numbers."""
    state = hashlib.sha256()
    for package in sources:
        for file in sorted((Path(ropeleak.__file__).parent / package).rglob("*.py")):
            state.update(file.name.encode() + file.read_bytes())
    return state.hexdigest()[:12]


def _digest(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _load(path: Path | None) -> xr.Dataset | None:
    """Return a kept dataset; None where there is none, or one that cannot be read."""
    if path is None or not path.exists():
        return None
    try:
        return xr.load_dataset(path, engine=ENGINE)
    except Exception:  # a damaged file makes HDF5 raise almost anything; it is made anew
        return None


def _saved(dataset: xr.Dataset, path: Path | None) -> xr.Dataset:
    if path is not None:
        with atomic(path) as temporary:
            dataset.to_netcdf(temporary, engine=ENGINE)
    return dataset
