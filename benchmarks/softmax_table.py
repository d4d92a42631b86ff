"""How long the table of ``E ln Z_n`` over a million positions and 50 score deviations takes."""

import json
import platform
import sys
from time import perf_counter

import numpy as np
import psutil

from ropeleak.theory.theorems import load

POSITIONS = 10**6
DEVIATIONS = 50
REPEATS = 3


def run() -> None:
    """Print seconds (the fastest of a few), the largest error of interpolation and the machine."""
    log_z = load("log-denominator")
    n, sigma = np.arange(1, POSITIONS + 1)[:, None], np.linspace(0.06, 3.0, DEVIATIONS)
    log_z(2, 1.0)  # compiled on first use
    seconds = []
    for _ in range(REPEATS):
        began = perf_counter()
        table = log_z(n, sigma)
        seconds.append(perf_counter() - began)
    some = np.unique(np.geomspace(1, POSITIONS, 40).astype(int)) - 1
    error = np.abs(table[some] - log_z(n[some], sigma)).max()
    json.dump(
        {
            "positions": POSITIONS,
            "deviations": DEVIATIONS,
            "seconds": min(seconds),
            "largest_error_nats": float(error),
            "machine": f"{platform.machine()}, {psutil.cpu_count(logical=False)} cores",
            "busy_percent": psutil.cpu_percent(interval=0.5),
            "numpy": np.__version__,
        },
        sys.stdout,
        indent=2,
    )
    print()
