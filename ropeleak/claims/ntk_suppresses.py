"""NTK scaling partly suppresses the residual leak."""

from typing import Any

from .claim import Claim, Evidence, Panel, Stacks
from .lab import Budget, Lab
from .number import Draws, Means, Row, curve, measured, predicted
from .rule import Condition, Rule
from .stacks import ALIGNED, READS, decoder, predicted_square, removed, ropes, square

SUPPRESSES = 0.1
"""Least share of the residual leak (nats²) whose loss counts as suppression."""
MEASURED = ("none", "NTK")
"""The scalings that decide; the others are measured too where there is time."""
HEADS: dict[str, tuple[dict[str, Any], str]] = {
    "": ({}, "random heads"),
    ", aligned": ({"alignment": ALIGNED}, f"heads aligned, m = {ALIGNED:g}"),
    ", reads": ({"sink_bias": READS}, f"heads that read sinks, {READS:g} nats"),
}
"""Kinds of heads, by the end of a stack's label: fields and words."""


def stacks(budget: Budget) -> Stacks:
    """Return the decoder with each scaling at the same context, and each kind of heads."""
    return {
        f"{name}{end}": decoder(budget, name=f"{name}{end}", attention={"rope": rope, **fields})
        for name, rope in ropes(budget.context).items()
        for end, (fields, _) in HEADS.items()
    }


def experiment(lab: Lab, compared: Stacks) -> Evidence:
    """Compare the residual leak of the scalings, with every kind of heads."""
    names = [name for name in compared if "," not in name]
    wanted = MEASURED if lab.budget.name == "quick" else names

    def suppressed(scaled: Means, base: Means) -> float:
        return removed(square(scaled, "residual"), square(base, "residual"))

    def expected(label: str) -> float:
        return predicted_square(lab.predict(compared[label]), "residual").value

    def of_label(label: str) -> Draws:
        return lab.measure(compared[label])

    rows = [
        Row(f"{name}{end}", f"share of the residual leak² that {name} scaling removes, {words}",
            predicted(removed(expected(f"{name}{end}"), expected(f"none{end}"))),
            measured(suppressed, of_label(f"{name}{end}"), of_label(f"none{end}"))
            if name in wanted else None)
        for end, (_, words) in HEADS.items() for name in names[1:]
    ]  # fmt: skip
    curves = []
    for end, (_, words) in HEADS.items():
        leaks = [
            measured(lambda means: square(means, "residual"), of_label(f"{n}{end}")) for n in wanted
        ]
        x = [names.index(n) for n in wanted]
        curves.append(curve(words, x, [n.value for n in leaks], [n.se for n in leaks]))
        theory = [expected(f"{n}{end}") for n in names]
        curves.append(curve(f"{words}, theory", range(len(names)), theory))
    found = {row.name: row.number for row in rows}
    return Evidence(
        tuple(rows),
        f"NTK scaling changes the residual leak² by {-100 * found['NTK'].value:+.1f}% at random"
        f" weights, by {-100 * found['NTK, aligned'].value:+.1f}% with aligned heads and by"
        f" {-100 * found['NTK, reads'].value:+.1f}% where heads read sinks.",
        (Panel(tuple(curves), "RoPE scaling", "residual leak², last block (nats²)", tuple(names)),),
    )


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
