"""`Lab`: predicts and measures stacks once, and keeps what was measured on disk."""

import hashlib
import inspect
import json
import os
import time
import zipfile
from collections.abc import Callable, Generator, Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ropeleak.errors import RopeleakError
from ropeleak.output import atomic
from ropeleak.results import Result, predict
from ropeleak.simulate.attention import Attention, watch_attention
from ropeleak.simulate.forward import Sample
from ropeleak.simulate.plan import make_plan
from ropeleak.simulate.sampling import available_threads, samples
from ropeleak.spec import Stack

from .number import Draws

CONTENTS = 12
"""Contents that run through every draw of weights."""
SAVE_EVERY = 2.0
"""Seconds between two checkpoints of one stack."""
STATISTICS = Sample._fields[:-1]
"""What is kept of every draw."""
PACKAGES = ("ropeleak.simulate", "ropeleak.spec")
"""Packages whose code decides what is measured."""


class Budget(NamedTuple):
    """How large the stacks are and how often they are drawn.

    Attributes
    ----------
    name
        ``quick`` or ``full``.
    context, n_blocks
        Of most stacks.
    draws
        Draws of weights per stack.
    probes, contents, watched
        Draws and contents of the held-out probe, and its context.
    long
        The context past the trained length.
    deep
        Blocks that influence is rolled out through.
    maps
        Contents of a score map, in all.
    """

    name: str
    context: int
    n_blocks: int
    draws: int
    probes: int
    contents: int
    watched: int
    long: int
    deep: int
    maps: int


BUDGETS = {
    "quick": Budget("quick", 48, 6, 80, 10, 480, 104, 160, 12, 8_000),
    "full": Budget("full", 96, 8, 240, 24, 960, 128, 512, 16, 100_000),
}

Progress = Callable[[str, int, int], None]
Statistics = Mapping[str, Any]
"""What one draw leaves, by name."""
Stream = Generator[Statistics, None, None]


class Lab:
    """Where experiments are done.

    Parameters
    ----------
    budget
        One of `BUDGETS`.
    seed
        Decides every random number.
    folder
        Where measurements are kept and taken up again; nowhere unless given.
    progress
        Called with a stack's name, the draws made and the draws wanted.

    Raises
    ------
    RopeleakError
        If there is no such budget, or the folder cannot be made.
    """

    def __init__(
        self,
        budget: str = "full",
        seed: int = 0,
        folder: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> None:
        if budget not in BUDGETS:
            raise RopeleakError(f"budget={budget!r} is not known: give {' or '.join(BUDGETS)}")
        if not 0 <= seed < 2**63:
            raise RopeleakError(f"seed={seed} is not allowed: give 0 to {2**63 - 1}")
        self.budget, self.seed = BUDGETS[budget], seed
        self.folder = None if folder is None else Path(folder)
        self._progress = progress or (lambda name, done, wanted: None)
        self._predicted: dict[Stack, Result] = {}
        self._gathered: dict[str, Draws] = {}
        if self.folder is not None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RopeleakError(f"cannot write {folder}: {error.strerror or error}") from None

    def result(self, stack: Stack) -> Result:
        """Return the mean-field prediction of a stack."""
        if stack not in self._predicted:
            self._predicted[stack] = predict(stack)
        return self._predicted[stack]

    def predict(self, stack: Stack) -> xr.Dataset:
        """Return the dataset of `result`."""
        return self.result(stack).dataset

    def measure(self, stack: Stack, draws: int | None = None, contents: int = CONTENTS) -> Draws:
        """Return the statistics of every draw of weights; draws of one seed share them all.

        Raises
        ------
        RopeleakError
            If the stack cannot be measured, or what is kept cannot be read or written.
        """
        wanted = self.budget.draws if draws is None else draws

        def stream(first: int) -> Stream:
            plan = make_plan(stack, contents, self.seed)
            made = samples(plan, False, first, wanted, available_threads())
            try:
                for sample in made:
                    yield {name: getattr(sample, name) for name in STATISTICS}
            finally:
                made.close()

        return self.gather("draws", stack, stream, wanted, contents=contents)

    def watch(
        self,
        stack: Stack,
        reduce: Callable[[Attention], Statistics],
        contents: int = CONTENTS,
        draws: int | None = None,
    ) -> Draws:
        """Return what a function makes of every draw's attention.

        Raises
        ------
        RopeleakError
            As `measure`.
        """
        wanted = self.budget.draws if draws is None else draws

        def stream(first: int) -> Stream:
            made = watch_attention(
                stack, draws=wanted, contents=contents, seed=self.seed, first=first
            )
            try:
                for attention in made:
                    yield reduce(attention)
            finally:
                made.close()

        return self.gather(
            reduce.__name__, stack, stream, wanted, made_by=(reduce,), contents=contents
        )

    def gather(
        self,
        kind: str,
        stack: Stack,
        stream: Callable[[int], Stream],
        wanted: int,
        made_by: tuple[Callable[..., Any], ...] = (),
        **numbers: int,
    ) -> Draws:
        """Return the statistics of so many draws, taken up from disk where some are kept.

        Parameters
        ----------
        kind
            What is gathered, in a word.
        stack
            The architecture.
        stream
            Generates the statistics of the draws from a first one on.
        wanted
            Number of draws.
        made_by
            Functions whose code decides the statistics.
        numbers
            What else does.
        """
        sources = [code(), *map(inspect.getsource, made_by)]
        identity = [kind, stack.replace(name="").model_dump(mode="json"), self.seed, numbers]
        text = json.dumps([*identity, *sources], sort_keys=True)
        key = f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        if key not in self._gathered:
            path = None if self.folder is None else self.folder / f"{key}.npz"
            self._gathered[key] = self._gather(path, stack.name, stream, wanted)
        found = self._gathered[key]
        return {name: values[:wanted] for name, values in found.items()}

    def _gather(
        self, path: Path | None, name: str, stream: Callable[[int], Stream], wanted: int
    ) -> Draws:
        kept = load_arrays(path)
        rows: dict[str, list[Any]] = {key: list(values) for key, values in kept.items()}
        done = len(next(iter(rows.values()), []))
        due = time.monotonic() + SAVE_EVERY
        if done >= wanted:
            return kept
        made = stream(done)
        try:
            for statistics in made:
                for key, value in statistics.items():
                    rows.setdefault(key, []).append(value)
                done += 1
                self._progress(name, done, wanted)
                if time.monotonic() > due:
                    save_arrays(path, rows)
                    due = time.monotonic() + SAVE_EVERY
        finally:
            made.close()
            if done:
                save_arrays(path, rows)
        return {key: np.array(values) for key, values in rows.items()}

    def advance(self, what: str, done: int, wanted: int) -> None:
        """Tell how far something is."""
        self._progress(what, done, wanted)


@lru_cache(maxsize=1)
def code() -> str:
    """Return a digest of the code that decides what is measured."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        folder = Path(str(import_module(package).__file__)).parent
        for file in sorted(folder.glob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def load_arrays(path: Path | None) -> dict[str, Any]:
    """Return the arrays of a file, or none where there is no file.

    Raises
    ------
    RopeleakError
        If the file cannot be read.
    """
    if path is None or not path.exists():
        return {}
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or "it is not a checkpoint"
        raise RopeleakError(f"cannot resume from {path}: {reason}; remove it") from None


def save_arrays(path: Path | None, arrays: dict[str, Any]) -> None:
    """Write arrays whole or not at all; nothing where there is no path."""
    if path is None:
        return
    with atomic(path) as temporary, open(temporary, "wb") as file:
        as_arrays = {name: np.asarray(value) for name, value in arrays.items()}
        np.savez(file, **as_arrays)  # type: ignore[arg-type]
