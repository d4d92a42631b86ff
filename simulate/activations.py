"""Activations of many contents, some of which hold the same token at chosen positions."""

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ropeleak.errors import RopeleakError
from ropeleak.spec import Stack

from .forward import Forward, Sample
from .plan import Plan, make_plan
from .sampling import available_threads, in_order

Array = NDArray[Any]
_PLANTED = 7
"""Sets the planted tokens' random numbers apart from all others of a seed."""


class Watched(Forward):
    """Runs draws with planted tokens and keeps the residual stream at some positions.

    Parameters
    ----------
    plan
        Of a stack with ordinary content at position 0.
    bos
        Whether all contents hold one token at position 0.
    token_at
        Position of the draw's common token in every content, or None.
    positions
        Where the residual stream is kept.
    """

    def __init__(
        self, plan: Plan, bos: bool, token_at: Sequence[int | None], positions: Sequence[int]
    ) -> None:
        super().__init__(plan)
        self._bos, self._token_at, self._positions = bos, token_at, list(positions)
        self._draw = 0
        self._kept: list[Array] = []

    def watch(self, draw: int) -> Array:
        """Return the residual stream of one draw (L+1, contents, positions, d)."""
        self._draw, self._kept = draw, []
        self.run(draw)
        return np.stack(self._kept)

    def _record(self, sample: Sample, depth: int) -> None:
        if depth == 0:
            self._plant()
        contents = self.x[: len(self._token_at)]
        self._kept.append(contents[:, :, self._positions].swapaxes(1, 2).copy())

    def _plant(self) -> None:
        sizes = self.plan.sizes[0]
        random = np.random.default_rng([int(sizes["seed"]), self._draw, _PLANTED])
        bos, token = random.normal(0, np.sqrt(sizes["v0"]), (2, int(sizes["d"])))
        if self._bos:
            self.x[:, :, 0] = bos
        for content, position in enumerate(self._token_at):
            if position is not None:
                self.x[content, :, position] = token


def activations(
    stack: Stack,
    token_at: Sequence[int | None],
    positions: Sequence[int],
    *,
    draws: int,
    seed: int = 0,
    first: int = 0,
    threads: int | None = None,
) -> Generator[Array, None, None]:
    """Yield the residual stream of draws ``first .. draws-1`` of the weights at some positions.

    In every draw one token is common to all contents: content ``c`` holds it at ``token_at[c]``.
    The rest of a content is random, BOS is as the stack says.

    Parameters
    ----------
    stack
        The architecture.
    token_at
        One position per content, or None for a content without that token.
    positions
        Where the residual stream is kept.
    draws, seed, first, threads
        As in `watch_attention`.

    Yields
    ------
    numpy.ndarray
        ``(L+1, contents, positions, d)``, float32.

    Raises
    ------
    RopeleakError
        If a position is outside the context, or BOS is neither a constant nor ordinary content.
    """
    if stack.bos.kind in ("zero", "mean") or stack.alpha > 0:
        raise RopeleakError(
            f"activations with planted tokens are not made with bos={stack.bos.kind} and"
            f" alpha={stack.alpha:g}: use bos=constant or bos=random, and alpha=0"
        )
    wanted = [i for i in (*token_at, *positions) if i is not None]
    outside = [i for i in wanted if not 0 <= i < stack.context]
    if outside:
        raise RopeleakError(
            f"position {outside[0]} is outside the context of {stack.context} tokens"
        )
    plan = make_plan(stack.set("bos", "random"), len(token_at), seed)
    return in_order(
        lambda: Watched(plan, stack.bos.is_constant, token_at, positions),
        Watched.watch,
        range(first, draws),
        threads or available_threads(),
    )
