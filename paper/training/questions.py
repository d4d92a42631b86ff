"""The questions, with the number and the threshold that answer each: fixed before the trainings.

A number's 95% interval that lies beyond the threshold on the named side is a yes, one on the other
side a no, and anything else leaves the question undecided.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from .architectures import BASELINE
from .intervals import Interval, over_seeds, rank_correlation
from .results import Array, Results

Verdict = Literal["yes", "no", "undecided"]

RANKS = 0.5
"""Rank correlation above which a prediction ranks trained models."""
SUPPRESSES = 0.1
"""Share of the residual leak (nats²) whose loss is a suppression."""
FADES = 0.25
"""Share of the residual leak (nats²) whose loss is a fading."""
SOURCE_SHARE = 0.4
"""The share that arXiv 2606.06160 reports at early queries."""
GROWS = 1.25
"""Growth of the residual leak (nats²) from the middle to the last block that counts."""
PLUGGED = 0.02
"""Share of the baseline's leak (nats²) below which a hole counts as plugged."""
COSTS = 0.01
"""Loss (nats a byte) that counts as a cost."""
TOLD_APART = 0.6915
"""Share of held-out activations that d′ = 1 gets right."""
SINK = 2.0
"""Attention to token 0 over uniform attention that makes it a sink."""
FINGERPRINT = 0.01
"""Share of the residual stream that counts as a fingerprint of BOS."""
DRIFTS = 1.1
"""Growth of the total leak (nats²) with the context that counts."""
WORSENS = 0.1
"""Loss (nats a byte) past the trained context that counts."""

PLUGS = (
    ("random BOS", "residual"), ("no BOS", "residual"), ("zero BOS", "residual"),
    ("sigmoid", "mask"), ("sigmoid, random BOS", "mask"), ("sigmoid, random BOS", "residual"),
)  # fmt: skip
"""Architectures with a hole that is plugged at initialisation, and which hole."""
REPLACED = ("constant byte", "random bytes", "zero vector")
"""What the trained baseline is given in place of BOS."""


@dataclass(frozen=True)
class Question:
    """A question, the number that answers it, and how.

    Attributes
    ----------
    id, asks, number_is
        Its name, the question, and what the number is, with its unit.
    number
        Takes the results.
    sense, threshold
        Where the interval must lie for a yes.
    """

    id: str
    asks: str
    number_is: str
    number: Callable[[Results], Interval]
    sense: Literal["above", "below"]
    threshold: float

    def answer(self, results: Results) -> "Answer":
        """Return the answer that results give."""
        found = self.number(results)
        above, below = found.low > self.threshold, found.high < self.threshold
        decided: dict[bool, Verdict] = {True: "yes", False: "no"}
        if above or below:
            return Answer(self, found, decided[above == (self.sense == "above")])
        return Answer(self, found, "undecided")


@dataclass(frozen=True)
class Answer:
    """A question's number and verdict."""

    question: Question
    number: Interval
    verdict: Verdict


# Numbers


def leak(results: Results, hole: str, architecture: str, step: int = -1) -> Array:
    """Return an architecture's leak, the mean over its blocks, nats² (seeds,)."""
    return np.asarray(results.of(hole, architecture, step).mean(axis=1))


def ranked(results: Results, hole: str, open_only: bool = False, step: int = -1) -> Interval:
    """Return how well predicted leaks rank measured ones, over architectures.

    Parameters
    ----------
    results, step
        The measurements, and which step of training.
    hole
        ``mask`` or ``residual``.
    open_only
        Whether to leave out architectures whose hole is predicted to be plugged.
    """
    expected = {n: float(getattr(p, hole).mean()) for n, p in results.predictions.items()}
    names = [n for n in results.architectures if expected[n] > 0 or not open_only]
    measured = [leak(results, hole, name, step) for name in names]
    return rank_correlation([expected[name] for name in names], measured)


def ranked_position(results: Results, name: str = "d_prime", step: int = -1) -> Interval:
    """Return how well the predicted ruler ranks what a probe finds after the last block."""
    names = results.architectures
    expected = [results.predictions[architecture].position for architecture in names]
    return rank_correlation(expected, [results.of(name, n, step)[:, -1] for n in names])


def removed(results: Results, architecture: str, step: int = -1) -> Interval:
    """Return the share of the baseline's residual leak that an architecture lacks."""
    base = leak(results, "residual", BASELINE, step)
    return over_seeds(1 - leak(results, "residual", architecture, step) / base)


def removed_after(
    results: Results, intervention: str, queries: str = "residual", step: int = -1
) -> Interval:
    """Return the share of the baseline's residual leak that an intervention removes.

    ``queries`` is ``early``, ``late``, or ``residual`` for all of them.
    """
    base = results.after(queries, "none", step).mean(axis=1)
    return over_seeds(1 - results.after(queries, intervention, step).mean(axis=1) / base)


def rise(results: Results, architecture: str, step: int = -1) -> Interval:
    """Return the residual leak of the last block over that of the middle one."""
    square = results.of("residual", architecture, step)
    return over_seeds(square[:, -1] / square[:, square.shape[1] // 2 - 1])


def excess(results: Results, architecture: str, step: int = -1) -> Interval:
    """Return residual over mask leak of the last block, over the same of the baseline."""
    ratio = [
        results.of("residual", name, step)[:, -1] / results.of("mask", name, step)[:, -1]
        for name in (architecture, BASELINE)
    ]
    return over_seeds(ratio[0] / ratio[1])


def left(results: Results, architecture: str, hole: str, step: int = -1) -> Interval:
    """Return an architecture's leak as a share of the baseline's."""
    base = leak(results, hole, BASELINE, step)
    return over_seeds(leak(results, hole, architecture, step) / base)


def cost(results: Results, architecture: str) -> Interval:
    """Return the loss of late queries less the baseline's, nats a byte."""
    difference = results.of("loss_late", architecture) - results.of("loss_late", BASELINE)
    return over_seeds(difference)


def last(results: Results, name: str, architecture: str = BASELINE, step: int = -1) -> Interval:
    """Return a quantity after the last block, or of it."""
    return over_seeds(results.of(name, architecture, step)[:, -1])


def largest(results: Results, name: str, architecture: str = BASELINE, step: int = -1) -> Interval:
    """Return the largest of a quantity over blocks."""
    return over_seeds(results.of(name, architecture, step).max(axis=1))


def drift(results: Results, intervention: str, step: int = -1) -> Interval:
    """Return the total leak past the trained context over that at it."""
    square = [results.after("total", name, step).mean(axis=1) for name in (intervention, "none")]
    return over_seeds(square[0] / square[1])


def worse(results: Results, intervention: str) -> Interval:
    """Return the loss of late queries less that at the trained context, nats a byte."""
    found = results.after("loss_late", intervention) - results.after("loss_late", "none")
    return over_seeds(found)


# The table


def _ranks() -> Sequence[Question]:
    about = (
        ("mask", "mask leak", partial(ranked, hole="mask")),
        ("mask-open", "mask leak, where it is not plugged",
         partial(ranked, hole="mask", open_only=True)),
        ("residual", "residual leak", partial(ranked, hole="residual")),
        ("residual-open", "residual leak, where it is not plugged",
         partial(ranked, hole="residual", open_only=True)),
        ("position", "positions 50 and 100, told apart by a probe", ranked_position),
    )  # fmt: skip
    return [
        Question(
            f"ranks-{name}", f"Does the prediction rank trained models by {words}?",
            "Spearman's correlation of prediction and trained models", number, "above", RANKS,
        )
        for name, words, number in about
    ]  # fmt: skip


def _plugs() -> Sequence[Question]:
    stay = [
        Question(
            f"stays-plugged: {name}, {hole}", f"Is the {hole} leak of {name} still plugged?",
            "its share of the baseline's (nats²)", partial(left, architecture=name, hole=hole),
            "below", PLUGGED,
        )
        for name, hole in PLUGS
    ]  # fmt: skip
    pay = [
        Question(
            f"costs: {name}", f"Does {name} cost loss?",
            "loss of late queries less the baseline's (nats a byte)",
            partial(cost, architecture=name), "above", COSTS,
        )
        for name in dict(PLUGS)
    ]  # fmt: skip
    return [*stay, *pay]


QUESTIONS: tuple[Question, ...] = (
    *_ranks(),
    Question(
        "ntk-suppresses", "Is the residual leak smaller with NTK scaling, trained with it?",
        "share of the baseline's that is missing (nats²)",
        partial(removed, architecture="NTK"), "above", SUPPRESSES,
    ),
    Question(
        "ntk-suppresses-afterwards", "Is it smaller when a trained model is scaled?",
        "share that scaling removes (nats²)",
        partial(removed_after, intervention="NTK"), "above", SUPPRESSES,
    ),
    Question(
        "window-accumulates", "Does the residual leak grow with depth under a window of 16?",
        "last block's over the middle one's (nats²)",
        partial(rise, architecture="window 16"), "above", GROWS,
    ),
    Question(
        "window-exceeds", "Is it larger beside the mask leak than with full attention?",
        "residual over mask leak, window over full, last block",
        partial(excess, architecture="window 16"), "above", 1.0,
    ),
    *(
        Question(
            f"bos-anchor: {kind}", f"Does {kind} in place of BOS remove residual leak?",
            "share removed at early queries of the trained baseline (nats²)",
            partial(removed_after, intervention=kind, queries="early"), "above", FADES,
        )
        for kind in REPLACED
    ),
    *_plugs(),
    Question(
        "mask-denominator", "Is there a mask leak after training?", "mask leak, block 1 (nats²)",
        lambda results: over_seeds(results.of("mask", BASELINE)[:, 0]), "above", 0.01,
    ),
    Question(
        "fifty-vs-hundred", "Can a probe tell the same byte at 50 and 100 apart after training?",
        "share of held-out activations that it gets right, last block",
        partial(last, name="accuracy"), "above", TOLD_APART,
    ),
    Question(
        "sinks", "Does training make token 0 a sink?",
        "attention to it over uniform attention, the largest block",
        partial(largest, name="sink_excess"), "above", SINK,
    ),
    Question(
        "sinks-fingerprint", "Does BOS leave a fingerprint after training?",
        "its share of the residual stream at position 100, last block",
        partial(last, name="beacon"), "above", FINGERPRINT,
    ),
    Question(
        "beyond-training-leak", "Does the leak grow past the trained context?",
        "total leak at 4 times the trained context over at it (nats²)",
        partial(drift, intervention="context ×4"), "above", DRIFTS,
    ),
    Question(
        "beyond-training-loss", "Does the loss?",
        "loss of late queries at 4 times the trained context less at it (nats a byte)",
        partial(worse, intervention="context ×4"), "above", WORSENS,
    ),
)  # fmt: skip
