"""How many points of a sweep a second: 12 blocks, context 128, one process for each core.

Seconds of processors do not depend on what else runs, so the rate that an idle machine would have
is given beside the one that was seen.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from ropeleak import Stack, sweep
from ropeleak.budget import available_threads
from ropeleak.sweeps import execution

from .tables import print_table

CONTEXT, BLOCKS = 128, 12
WANTED = 200
"""Points a second that two cores should do."""


class Case(NamedTuple):
    """One sweep: what an MLP is, how positions are chosen, where points are kept, and how many."""

    mlp: str
    options: dict[str, Any]
    suffix: str = ".nc"
    side: int = 20


CASES = (
    Case("plain", {}, side=100),
    Case("gated", {}, side=100),
    Case("none", {}, side=60),
    Case("none", {}, ".zarr", side=60),
    Case("plain", {"positions": "grid"}),
    Case("plain", {"positions": "auto"}),
    Case("plain", {"method": "uniform"}),
)
"""The first is of 10 000 points, beside which the start of the processes counts for little."""


def measure(case: Case, workers: int) -> tuple[float, float]:
    """Return points a second, and seconds of processors that a point takes."""
    over = {"rope.base": f"1e4:1e6:log:{case.side}", "init.score_std": f"0.2:1.6:lin:{case.side}"}
    stack = Stack.build(context=CONTEXT, n_blocks=BLOCKS, mlp={"kind": case.mlp})
    with tempfile.TemporaryDirectory() as folder:
        before, start = os.times(), time.perf_counter()
        found = sweep(stack, over, out=Path(folder, f"a{case.suffix}"), workers=workers,
                      **case.options)  # fmt: skip
        seconds, after = time.perf_counter() - start, os.times()
    cpu = sum(getattr(after, name) - getattr(before, name)
              for name in ("user", "system", "children_user", "children_system"))  # fmt: skip
    return found["status"].size / seconds, cpu / found["status"].size


def run() -> None:
    """Print the table."""
    execution.HEAD_START = 0.0
    workers = available_threads()
    rows = []
    for case in CASES:
        rate, cpu = measure(case, workers)
        told = ", ".join(f"{name} {value}" for name, value in case.options.items())
        rows.append((f"MLP {case.mlp}{told and f'; {told}'}", case.suffix, f"{case.side**2:,}",
                     f"{rate:.0f}", f"{1e3 * cpu:.1f}", f"{workers / cpu:.0f}"))  # fmt: skip
    headers = ("sweep", "kept in", "points", "a second", "CPU ms a point", "a second if idle")
    title = f"sweep, context {CONTEXT}, {BLOCKS} blocks, {workers} processes ({WANTED} wanted)"
    print_table(title, headers, rows)
