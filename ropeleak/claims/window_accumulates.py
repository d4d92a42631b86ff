"""Under sliding windows the leak accumulates with depth."""

from functools import partial
from typing import Any

import numpy as np

from ropeleak.theory.reach import reaches

from .claim import Claim, Evidence, Panel, Stacks
from .lab import Budget, Lab
from .number import Means, Row, exact, measured, predicted
from .rule import Condition, Rule
from .stacks import WINDOW, both, decoder, predicted_square, square, squares

GROWS = 1.25
"""Least growth of the residual leak (nats²) from the middle to the last block that counts: `rise`
is the last block's less so many times the middle one's."""
LARGER = 1.0
"""Residual over mask leak (nats²) under the window must exceed full attention's so often."""
LAYOUTS = ("windows first", "windows last", "alternating")
"""Where half of the blocks have windows; these are predicted only."""


def stacks(budget: Budget) -> Stacks:
    """Return full and windowed attention, and windows in half of the blocks."""
    half = budget.n_blocks // 2
    local: dict[str, Any] = {"window": WINDOW}
    full: dict[str, Any] = {}
    patterns = {
        "full": [full], "window": [local],
        "windows first": [local] * half + [full] * (budget.n_blocks - half),
        "windows last": [full] * (budget.n_blocks - half) + [local] * half,
        "alternating": [local, full],
    }  # fmt: skip
    return {name: decoder(budget, name=name, attention=a) for name, a in patterns.items()}


def experiment(lab: Lab, compared: Stacks) -> Evidence:
    """Follow both leaks through the blocks."""
    watched = [name for name in compared if name not in LAYOUTS]
    draws = {name: lab.measure(compared[name]) for name in watched}
    theory = {name: lab.predict(stack) for name, stack in compared.items()}
    middle = lab.budget.n_blocks // 2 - 1

    def rise(means: Means) -> float:
        return square(means, "residual") - GROWS * square(means, "residual", middle)

    def ratio(means: Means) -> float:
        return square(means, "residual") / square(means, "mask")

    def ratios(window: Means, full: Means) -> float:
        return ratio(window) / ratio(full)

    def expected(name: str, hole: str, block: int = -1) -> float:
        return predicted_square(theory[name], hole, block).value

    shares = {n: expected(n, "residual") / expected(n, "mask") for n in watched}
    rows = [
        Row(f"rise, {name}", f"residual leak² of the last block less {GROWS:g} times that of block"
            f" {middle + 1}, {name} (nats²)",
            predicted(expected(name, "residual") - GROWS * expected(name, "residual", middle)),
            measured(rise, draws[name]))
        for name in ("window", "full")
    ]  # fmt: skip
    rows += [
        Row("excess", "residual over mask leak², window over full, last block",
            predicted(shares["window"] / shares["full"]),
            measured(ratios, draws["window"], draws["full"])),
        *(Row(f"ratio, {name}", f"residual over mask leak², {name}, last block",
              predicted(shares[name]), measured(ratio, draws[name])) for name in watched),
        *(Row(name, f"residual leak² of the last block, {name} (nats²)",
              predicted(expected(name, "residual"))) for name in LAYOUTS if name in compared),
        Row("reach", "last position that token 0 can influence under the window",
            exact(reaches(compared["window"])[-1])),
    ]  # fmt: skip
    x = np.arange(1, lab.budget.n_blocks + 1)
    panels = []
    for hole in ("residual", "mask"):
        lines = [
            line
            for name in watched
            for line in both(
                name, x, draws[name], partial(squares, hole=hole),
                theory[name][f"leak_{hole}"] ** 2,
            )
        ]  # fmt: skip
        panels.append(Panel(tuple(lines), "block", f"{hole} leak² (nats²)"))
    found = {row.name: row.number for row in rows}
    return Evidence(
        tuple(rows),
        f"From block {middle + 1} to the last the residual leak² exceeds"
        f" {GROWS:g} times its value by {found['rise, window'].value:.3f} nats² under the window"
        f" and by {found['rise, full'].value:.3f} without; beside the mask's it is"
        f" {found['excess'].value:.1f} times as large. Beyond position"
        f" {found['reach'].value:.0f} there is none at all.",
        tuple(panels),
    )


CLAIM = Claim(
    id="window-accumulates",
    says="under sliding windows the leak accumulates with depth",
    question="Does the residual leak grow with depth under a window, and beside the mask leak?",
    observable="residual and mask leak by block",
    rule=Rule((Condition("rise, window", "above", 0.0), Condition("excess", "above", LARGER))),
    stacks=stacks,
    experiment=experiment,
)
