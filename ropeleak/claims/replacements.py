"""What is left of the residual leak when token 0 is replaced: by query, block and replacement."""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from ropeleak.describe import sig
from ropeleak.simulate.attention import Attention
from ropeleak.spec import Stack
from ropeleak.theory.leak_parts import leak_parts

from .lab import Lab, Statistics
from .number import Draws, Means, Number, measured, predicted
from .stacks import removed

EARLY, LATE = "early", "late"
PARTS = (EARLY, LATE)
QUARTER = 4
"""Early and late queries are the first and the last so many-th of the context."""
CONTENTS = 24
"""Contents of a draw: the leak that is gone is told from noise by pairs of them."""
ALPHAS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
"""Shares of variance that content tokens may have in common."""
STRONGEST = 4.0
"""Largest alignment ``m`` that is tried."""


class Replacement(NamedTuple):
    """One replacement of token 0: what it is, and labels of the stacks after and before it."""

    words: str
    after: str
    before: str = "constant"


def queries(context: int, part: str) -> range:
    """Return the early or the late queries."""
    size = context // QUARTER
    return range(size) if part == EARLY else range(context - size, context)


def residual_by_query(attention: Attention) -> Statistics:
    """Return the residual leak's sums over the band (L, query) of one draw."""
    return {"residual": attention.leak_by_query("residual")}


def watch(lab: Lab, stack: Stack) -> Draws:
    """Return `residual_by_query` of every draw: half as many, of twice as many contents."""
    return lab.watch(stack, residual_by_query, CONTENTS, lab.budget.draws // 2)


def mean_square(means: Means, part: str) -> NDArray[np.float64]:
    """Return the measured residual leak² of some queries by block (L,)."""
    sums = means["residual"]
    context = sums.shape[-1]
    chosen = queries(context, part)
    entries = np.minimum(np.array(chosen), context // 2).sum()
    return np.asarray(sums[:, chosen.start : chosen.stop].sum(axis=-1) / entries)


@lru_cache(maxsize=256)
def predicted_squares(stack: Stack) -> dict[str, NDArray[np.float64]]:
    """Return the predicted residual leak² by part and block (L,)."""
    found = leak_parts(stack, [queries(stack.context, part) for part in PARTS])
    return {
        part: np.array([leak.residual for leak in leaks])
        for part, leaks in zip(PARTS, found, strict=True)
    }


def predicted_removal(after: Stack, before: Stack, part: str) -> NDArray[np.float64]:
    """Return the predicted share of the leak that is gone (L,); NaN where there was none."""
    left, whole = (predicted_squares(stack)[part] for stack in (after, before))
    return np.where(whole > 0, removed(left, np.where(whole > 0, whole, 1.0)), np.nan)


def measured_removal(lab: Lab, after: Stack, before: Stack, part: str, block: int = -1) -> Number:
    """Return the measured share of the leak of a block that is gone."""

    def share(left: Means, whole: Means) -> float:
        return float(removed(mean_square(left, part)[block], mean_square(whole, part)[block]))

    return measured(share, watch(lab, after), watch(lab, before))


def least_shared(base: Stack) -> tuple[float, Stack]:
    """Return the least share that random content removes whatever tokens share, and that stack.

    Of early queries and the last block, over `ALPHAS`.
    """
    tried = [base.replace(alpha=alpha) for alpha in ALPHAS]
    shares = [_random_removes(stack) for stack in tried]
    return min(shares), tried[int(np.argmin(shares))]


def aligned_for(base: Stack, share: float) -> Stack:
    """Return the stack with the alignment at which random content removes just a share.

    Of early queries and the last block.
    """

    def aligned(m: float) -> Stack:
        return base.set("attention.alignment", round(m, 3))

    m = brentq(lambda m: _random_removes(aligned(m)) - share, 0.0, STRONGEST, xtol=2e-3)
    return aligned(float(m))


def _random_removes(stack: Stack) -> float:
    return float(predicted_removal(stack.set("bos", "random"), stack, EARLY)[-1])


def table(
    lab: Lab,
    stacks: Mapping[str, Stack],
    rows: tuple[Replacement, ...],
    blocks: tuple[int, ...],
) -> tuple[tuple[str, ...], ...]:
    """Return the share removed by replacement, queries and block: predicted, then measured."""
    lines = [("token 0 becomes", "queries", *(f"block {block + 1}" for block in blocks))]
    for row in rows:
        after, before = stacks[row.after], stacks[row.before]
        for part in PARTS:
            theory = predicted_removal(after, before, part)
            cells = (
                f"{sig(theory[block])}; {measured_removal(lab, after, before, part, block)}"
                for block in blocks
            )
            lines.append((row.words, part, *cells))
    return tuple(lines)


def last(share: NDArray[np.float64]) -> Number:
    """Return the share of the last block as a prediction."""
    return predicted(float(share[-1]))
