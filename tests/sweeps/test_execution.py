"""Executors and processes: killed, broken, interrupted; the sweep goes on, or says how to."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import ropeleak.sweeps.execution as execution
from ropeleak import RopeleakError, sweep
from ropeleak.catalog import load
from ropeleak.sweeps.api import Sweep, SweepProgress
from ropeleak.sweeps.grid import make_grid
from ropeleak.sweeps.labels import make_labels
from ropeleak.sweeps.task import Finished, Task
from tests.sweeps.support import OVER, STACK, assert_same

POINTS = 3000
MODEL = load("pythia-160m", 12).set("n_blocks", 4)
MANY = {"rope.base": f"1e4:1e6:log:{POINTS}"}
COMMAND = [
    sys.executable, "-m", "ropeleak", "sweep", "pythia-160m", "--context", "12", "--set",
    "n_blocks=4", "--over", f"rope.base={MANY['rope.base']}", "--workers", "2",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def unbroken() -> xr.Dataset:
    """Return the dataset of the sweep that `COMMAND` makes."""
    return sweep(MODEL, MANY, workers=1)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started; that of Python's own keeps no points."""
    import psutil

    def is_own(process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            return "resource_tracker" in " ".join(process.cmdline())
        return False

    every = psutil.Process(pid).children(recursive=True)
    return [process.pid for process in every if not is_own(process)]


def wait_until(true: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.mark.parametrize("out", ["a.nc", "a.zarr"])
def test_killed_at_any_moment_it_resumes_with_nothing_lost(out: str, unbroken: xr.Dataset) -> None:
    kept = Path("a.nc.part" if out == "a.nc" else "a.zarr/status")
    done, told = 0, list[SweepProgress]()
    for pause in (0.0, 0.7, 2.9):
        process = subprocess.Popen([*COMMAND, "--out", out], stdout=subprocess.PIPE)
        kill(process, kept, pause)
        with Sweep(MODEL, MANY, out=out) as running:
            assert running.done >= done
            done = running.done
    with Sweep(MODEL, MANY, out=out) as running:
        running.run(workers=1, progress=told.append)
        assert_same(running.dataset(), unbroken)
    if told:
        assert told[0].done > done  # what was saved is not computed again
    assert os.listdir() == [out]


def kill(process: "subprocess.Popen[bytes]", kept: Path, pause: float) -> None:
    """Kill a sweep a moment after it has kept points, and wait until its processes are gone."""
    wait_until(lambda: process.poll() is not None or (kept.exists() and any_new(kept)))
    time.sleep(pause)
    started = children(process.pid) if process.poll() is None else []
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: not any(alive(pid) for pid in started))


def any_new(kept: Path) -> bool:
    """Whether points were written in the last second."""
    return time.time() - kept.stat().st_mtime < 1


def alive(pid: int) -> bool:
    import psutil

    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_interrupted_it_says_how_to_go_on() -> None:
    process = subprocess.Popen(
        [*COMMAND, "--out", "a.nc"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: Path("a.nc.part").exists() and Path("a.nc.part").stat().st_size > 20_000)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert err.count("\n") == 1 and "the same command goes on from a.nc.part" in err
    assert os.listdir() == ["a.nc.part"]
    with Sweep(MODEL, MANY, out="a.nc") as running:
        told = int(err.removeprefix("Stopped after ").partition(f" of {POINTS:,} points")[0])
        assert 0 < told <= running.done  # a batch may be written and not yet counted


@pytest.fixture
def _processes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "HEAD_START", 0.0)


@pytest.mark.usefixtures("_processes_at_once")
def test_a_killed_process_is_replaced(unbroken: xr.Dataset) -> None:
    killed: list[int] = []
    told: list[int] = []

    def kill(state: SweepProgress) -> None:
        told.append(state.done)
        if not killed and state.done > 20:
            killed.extend(children(os.getpid())[-1:])
            os.kill(killed[0], signal.SIGKILL)

    found = sweep(MODEL, MANY, workers=2, progress=kill)
    assert killed
    assert_same(found, unbroken)
    assert told == sorted(set(told))  # nothing was saved twice


def test_a_point_that_kills_its_process_is_recorded() -> None:
    grid = make_grid({"small": STACK}, {"window": [2, 4, 6, 8]})
    task = Task("mean-field", make_labels(grid, False))
    saved: dict[int, Finished] = {}

    def save(finished: Finished) -> None:
        saved.update(dict.fromkeys(finished.indices.tolist(), finished))

    class Killer(execution.Work):
        def submit(self, executor: Executor, points: Any) -> "Future[Finished]":
            if any(point.index == 2 for point in points):
                return executor.submit(die)
            return super().submit(executor, points)

    work = Killer(grid, task, range(4), lambda index: range(4), save)
    execution.execute_here(work, 2, patient=True)
    assert sorted(saved) == [0, 1, 2, 3]
    assert saved[2].reasons == [execution.KILLED]
    assert all(saved[k].status[saved[k].indices.tolist().index(k)] == 1 for k in (0, 1, 3))


def die() -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


class Broken(Executor):
    """An executor that does some work and then no more."""

    def __init__(self, error: Exception, after: int) -> None:
        self.error, self.left = error, after

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        self.left -= 1
        if self.left < 0:
            future.set_exception(self.error)
        else:
            future.set_result(fn(*args, **kwargs))
        return future


def test_a_broken_executor_keeps_what_is_finished() -> None:
    with pytest.raises(RopeleakError, match="the executor broke: gone"):
        sweep(STACK, OVER, out="a.nc", executor=Broken(BrokenExecutor("gone"), 2))
    told: list[SweepProgress] = []
    found = sweep(STACK, OVER, out="a.nc", workers=1, progress=told.append)
    assert told[0].done > 1
    assert_same(found, sweep(STACK, OVER, workers=1))


def test_an_executor_that_takes_no_work_is_refused() -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(RopeleakError, match="takes no more work"):
        sweep(STACK, OVER, executor=pool)


def test_what_the_executor_says_of_a_batch_is_recorded_point_by_point() -> None:
    found = sweep(STACK, OVER, executor=Broken(OSError("lost"), 2))
    reasons = set(found["reason"].values.ravel().tolist())
    assert "unexpected OSError: lost" in reasons
    assert (found["status"] == 1).any()


def test_an_unexpected_error_is_the_reason_of_its_point(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Task.run

    def fails(self: Task, stack: Any, point: Any) -> Any:
        if point.index == 1:
            raise ZeroDivisionError("division by zero")
        if point.index == 2:
            raise MemoryError
        return run(self, stack, point)

    def fails_together(self: Task, stacks: Any) -> None:
        return None

    monkeypatch.setattr(Task, "run_together", fails_together)
    monkeypatch.setattr(Task, "run", fails)
    found = sweep(STACK, {"window": [2, 4, 6, 8]}, workers=1)
    assert found["reason"].values.tolist() == [
        "", "unexpected ZeroDivisionError: division by zero",
        "this point needs more memory than there is", "",
    ]  # fmt: skip


SCRIPT = """
from ropeleak import Stack, sweep
import ropeleak.sweeps.execution as execution
execution.HEAD_START = 0.0
sweep(Stack.build(context=8, n_blocks=1), {"window": [1, 2, 3, 4]}, workers=2)
"""


def test_a_script_without_a_main_guard_is_told_so() -> None:
    Path("script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "no process can be started from here" in done.stderr.splitlines()[-1]
