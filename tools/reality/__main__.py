"""Compare predictions with transformers, ``python -m tools.reality``: docs/reality.md.

Every draw is kept under ``out/reality`` as soon as it is made: an interrupted run goes on.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from ropeleak.output import atomic

from . import page
from .cases import CASES, INPUTS, TOKENS, Case
from .families import FAMILIES, stack_of
from .numbers import Difference, difference
from .statistics import NAMES, Measured, Statistics, compare, draw, predicted, summary

KEPT = Path(__file__).parents[2] / "out" / "reality"


def draws_of(case: Case) -> Iterator[list[Statistics]]:
    """Yield the draws so far, from those that were kept on."""
    path = KEPT / f"{case.family}-{case.std:g}.npz"
    found = _kept(path, case)
    yield found
    seed = crc32(case.family.encode())
    while len(found) < case.draws:
        found.append(draw(case.config, TOKENS, INPUTS, seed, len(found)))
        arrays: dict[str, Any] = {name: np.array([row[name] for row in found]) for name in NAMES}
        with atomic(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, identity=np.array(case.identity()), **arrays)
        yield found


def _kept(path: Path, case: Case) -> list[Statistics]:
    if not path.exists():
        return []
    with np.load(path) as held:
        if str(held["identity"]) != case.identity():
            return []
        columns = {name: held[name] for name in NAMES}
    count = min(len(columns[NAMES[0]]), case.draws)
    return [{name: columns[name][k] for name in NAMES} for k in range(count)]


def measure_all() -> dict[Case, Measured]:
    """Return what all models show, telling how far it is."""
    KEPT.mkdir(parents=True, exist_ok=True)
    wanted, done, fresh, start = sum(case.draws for case in CASES), 0, 0, time.monotonic()
    measured = {}
    for case in CASES:
        found: list[Statistics] = []
        for step, found in enumerate(draws_of(case)):
            fresh += step > 0
            left = (time.monotonic() - start) / max(fresh, 1) * (wanted - done - len(found)) / 60
            state = f"{case.words}: {len(found)} of {case.draws} draws, {left:.0f} min left in all"
            print(f"\r{state:<79}", end="", file=sys.stderr, flush=True)
        done += case.draws
        measured[case] = summary(found)
    print(file=sys.stderr)
    return measured


def same_numbers() -> dict[str, Difference]:
    """Return how far the kernels are from transformers in every family."""
    found = {}
    for family in FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            found[family] = difference(family, Path(folder))
    return found


def main() -> None:
    """Compare, and write the page."""
    import torch
    from transformers.utils import logging

    quiet: Any = logging
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()
    torch.set_num_threads(1)
    rows = {
        case: compare(predicted(stack_of(case.config, TOKENS)), found)
        for case, found in measure_all().items()
    }
    page.write(same_numbers(), rows)


if __name__ == "__main__":
    main()
