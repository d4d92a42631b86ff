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
OVER = {"rope.base": "1e4:1e6:log:20", "init.score_std": "0.2:1.6:lin:20"}


class Case(NamedTuple):
    """One sweep: what an MLP is, how positions are chosen, and where points are kept."""

    mlp: str
    options: dict[str, Any]
    suffix: str = ".nc"


CASES = (
    Case("plain", {}),
    Case("plain", {"positions": "grid"}),
    Case("none", {}),
    Case("none", {"positions": "grid"}),
    Case("none", {"positions": "grid"}, ".zarr"),
    Case("plain", {"method": "uniform"}),
)


def measure(case: Case, workers: int) -> tuple[float, float]:
    """Return points a second, and seconds of processors that a point takes."""
    stack = Stack.build(context=CONTEXT, n_blocks=BLOCKS, mlp={"kind": case.mlp})
    with tempfile.TemporaryDirectory() as folder:
        before, start = os.times(), time.perf_counter()
        found = sweep(stack, OVER, out=Path(folder, f"a{case.suffix}"), workers=workers,
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
        rows.append((f"MLP {case.mlp}; {told or 'as predict'}", case.suffix, f"{rate:.0f}",
                     f"{1e3 * cpu:.1f}", f"{workers / cpu:.0f}"))  # fmt: skip
    headers = ("sweep", "kept in", "points a second", "CPU ms a point", "points a second if idle")
    title = f"sweep, context {CONTEXT}, {BLOCKS} blocks, {workers} processes ({WANTED} wanted)"
    print_table(title, headers, rows)
