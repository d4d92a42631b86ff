"""`sweep` and `Sweep`: predictions or measurements over a grid of architectures."""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from ropeleak.budget import available_threads
from ropeleak.errors import RopeleakError
from ropeleak.output import atomic, check_figure
from ropeleak.results import Source, load_stack
from ropeleak.spec import Stack

from .execution import Work, execute, execute_here
from .grid import Grid, make_grid
from .labels import At, make_labels
from .store import FileStore, MemoryStore, Store
from .task import DONE, FAILED, METHODS, Finished, Task, method_named, options_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".nc", ".zarr")
TRIED_FIRST = 1000
"""Points of which one must be an architecture before anything is computed."""
UNKNOWN_WIDTH = 8
"""Batches that are taken to run at the same time on an executor that does not say."""


class SweepProgress(NamedTuple):
    """How far a sweep is.

    Attributes
    ----------
    done, failed, total
        Points that were computed or could not be, those that could not, and all.
    rate
        Points a second in this run.
    left
        Seconds that are left, or NaN.
    """

    done: int
    failed: int
    total: int
    rate: float
    left: float


def sweep(
    source: Source | Sequence[Source],
    over: Mapping[str, object] | None = None,
    *,
    zipped: Iterable[str | Sequence[str]] = (),
    method: str = "predict",
    context: int | None = None,
    seed: int | None = None,
    variables: Iterable[str] | None = None,
    at: At = None,
    out: str | os.PathLike[str] | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    dask: str | None = None,
    progress: Callable[[SweepProgress], None] | None = None,
    **options: Any,
) -> xr.Dataset:
    """Predict or measure every combination of models and of the values of fields.

    Parameters
    ----------
    source
        A model as in `ropeleak.predict`, or a list of several.
    over
        Values by the path of the field, as in `Stack.set`: ``{"attention.window": [64, 128],
        "rope.base": "1e4:1e7:log:20"}``. They are set in this order.
    zipped
        Fields whose values change together instead of in every combination, e.g.
        ``["n_heads+d_head"]``.
    method
        ``"predict"`` (or ``"mean-field"``), ``"uniform"`` and ``"sampled"`` are the methods of
        `ropeleak.predict`; ``"measure"`` is Monte Carlo.
    context
        Number of tokens, unless it is swept.
    seed
        Of ``sampled`` and ``measure``: decides the random numbers of every point, whatever the
        executor, the order and the rest of the grid.
    variables
        Names of the observables to keep; all but the matrices unless given.
    at
        Positions to keep, or ``"all"``. Unless given, all where every point has the same short
        context, and otherwise 0, 1, 2, 5, 10, … and the last.
    out
        A ``.nc`` file or a ``.zarr`` folder. Finished points are kept as the sweep goes on, and
        a sweep that was stopped, however it was, goes on from there. The same sweep with more
        values computes only what is new.
    executor
        Any executor, e.g. a ``ThreadPoolExecutor``; processes on this machine unless given.
    workers
        Number of those processes; as many as there are processors unless given.
    dask
        Address of a Dask scheduler whose cluster computes instead.
    progress
        Called whenever points are finished.
    **options
        Of the methods of theory ``positions``, of ``sampled`` also ``heads``; of ``measure``
        ``width``, ``draws``, ``contents`` and ``target_se``. Unless given, the closed recursion
        runs on the ``coarse`` grid, a fraction of a percent from what `ropeleak.predict` says
        (2% where queries and keys are aligned); ``positions="auto"`` gives its numbers.

    Returns
    -------
    xarray.Dataset
        The variables of `ropeleak.observables` over ``model`` (where there are several), the
        fields, and ``depth`` or ``block`` and ``query``. What a point does not have, a deeper block
        or a later position than its own, is NaN. ``status`` is 1 where a point was computed and
        2 where it failed, for the ``reason`` that is told there; ``approximations`` is what the
        numbers leave out.

    Raises
    ------
    RopeleakError
        If there is nothing to sweep or too much, a path, method, option or file is not allowed,
        the executor fails, or every point does.

    Examples
    --------
    >>> found = sweep("llama-3.1-8b", {"attention.window": [64, 128]})  # doctest: +SKIP
    >>> found["leak_mask"].sel({"attention.window": 64, "block": 32})  # doctest: +SKIP
    """
    running = Sweep(
        source, over, zipped=zipped, method=method, context=context, seed=seed,
        variables=variables, at=at, out=out, **options,
    )  # fmt: skip
    with running:
        running.run(executor=executor, workers=workers, dask=dask, progress=progress)
        return running.dataset()


class Sweep:
    """A sweep that can be stopped and resumed at any point.

    Parameters
    ----------
    source, over, zipped, method, context, seed, variables, at, out, **options
        As in `sweep`.

    Raises
    ------
    RopeleakError
        As `sweep` does, before anything is computed.
    """

    def __init__(
        self,
        source: Source | Sequence[Source],
        over: Mapping[str, object] | None = None,
        *,
        zipped: Iterable[str | Sequence[str]] = (),
        method: str = "predict",
        context: int | None = None,
        seed: int | None = None,
        variables: Iterable[str] | None = None,
        at: At = None,
        out: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        self.grid = make_grid(load_models(source, context), over or {}, zipped)
        self.task = make_task(self.grid, method, seed, variables, at, options)
        path = None if out is None else Path(out)
        self._store = open_store(self.grid, self.task, path)
        try:
            if not (self._store.status == DONE).any():
                check_first(self.grid)
        except BaseException:
            self._store.discard()
            raise

    @property
    def done(self) -> int:
        """Number of points that were computed or failed."""
        return int(np.count_nonzero(self._store.status))

    @property
    def where(self) -> Path | None:
        """What the sweep goes on from when it is stopped."""
        return self._store.where if self.done else None

    def run(
        self,
        *,
        executor: Executor | None = None,
        workers: int | None = None,
        dask: str | None = None,
        progress: Callable[[SweepProgress], None] | None = None,
    ) -> None:
        """Compute the points that are left; parameters and errors are those of `sweep`."""
        if sum(given is not None for given in (executor, workers, dask)) > 1:
            raise RopeleakError("executor, workers and dask exclude each other: give one of them")
        if workers is not None and not 1 <= workers <= 4096:
            raise RopeleakError(f"workers={workers} is not allowed: give 1 to 4096")
        todo = np.flatnonzero(self._store.status == 0).tolist()
        slow = self.task.method == "measure"
        work = Work(self.grid, self.task, todo, self._store.run_of, self._saving(progress))
        try:
            if dask is not None:
                from .cluster import cluster

                with cluster(dask) as (there, width):
                    execute(work, there, width)
            elif executor is not None:
                execute(work, executor, getattr(executor, "_max_workers", UNKNOWN_WIDTH))
            else:
                execute_here(work, workers or available_threads(), patient=slow)
        except BrokenExecutor as error:
            raise RopeleakError(f"the executor broke: {error or type(error).__name__}") from None
        if not (self._store.status == DONE).any():
            reason = self._store.reason()
            self._store.discard()
            raise RopeleakError(
                f"none of the {self.grid.size:,} points could be computed: {reason}"
            )

    def dataset(self) -> xr.Dataset:
        """Return the dataset, and write the file if there is one."""
        return self._store.finish()

    def keep(self, path: Path) -> None:
        """Write down what was computed without ``out``: with ``out=path`` it is taken up.

        Raises
        ------
        RopeleakError
            If the file cannot be written, or is there.
        """
        assert isinstance(self._store, MemoryStore)
        kept = FileStore(self.grid, self.task, path)
        try:
            for finished in self._store.batches():
                kept.put(finished)
        finally:
            kept.close()

    def close(self) -> None:
        """Let go of files; what is finished stays in them."""
        self._store.close()

    def __enter__(self) -> "Sweep":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _saving(
        self, progress: Callable[[SweepProgress], None] | None
    ) -> Callable[[Finished], None]:
        """Return what keeps finished points and tells how far the sweep is."""
        start, before = time.monotonic(), self.done

        def save(finished: Finished) -> None:
            self._store.put(finished)
            if progress is not None:
                failed = int(np.count_nonzero(self._store.status == FAILED))
                done, total = self.done, self.grid.size
                rate = (done - before) / max(time.monotonic() - start, 1e-9)
                progress(SweepProgress(done, failed, total, rate, (total - done) / rate))

        return save


def plot_sweep(dataset: xr.Dataset, path: str | os.PathLike[str] | None = None) -> "Figure":
    """Draw a sweep, as lines or heat maps; save it where a path is given.

    Raises
    ------
    RopeleakError
        If the file cannot be written or its suffix names no known format.
    """
    from ropeleak.drawing import style
    from ropeleak.drawing import sweep as figure_of

    if path is not None:
        check_figure(path)
    figure = figure_of.plot(dataset)
    if path is not None:
        with atomic(path) as temporary:
            style.save(figure, temporary)
    return figure


def load_models(source: Source | Sequence[Source], context: int | None) -> dict[str, Stack]:
    """Return the architectures, by a label of their own.

    Raises
    ------
    RopeleakError
        If one cannot be had, or there is none.
    """
    models: dict[str, Stack] = {}
    sources: Any = source if isinstance(source, (list, tuple)) else [source]
    for one in sources:
        stack = load_stack(one, context)
        label, count = stack.name, 1
        while label in models:
            count += 1
            label = f"{stack.name} ({count})"
        models[label] = stack
    if not models:
        raise RopeleakError("there are no models to sweep: give one or more")
    return models


def make_task(
    grid: Grid,
    method: str,
    seed: int | None,
    variables: Iterable[str] | None,
    at: At,
    options: Mapping[str, Any],
) -> Task:
    """Return what is done with every point.

    Raises
    ------
    RopeleakError
        If a name, an option or a number is not allowed.
    """
    name = method_named(method)
    sampled = METHODS[name].sampled
    if seed is not None and not sampled:
        raise RopeleakError(f"seed={seed} needs a method that samples, not {method}: leave it out")
    if not 0 <= (seed or 0) < 2**63:
        raise RopeleakError(f"seed={seed} is not allowed: give 0 to {2**63 - 1}")
    given = options_of(name, options)
    return Task(name, make_labels(grid, sampled, variables, at), seed or 0, given)


def open_store(grid: Grid, task: Task, path: Path | None) -> Store:
    """Return where points are kept.

    Raises
    ------
    RopeleakError
        If the path's suffix is unknown, or it cannot be used.
    """
    if path is None:
        return MemoryStore(grid, task)
    if path.suffix == ".nc":
        return FileStore(grid, task, path)
    if path.suffix == ".zarr":
        from .zarr_store import ZarrStore

        return ZarrStore(grid, task, path)
    raise RopeleakError(f"cannot write {path}: the name of a sweep ends in {' or '.join(SUFFIXES)}")


def check_first(grid: Grid) -> None:
    """Raise `RopeleakError` if no point is an architecture, as far as a first look can tell."""
    order = np.random.default_rng(0).permutation(grid.size)[:TRIED_FIRST]
    reason = ""
    for index in order.tolist():
        try:
            grid.point(index).stack(grid.models)
        except RopeleakError as error:
            reason = reason or str(error)
        else:
            return
    if order.size == grid.size:
        raise RopeleakError(reason)
