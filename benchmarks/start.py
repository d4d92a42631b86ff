"""How long a command takes to start: with a cold cache of kernels, and warm, beside ``--help``.

Python keeps the bytecode of modules, as it does unless told otherwise.
"""

import os
import subprocess
import sys
import tempfile
import time

from .tables import print_table

MEASURE = ("measure", "pythia-160m", "--context", "16", "--width", "64", "--draws", "2", "--json")


def seconds(*arguments: str, cache: str) -> float:
    """Return how long ``ropeleak`` takes with these arguments and this folder of kernels."""
    given = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "ropeleak", *arguments], check=True, stdout=subprocess.DEVNULL,
        env={**given, "NUMBA_CACHE_DIR": cache},
    )  # fmt: skip
    return time.perf_counter() - start


def run() -> None:
    """Print the times of a first start, of later ones, and of ``--help``."""
    with tempfile.TemporaryDirectory() as cache:
        first = seconds(*MEASURE, cache=cache)
        later = min(seconds(*MEASURE, cache=cache) for _ in range(5))
        help_only = min(seconds("--help", cache=cache) for _ in range(5))
    rows = [("first start", f"{first:.2f}"), ("later starts", f"{later:.2f}"),
            ("--help", f"{help_only:.2f}")]  # fmt: skip
    print_table("Starting ropeleak measure", ("", "seconds"), rows)
