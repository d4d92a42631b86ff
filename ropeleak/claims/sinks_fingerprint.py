"""Attention sinks carry a fingerprint of token 0."""

from typing import Any

import numpy as np

from ropeleak.theory.reach import reaches

from .claim import Claim, Evidence, Panel, Stacks
from .lab import Budget, Lab
from .number import Means, Row, exact, measured, predicted
from .rule import Condition, Rule
from .stacks import READS, beacon, both, decoder, predicted_at

CARRIES = 0.01
"""Least share of the residual stream that counts as a fingerprint."""
NOTHING = 0.005
"""Most of it that the control, which cannot see token 0, may show."""
NARROW = 8
"""Keys of the window: so few that token 0 does not reach the last position."""
WORDS = {
    "sink": f"window of {NARROW} that keeps token 0", "window": "the same window without it",
    "random sink": "the sink is ordinary content", "full": "full attention",
    "reads": f"full attention, heads that read sinks ({READS:g} nats)",
    "reads, random": "such heads, ordinary content at position 0",
}  # fmt: skip
"""What the stacks are, by label."""


def stacks(budget: Budget) -> Stacks:
    """Return windows with and without token 0, full attention, and heads that read sinks."""
    window, random = {"window": NARROW}, {"kind": "random"}
    fields: dict[str, dict[str, Any]] = {
        "sink": {"attention": {**window, "sinks": 1}},
        "window": {"attention": window},
        "random sink": {"attention": {**window, "sinks": 1}, "bos": random},
        "full": {},
        "reads": {"attention": {"sink_bias": READS}},
        "reads, random": {"attention": {"sink_bias": READS}, "bos": random},
    }
    return {name: decoder(budget, name=name, **changes) for name, changes in fields.items()}


def experiment(lab: Lab, compared: Stacks) -> Evidence:
    """Look for token 0 in the last token, with and without a sink and heads that read it."""
    draws = {name: lab.measure(stack) for name, stack in compared.items()}
    theory = {name: lab.predict(stack) for name, stack in compared.items()}
    last = lab.budget.context - 1

    def at_end(means: Means) -> float:
        return beacon(means, last)

    def excess(means: Means) -> float:
        return float(means["sink"][-1, last] * (last + 1))

    def covariance(means: Means) -> float:
        return float(means["k_bos"][-1, last] / means["k_diag"][-1, last])

    def certain(name: str) -> bool:
        beyond = reaches(compared[name])[-1] < last
        return beyond or not compared[name].bos.is_constant

    rows = [
        Row(name, f"BOS's share of the last token, {words}",
            exact(0) if certain(name) else predicted_at(theory[name], "beacon", last),
            measured(at_end, draws[name]))
        for name, words in WORDS.items()
    ]  # fmt: skip
    rows += [
        Row(f"excess, {name}", "attention of the last query to token 0 over uniform, last block,"
            f" {WORDS[name]}", predicted_at(theory[name], "sink_excess", last),
            measured(excess, draws[name]))
        for name in ("full", "reads", "reads, random")
    ]  # fmt: skip
    shared = float(theory["sink"]["k_bos"][-1, last] / theory["sink"]["k_diag"][-1, last])
    rows.append(Row("covariance", "K_0i/K_ii of the last token with the sink", predicted(shared),
                    measured(covariance, draws["sink"])))  # fmt: skip
    found = {row.name: row.number for row in rows}
    x = np.arange(lab.budget.context)
    curves = tuple(
        line
        for name in ("sink", "window", "full", "reads")
        for line in both(
            WORDS[name], x, draws[name],
            lambda m: (m["q_diag"][-1] - m["q_common"][-1]) / m["k_diag"][-1],
            theory[name]["beacon"][-1],
        )
    )  # fmt: skip
    return Evidence(
        tuple(rows),
        f"A sink puts {100 * found['sink'].value:.1f}% of BOS into the last token, and"
        f" {100 * found['window'].value:.1f}% arrive without it. At initialisation no head prefers"
        f" token 0: it draws {found['excess, full'].value:.2f} times uniform attention, against"
        f" {found['excess, reads'].value:.1f} times where heads read sinks, which raises BOS's"
        f" share under full attention from {100 * found['full'].value:.1f}% to"
        f" {100 * found['reads'].value:.0f}%.",
        (Panel(curves, "query position (tokens)", "BOS share after the last block"),),
    )


CLAIM = Claim(
    id="sinks-fingerprint",
    says="sinks carry a fingerprint of token 0",
    question="Does a token that attends to token 0 carry what all texts share?",
    observable="beacon of the last token, attention to token 0",
    rule=Rule((Condition("sink", "above", CARRIES), Condition("window", "below", NOTHING))),
    stacks=stacks,
    experiment=experiment,
)
