"""Score maps of parameter-free stacks: mean and spread of every score over many contents."""

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ropeleak.errors import RopeleakError
from ropeleak.spec import Softmax, Stack

from . import _kernels as kernels
from .plan import Plan, make_plan
from .room import aligned
from .sampling import available_threads, in_order

Floats = NDArray[np.float64]

BATCHES = 64
"""Batches of contents whose scores are added up in the precision of the forward pass."""


class Part(NamedTuple):
    """Mean scores of some contents and their summed squared deviations, (L, query, key).

    Attributes
    ----------
    number
        Number of contents times heads.
    """

    number: int
    mean: Floats
    square: Floats

    @classmethod
    def zero(cls) -> "Part":
        """Return the part of no contents."""
        return cls(0, np.zeros(()), np.zeros(()))

    def plus(self, other: "Part") -> "Part":
        """Return both parts together."""
        number = self.number + other.number
        deviation = other.mean - self.mean
        mean = self.mean + deviation * (other.number / number)
        return Part(
            number,
            mean,
            self.square + other.square + other.number * deviation * (other.mean - mean),
        )


class Mapper:
    """Maps the scores of contents, in memory of its own: one for each thread."""

    def __init__(self, plan: Plan, seen: NDArray[np.int64]) -> None:
        sizes, blocks = plan.sizes[0], plan.blocks.size
        d, context = int(sizes["d"]), int(sizes["context"])
        length = -(-context // kernels.TILE) * kernels.TILE
        lanes, dtype = kernels.LANES, plan.dtype
        self.plan, self.rows, self.seen = plan, plan.rows(0), seen
        row = d + 1  # positions a power of two apart would share a few cache sets
        self.streams = tuple(aligned(length, row, lanes, dtype=dtype) for _ in range(4))
        self.scores = aligned(kernels.TILE, length, lanes, dtype=dtype)
        self.reference = aligned(blocks, context, length, dtype=dtype)
        self.maps = aligned(blocks, 2, context, length, lanes, dtype=dtype)

    def run(self, first: int, batches: int) -> Part:
        """Return the part of some batches of contents, of which ``first`` is the first."""
        sizes = self.plan.sizes[0]
        kernels.map_scores(
            sizes, self.plan.layers[0], self.rows, self.seen, first * kernels.LANES, batches,
            *self.streams, self.scores, self.reference, self.maps,
        )  # fmt: skip
        n, context = batches * kernels.LANES * int(sizes["heads"]), int(sizes["context"])
        sums = self.maps[..., :context, :].sum(axis=-1, dtype=float)
        total, square = sums[:, 0], sums[:, 1]
        return Part(n, self.reference[..., :context] + total / n, square - total**2 / n)


def score_maps(
    stack: Stack, *, contents: int = 10_000, seed: int = 0, threads: int | None = None
) -> xr.Dataset:
    """Return the mean and the spread of every score of a parameter-free stack.

    Every head reads its slice of the residual stream, ``q = k = v``: nothing but the mask, the norm
    and RoPE tells positions apart. What the tokens of a content share (``alpha``) is drawn anew for
    every content: there are no weights that it could be common to.

    Parameters
    ----------
    stack
        The architecture; all blocks the same attention, without an MLP.
    contents
        Number of contents, rounded up to a multiple of 16.
    seed, threads
        As in `measure`.

    Returns
    -------
    xarray.Dataset
        ``score`` (nats), its standard error ``score_se``, and ``score_std`` over contents and
        heads, each (``block``, ``query``, ``key``); NaN where a query does not see a key.

    Raises
    ------
    RopeleakError
        If the stack has parameters that cannot be left out, or blocks that differ.
    """
    _check(stack, contents)
    plan = make_plan(stack, 2, seed, parameter_free=True)
    query = np.arange(stack.context)
    keys = stack.attention[0].key_range(query, stack.context)
    seen = np.stack([keys.first, keys.stop], axis=1)
    batches = -(-contents // kernels.LANES)
    stream = in_order(
        lambda: Mapper(plan, seen),
        lambda mapper, first: mapper.run(first, min(BATCHES, batches - first)),
        range(0, batches, BATCHES),
        threads or available_threads(),
    )
    found = Part.zero()
    for part in stream:
        found = found.plus(part)
    variance = found.square / found.number
    values = {
        "score": found.mean,
        "score_se": np.sqrt(variance / (batches * kernels.LANES)),
        "score_std": np.sqrt(variance),
    }
    hidden = (query < keys.first[:, None]) | (query >= keys.stop[:, None])
    data = {
        name: (("block", "query", "key"), np.where(hidden, np.nan, value), {"units": "nats"})
        for name, value in values.items()
    }
    return xr.Dataset(
        data,
        {"block": np.arange(1, stack.n_blocks + 1), "query": query, "key": query},
        {
            "stack": stack.model_dump_json(), "method": "monte-carlo",
            "contents": batches * kernels.LANES, "seed": str(seed),
        },
    )  # fmt: skip


def _check(stack: Stack, contents: int) -> None:
    attention = stack.attention[0]
    soft = attention.softmax
    plain = Softmax(temperature=soft.temperature)
    reasons = (
        (len(set(stack.attention)) > 1, "the same attention in every block"),
        (soft != plain, "plain softmax attention: leave attention.softmax out"),
        (attention.qk_norm != "none", "attention.qk_norm=none"),
        (attention.mask == "ring", "attention.mask=causal or bidirectional"),
        (attention.sinks > 0, "attention.sinks=0"),
        (attention.sink_bias != 0, "attention.sink_bias=0"),
        (stack.d_head % kernels.TILE > 0, f"heads of a multiple of {kernels.TILE} features"),
        (contents < 2, f"contents of 2 or more, not {contents}"),
    )
    for applies, needed in reasons:
        if applies:
            raise RopeleakError(f"score maps need {needed}")
