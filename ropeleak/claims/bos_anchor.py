"""Removing or replacing BOS fades the residual leak."""

from functools import partial

import numpy as np

from .claim import Claim, Evidence, Panel, Stacks
from .lab import Budget, Lab
from .number import Means, Row, exact, measured, predicted
from .replacements import (
    EARLY,
    LATE,
    PARTS,
    Replacement,
    aligned_for,
    last,
    least_shared,
    mean_square,
    measured_removal,
    predicted_removal,
    predicted_squares,
    table,
    watch,
)
from .rule import Condition, Rule
from .stacks import READS, both, decoder, predicted_square, removed, total_square

FADES = 0.25
"""Least share of the residual leak (nats²) whose loss counts as fading, early and late."""
SHARED = 0.2
"""``α`` of the stacks, so that a mean embedding exists: content tokens share so much variance."""
REPORTED = 0.4
"""Share that the source reports for early queries of trained models."""
ROWS = (
    Replacement("random content, or no BOS", "random"),
    Replacement("a zero vector", "zero"),
    Replacement(f"the mean embedding (α = {SHARED})", "mean", "shared"),
    Replacement(f"random content (α = {SHARED})", "shared, random", "shared"),
    Replacement("random content, heads that read sinks", "reads, random", "reads"),
)
"""What token 0 is replaced by; the first three decide and are numbers of their own."""


def stacks(budget: Budget) -> Stacks:
    """Return the decoder with everything that may stand at position 0."""
    plain = {kind: decoder(budget, bos={"kind": kind}) for kind in ("constant", "random", "zero")}
    shared, reads = decoder(budget, alpha=SHARED), decoder(budget, attention={"sink_bias": READS})
    found = {
        **plain,
        "shared": shared, "mean": shared.set("bos", "mean"),
        "shared, random": shared.set("bos", "random"),
        "reads": reads, "reads, random": reads.set("bos", "random"),
    }  # fmt: skip
    return {label: stack.replace(name=label) for label, stack in found.items()}


def experiment(lab: Lab, compared: Stacks) -> Evidence:
    """Compare what is left of the residual leak when token 0 is replaced."""
    base = compared["constant"]
    rows = [
        Row(f"{row.after}, {part}", f"share of the residual leak² that {row.words} removes, {part}"
            " queries, last block",
            last(predicted_removal(compared[row.after], compared[row.before], part)),
            measured_removal(lab, compared[row.after], compared[row.before], part))
        for row in ROWS[:3] for part in PARTS
    ]  # fmt: skip
    rows.append(Row("other", "the same by another constant: all constants are alike", exact(0)))

    def removed_total(changed: Means, whole: Means) -> float:
        return removed(total_square(changed), total_square(whole))

    pair = [compared[label] for label in ("random", "constant")]
    expected = [predicted_square(lab.predict(stack), "total").value for stack in pair]
    rows.append(Row("total", "share of the total leak² that random content removes, last block",
                    predicted(removed(*expected)),
                    measured(removed_total, *map(lab.measure, pair))))  # fmt: skip

    least, tokens_alike = least_shared(base)
    heads_aligned = aligned_for(base, REPORTED).replace(name="aligned")
    m = heads_aligned.attention[0].alignment
    rows += [
        Row("least, tokens alike", "least share that random content removes at early queries,"
            f" whatever tokens share (here α = {tokens_alike.alpha:g})", predicted(least)),
        Row("aligned", "share that it removes at early queries where heads are aligned,"
            f" m = {m:.2f}",
            last(predicted_removal(heads_aligned.set("bos", "random"), heads_aligned, EARLY)),
            measured_removal(lab, heads_aligned.set("bos", "random"), heads_aligned, EARLY)),
    ]  # fmt: skip

    found = {row.name: row.number for row in rows}
    x = np.arange(1, lab.budget.n_blocks + 1)
    curves = tuple(
        line
        for part in PARTS
        for kind in ("constant", "random", "zero")
        for line in both(
            f"{kind}, {part}", x, watch(lab, compared[kind]), partial(mean_square, part=part),
            predicted_squares(compared[kind])[part],
        )
    )  # fmt: skip
    blocks = tuple(round(share * lab.budget.n_blocks) - 1 for share in (1 / 2, 3 / 4, 1))
    return Evidence(
        tuple(rows),
        "Of the residual leak² of the last block, random content at position 0 removes"
        f" {100 * found['random, early'].value:.0f}% at early and"
        f" {100 * found['random, late'].value:.0f}% at late queries, the mean embedding"
        f" {100 * found['mean, early'].value:.0f}%, another constant none; of the total leak²"
        f" random content removes {100 * found['total'].value:.1f}%. The reported"
        f" {100 * REPORTED:.0f}% is not there at initialisation, however much of their variance"
        f" tokens share (never below {100 * least:.0f}%); it takes queries and keys that are"
        f" aligned, as training makes them (m = {m:.1f}).",
        (Panel(curves, "block", "residual leak² (nats²)"),),
        table(lab, compared, ROWS, blocks),
    )


CLAIM = Claim(
    id="bos-anchor",
    says="removing or replacing BOS fades the signal",
    question="How much of the residual leak goes when token 0 is not the same in every text?",
    observable="residual leak by kind of token 0, query and block",
    rule=Rule(tuple(Condition(f"random, {part}", "above", FADES) for part in (EARLY, LATE))),
    stacks=stacks,
    experiment=experiment,
)
