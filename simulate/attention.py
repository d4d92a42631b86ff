"""Attention itself: the scores and weights of every head and content, draw by draw."""

from collections.abc import Generator
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ropeleak.errors import RopeleakError
from ropeleak.spec import Stack

from .forward import Forward, LayerRoom
from .plan import Plan, make_plan
from .sampling import available_threads, in_order

Array = NDArray[np.float64]
Hole = Literal["mask", "residual", "cross"]


class Attention:
    """What one draw's heads attend to.

    Attributes
    ----------
    score, weight
        ``s_ij`` and ``a_ij`` (L, contents, heads, query, key); scores are 0 where a query neither
        sees a key nor has it in the band of the leak.
    widest
        Largest offset of the band (L,).
    """

    def __init__(self, score: Array, weight: Array, widest: list[int]) -> None:
        self.score, self.weight, self.widest = score, weight, widest

    @cached_property
    def surprise(self) -> Array:
        """``-ln a_ij``, 0 where the weight is 0."""
        return -np.log(np.where(self.weight > 0, self.weight, 1.0))

    @property
    def entropy(self) -> Array:
        """``-Σ_j a_ij ln a_ij``, the mean over contents and heads (L, query), nats."""
        return np.asarray((self.weight * self.surprise).sum(-1).mean((1, 2)))

    @cached_property
    def log_z(self) -> Array:
        """``ln Z_i`` (L, contents, heads, query), nats: ``s_ij - ln a_ij`` of any key."""
        total = self.weight.sum(-1)
        return np.asarray((self.weight * (self.score + self.surprise)).sum(-1) / total)

    def leak_by_query(self, hole: Hole) -> Array:
        """Return the leak's sums over the band of every query (L, query).

        They are mean squares, or the mean product of score and ``ln Z``, over pairs of different
        contents: nats² times the `entries` of a query.
        """
        context, widest = self.score.shape[-1], np.array(self.widest)
        found = np.zeros((widest.size, context))
        for offset in range(1, int(widest.max()) + 1):
            parts = []
            if hole != "residual":
                parts.append(_centred(self.log_z[..., offset:]))
            if hole != "mask":
                parts.append(_centred(np.diagonal(self.score, -offset, axis1=-2, axis2=-1)))
            products = _of_pairs(parts[0], parts[-1])
            found[:, offset:] += np.where(widest[:, None] >= offset, products, 0.0)
        return found

    def entries(self, block: int) -> NDArray[np.int64]:
        """Return the number of entries of the band of every query (query,)."""
        return np.minimum(np.arange(self.score.shape[-1]), self.widest[block])


def _centred(x: Array) -> Array:
    return np.asarray(x - x.mean(-1, keepdims=True))


def _of_pairs(x: Array, y: Array) -> Array:
    """Return the mean of ``x^a y^b`` over pairs of contents and over heads (L, query)."""
    contents = x.shape[1]
    total = (x.sum(1) * y.sum(1) - (x * y).sum(1)).mean(1)
    return np.asarray(total / (contents * (contents - 1)))


class Watching(Forward):
    """Runs draws and keeps what their heads attend to."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan, keep=True)
        self._kept: list[NDArray[np.floating]] = []

    def watch(self, draw: int) -> Attention:
        """Return the attention of one draw."""
        self._kept = []
        self.run(draw)
        context = int(self.plan.sizes[0]["context"])
        layers = self.plan.layers[self.plan.blocks["layer"]]
        kept = np.stack(self._kept)[..., :context].astype(float).swapaxes(-1, -2)
        return Attention(kept[:, 0], kept[:, 1], layers["widest"].tolist())

    def _attended(self, number: int, place: LayerRoom) -> None:
        self._kept.append(place.room.kept.copy())


def watch_attention(
    stack: Stack,
    *,
    draws: int,
    contents: int = 8,
    seed: int = 0,
    first: int = 0,
    threads: int | None = None,
) -> Generator[Attention, None, None]:
    """Yield what the heads of draws ``first .. draws-1`` of the weights attend to.

    Parameters
    ----------
    stack
        The architecture.
    draws, contents, seed, first, threads
        As in `measure`; the same seed and contents draw the same weights and contents.

    Raises
    ------
    RopeleakError
        If the kernels cannot run the stack, or its attention has no denominator.
    """
    if any(attention.softmax.kind == "sigmoid" for attention in stack.attention):
        raise RopeleakError(
            "sigmoid attention has no denominator to watch: use softmax.kind=softmax"
        )
    plan = make_plan(stack, contents, seed, common=False)
    threads = threads or available_threads()
    return in_order(lambda: Watching(plan), Watching.watch, range(first, draws), threads)
