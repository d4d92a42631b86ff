"""Position 0 is a closed system: nothing but its own token and the weights moves it."""

import numpy as np

from ropeleak.simulate.forward import Forward
from ropeleak.simulate.plan import make_plan

from .claim import Claim, Evidence, Panel, Stacks
from .lab import Budget, Lab
from .number import Row, exact, measured, predicted
from .rule import Condition, Rule
from .stacks import both, decoder

NONE = 0.5
"""Coordinates that may differ: none."""
CONTENTS = 8
DRAWS = 4
KINDS = {"contents": "contents", "lengths": "lengths of the text", "rope": "two RoPE bases"}
"""What token 0 is compared across, by the name of the number."""


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
        for draw in range(DRAWS):
            forward.run(draw)
            finals.append(forward.x[:CONTENTS, :, 0].copy())
        states[name] = np.stack(finals)
    reference = states["decoder"][:, :1]
    against = dict(zip(KINDS, ("decoder", "half as long", "another RoPE"), strict=True))
    differing = {kind: int((states[name] != reference).sum()) for kind, name in against.items()}
    of = states["decoder"].size
    rows = [
        Row(kind, f"coordinates of token 0 that differ between {words}, of {of}", exact(0),
            exact(differing[kind]))
        for kind, words in KINDS.items()
    ]  # fmt: skip
    draws, theory = lab.measure(compared["decoder"]), lab.predict(compared["decoder"])
    rows.append(
        Row("variance", "K_00 after the last block", predicted(theory["k_diag"].values[-1, 0]),
            measured(lambda means: means["k_diag"][-1, 0], draws))
    )  # fmt: skip
    depth = np.arange(lab.budget.n_blocks + 1)
    curves = both(
        "token 0", depth, draws, lambda means: means["k_diag"][:, 0], theory["k_diag"][:, 0]
    )
    return Evidence(
        tuple(rows),
        f"Across contents, lengths and RoPE bases {sum(differing.values())} coordinates of token"
        " 0's residual stream differ by a single bit.",
        (Panel(curves, "depth (blocks)", "K_00 (per-coordinate variance)"),),
    )


CLAIM = Claim(
    id="closed-origin",
    says="position 0 is a closed dynamical system",
    question="Does token 0 depend on other tokens, on the length of the text or on RoPE?",
    observable="token 0's residual stream, bit by bit",
    rule=Rule(tuple(Condition(name, "below", NONE) for name in KINDS)),
    stacks=stacks,
    experiment=experiment,
)
