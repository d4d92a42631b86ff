"""Position 0 is a closed system: nothing but its own token and the weights moves it."""

import numpy as np

from ropeleak.simulate.forward import Forward
from ropeleak.simulate.plan import make_plan

from .claim import Claim, Evidence, Stacks
from .lab import Budget, Lab
from .number import Row, curve, exact, jackknife, measured, predicted
from .rule import Condition, Rule
from .stacks import decoder

NONE = 0.5
"""Coordinates that may differ: none."""
CONTENTS = 8


def stacks(budget: Budget) -> Stacks:
    """Return the decoder, the same with half the context, and one with another RoPE base."""
    half = budget.context // 2
    return {
        "decoder": decoder(budget),
        "half as long": decoder(budget, context=half),
        "another RoPE": decoder(budget, attention={"rope": {"base": 500.0}}),
    }


def experiment(lab: Lab, compared: Stacks) -> Evidence:
    """Compare token 0's final residual stream bit by bit across contents, lengths and RoPE."""
    states = {}
    for name, stack in compared.items():
        forward = Forward(make_plan(stack, CONTENTS, lab.seed))
        finals = []
        for draw in range(lab.budget.probes):
            forward.run(draw)
            finals.append(forward.x[:CONTENTS, :, 0].copy())
        states[name] = np.stack(finals)
    reference = states["decoder"][:, :1]
    differing = {
        "contents": (states["decoder"] != reference).sum(),
        "lengths": (states["half as long"] != reference).sum(),
        "rope": (states["another RoPE"] != reference).sum(),
    }
    of = states["decoder"].size
    rows = [
        Row(name, f"coordinates of token 0 that differ between {words}, of {of}", exact(0),
            exact(differing[name]))
        for name, words in (("contents", "contents"), ("lengths", "lengths of the text"),
                            ("rope", "two RoPE bases"))
    ]  # fmt: skip
    draws, theory = lab.measure(compared["decoder"]), lab.predict(compared["decoder"])
    rows.append(
        Row("variance", "K_00 after the last block", predicted(theory["k_diag"].values[-1, 0]),
            measured(lambda means: means["k_diag"][-1, 0], draws))
    )  # fmt: skip
    depth = np.arange(lab.budget.n_blocks + 1)
    value, error = jackknife(lambda means: means["k_diag"][:, 0], draws)
    total = sum(int(count) for count in differing.values())
    return Evidence(
        tuple(rows),
        f"Across contents, lengths and RoPE bases {total} coordinates of token 0's residual stream"
        " differ by a single bit.",
        (curve("measured", depth, value, error),
         curve("theory", depth, theory["k_diag"].values[:, 0])),
        "depth (blocks)", "K_00 (per-coordinate variance)",
    )  # fmt: skip


CLAIM = Claim(
    id="closed-origin",
    says="position 0 is a closed dynamical system",
    question="Does token 0 depend on other tokens, on the length of the text or on RoPE?",
    observable="token 0's residual stream, bit by bit",
    rule=Rule(tuple(Condition(name, "below", NONE) for name in ("contents", "lengths", "rope"))),
    stacks=stacks,
    experiment=experiment,
)
