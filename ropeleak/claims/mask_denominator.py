"""The softmax denominator carries absolute position, because of the mask."""

import numpy as np

from .claim import Claim, Evidence, Panel, Stacks
from .lab import Budget, Lab
from .number import Means, Row, exact, measured, predicted
from .rule import Condition, Rule
from .stacks import WINDOW, both, decoder, predicted_square, square

CARRIES = 0.01
"""Least mask leak that counts (nats²): 0.1 nats RMS."""
VANISHES = 0.05
"""Most of the causal mask's leak that the ring mask may leave."""
SATURATES = 0.1
"""Most that ``E ln Z`` may still change beyond the window (nats)."""


def stacks(budget: Budget) -> Stacks:
    """Return full causal, ring and windowed attention."""
    return {
        "causal": decoder(budget),
        "ring": decoder(budget, attention={"mask": "ring"}, bos={"kind": "random"}),
        "window": decoder(budget, attention={"window": WINDOW}),
    }


def experiment(lab: Lab, compared: Stacks) -> Evidence:
    """Compare the denominators of three masks."""
    draws = {name: lab.measure(stack) for name, stack in compared.items()}
    theory = {name: lab.predict(stack) for name, stack in compared.items()}
    last = lab.budget.context - 1

    def first(means: Means) -> float:
        return square(means, "mask", 0)

    def share(ring: Means, causal: Means) -> float:
        return first(ring) / first(causal)

    def settled(means: Means) -> float:
        log_z = means["log_z"][0]
        return float(log_z[last] - log_z[WINDOW - 1])

    expected = {name: predicted_square(dataset, "mask", 0) for name, dataset in theory.items()}
    log_z = theory["causal"]["log_z"].values[0]
    rows = (
        Row("causal", "mask leak² of full causal attention, block 1 (nats²)", expected["causal"],
            measured(first, draws["causal"])),
        Row("ring share", "mask leak² of ring attention, over that", exact(0),
            measured(share, draws["ring"], draws["causal"])),
        Row("change past window", f"E ln Z at the end less at position {WINDOW - 1}, window of"
            f" {WINDOW} (nats)", exact(0), measured(settled, draws["window"])),
        Row("change, causal", "the same without the window (nats)",
            predicted(log_z[last] - log_z[WINDOW - 1]), measured(settled, draws["causal"])),
        Row("window", "mask leak² under the window, block 1 (nats²)", expected["window"],
            measured(first, draws["window"])),
    )  # fmt: skip
    x = np.arange(lab.budget.context)
    curves = tuple(
        line
        for name in compared
        for line in both(name, x, draws[name], lambda m: m["log_z"][0], theory[name]["log_z"][0])
    )
    return Evidence(
        rows,
        f"ln Z shifts by {rows[0].number.value ** 0.5:.2f} nats RMS under the causal mask, by"
        f" {100 * max(rows[1].number.value, 0):.1f}% of that square under a ring mask, and no"
        " further once a window is full.",
        (Panel(curves, "query position (tokens)", "E ln Z, block 1 (nats)"),),
    )


CLAIM = Claim(
    id="mask-denominator",
    says="the softmax denominator Z carries absolute position",
    question="Does ln Z depend on the query's position, and only through the mask?",
    observable="mask leak, E ln Z",
    rule=Rule((
        Condition("causal", "above", CARRIES),
        Condition("ring share", "below", VANISHES),
        Condition("change past window", "below", SATURATES),
    )),
    stacks=stacks,
    experiment=experiment,
)  # fmt: skip
