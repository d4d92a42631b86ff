"""Working through all trainings with several processes: any of them may be killed at any time."""

import fcntl
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any, NamedTuple

from ropeleak.errors import RopeleakError

from .recipe import Recipe
from .runs import Run

if TYPE_CHECKING:
    from .trainer import Trainer

REPORT_EVERY = 10.0
"""Seconds between two lines of progress."""
LOCK = "lock"


class Report(NamedTuple):
    """What a process says of a run: steps made, its last loss, or what went wrong."""

    run: Run
    steps: int = 0
    loss: float = float("nan")
    error: str = ""


@dataclass
class Work:
    """How far all runs are, counted in blocks trained for a step: about what takes equal time."""

    runs: Sequence[Run]
    recipe: Recipe
    steps: dict[Run, int] = field(default_factory=dict)
    start: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._depth = {run: run.stack.n_blocks for run in self.runs}
        self._before: int | None = None

    def add(self, report: Report) -> None:
        """Take a report into account."""
        self.steps[report.run] = report.steps

    def line(self, report: Report) -> str:
        """Return how far everything is, in a line."""
        done = sum(self._depth[run] * steps for run, steps in self.steps.items())
        total = self.recipe.steps * sum(self._depth.values())
        if self._before is None:
            self._before = done
        rate = (done - self._before) / max(time.monotonic() - self.start, 1e-9)
        left = f"{clock((total - done) / rate)} left" if rate > 0 else "…"
        finished = sum(steps >= self.recipe.steps for steps in self.steps.values())
        return (
            f"{finished}/{len(self.runs)} runs, {100 * done / total:.1f}%, {left};"
            f" {report.run}: step {report.steps}, loss {report.loss:.3f}"
        )


def clock(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds."""
    minutes, s = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{s:02d}"


def work_through(runs: Sequence[Run], recipe: Recipe, out: Path, jobs: int) -> None:
    """Train what is not trained yet, printing how far it is.

    Processes take runs in their order, skipping those that are done or that another process
    works on, so that several calls share the work.

    Raises
    ------
    RopeleakError
        If a run failed; the others are finished first.
    """
    context = multiprocessing.get_context("spawn")
    reports: Any = context.Queue()
    arguments = (list(runs), recipe, out, reports)
    workers = [context.Process(target=_worker, args=arguments, daemon=True) for _ in range(jobs)]
    for worker in workers:
        worker.start()
    work, errors, due = Work(runs, recipe), [], 0.0
    while any(worker.is_alive() for worker in workers) or not reports.empty():
        try:
            report = reports.get(timeout=1.0)
        except Empty:
            continue
        if report.error:
            errors.append(report.error)
            continue
        work.add(report)
        if time.monotonic() > due:
            due = time.monotonic() + REPORT_EVERY
            print(work.line(report), flush=True)
    if errors:
        raise RopeleakError(errors[0])


def _worker(runs: list[Run], recipe: Recipe, out: Path, reports: Any) -> None:
    """Train one run after the other, on one thread."""
    import torch

    from .text import standard_library
    from .trainer import Trainer

    torch.set_num_threads(1)
    parent = os.getppid()

    for run in runs:

        def say(trainer: "Trainer", run: Run = run) -> None:
            if os.getppid() != parent:
                raise SystemExit("the program that started this training is gone")
            reports.put(Report(run, trainer.step, trainer.losses[-1]))

        folder = run.folder(out)
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / LOCK) as free:
            if not free:
                continue
            try:
                trainer = Trainer(run.stack, run.seed, standard_library(), recipe, folder)
                trainer.run(say)
            except RopeleakError as error:
                reports.put(Report(run, error=f"{run}: {error}"))
                continue
            reports.put(Report(run, trainer.step, trainer.losses[-1]))


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold a lock that goes when the process does; False if another process holds it."""
    with open(path, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
