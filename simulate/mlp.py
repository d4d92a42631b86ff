"""The MLP of a block: a few hidden features at a time, and the experts of every token."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _kernels as kernels
from .plan import Plan
from .room import Scratch
from .source import Source

Array = NDArray[Any]


class MlpRoom:
    """Memory for the MLPs of a plan, and the loops over their features and experts."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._scratch = plan, Scratch(plan.dtype)

    @staticmethod
    def needed_entries(plan: Plan) -> int:
        """Return how many numbers the memory of a plan holds at most."""
        sizes, blocks = plan.sizes[0], plan.blocks
        d, ld = int(sizes["d"]), int(sizes["ld"])
        if (blocks["mlp"] == kernels.MLP_NONE).all():
            return 0
        rows, experts = (
            min(int(blocks["d_ff"].max()), kernels.MLP_ROWS),
            int(blocks["experts"].max()),
        )
        tokens = plan.inputs * ld if experts else ld
        shared = plan.inputs * ld if (blocks["shared"] > 0).any() else 0
        routed = 2 * d * tokens + experts * (d + ld) if experts else 0
        return rows * (3 * d + 2 * tokens) + routed + d * shared

    def run(self, source: Source, number: int, u: Array, y: Array) -> None:
        """Write the output of a block's MLP: ``u`` and ``y`` (contents, d, ld)."""
        width = int(self._plan.sizes[0]["width"])
        if self._plan.blocks[number]["experts"]:
            self._mixture(source, number, u, y)
        else:
            self._feed_forward(source, number, 0, u, y, width)

    def _feed_forward(
        self, source: Source, number: int, expert: int, u: Array, y: Array, width: int
    ) -> None:
        """``y = W_down φ(…)`` of one MLP or expert."""
        block, array = self._plan.blocks[number], self._scratch.array
        d, d_ff, ld = u.shape[1], int(block["d_ff"]), u.shape[2]
        for start in range(0, d_ff, kernels.MLP_ROWS):
            n = min(kernels.MLP_ROWS, d_ff - start)
            weights = array("up", n, d), array("gate", n, d), array("down", d, n)
            biases = source.mlp(number, expert, slice(start, start + n), weights)
            kernels.feed_forward(
                block, weights, biases, u, y, array("h", n, ld), array("g", n, ld), width,
                kernels.ONE if start else kernels.ZERO,
            )  # fmt: skip
        bias = source.bias(number, "mlp", expert)
        if bias.size:
            kernels.gain_all(y, bias[:0], bias, width)

    def _mixture(self, source: Source, number: int, u: Array, y: Array) -> None:
        """``y = Σ_e w_e MLP_e(u)`` over the experts of every token, shared experts first."""
        sizes, block, array = self._plan.sizes[0], self._plan.blocks[number], self._scratch.array
        contents, d, ld = u.shape
        experts, active, shared = (int(block[name]) for name in ("experts", "active", "shared"))
        context, width = int(sizes["context"]), int(sizes["width"])
        y[:] = 0
        for expert in range(experts, experts + shared):
            part = array("part", contents, d, ld)
            self._feed_forward(source, number, expert, u, part, width)
            y += part
        router = array("router", experts, d)
        bias = source.router(number, router)
        chosen = np.empty((contents, context, active), np.int64)
        share = np.empty((contents, context, active))
        kernels.route(sizes, block, router, bias, u, array("logits", experts, ld), chosen, share)
        for expert, count in enumerate(np.bincount(chosen.ravel(), minlength=experts)):
            if count == 0:
                continue
            padded = -(-int(count) // kernels.LANES) * kernels.LANES
            tokens, written = array("tokens", 1, d, padded), array("written", 1, d, padded)
            tokens[:, :, count:] = 0
            kernels.gather_tokens(block, chosen, share, expert, u, tokens)
            self._feed_forward(source, number, expert, tokens, written, padded)
            kernels.scatter_tokens(block, chosen, share, expert, written, y)
