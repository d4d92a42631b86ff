"""Past the trained length the anchors break predictability."""

import numpy as np

from ropeleak.spec import Stack

from .claim import Claim, Evidence, Stacks
from .lab import Budget, Lab
from .number import Means, Row, curve, exact, measured, predicted
from .rule import Condition, Rule
from .stacks import FACTOR, decoder, ropes

UNSEEN = 0.01
"""Least share of the circle, averaged over pairs, that only the longer context shows."""
BEYOND = 0.5
"""Least growth of ``E ln Z`` past the trained length that counts (nats)."""
GROWS = 1.1
"""Least growth of the total leak (nats²) from the trained length on that counts."""
TIMES = (1, 2, 4, 8, 16)
BLOCKS = 2
"""Depth of the stacks: the leak that decides is the same in every block."""


def stacks(budget: Budget) -> Stacks:
    """Return the decoder at its trained length, and at four times that with each scaling."""
    base = decoder(budget, context=budget.long, n_blocks=BLOCKS)
    found: dict[str, Stack] = {"trained": base.set("context", int(budget.long / FACTOR))}
    for name, rope in ropes(budget.long).items():
        found[name] = base.set("rope", rope)
    return found


def new_angles(stack: Stack, trained: int) -> float:
    """Return the share of the circle that a context shows and the trained one did not.

    Averaged over pairs; angles in the trained context are those of the unscaled rotation.
    """
    rope = stack.attention[0].rope
    if rope is None:
        return 0.0
    turns = 2 * np.pi
    frequency = rope.inverse_frequencies(stack.d_head, stack.context)
    before = rope.replace(type="default").inverse_frequencies(stack.d_head, trained)
    seen = np.minimum((trained - 1) * before / turns, 1)
    shown = np.minimum((stack.context - 1) * frequency / turns, 1)
    return float(np.maximum(shown - seen, 0).mean())


def experiment(lab: Lab, compared: Stacks) -> Evidence:
    """Grow the context past the trained length."""
    trained = compared["trained"].context
    draws = {name: lab.measure(compared[name]) for name in ("trained", "none", "NTK")}
    theory = {name: lab.predict(stack) for name, stack in compared.items()}

    def total(means: Means) -> float:
        mask, residual, cross = means["leak"][-1]
        return float(mask + residual - 2 * cross)

    def growth(long: Means, short: Means) -> float:
        return total(long) / total(short)

    def beyond(means: Means) -> float:
        return float(means["log_z"][0, -1] - means["log_z"][0, trained - 1])

    def expected(name: str) -> float:
        return float(theory[name]["leak_total"].values[-1]) ** 2

    log_z = theory["none"]["log_z"].values[0]
    rows = [
        Row("new angles", "share of the circle that only the longer context shows, unscaled",
            exact(new_angles(compared["none"], trained))),
        Row("ln Z beyond", f"E ln Z at {FACTOR:g} times the trained length less at its end, block 1"
            " (nats)", predicted(log_z[-1] - log_z[trained - 1]), measured(beyond, draws["none"])),
        *(Row(f"growth, {name}", f"total leak² at {FACTOR:g} times the trained length over at it,"
              f" scaling {name}, last block", predicted(expected(name) / expected("trained")),
              measured(growth, draws[name], draws["trained"])) for name in ("none", "NTK")),
        *(Row(f"new angles, {name}", f"the first row under {name} scaling",
              exact(new_angles(stack, trained)))
          for name, stack in compared.items() if name not in ("trained", "none")),
    ]  # fmt: skip
    curves = []
    for name in ("none", "linear", "NTK", "YaRN"):
        leaks = []
        for times in TIMES:
            rope = ropes(times * trained)[name] | (
                {"factor": float(times)} if name != "none" else {}
            )
            if name != "none":
                rope["original_context"] = trained
            stack = compared["none"].replace(context=times * trained)
            longer = lab.predict(stack.set("rope", rope))
            leaks.append(float(longer["leak_total"].values[-1]) ** 2)
        curves.append(curve(f"{name}, theory", TIMES, leaks))
    ends = [measured(total, draws[name]) for name in ("trained", "none")]
    curves.append(curve("none", (1, FACTOR), [n.value for n in ends], [n.se for n in ends]))
    found = {row.name: row.number for row in rows}
    return Evidence(
        tuple(rows),
        f"At {FACTOR:g} times the trained length {100 * found['new angles'].value:.0f}% of the"
        f" circle and {found['ln Z beyond'].value:.2f} nats of ln Z are new, but the total leak² is"
        f" {found['growth, none'].value:.3f} times as large: it knows no length.",
        tuple(curves), "context over trained length", "total leak, last block (nats²)",
    )  # fmt: skip


CLAIM = Claim(
    id="beyond-training",
    says="past the trained length the anchors break predictability",
    question="What does a longer context show that was never seen, and does the leak grow?",
    observable="angles, E ln Z and total leak by context",
    rule=Rule((
        Condition("new angles", "above", UNSEEN),
        Condition("ln Z beyond", "above", BEYOND),
        Condition("growth, none", "above", GROWS, "not at initialisation"),
    )),
    stacks=stacks,
    experiment=experiment,
)  # fmt: skip
