"""Programs that do the same, timed in turn, each in a process of its own.

A run counts only if other processes used little of the processors meanwhile: contention hurts
programs that wait for all their threads far more than others.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import psutil

QUIET = 0.05
"""Share of the processors that others may use during a run that counts."""


@dataclass(frozen=True)
class Program:
    """A function of a module of this package that returns the program to be timed."""

    name: str
    module: str
    function: str
    arguments: dict[str, Any]
    units: float = 1.0
    """What one run does, in the unit of the table."""


@dataclass
class Timing:
    """What the runs of one program took.

    Attributes
    ----------
    seconds, busy
        Of every run: seconds, and the share of the processors that others used.
    gigabytes
        Largest resident memory.
    """

    seconds: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    gigabytes: float = float("nan")
    note: str = ""

    @property
    def counted(self) -> list[float]:
        """Seconds of the runs that count, or of the quietest if none does."""
        quiet = [s for s, b in zip(self.seconds, self.busy, strict=True) if b <= QUIET]
        return quiet or [s for s, b in zip(self.seconds, self.busy, strict=True)
                         if b == min(self.busy)]  # fmt: skip

    @property
    def typical(self) -> float:
        """Median of the runs that count."""
        return median(self.counted) if self.seconds else float("nan")

    @property
    def remark(self) -> str:
        """How many runs counted, and whether that is too few to trust."""
        quiet = sum(b <= QUIET for b in self.busy)
        words = f"{quiet} of {len(self.seconds)}"
        return words if quiet or not self.seconds else f"{words}, others {min(self.busy):.0%}"


class Worker:
    """A process that has built one program and waits to be told to run it."""

    def __init__(self, program: Program) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", json.dumps(program.__dict__)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
        )  # fmt: skip
        self.ready = self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended with code {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, timing: Timing) -> None:
        """Run the program once and note what it took."""
        assert self.process.stdin is not None
        before = psutil.cpu_times()
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        answer = self._answer()
        after = psutil.cpu_times()
        all_of_it = sum(
            getattr(after, name) - getattr(before, name) for name in ("user", "nice", "system")
        )
        others = max(all_of_it - answer["cpu"], 0.0)
        timing.seconds.append(answer["seconds"])
        timing.busy.append(others / answer["seconds"] / (os.cpu_count() or 1))
        timing.gigabytes = answer["gigabytes"]
        timing.note = answer["note"]

    def close(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait()


def race(programs: Sequence[Program], rounds: int = 5, most: int = 20) -> dict[str, Timing]:
    """Run programs in turn until each has ``rounds`` runs that count, or ``most`` runs."""
    found = {program.name: Timing() for program in programs}
    workers = {program.name: Worker(program) for program in programs}
    try:
        for _ in range(most):
            missing = [
                name for name, t in found.items() if sum(b <= QUIET for b in t.busy) < rounds
            ]
            if not missing:
                break
            for name in missing:
                workers[name].run(found[name])
    finally:
        for worker in workers.values():
            worker.close()
    return found
