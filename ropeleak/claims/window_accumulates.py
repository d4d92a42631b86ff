"""Under sliding windows the leak accumulates with depth."""

import numpy as np

from ropeleak.theory.reach import reaches

from .claim import Claim, Evidence, Stacks
from .lab import Budget, Lab
from .number import Means, Row, curve, exact, jackknife, measured, predicted
from .rule import Condition, Rule
from .stacks import WINDOW, decoder, predicted_square, square

GROWS = 1.25
"""Least growth of the residual leak (nats²) from the middle to the last block that counts: `rise`
is the last block's less so many times the middle one's."""
LARGER = 1.0
"""Residual over mask leak (nats²) under the window must exceed full attention's so often."""


def stacks(budget: Budget) -> Stacks:
    """Return full and windowed attention."""
    return {"full": decoder(budget), "window": decoder(budget, attention={"window": WINDOW})}


def experiment(lab: Lab, compared: Stacks) -> Evidence:
    """Follow both leaks through the blocks."""
    draws = {name: lab.measure(stack) for name, stack in compared.items()}
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

    shares = {n: expected(n, "residual") / expected(n, "mask") for n in compared}
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
              predicted(shares[name]), measured(ratio, draws[name])) for name in compared),
        Row("reach", "last position that token 0 can influence under the window",
            exact(reaches(compared["window"])[-1])),
    ]  # fmt: skip
    blocks = np.arange(1, lab.budget.n_blocks + 1)
    curves = []
    for name in compared:
        value, error = jackknife(lambda means: means["leak"][:, 1], draws[name])
        curves.append(curve(name, blocks, value, error))
        curves.append(curve(f"{name}, theory", blocks, theory[name]["leak_residual"].values ** 2))
    found = {row.name: row.number for row in rows}
    return Evidence(
        tuple(rows),
        f"From block {middle + 1} to the last the residual leak² exceeds"
        f" {GROWS:g} times its value by {found['rise, window'].value:.3f} nats² under the window"
        f" and by {found['rise, full'].value:.3f} without; beside the mask's it is"
        f" {found['excess'].value:.1f} times as large. Beyond position"
        f" {found['reach'].value:.0f} there is none at all.",
        tuple(curves), "block", "residual leak (nats²)",
    )  # fmt: skip


CLAIM = Claim(
    id="window-accumulates",
    says="under sliding windows the leak accumulates with depth",
    question="Does the residual leak grow with depth under a window, and beside the mask leak?",
    observable="residual and mask leak by block",
    rule=Rule((Condition("rise, window", "above", 0.0), Condition("excess", "above", LARGER))),
    stacks=stacks,
    experiment=experiment,
)
