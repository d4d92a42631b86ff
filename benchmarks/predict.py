"""How long predictions of published models take, warm, and how much memory they need.

Every case runs in a process of its own: one prediction to warm up, then the median of several.
"""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median
from typing import NamedTuple

import psutil
from rich.console import Console
from rich.table import Table

from ropeleak.catalog import load
from ropeleak.theory.grid import Positions
from ropeleak.theory.mean_field import predict

from . import peak


class Case(NamedTuple):
    """One prediction, and the seconds that it should not exceed on two cores."""

    model: str
    context: int
    positions: Positions
    repeats: int
    seconds: float | None = None


class Timing(NamedTuple):
    """What one case took: seconds, the largest resident memory, positions computed."""

    seconds: float
    cpu_seconds: float
    gigabytes: float
    nodes: int
    others: float


CASES = (
    Case("llama-3.1-8b", 512, "auto", 7, 1.0),
    Case("llama-3.1-8b", 131_072, "auto", 5, 2.0),
    Case("llama-3.1-8b", 1_048_576, "auto", 3),
    Case("llama-3.1-8b", 4096, "dense", 1, 20.0),
    Case("mistral-7b-v0.1", 32_768, "auto", 3),
    Case("gpt-oss-20b", 131_072, "auto", 3),
)
LARGEST_GB = 2.0


def measure(case: Case) -> Timing:
    """Time one case in this process."""
    stack = load(case.model, case.context)
    predict(load(case.model, 128))
    found = predict(stack, positions="auto")
    process = psutil.Process()
    runs = []
    for _ in range(case.repeats):
        before = psutil.cpu_times()
        start, cpu = time.perf_counter(), sum(process.cpu_times()[:2])
        found = predict(stack, positions=case.positions)
        wall, own = time.perf_counter() - start, sum(process.cpu_times()[:2]) - cpu
        after = psutil.cpu_times()
        busy = (after.user + after.system) - (before.user + before.system)
        runs.append((wall, own, max(busy - own, 0.0) / wall))
    seconds, own, others = (median(column) for column in zip(*runs, strict=True))
    return Timing(seconds, own, peak.gigabytes(), found.sizes["query"], others)


def run() -> None:
    """Print the table."""
    table = Table(title=f"predict, warm, on {os.cpu_count()} cores")
    columns = ("model", "context", "positions", "nodes", "seconds", "allowed", "CPU seconds",
               "cores used by others", "peak GB")  # fmt: skip
    for name in columns:
        table.add_column(name, justify="left" if name in ("model", "positions") else "right")
    for case in CASES:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            timing = pool.submit(measure, case).result()
        table.add_row(
            case.model,
            f"{case.context:,}",
            case.positions,
            str(timing.nodes),
            f"{timing.seconds:.2f}",
            "" if case.seconds is None else f"{case.seconds:g}",
            f"{timing.cpu_seconds:.2f}",
            f"{timing.others:.2f}",
            f"{timing.gigabytes:.2f} of {LARGEST_GB:g}",
        )
    Console(width=120).print(table)
