"""Given weights as the source of a forward pass: a checkpoint in place of random draws."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ropeleak.weights import Weights

from . import _kernels as kernels
from .plan import Plan
from .source import Matrices, Scale

Array = NDArray[Any]


@dataclass(frozen=True)
class Given:
    """Some inputs and the weights that they run through.

    Parameters
    ----------
    plan
        The plan.
    weights
        The checkpoint.
    tokens
        Every input's tokens (inputs, T).
    first
        Embedding that stands at position 0 of the first contents (d,), or None for that of their
        token.
    """

    plan: Plan
    weights: Weights
    tokens: NDArray[np.int64]
    first: Array | None = None

    def embed(self, x: Array) -> None:
        """Look the embeddings up."""
        sizes = self.plan.sizes[0]
        x[:] = 0
        for content, tokens in enumerate(self.tokens):
            x[content, :, : tokens.size] = self.weights.embeddings(tokens).T
        if self.first is not None:
            x[: int(sizes["contents"]), :, 0] = self.first

    def attention(self, block: int, group: int, weights: Matrices) -> kernels.Vectors:
        """Read the matrices of a group."""
        for place, out in zip(("query", "key", "value", "output"), weights, strict=True):
            self.weights.matrix(block, place, group).fill(out)
        biases = (self.weights.bias(block, place, group) for place in ("query", "key", "value"))
        gains: Iterable[Array] = self.weights.qk_gains(block)
        if self.weights.stack.attention[block].qk_norm == "projection":
            rows = (slice(group * w.shape[0], (group + 1) * w.shape[0]) for w in weights)
            gains = [gain[own] for gain, own in zip(gains, rows, strict=False)]
        return kernels.Vectors(*(self._vector(part) for part in (*biases, *gains)))

    def latents(self, block: int, weights: Array) -> None:
        """Do nothing: `Weights` does not read latent attention."""

    def null_logits(self, block: int, logits: Array) -> None:
        """Read the null logits; those of off-by-one attention are 0."""
        softmax = self.weights.stack.attention[block].softmax
        logits[:] = 0.0 if softmax.kind == "off-by-one" else self.weights.null_logits(block)

    def mlp(
        self, block: int, expert: int, features: slice, weights: Matrices
    ) -> tuple[Array, Array]:
        """Read some hidden features."""
        gated = self.weights.stack.mlp[block].kind == "gated"
        places = ("up", "gate", "down") if gated else ("up", "", "down")
        for place, out in zip(places, weights, strict=True):
            if place:
                self.weights.matrix(block, place, expert, features).fill(out)
        up, gate = (
            self._vector(self.weights.bias(block, place, expert, features) if place else _NONE)
            for place in places[:2]
        )
        return up, gate

    def router(self, block: int, weights: Array) -> Array:
        """Read the router."""
        self.weights.matrix(block, "router").fill(weights)
        return self._vector(self.weights.bias(block, "router"))

    def norm(self, block: int, place: str) -> Scale:
        """Read a gain and a bias."""
        gain, bias = self.weights.norm(block, place)
        return Scale(self._vector(gain), self._vector(bias))

    def bias(self, block: int, branch: str, expert: int = 0) -> Array:
        """Read the bias of what a branch writes."""
        place = "output" if branch == "attention" else "down"
        return self._vector(self.weights.bias(block, place, expert))

    def _vector(self, values: Array) -> Array:
        return np.ascontiguousarray(values, self.plan.dtype)


_NONE = np.zeros(0)
