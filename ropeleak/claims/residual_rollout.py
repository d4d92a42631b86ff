"""Attention rollout collapses onto the first token, unless residual connections are counted."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from ropeleak.simulate.attention import Attention
from ropeleak.theory.influence import mean_attention, rollout, uniform_attention

from .claim import Claim, Evidence, Panel, Stacks
from .lab import Budget, Lab, Statistics
from .number import Curve, Means, Row, Statistic, curve, in_closed_form, measured
from .rule import Condition, Rule
from .stacks import both, decoder

COLLAPSES = 0.5
"""Least share of the influence on the last token that counts as a collapse onto the first."""
PREVENTS = 0.9
"""Most of that share that may be left with residual connections."""
WEIGHT = 0.5
"""``λ``: what attention writes, as a share of the stream."""
SHARES = {"attention alone": 1.0, "with residuals": WEIGHT}
CONTENTS = 2


def stacks(budget: Budget) -> Stacks:
    """Return a deep decoder."""
    return {"decoder": decoder(budget, name="deep decoder", n_blocks=budget.deep)}


def influence(weights: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Return the influence of every token on the last, by depth (L, T), of attention (L, T, T)."""
    return np.array([rollout(weights[: l + 1], share)[-1] for l in range(len(weights))])


def influence_by_depth(attention: Attention) -> Statistics:
    """Return the influence on the last token with and without residuals: the mean over contents.

    Rollout follows the mean over heads, content by content.
    """
    heads = attention.weight.mean(axis=2).swapaxes(0, 1)  # (contents, L, T, T)
    return {
        name: np.mean([influence(weights, share) for weights in heads], axis=0)
        for name, share in SHARES.items()
    }


def experiment(lab: Lab, compared: Stacks) -> Evidence:
    """Roll attention out through the blocks, with and without residual connections."""
    stack = compared["decoder"]
    draws = lab.watch(stack, influence_by_depth, CONTENTS, lab.budget.draws // 2)
    even = [uniform_attention(attention, stack.context) for attention in stack.attention]
    uniform = {name: influence(np.array(even), share) for name, share in SHARES.items()}
    theory = {name: influence(mean_attention(stack), share) for name, share in SHARES.items()}
    shallow = lab.budget.n_blocks - 1

    def collapse(means: Means) -> float:
        return float(means["attention alone"][-1, 0])

    def kept(means: Means) -> float:
        bare, mixed = (means[name][-1, 0] for name in SHARES)
        return float(mixed / bare)

    def over_least(means: Means, end: int) -> float:
        row = means["with residuals"][shallow]
        return float(row[end] / row.min())

    def row(name: str, words: str, statistic: Statistic) -> Row:
        return Row(name, words, in_closed_form(statistic(uniform)), measured(statistic, draws))

    deep, few = stack.n_blocks, shallow + 1
    rows = (
        row("collapse", f"token 0's share of the influence on the last after {deep} blocks,"
            " attention alone (theory: uniform attention)", collapse),
        row("kept", f"with residuals, λ = {WEIGHT:g}, over that", kept),
        row("first over least", f"influence of token 0 over that of the least influential token,"
            f" after {few} blocks with residuals", partial(over_least, end=0)),
        row("last over least", "influence of the last token over that of the least influential",
            partial(over_least, end=-1)),
    )  # fmt: skip
    depth, keys = np.arange(1, deep + 1), np.arange(stack.context)
    by_depth: list[Curve] = []
    by_key: list[Curve] = []
    for name in SHARES:
        share = {"influence": draws[name]}
        by_depth += both(name, depth, share, lambda m: m["influence"][:, 0], theory[name][:, 0])
        by_key += both(name, keys, share, lambda m: m["influence"][shallow], theory[name][shallow])
        by_depth.append(curve(f"{name}, uniform, theory", depth, uniform[name][:, 0]))
    return Evidence(
        rows,
        f"After {deep} blocks of attention alone token 0 has"
        f" {100 * rows[0].number.value:.0f}% of the influence on the last token, with residuals"
        f" {100 * rows[1].number.value:.0f}% of that. After {few} blocks with residuals the first"
        f" token counts {rows[2].number.value:.0f} times and the last"
        f" {rows[3].number.value:.1f} times as much as the one that counts least: a U.",
        (
            Panel(tuple(by_depth), "depth (blocks)", "influence of token 0 on the last"),
            Panel(
                tuple(by_key), "token", f"influence on the last,\nafter {few} blocks", log_y=True
            ),
        ),
    )


CLAIM = Claim(
    id="residual-rollout",
    says="residual connections keep influence from collapsing onto the first token and leave a U",
    question="Where does the influence on the last token come from?",
    observable="attention rollout with and without residual connections",
    rule=Rule((
        Condition("collapse", "above", COLLAPSES), Condition("kept", "below", PREVENTS),
        Condition("first over least", "above", 1.0), Condition("last over least", "above", 1.0),
    )),
    stacks=stacks,
    experiment=experiment,
    paper="2602.16837",
)  # fmt: skip
