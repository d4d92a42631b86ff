"""NTK scaling partly suppresses the residual leak."""

from ropeleak.spec import Stack

from .claim import Claim, Evidence, Stacks
from .lab import Budget, Lab
from .number import Means, Row, curve, measured, predicted
from .rule import Condition, Rule
from .stacks import ALIGNED, decoder, predicted_square, ropes, square

SUPPRESSES = 0.1
"""Least share of the residual leak (nats²) whose loss counts as suppression."""
MEASURED = ("none", "NTK")
"""The scalings that decide; the others are measured too where there is time."""


def stacks(budget: Budget) -> Stacks:
    """Return the decoder with each scaling at the same context, random and aligned."""
    found: dict[str, Stack] = {}
    for name, rope in ropes(budget.context).items():
        found[name] = decoder(budget, attention={"rope": rope})
        aligned = {"rope": rope, "alignment": ALIGNED}
        found[f"{name}, aligned"] = decoder(budget, attention=aligned)
    return found


def experiment(lab: Lab, compared: Stacks) -> Evidence:
    """Compare the residual leak of the scalings, with random and with aligned heads."""
    theory = {name: lab.predict(stack) for name, stack in compared.items()}
    wanted = MEASURED if lab.budget.name == "quick" else [n for n in compared if "," not in n]
    ends = ("", ", aligned")
    draws = {n + end: lab.measure(compared[n + end]) for n in wanted for end in ends}

    def suppressed(scaled: Means, base: Means) -> float:
        return 1 - square(scaled, "residual") / square(base, "residual")

    names = [name for name in compared if "," not in name]
    rows = []
    for ending, words in (("", "random heads"), (", aligned", f"heads aligned, m = {ALIGNED:g}")):
        base = predicted_square(theory[f"none{ending}"], "residual").value
        for name in names[1:]:
            after = predicted_square(theory[f"{name}{ending}"], "residual").value
            rows.append(Row(f"{name}{ending}", f"share of the residual leak² that {name} scaling"
                            f" removes, {words}", predicted(1 - after / base),
                            measured(suppressed, draws[f"{name}{ending}"], draws[f"none{ending}"])
                            if name in wanted else None))  # fmt: skip
    found = {row.name: row.number for row in rows}
    curves = []
    for ending, words in (("", "random heads"), (", aligned", "aligned heads")):
        leaks = [
            measured(lambda means: square(means, "residual"), draws[f"{n}{ending}"]) for n in wanted
        ]
        x = [names.index(n) for n in wanted]
        curves.append(curve(words, x, [n.value for n in leaks], [n.se for n in leaks]))
        expected = [predicted_square(theory[f"{n}{ending}"], "residual").value for n in names]
        curves.append(curve(f"{words}, theory", range(len(names)), expected))
    return Evidence(
        tuple(rows),
        f"NTK scaling changes the residual leak² by {-100 * found['NTK'].value:+.1f}% at random"
        f" weights and by {-100 * found['NTK, aligned'].value:+.1f}% with aligned heads.",
        tuple(curves), "RoPE scaling", "residual leak, last block (nats²)", tuple(names),
    )  # fmt: skip


CLAIM = Claim(
    id="ntk-suppresses",
    says="NTK scaling partly suppresses the residual leak",
    question="Is the residual leak smaller under NTK scaling at the same context?",
    observable="residual leak by RoPE scaling",
    rule=Rule((
        Condition("NTK", "above", -SUPPRESSES, "refuted"),
        Condition("NTK", "above", SUPPRESSES, "not at initialisation"),
    )),
    stacks=stacks,
    experiment=experiment,
)  # fmt: skip
