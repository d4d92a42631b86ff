"""Computing points on any executor, in batches, and going on when a process dies."""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager, suppress
from math import inf
from multiprocessing import get_context, parent_process
from typing import Any

from ropeleak.errors import RopeleakError

from .grid import Grid, Point
from .task import Finished, Task, compute, failed

BATCH_SECONDS = 0.5
"""How long a batch should take: enough that handing it over costs little."""
LARGEST_BATCH = 64
AHEAD = 2
"""Batches that are handed over for each process, so that none waits."""
HEAD_START = 2.0
"""Seconds before other processes are started: a small sweep does not need them."""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
KILLED = "the process that computed this point was killed: there may be too little memory for it"


class Work:
    """The points that are left, given out in batches of about the same time.

    Parameters
    ----------
    grid, task
        What is computed.
    todo
        Places in the grid, increasing.
    run_of
        Returns the points around one that a batch may hold.
    save
        Keeps what is finished.
    """

    def __init__(
        self,
        grid: Grid,
        task: Task,
        todo: Iterable[int],
        run_of: Callable[[int], range],
        save: Callable[[Finished], None],
    ) -> None:
        self.grid, self.task, self._run_of, self._save = grid, task, run_of, save
        self._todo = deque(todo)
        self.suspects: deque[Point] = deque()
        self._seconds = inf

    def __len__(self) -> int:
        return len(self._todo) + len(self.suspects)

    def take(self) -> list[Point]:
        """Return the next points; one that may have killed a process comes alone."""
        if self.suspects:
            return [self.suspects.popleft()]
        run, batch = self._run_of(self._todo[0]), list[Point]()
        count = min(max(int(BATCH_SECONDS / self._seconds), 1), LARGEST_BATCH)
        while self._todo and len(batch) < count and self._todo[0] in run:
            batch.append(self.grid.point(self._todo.popleft()))
        return batch

    def submit(self, executor: Executor, points: Sequence[Point]) -> "Future[Finished]":
        """Hand points over."""
        models = {point.model: self.grid.models[point.model] for point in points}
        return executor.submit(compute, self.task, models, points)

    def save(self, finished: Finished) -> None:
        """Keep points, and note how long one takes."""
        if finished.seconds > 0:
            each = finished.seconds / finished.status.size
            self._seconds = each if self._seconds == inf else (self._seconds + each) / 2
        self._save(finished)

    def fail(self, points: Sequence[Point], reason: str) -> None:
        """Record that points failed; several are tried again, each alone."""
        if len(points) > 1:
            self.suspects.extend(points)
        else:
            self._save(failed(self.task, points, reason))


def execute(work: Work, executor: Executor, width: int, until: float = inf) -> None:
    """Compute points until none is left.

    Parameters
    ----------
    work
        What is to be done; when this raises, what is not finished is left in it.
    executor, width
        Where, and how many batches run there at the same time.
    until
        Time (`time.monotonic`) after which nothing more is handed over.

    Raises
    ------
    BrokenExecutor
        If the executor broke.
    RopeleakError
        If it takes no more work, or points cannot be kept.
    """
    running: dict[Future[Finished], list[Point]] = {}
    try:
        while running or (work and time.monotonic() < until):
            most = 1 if work.suspects else AHEAD * width
            while work and len(running) < most and time.monotonic() < until:
                points = work.take()
                running[_submit(work, executor, points)] = points
                most = 1 if work.suspects else most
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=_went_wrong):
                _settle(work, future, running[future])
                del running[future]
    except BrokenExecutor:
        points = [point for batch in running.values() for point in batch]
        if len(points) == 1:  # it ran alone: it is to blame
            work.fail(points, KILLED)
            running.clear()
        raise
    finally:
        for future, points in running.items():
            future.cancel()
            work.suspects.extend(points)


def _submit(work: Work, executor: Executor, points: list[Point]) -> "Future[Finished]":
    try:
        return work.submit(executor, points)
    except BrokenExecutor:
        work.suspects.extend(points)
        raise
    except RuntimeError as error:
        work.suspects.extend(points)
        raise RopeleakError(f"the executor takes no more work: {error}") from None


def _went_wrong(future: "Future[Finished]") -> bool:
    return future.cancelled() or future.exception() is not None


def _settle(work: Work, future: "Future[Finished]", points: Sequence[Point]) -> None:
    try:
        finished = future.result()
    except BrokenExecutor:
        raise
    except CancelledError as error:
        raise RopeleakError(
            f"the executor dropped its work ({type(error).__name__}): is the cluster still there?"
        ) from None
    except Exception as error:  # what the executor says of its own
        work.fail(points, f"unexpected {type(error).__name__}: {error}")
    else:
        work.save(finished)


class Here(Executor):
    """Does the work where it is handed over."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Return the result of a call."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def execute_here(work: Work, workers: int, patient: bool) -> None:
    """Compute points on this machine.

    Parameters
    ----------
    workers
        Number of processes; 1 is this one.
    patient
        Whether a point takes so long that other processes are worth starting at once.

    Raises
    ------
    RopeleakError
        If processes cannot be started, or points cannot be kept.
    """
    if workers == 1 or (patient and len(work) == 1):
        execute(work, Here(), 1)
    elif not patient:
        execute(work, Here(), 1, time.monotonic() + HEAD_START)
    while work:
        with processes(min(workers, len(work))) as pool, suppress(BrokenExecutor):
            execute(work, pool, workers)


@contextmanager
def processes(workers: int) -> Iterator[Executor]:
    """Give processes with one thread of linear algebra each, which end with this one.

    Raises
    ------
    RopeleakError
        If they cannot be started.
    """
    given = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update({name: value or "1" for name, value in given.items()})
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _prepare)
    try:
        try:
            pool.submit(os.getpid).result()
        except BrokenExecutor:
            raise RopeleakError(
                "no process can be started from here: in a script, sweep below"
                ' if __name__ == "__main__":, or give workers=1 or an executor'
            ) from None
        yield pool
    except BaseException:
        for process in list((getattr(pool, "_processes", None) or {}).values()):
            process.terminate()  # or it would finish its batch first
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        for name, value in given.items():
            if value is None:
                os.environ.pop(name, None)


def _prepare() -> None:
    """Leave Ctrl-C to the process that started this one, and end when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.join,), daemon=True).start()


def _follow(join: Callable[[], None]) -> None:
    join()
    os._exit(1)
