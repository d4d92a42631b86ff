"""Removing or replacing BOS fades the residual leak."""

from functools import partial

import numpy as np

from .claim import Claim, Evidence, Stacks
from .lab import Budget, Lab
from .number import Means, Row, curve, exact, jackknife, measured, predicted
from .rule import Condition, Rule
from .stacks import beacon, decoder, predicted_at, predicted_square, square

FADES = 0.25
"""Least share of the residual leak (nats²) whose loss counts as fading."""
SHARED = 0.2
"""``α`` of the stacks, so that a mean embedding exists: content tokens share so much variance."""


def stacks(budget: Budget) -> Stacks:
    """Return the decoder with everything that may stand at position 0."""
    return {
        **{kind: decoder(budget, bos={"kind": kind}) for kind in ("constant", "random", "zero")},
        "shared": decoder(budget, alpha=SHARED),
        "mean": decoder(budget, alpha=SHARED, bos={"kind": "mean"}),
    }


def experiment(lab: Lab, compared: Stacks) -> Evidence:
    """Compare what is left of the residual leak when token 0 is replaced."""
    draws = {name: lab.measure(stack) for name, stack in compared.items()}
    theory = {name: lab.predict(stack) for name, stack in compared.items()}
    early, late = lab.budget.context // 8, 7 * lab.budget.context // 8

    def removed(changed: Means, base: Means) -> float:
        return 1 - square(changed, "residual") / square(base, "residual")

    def removed_total(changed: Means, base: Means) -> float:
        mean = [m["leak"][-1] for m in (changed, base)]
        total = [m[0] + m[1] - 2 * m[2] for m in mean]
        return float(1 - total[0] / total[1])

    rows = []
    for kind, words in (
        ("random", "ordinary content at position 0, or no BOS"), ("zero", "a zero vector"),
        ("mean", "the mean embedding"),
    ):  # fmt: skip
        base = "shared" if kind == "mean" else "constant"
        before, after = (predicted_square(theory[k], "residual").value for k in (base, kind))
        share = predicted(1 - after / before)
        rows.append(Row(kind, f"share of the residual leak² removed by {words}, last block", share,
                        measured(removed, draws[kind], draws[base])))  # fmt: skip
    rows.append(Row("other", "the same by another constant: all constants are alike", exact(0)))
    rows.append(Row("total", "share of the total leak² removed by random content",
                    None, measured(removed_total, draws["random"], draws["constant"])))  # fmt: skip
    rows += [
        Row(f"beacon {words}, {kind}", f"BOS's share at position {position}, BOS {kind}",
            predicted_at(theory[kind], "beacon", position),
            measured(partial(beacon, position=position), draws[kind]))
        for words, position in (("early", early), ("late", late))
        for kind in ("constant", "zero")
    ]  # fmt: skip
    found = {row.name: row.number for row in rows}
    blocks = np.arange(1, lab.budget.n_blocks + 1)
    curves = []
    for kind in ("constant", "random", "zero"):
        value, error = jackknife(lambda means: means["leak"][:, 1], draws[kind])
        curves.append(curve(kind, blocks, value, error))
        curves.append(curve(f"{kind}, theory", blocks, theory[kind]["leak_residual"].values ** 2))
    return Evidence(
        tuple(rows),
        f"Ordinary content at position 0 removes {100 * found['random'].value:.0f}% of the residual"
        f" leak², another constant {100 * found['other'].value:.0f}%, a zero vector"
        f" {100 * found['zero'].value:.0f}%, but random content only"
        f" {100 * found['total'].value:.1f}% of the total leak²: without training, 40% is none of"
        " these readings.",
        tuple(curves), "block", "residual leak (nats²)",
    )  # fmt: skip


CLAIM = Claim(
    id="bos-anchor",
    says="removing or replacing BOS fades the signal",
    question="How much of the residual leak goes when token 0 is not the same in every text?",
    observable="residual leak and beacon by kind of token 0",
    rule=Rule((Condition("random", "above", FADES),)),
    stacks=stacks,
    experiment=experiment,
)
