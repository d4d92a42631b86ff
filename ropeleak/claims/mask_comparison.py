"""Masks decide where influence goes: the first token, the prefix, or nowhere in particular."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ropeleak.simulate.attention import Attention
from ropeleak.theory.influence import mean_attention, uniform_attention

from .claim import Claim, Evidence, Panel, Stacks
from .lab import Budget, Lab, Statistics
from .number import Curve, Means, Row, in_closed_form, measured
from .residual_rollout import influence
from .rule import Condition, Rule
from .stacks import WINDOW, both, decoder

Array = NDArray[np.float64]

PREFIX = 8
"""Tokens of the prefix."""
MASKS: dict[str, dict[str, Any]] = {
    "full": {"mask": "bidirectional"}, "causal": {}, "window": {"window": WINDOW},
    "prefix": {"prefix": PREFIX},
}  # fmt: skip
BIASED = 2.0
"""Least influence of the first token over uniform that counts as a bias."""
EVEN = 1.1
"""Most of it that counts as none, and most of that of the prefix's first token."""
NEARLY_ALL = 0.9
"""Least share of a prefix that counts as a collapse onto it."""
CONTENTS = 2


def stacks(budget: Budget) -> Stacks:
    """Return a deep stack of attention under each mask."""
    return {
        name: decoder(budget, name=name, n_blocks=budget.deep, attention=mask)
        for name, mask in MASKS.items()
    }


def influence_on_last(attention: Attention) -> Statistics:
    """Return the influence of every token on the last by depth (L, T), attention alone."""
    heads = attention.weight.mean(axis=2).swapaxes(0, 1)  # (contents, L, T, T)
    return {"influence": np.mean([influence(weights, 1.0) for weights in heads], axis=0)}


def over_uniform(found: Array) -> float:
    """Return the influence of token 0 after all blocks, over that of uniform influence."""
    return float(found[-1, 0] * found.shape[1])


def of_prefix(found: Array) -> float:
    """Return the share of the prefix after all blocks."""
    return float(found[-1, :PREFIX].sum())


def uneven(found: Array) -> float:
    """Return the influence of token 0 over the mean of the prefix."""
    return float(found[-1, 0] / found[-1, :PREFIX].mean())


def experiment(lab: Lab, compared: Stacks) -> Evidence:
    """Roll attention out under every mask."""
    draws = {
        name: lab.watch(stack, influence_on_last, CONTENTS, lab.budget.draws // 2)
        for name, stack in compared.items()
    }
    uniform = {
        name: influence(
            np.array([uniform_attention(a, stack.context) for a in stack.attention]), 1.0
        )
        for name, stack in compared.items()
    }

    def row(name: str, words: str, function: Callable[[Array], float], mask: str) -> Row:
        def statistic(means: Means) -> float:
            return function(means["influence"])

        return Row(
            name, words, in_closed_form(function(uniform[mask])), measured(statistic, draws[mask])
        )

    def ratio(window: Means, causal: Means) -> float:
        return over_uniform(window["influence"]) / over_uniform(causal["influence"])

    deep = lab.budget.deep
    words = f"influence of token 0 on the last over uniform, after {deep} blocks"
    rows = [
        row("causal", f"{words}, causal", over_uniform, "causal"),
        row("window", f"{words}, window of {WINDOW}", over_uniform, "window"),
        row("full", f"{words}, no mask", over_uniform, "full"),
        row("prefix", f"share of the first {PREFIX} tokens, which see each other", of_prefix,
            "prefix"),
        row("prefix, uneven", "influence of token 0 over the mean of these tokens", uneven,
            "prefix"),
    ]  # fmt: skip
    slower = measured(ratio, draws["window"], draws["causal"])
    expected = over_uniform(uniform["window"]) / over_uniform(uniform["causal"])
    rows.insert(2, Row("slower", "influence of token 0 under the window over that without",
                       in_closed_form(expected), slower))  # fmt: skip
    depth, keys = np.arange(1, deep + 1), np.arange(lab.budget.context)
    by_depth: list[Curve] = []
    by_key: list[Curve] = []
    for name, stack in compared.items():
        theory = influence(mean_attention(stack), 1.0)
        by_depth += both(name, depth, draws[name], lambda m: m["influence"][:, 0], theory[:, 0])
        by_key += both(name, keys, draws[name], lambda m: m["influence"][-1], theory[-1])
    found = {r.name: r.number for r in rows}
    return Evidence(
        tuple(rows),
        f"After {deep} blocks token 0 has {found['causal'].value:.0f} times its even share of the"
        f" influence on the last token under a causal mask, {found['window'].value:.1f} times under"
        f" a window of {WINDOW} and {found['full'].value:.2f} times without a mask; a prefix of"
        f" {PREFIX} has {100 * found['prefix'].value:.0f}% together.",
        (
            Panel(tuple(by_depth), "depth (blocks)", "influence of token 0 on the last"),
            Panel(tuple(by_key), "token", f"influence on the last,\nafter {deep} blocks"),
        ),
    )


CLAIM = Claim(
    id="mask-comparison",
    says="influence goes to the first token under a causal mask, more slowly under a window, to all"
    " of a prefix alike, and to none in particular without a mask",
    question="Which tokens influence the last one under each mask?",
    observable="attention rollout by mask",
    rule=Rule((
        Condition("causal", "above", BIASED), Condition("window", "above", BIASED),
        Condition("slower", "below", 1.0),
        Condition("full", "below", EVEN), Condition("prefix", "above", NEARLY_ALL),
        Condition("prefix, uneven", "below", EVEN),
    )),
    stacks=stacks,
    experiment=experiment,
    paper="2502.01951",
)  # fmt: skip
