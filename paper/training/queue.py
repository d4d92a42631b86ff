"""Working through runs with several processes: any of them may be killed at any time."""

import fcntl
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any, NamedTuple

from ropeleak.errors import RopeleakError

from .runs import Run

REPORT_EVERY = 10.0
"""Seconds between two lines of progress."""
LOCK = "lock"

Say = Callable[[float, str], None]
Job = Callable[[Run, Path, Say], None]
"""Does what is to be done with a run in a folder, saying which share is done and a few words."""


class Report(NamedTuple):
    """What a process says of a run: the share that is done, and in words; or what went wrong."""

    run: Run
    share: float
    words: str = ""
    error: str = ""


class Progress:
    """How far all runs are, each weighing as much as it has blocks."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._weight = {run: run.stack.n_blocks for run in runs}
        self._share = dict.fromkeys(runs, 0.0)
        self._found: dict[Run, float] = {}
        self._start = time.monotonic()

    def add(self, report: Report) -> str:
        """Take a report into account and return how far everything is, in a line."""
        self._share[report.run] = report.share
        self._found.setdefault(report.run, report.share)
        total = sum(self._weight.values())
        done = sum(self._weight[run] * share for run, share in self._share.items())
        new = done - sum(self._weight[run] * share for run, share in self._found.items())
        seconds = (total - done) / new * (time.monotonic() - self._start) if new > 0 else 0.0
        finished = sum(share >= 1 for share in self._share.values())
        return (
            f"{finished}/{len(self._share)} runs, {100 * done / total:.1f}%,"
            f" {clock(seconds) if new > 0 else '?'} left; {report.run}: {report.words}"
        )


def clock(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds."""
    minutes, s = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{s:02d}"


def work_through(job: Job, runs: Sequence[Run], out: Path, jobs: int) -> None:
    """Do a job with every run, printing how far it is.

    Processes take runs in their order and leave out those that another process works on, so that
    several calls share the work.

    Parameters
    ----------
    job
        A function of a module.
    runs, out
        The runs, and the folder of their folders.
    jobs
        Processes.

    Raises
    ------
    RopeleakError
        If a run failed; the others are finished first.
    """
    context = multiprocessing.get_context("spawn")
    reports: Any = context.Queue()
    workers = [
        context.Process(target=_worker, args=(job, list(runs), out, reports), daemon=True)
        for _ in range(jobs)
    ]
    for worker in workers:
        worker.start()
    progress, errors, due = Progress(runs), [], 0.0
    while any(worker.is_alive() for worker in workers) or not reports.empty():
        try:
            report = reports.get(timeout=1.0)
        except Empty:
            continue
        line = progress.add(report)
        if report.error:
            errors.append(report.error)
        elif time.monotonic() > due:
            due = time.monotonic() + REPORT_EVERY
            print(line, flush=True)
    if errors:
        raise RopeleakError(errors[0])


def _worker(job: Job, runs: list[Run], out: Path, reports: Any) -> None:
    """Do the job with one run after the other, on one thread."""
    import torch

    torch.set_num_threads(1)
    parent = os.getppid()

    for run in runs:

        def say(share: float, words: str, run: Run = run) -> None:
            if os.getppid() != parent:
                raise SystemExit("the program that this process works for is gone")
            reports.put(Report(run, share, words))

        folder = run.folder(out)
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / LOCK) as free:
            if not free:
                continue
            try:
                job(run, folder, say)
            except RopeleakError as error:
                reports.put(Report(run, 1.0, error=f"{run}: {error}"))
            except KeyboardInterrupt:
                return


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
