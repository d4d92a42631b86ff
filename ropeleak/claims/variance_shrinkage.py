"""The variance of attention's output shrinks with position, and tells it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ropeleak.spec import Stack

from .claim import Claim, Evidence, Panel, Stacks
from .lab import Budget, Lab
from .number import Means, Number, Row, exact, measured, predicted
from .rule import Condition, Rule
from .stacks import both

Array = NDArray[np.float64]

SHRINKS = -0.9
"""Largest exponent that counts as shrinking like one over the position."""
WIDTH, HEADS = 128, 4
STD = 0.02 * (768 / WIDTH) ** 0.5
"""The usual 0.02 at width 768, for the same ``d s0²`` at this width."""


def stack(name: str, budget: Budget, **changes: Any) -> Stack:
    """Return a GPT-like decoder without position embeddings, at its usual initialisation."""
    fields: dict[str, Any] = {
        "context": budget.context, "n_blocks": budget.n_blocks, "d_model": WIDTH,
        "n_heads": HEADS, "norm": {"kind": "layer"}, "attention": {"rope": None},
        "mlp": {"kind": "plain", "activation": "gelu"}, "bos": {"kind": "random"},
        "init": {"scheme": "normal", "std": STD},
    }  # fmt: skip
    return Stack.build(**{"name": name, **fields, **changes})


def stacks(budget: Budget) -> Stacks:
    """Return one block of attention alone, the whole decoder, and one without a mask."""
    return {
        "attention": stack("attention", budget, n_blocks=1, mlp={"kind": "none"}),
        "decoder": stack("decoder", budget),
        "bidirectional": stack(
            "bidirectional", budget, attention={"rope": None, "mask": "bidirectional"}
        ),
    }


def written(k_diag: Array) -> Array:
    """Return the variance that the first block adds, by position (T,)."""
    return np.asarray(k_diag[1] - k_diag[0])


def exponent(k_diag: Array) -> float:
    """Return the slope of that variance's logarithm on the logarithm of the number of keys."""
    n = np.arange(1, k_diag.shape[1] + 1)
    return float(np.polyfit(np.log(n), np.log(np.maximum(written(k_diag), 1e-12)), 1)[0])


def kept(k_diag: Array) -> float:
    """Return the variance of the last token over that of token 1, after the last block."""
    return float(k_diag[-1, -1] / k_diag[-1, 1])


def experiment(lab: Lab, compared: Stacks) -> Evidence:
    """Follow the variance along the text."""
    draws = {name: lab.measure(stack) for name, stack in compared.items()}
    theory = {name: lab.predict(stack)["k_diag"].values for name, stack in compared.items()}
    half, last = lab.budget.context // 2, lab.budget.context - 1
    ruler = lab.result(compared["decoder"]).ruler(half, last)

    def of(function: Callable[[Array], float], name: str) -> tuple[Number, Number]:
        def statistic(means: Means) -> float:
            return function(means["k_diag"])

        return predicted(function(theory[name])), measured(statistic, draws[name])

    rows = (
        Row("exponent", "exponent of attention's variance in the number of keys, block 1",
            *of(exponent, "attention")),
        Row("kept", "variance of the last token over that of token 1, after the last block",
            *of(kept, "decoder")),
        Row("kept, bidirectional", "the same without a mask", exact(1),
            of(kept, "bidirectional")[1]),
        Row("d′ norm", f"d′({half}, {last}) of the norm after the last block (standard deviations)",
            predicted(float(ruler["norm"][-1]))),
    )  # fmt: skip
    x = np.arange(1, lab.budget.context + 1)
    first = both(
        "attention, block 1", x, draws["attention"], lambda m: written(m["k_diag"]),
        written(theory["attention"]),
    )  # fmt: skip
    deep = [
        line
        for name in ("decoder", "bidirectional")
        for line in both(name, x, draws[name], lambda m: m["k_diag"][-1], theory[name][-1])
    ]
    return Evidence(
        rows,
        f"The variance that attention writes falls like n^{rows[0].number.value:.2f}; after"
        f" {lab.budget.n_blocks} blocks the last token has"
        f" {100 * rows[1].number.value:.0f}% of token 1's variance, without a mask"
        f" {100 * rows[2].number.value:.0f}%.",
        (
            Panel(
                first, "number of keys n", "variance that attention writes", log=True, log_y=True
            ),
            Panel(tuple(deep), "number of keys n", "variance after the last block", log=True),
        ),
    )


CLAIM = Claim(
    id="variance-shrinkage",
    says="the variance of self-attention shrinks with position in a decoder without position"
    " embeddings",
    question="Does the variance of a random decoder's activations tell positions?",
    observable="variance by position",
    rule=Rule((Condition("exponent", "below", SHRINKS), Condition("kept", "below", 1.0))),
    stacks=stacks,
    experiment=experiment,
    paper="2305.13571",
)
