"""Where a forward pass takes its embeddings and weights from, a part at a time."""

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from . import _kernels as kernels
from .plan import Plan

Array = NDArray[Any]
Matrices = tuple[Array, ...]


class Scale(NamedTuple):
    """Gain and bias after a norm, or bias after a branch, each (d,) or empty."""

    gain: Array
    bias: Array


class Source(Protocol):
    """Fills the arrays that it is given, in their precision.

    Blocks count from 0. A part that a source does not have, a bias or a gain, is an empty array.
    """

    def embed(self, x: Array) -> None:
        """Fill the embeddings (contents, d, ld)."""

    def attention(self, block: int, group: int, weights: Matrices) -> kernels.Vectors:
        """Fill the matrices of a key-value head and its query heads, and return its vectors.

        ``weights`` are those of queries, keys, values and output, each (outputs, inputs).
        """

    def latents(self, block: int, weights: Array) -> None:
        """Fill the rows of query latents, key-value latents and rotary key (outputs, d)."""

    def null_logits(self, block: int, logits: Array) -> None:
        """Fill the logits of the null keys (heads,)."""

    def mlp(
        self, block: int, expert: int, features: slice, weights: Matrices
    ) -> tuple[Array, Array]:
        """Fill ``up``, ``gate`` and ``down`` of some hidden features, and return their biases.

        Shared experts come after the routed ones; without experts ``expert`` is 0.
        """

    def router(self, block: int, weights: Array) -> Array:
        """Fill the router's matrix (experts, d), and return its bias."""

    def norm(self, block: int, place: str) -> Scale:
        """Return what follows a norm: see `ropeleak.weights.NORMS` for the places."""

    def bias(self, block: int, branch: str, expert: int = 0) -> Array:
        """Return the bias of what ``attention`` or ``mlp`` writes (d,)."""


class Drawn:
    """Random weights: a draw's number and the seed decide every number.

    Parameters
    ----------
    plan
        The plan.
    draw
        Number of the draw.
    """

    def __init__(self, plan: Plan, draw: int) -> None:
        self.plan, self.draw = plan, draw
        self._sizes = plan.sizes[0]
        none = np.zeros(0, plan.dtype)
        self._none, self._as_it_is = none, Scale(none, none)
        self._vectors = kernels.Vectors(none, none, none, none, none)

    def embed(self, x: Array) -> None:
        """Fill the embeddings."""
        kernels.embed(self._sizes, self.draw, x)
        if self._sizes["alpha"] > 0:
            kernels.embed_shared(self._sizes, self.draw, x)

    def attention(self, block: int, group: int, weights: Matrices) -> kernels.Vectors:
        """Draw the matrices of a group."""
        kernels.draw_attention_weights(
            self._sizes, self.plan.blocks[block], block, self.draw, group, weights
        )
        return self._vectors

    def latents(self, block: int, weights: Array) -> None:
        """Draw the matrices of latent attention."""
        record = self.plan.blocks[block]
        layer = self.plan.layers[record["layer"]]
        kernels.draw_latent_weights(self._sizes, record, layer, block, self.draw, weights)

    def null_logits(self, block: int, logits: Array) -> None:
        """Draw the null logits."""
        layer = self.plan.layers[self.plan.blocks[block]["layer"]]
        kernels.draw_null_logits(self._sizes, layer, block, self.draw, logits)

    def mlp(
        self, block: int, expert: int, features: slice, weights: Matrices
    ) -> tuple[Array, Array]:
        """Draw some hidden features."""
        chunk = features.start // kernels.MLP_ROWS
        kernels.draw_mlp_weights(
            self._sizes, self.plan.blocks[block], block, self.draw, expert, chunk, *weights
        )
        return self._none, self._none

    def router(self, block: int, weights: Array) -> Array:
        """Draw the router."""
        kernels.router_weights(self._sizes, self.plan.blocks[block], block, self.draw, weights)
        return self._none

    def norm(self, block: int, place: str) -> Scale:
        """Return nothing: norms have unit gain."""
        return self._as_it_is

    def bias(self, block: int, branch: str, expert: int = 0) -> Array:
        """Return nothing: there are no biases."""
        return self._none
