"""Identical tokens at positions 50 and 100 can be told apart by their activations."""

import numpy as np
from numpy.typing import NDArray

from ropeleak.simulate.activations import activations
from ropeleak.spec import Stack

from .claim import Claim, Evidence, Panel, Stacks
from .lab import Budget, Lab, Stream
from .number import Curve, Draws, Means, Row, mean_of, measured, predicted
from .observers import BLIND, Seen, fitted_on, ideal_right, observe, probe_right
from .rule import Condition, Rule
from .stacks import both, decoder

TOLD_APART = 0.6915
"""Least share of held-out activations that a probe must get right: that of d′ = 1."""
PAIR = (50, 100)
FLOOR = 1e-12
"""Variance of activations that are all the same, as those of the embedding are."""


def stacks(budget: Budget) -> Stacks:
    """Return the decoder, and the same with ordinary content at position 0."""
    base = decoder(budget, context=budget.watched)
    return {"decoder": base, "random BOS": base.set("bos", "random").replace(name="random BOS")}


def watch(lab: Lab, stack: Stack) -> Draws:
    """Return what observers find in every draw, and what d′ is estimated from (draws, L+1).

    Embeddings are all the same token: no observer is needed to know what one finds there.
    """
    budget = lab.budget
    token_at = [PAIR[content % 2] for content in range(budget.contents)]

    def stream(first: int) -> Stream:
        made = activations(stack, token_at, PAIR, draws=budget.probes, seed=lab.seed, first=first)
        try:
            for acts in made:
                pairs = [(x[::2, 0].astype(float), x[1::2, 1].astype(float)) for x in acts]
                cue = np.array([linear_cue(*pair) for pair in pairs])
                seen = np.array([BLIND, *(observe(*pair) for pair in pairs[1:])])
                found = dict(zip(Seen._fields, seen.T, strict=True))
                yield {"signal": cue[:, 0], "noise": cue[:, 1], **found}
        finally:
            made.close()

    return lab.gather(
        "probe", stack, stream, budget.probes, made_by=(linear_cue, observe),
        contents=budget.contents,
    )  # fmt: skip


def linear_cue(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """Return ``|μ_1 - μ_2|²``, from pairs of different contents, and the variance of an entry.

    Activations are (contents, d).
    """
    n, d = first.shape
    spread = first.var(axis=0, ddof=1).sum() + second.var(axis=0, ddof=1).sum()
    signal = ((first.mean(axis=0) - second.mean(axis=0)) ** 2).sum() - spread / n
    return float(signal), float(spread / (2 * d))


def d_prime(means: Means) -> NDArray[np.float64]:
    """Return d′ of the linear cue at every depth (L+1,)."""
    return np.asarray(np.sqrt(np.maximum(means["signal"], 0) / (means["noise"] + FLOOR)))


def experiment(lab: Lab, compared: Stacks) -> Evidence:
    """Fit observers on some contents and let them tell positions apart in others."""
    rows: list[Row] = []
    curves: list[Curve] = []
    depth = np.arange(lab.budget.n_blocks + 1)
    fit = fitted_on(lab.budget.contents)
    for name, stack in compared.items():
        draws, ruler = watch(lab, stack), lab.result(stack).ruler(*PAIR)
        linear, combined = (float(ruler[cue].values[-1]) for cue in ("linear", "combined"))
        end = "" if name == "decoder" else f", {name}"
        rows += [
            Row(f"probe{end}", "share of held-out activations that a linear probe fitted on"
                f" {fit} of each gets right{end}",
                predicted(probe_right(linear, stack.d_model, fit)), mean_of(draws["probe"][:, -1])),
            Row(f"likelihood ratio{end}", f"the same, Gaussian likelihood ratio{end} (theory: of"
                " an ideal observer of direction and norm)",
                predicted(ideal_right(combined)), mean_of(draws["likelihood"][:, -1])),
            Row(f"d′ linear{end}", f"d′ of the linear cue after the last block{end} (standard"
                " deviations)", predicted(linear), measured(lambda m: d_prime(m)[-1], draws)),
            Row(f"d′ best linear{end}", f"d′ of the best linear observer{end} (theory: as if noise"
                " were the same in all directions)", predicted(linear),
                measured(lambda m: np.sqrt(np.maximum(m["distance"][-1], 0)), draws)),
        ]  # fmt: skip
        curves += both(name, depth, draws, d_prime, ruler["linear"])
    found = {row.name: row.number for row in rows}
    expected = float(lab.result(compared["decoder"]).ruler(*PAIR)["linear"][-1])
    return Evidence(
        tuple(rows),
        "A held-out linear probe tells the same token at 50 and 100 apart in"
        f" {100 * found['probe'].value:.0f}% of the cases, a likelihood ratio in"
        f" {100 * found['likelihood ratio'].value:.0f}%; d′ of the linear cue is"
        f" {found['d′ linear'].value:.2f}, predicted {expected:.2f}.",
        (Panel(tuple(curves), "depth (blocks)", "linear d′(50, 100)\n(standard deviations)"),),
    )


CLAIM = Claim(
    id="fifty-vs-hundred",
    says="identical tokens at positions 50 and 100 can be told apart",
    question="Can an observer of one activation tell at which of the two positions it was read?",
    observable="held-out probe, likelihood ratio, d′",
    rule=Rule((Condition("probe", "above", TOLD_APART),)),
    stacks=stacks,
    experiment=experiment,
)
