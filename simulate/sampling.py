"""Jobs in their order, done by any number of threads."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

from ropeleak.budget import available_threads as available_threads

from .forward import Forward, Sample
from .plan import Plan

Worker = TypeVar("Worker")
Job = TypeVar("Job")
Done = TypeVar("Done")


def in_order(
    make: Callable[[], Worker],
    work: Callable[[Worker, Job], Done],
    jobs: Sequence[Job],
    threads: int,
) -> Generator[Done, None, None]:
    """Yield what comes of every job, in order.

    Kernels let go of Python's lock, so threads compute at the same time.

    Parameters
    ----------
    make, work
        Make a worker with memory of its own, and let it do a job.
    jobs, threads
        What to do, and by how many workers.
    """
    threads = max(min(threads, len(jobs)), 1)
    if threads == 1:
        worker = make()
        for job in jobs:
            yield work(worker, job)
        return
    idle: SimpleQueue[Worker] = SimpleQueue()
    for _ in range(threads):
        idle.put(make())

    def run(job: Job) -> Done:
        worker = idle.get()
        try:
            return work(worker, job)
        finally:
            idle.put(worker)

    pool = ThreadPoolExecutor(threads)
    running: deque[Future[Done]] = deque()
    try:
        for job in jobs:
            running.append(pool.submit(run, job))
            if len(running) > 2 * threads:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def samples(
    plan: Plan, full: bool, first: int, stop: int, threads: int
) -> Generator[Sample, None, None]:
    """Yield the samples of draws ``first .. stop-1`` in order.

    A draw's numbers depend on its own number and the seed alone.
    """
    return in_order(lambda: Forward(plan, full), Forward.run, range(first, stop), threads)
