"""What a given standard error costs: contents a draw, and control variates, with and without."""

import time

import numpy as np

from ropeleak import Stack
from ropeleak.simulate.plan import make_plan
from ropeleak.simulate.sampling import available_threads, samples
from ropeleak.simulate.statistics import Moments

from .tables import print_table

STACK = Stack.build(
    context=96, d_model=256, n_heads=4, n_blocks=6, mlp={"kind": "none"},
    init={"score_std": 1.0, "attention_gain": 1.0, "embedding_var": 1.0},
)  # fmt: skip
SECONDS = 15.0
NAMES = ("leak_mask", "leak_residual", "beacon", "k_diag", "log_z", "sink")


def run() -> None:
    """Print the standard error that a minute buys, by contents and with or without controls."""
    rows = []
    for contents in (4, 8, 16, 32, 64):
        moments, start = Moments(), time.perf_counter()
        threads = available_threads()
        stream = samples(make_plan(STACK, contents, 0), False, 0, 10**6, threads)
        for sample in stream:
            moments.add(sample)
            if time.perf_counter() - start > SECONDS:
                break
        stream.close()
        minute = np.sqrt((time.perf_counter() - start) / 60)
        for controls in (False, True):
            found = moments.observables(controls=controls)
            errors = [float(np.sqrt(np.mean(found[f"{n}_se"] ** 2)) * minute) for n in NAMES]
            words = "with" if controls else "without"
            rows.append((f"{contents}, {words} controls", *(f"{e:.2g}" for e in errors)))
    print_table(
        "Standard error (RMS over blocks and positions) that a minute buys",
        ("contents a draw", *NAMES), rows,
    )  # fmt: skip
