"""Attention sinks carry a fingerprint of token 0."""

import numpy as np

from ropeleak.theory.reach import reaches

from .claim import Claim, Evidence, Stacks
from .lab import Budget, Lab
from .number import Means, Row, curve, exact, jackknife, measured
from .rule import Condition, Rule
from .stacks import beacon, decoder, predicted_at

CARRIES = 0.01
"""Least share of the residual stream that counts as a fingerprint."""
NOTHING = 0.005
"""Most of it that the control, which cannot see token 0, may show."""
NARROW = 8
"""Keys of the window: so few that token 0 does not reach the last position."""


def stacks(budget: Budget) -> Stacks:
    """Return a window with token 0 kept visible, without it, and full attention."""
    window = {"window": NARROW}
    return {
        "sink": decoder(budget, attention={**window, "sinks": 1}),
        "window": decoder(budget, attention=window),
        "full": decoder(budget),
        "random sink": decoder(budget, attention={**window, "sinks": 1}, bos={"kind": "random"}),
    }


def experiment(lab: Lab, compared: Stacks) -> Evidence:
    """Look for token 0 in the last token, with and without a sink that reads it."""
    draws = {name: lab.measure(stack) for name, stack in compared.items()}
    theory = {name: lab.predict(stack) for name, stack in compared.items()}
    last = lab.budget.context - 1

    def at_end(means: Means) -> float:
        return beacon(means, last)

    def excess(means: Means) -> float:
        return float(means["sink"][-1, last] * (last + 1))

    def covariance(means: Means) -> float:
        return float(means["k_bos"][-1, last] / means["k_diag"][-1, last])

    beyond = reaches(compared["window"])[-1] < last
    rows = [
        Row(f"{name}", f"BOS's share of the last token, {words}",
            exact(0) if certain else predicted_at(theory[name], "beacon", last),
            measured(at_end, draws[name]))
        for name, words, certain in (
            ("sink", f"window of {NARROW} that keeps token 0", False),
            ("window", "the same window without it", beyond),
            ("random sink", "the sink is ordinary content", True),
            ("full", "full attention", False),
        )
    ]  # fmt: skip
    rows.append(Row("excess", "attention of the last query to token 0 over uniform, full attention",
                    predicted_at(theory["full"], "sink_excess", last),
                    measured(excess, draws["full"])))  # fmt: skip
    rows.append(Row("covariance", "K_0i/K_ii of the last token with the sink", None,
                    measured(covariance, draws["sink"])))  # fmt: skip
    found = {row.name: row.number for row in rows}
    x = np.arange(lab.budget.context)
    curves = []
    for name in ("sink", "window", "full"):
        value, error = jackknife(
            lambda m: (m["q_diag"][-1] - m["q_common"][-1]) / m["k_diag"][-1], draws[name]
        )
        curves.append(curve(name, x, value, error))
        curves.append(curve(f"{name}, theory", x, theory[name]["beacon"].values[-1]))
    return Evidence(
        tuple(rows),
        f"A sink puts {100 * found['sink'].value:.1f}% of BOS into the last token, and"
        f" {100 * found['window'].value:.1f}% arrive without it; but at initialisation no head"
        f" prefers token 0: it draws {found['excess'].value:.2f} times uniform attention.",
        tuple(curves), "query position (tokens)", "BOS share after the last block",
    )  # fmt: skip


CLAIM = Claim(
    id="sinks-fingerprint",
    says="sinks carry a fingerprint of token 0",
    question="Does a token that attends to token 0 carry what all texts share?",
    observable="beacon of the last token, attention to token 0",
    rule=Rule((Condition("sink", "above", CARRIES), Condition("window", "below", NOTHING))),
    stacks=stacks,
    experiment=experiment,
)
