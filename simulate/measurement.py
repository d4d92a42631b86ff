"""`measure`: the observables of a stack of finite width, by Monte Carlo."""

import os
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ropeleak.budget import allowed_bytes
from ropeleak.errors import RopeleakError
from ropeleak.numbers import Numbers
from ropeleak.output import check_writable
from ropeleak.spec import Stack

from . import checkpoint as checkpoints
from .forward import needed_bytes
from .plan import Plan, make_plan
from .sampling import available_threads, samples
from .statistics import Moments

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]
Keep = Literal["summary", "full"]
Precision = Literal["float32", "float64"]

DRAWS, CONTENTS = 100, 8
MOST_DRAWS = 10**7
CHECK_EVERY = 16
"""Draws between two looks at the standard error: fixed, so that every run stops at the same one."""
SAVE_EVERY, SAVE_SHARE = 1.0, 0.05
"""A checkpoint is written at most so often (seconds), and takes at most this share of the time."""
WATCHED = ("leak_mask", "leak_residual", "leak_total", "beacon")
"""What ``target_se`` is about: nats RMS, and a share."""


class Progress(NamedTuple):
    """How far a measurement is.

    Attributes
    ----------
    draws, wanted
        Draws made, and about how many there will be.
    rate
        Draws a second in this run.
    error
        Largest standard error of the leaks (nats RMS) and the beacon so far, or NaN.
    """

    draws: int
    wanted: int
    rate: float
    error: float


class Measurement:
    """A Monte Carlo of one stack that can be stopped and resumed at any draw.

    Parameters
    ----------
    stack
        The architecture.
    contents
        Contents that run through every draw of weights; as many more run without BOS where it is
        constant, for ``q_common``.
    seed
        Decides every random number.
    keep
        ``full`` adds the matrices ``K``, ``Q`` and ``Q_common``.
    precision
        Of the forward pass; moments are float64 always.
    parameter_free
        Make ``W_Q``, ``W_K``, ``W_V`` and ``W_O`` the identity: ``q = k = v`` is the residual
        stream.
    controls
        Use control variates: the same expectations with smaller standard errors. Without them the
        numbers are plain means over draws.

    Raises
    ------
    RopeleakError
        If a number is out of range, or the kernels cannot run the stack.
    """

    def __init__(
        self,
        stack: Stack,
        *,
        contents: int = CONTENTS,
        seed: int = 0,
        keep: Keep = "summary",
        precision: Precision = "float32",
        parameter_free: bool = False,
        controls: bool = True,
    ) -> None:
        if not isinstance(contents, (int, np.integer)):
            raise RopeleakError(
                "contents of random weights are a number: leave out the token ids or the text, or"
                " give weights"
            )
        in_range("contents", contents, 2, 10**6)
        in_range("seed", seed, 0, 2**64 - 1)
        self.stack, self.moments = stack, Moments()
        self._full, self._controls = keep == "full", controls
        self._plan = make_plan(
            stack, contents, seed, precision, parameter_free=parameter_free, controls=controls
        )
        self._identity: dict[str, Any] = {
            "stack": stack.model_dump(mode="json"), "contents": contents, "seed": seed,
            "keep": keep, "precision": precision, "parameter_free": parameter_free,
            "controls": controls,
        }  # fmt: skip

    @property
    def draws(self) -> int:
        """Number of draws so far."""
        return self.moments.count

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Take up the moments of a checkpoint, if there is one.

        Raises
        ------
        RopeleakError
            If the file cannot be read or written, or is of another measurement.
        """
        check_writable(path)
        self.moments = checkpoints.load(path, self._identity)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint, whole or not at all."""
        checkpoints.save(path, self.moments, self._identity)

    def run(
        self,
        draws: int | None = None,
        *,
        target_se: float | None = None,
        threads: int | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Go on until there are ``draws`` draws, or the standard error is small enough.

        When interrupted, what was measured is kept, and in the checkpoint if there is one.

        Parameters
        ----------
        draws
            Draws in all; 100 unless given, or as many as ``target_se`` takes.
        target_se
            Largest standard error of the leaks (nats RMS) and the beacon that is wanted.
        threads
            Draws made at the same time; as many as there are processors unless given.
        checkpoint
            File that is written every second or so and at the end.
        progress
            Called after every draw.

        Raises
        ------
        RopeleakError
            If a number is out of range, or there is too little memory.
        """
        wanted = draws if draws is not None else DRAWS if target_se is None else MOST_DRAWS
        in_range("draws", wanted, 2, MOST_DRAWS)
        if target_se is not None and not 0 < target_se < np.inf:
            raise RopeleakError(f"target_se={target_se:g} is not allowed: give a positive number")
        threads = threads or available_threads()
        in_range("threads", threads, 1, 4096)
        check_memory(self._plan, self._full, min(threads, wanted))
        start, first = time.monotonic(), self.draws
        due = start + SAVE_EVERY
        error = self.error() if self.draws > 1 else float("nan")
        stream = samples(self._plan, self._full, first, wanted, threads)
        try:
            while self.draws < wanted and not self._reached(target_se, error):
                self.moments.add(next(stream))
                if self.draws % CHECK_EVERY == 0:
                    error = self.error()
                if progress is not None:
                    rate = (self.draws - first) / max(time.monotonic() - start, 1e-9)
                    progress(
                        Progress(self.draws, self._goal(wanted, target_se, error), rate, error)
                    )
                if checkpoint is not None and time.monotonic() > due:
                    due = self._save_and_schedule(checkpoint)
        finally:
            stream.close()
            if checkpoint is not None and self.draws > 0:
                self.save(checkpoint)

    def _save_and_schedule(self, path: str | os.PathLike[str]) -> float:
        """Write a checkpoint and return when the next one is due."""
        start = time.monotonic()
        self.save(path)
        end = time.monotonic()
        return end + max(SAVE_EVERY, (end - start) / SAVE_SHARE)

    def _reached(self, target_se: float | None, error: float) -> bool:
        return target_se is not None and self.draws % CHECK_EVERY == 0 and error <= target_se

    def _goal(self, wanted: int, target_se: float | None, error: float) -> int:
        if target_se is None or not error > 0:
            return wanted
        return min(max(round(self.draws * (error / target_se) ** 2), self.draws), wanted)

    def error(self) -> float:
        """Return the largest standard error of the leaks (nats RMS) and the beacon."""
        found = self.moments.observables(self._controls)
        return max(float(found[f"{name}_se"].max()) for name in WATCHED)

    def dataset(self) -> "xr.Dataset":
        """Return the observables with their standard errors.

        Raises
        ------
        RopeleakError
            If there are fewer than two draws.
        """
        return self.numbers().dataset()

    def numbers(self) -> Numbers:
        """Return what `dataset` holds, as plain arrays.

        Raises
        ------
        RopeleakError
            If there are fewer than two draws.
        """
        if self.draws < 2:
            raise RopeleakError(
                f"{self.draws} draws give no standard error: let the measurement make two or more"
            )
        values = with_masks(self.moments.observables(self._controls), self.stack)
        return Numbers(
            values, self.stack.n_blocks, np.arange(self.stack.context), self._attributes()
        )

    def _attributes(self) -> dict[str, str | int | float]:
        words = list(self.stack.approximations)
        if self._identity["parameter_free"]:
            words.append("parameter-free: W_Q, W_K, W_V and W_O are the identity")
        return {
            "method": "monte-carlo",
            "positions": "dense",
            "stack": self.stack.model_dump_json(),
            "ropeleak": package_version(),
            "approximations": "\n".join(words),
            "draws": self.draws,
            "contents": self._identity["contents"],
            "seed": str(self._identity["seed"]),
            "precision": self._identity["precision"],
        }


def measure(
    stack: Stack,
    *,
    draws: int | None = None,
    contents: int = CONTENTS,
    seed: int = 0,
    target_se: float | None = None,
    keep: Keep = "summary",
    precision: Precision = "float32",
    parameter_free: bool = False,
    controls: bool = True,
    threads: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> "xr.Dataset":
    """Return every observable of ``stack``, measured on random weights of its width.

    The outer loop draws weights, the inner one runs contents through them. What is squared is
    estimated from pairs of different contents, so its expectation is exact; standard errors are
    those of the mean over draws, less what control variates explain: statistics of a draw whose
    mean over weights is 0 exactly, such as the mean score of a query.

    Parameters
    ----------
    stack
        The architecture.
    draws
        Draws of weights; 100 unless given, or as many as ``target_se`` takes.
    contents, seed, keep, precision, parameter_free, controls
        As in `Measurement`.
    target_se, threads, checkpoint, progress
        As in `Measurement.run`; a checkpoint that exists is taken up.

    Returns
    -------
    xarray.Dataset
        With the variables of `ropeleak.observables` and ``<name>_se`` of each but ``reach``,
        which follows from the masks.

    Raises
    ------
    RopeleakError
        If the kernels cannot run the stack, a number is out of range, there is too little memory,
        or the checkpoint cannot be used.
    """
    measurement = Measurement(
        stack, contents=contents, seed=seed, keep=keep, precision=precision,
        parameter_free=parameter_free, controls=controls,
    )  # fmt: skip
    if checkpoint is not None:
        measurement.resume(checkpoint)
    measurement.run(
        draws, target_se=target_se, threads=threads, checkpoint=checkpoint, progress=progress
    )
    return measurement.dataset()


def with_masks(values: dict[str, Floats], stack: Stack) -> dict[str, Floats]:
    """Return observables and what follows from them and the masks."""
    n_keys = np.stack([_n_keys(stack, block) for block in range(stack.n_blocks)])
    excess = {f"sink_excess{end}": values[f"sink{end}"] * n_keys for end in ("", "_se")}
    return {**values, **excess, "reach": reach(stack)}


def reach(stack: Stack) -> Floats:
    """Return the last position that token 0 can influence, at every depth (L+1,)."""
    last, found = 0, [0]
    query = np.arange(stack.context)
    for attention in stack.attention:
        keys = attention.key_range(query, stack.context)
        last = int(query[(keys.first <= last) | (keys.sinks > 0)].max())
        found.append(last)
    return np.array(found, dtype=np.float64)


def check_memory(plan: Plan, full: bool, threads: int) -> None:
    """Raise `RopeleakError` if the draws need more memory than is allowed."""
    depths, context = plan.blocks.size + 1, int(plan.sizes[0]["context"])
    sample = 8.0 * depths * context * (12 + (6 * context if full else 0))
    needed = threads * (needed_bytes(plan, full) + 2 * sample) + 5 * sample
    allowed = allowed_bytes()
    if needed <= allowed:
        return
    fewer = "fewer threads, " if threads > 1 else ""
    raise RopeleakError(
        f"measuring on {threads} threads needs {needed / 2**30:.1f} GB and"
        f" {allowed / 2**30:.1f} GB are allowed: use {fewer}fewer contents, a shorter context, a"
        " narrower stack (Stack.proxy) or a larger ROPELEAK_MEMORY_GB"
    )


def package_version() -> str:
    """Return the version that is installed."""
    try:
        return installed_version("ropeleak")
    except PackageNotFoundError:
        return "uninstalled"


def _n_keys(stack: Stack, block: int) -> NDArray[np.int64]:
    return stack.attention[block].key_range(np.arange(stack.context), stack.context).n_keys


def in_range(name: str, value: int, least: int, most: int) -> None:
    """Raise `RopeleakError` if a number is out of its range."""
    if not least <= value <= most:
        raise RopeleakError(f"{name}={value} is not allowed: give {least} to {most}")
