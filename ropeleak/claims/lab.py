"""`Lab`: predicts and measures stacks once, and keeps what was measured on disk."""

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ropeleak.errors import RopeleakError
from ropeleak.output import atomic
from ropeleak.results import Result, predict
from ropeleak.simulate.forward import Sample
from ropeleak.simulate.plan import make_plan
from ropeleak.simulate.sampling import available_threads, samples
from ropeleak.spec import Stack

from .number import Draws

CONTENTS = 12
"""Contents that run through every draw of weights."""
SAVE_EVERY = 2.0
"""Seconds between two checkpoints of one stack."""


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
    """

    name: str
    context: int
    n_blocks: int
    draws: int
    probes: int
    contents: int
    watched: int
    long: int


BUDGETS = {
    "quick": Budget("quick", 48, 6, 80, 4, 384, 104, 160),
    "full": Budget("full", 96, 8, 200, 12, 768, 128, 512),
}

Progress = Callable[[str, int, int], None]


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
        self._measured: dict[Stack, Draws] = {}
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

    def measure(self, stack: Stack) -> Draws:
        """Return the statistics of every draw of weights; draws of one seed share them all.

        Raises
        ------
        RopeleakError
            If the stack cannot be measured, or what is kept cannot be read or written.
        """
        if stack not in self._measured:
            self._measured[stack] = self._draw(stack)
        return self._measured[stack]

    def advance(self, what: str, done: int, wanted: int) -> None:
        """Tell how far something is."""
        self._progress(what, done, wanted)

    def path(self, kind: str, stack: Stack, **numbers: int) -> Path | None:
        """Return the file of a measurement; its name tells measurements apart."""
        if self.folder is None:
            return None
        identity = stack.replace(name="").model_dump(mode="json")
        text = json.dumps([kind, identity, self.seed, numbers], sort_keys=True)
        return self.folder / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"

    def _draw(self, stack: Stack) -> Draws:
        path = self.path("draws", stack, contents=CONTENTS)
        names = Sample._fields[:-1]
        kept = load_arrays(path)
        rows: dict[str, list[Any]] = {name: list(kept.get(name, ())) for name in names}
        wanted, done = self.budget.draws, len(rows[names[0]])
        plan = make_plan(stack, CONTENTS, self.seed)
        due = time.monotonic() + SAVE_EVERY
        stream = samples(plan, False, done, wanted, available_threads())
        try:
            for sample in stream:
                for name in names:
                    rows[name].append(getattr(sample, name))
                done += 1
                self._progress(stack.name, done, wanted)
                if time.monotonic() > due:
                    save_arrays(path, rows)
                    due = time.monotonic() + SAVE_EVERY
        finally:
            stream.close()
            if done:
                save_arrays(path, rows)
        return {name: np.array(values[:wanted]) for name, values in rows.items()}


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
