"""What goes on inside of given weights: the residual stream and the attention of every content."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ropeleak.errors import RopeleakError
from ropeleak.spec import Stack
from ropeleak.weights import Files, Tokens, Weights

from .forward import Forward, LayerRoom, Sample
from .given import Given
from .measurement import Precision
from .plan import Plan, make_plan

Array = NDArray[Any]


class Trace(NamedTuple):
    """Activations of contents.

    Attributes
    ----------
    states
        Residual stream after the embedding and after every block (L+1, contents, T, d).
    attention
        Attention weights (L, contents, H, query, key).
    """

    states: Array
    attention: Array


def trace(stack: Stack, weights: Files, tokens: Tokens, precision: Precision = "float32") -> Trace:
    """Run token ids through given weights, and return what they leave behind.

    Parameters
    ----------
    stack
        The architecture of the weights; its context and its BOS do not matter.
    weights
        As in `measure_weights`.
    tokens
        (contents, T), from position 0 on.
    precision
        Of the forward pass.

    Raises
    ------
    RopeleakError
        If the weights cannot be read or do not fit the stack, a token is not in the vocabulary,
        or the kernels cannot run the stack.
    """
    tokens = np.asarray(tokens)
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu" or tokens.size == 0:
        raise RopeleakError("tokens to trace are whole numbers, one row a content")
    stack = stack.set("bos", "random").set("context", tokens.shape[1])
    held = Weights(stack, weights)
    if not 0 <= tokens.min() <= tokens.max() < held.vocab_size:
        raise RopeleakError(f"a token to trace is not in the vocabulary of {held.vocab_size}")
    plan = make_plan(stack, 1, 0, precision, drawn=False)
    tracer = Tracer(plan)
    traces = [tracer.follow(Given(plan, held, tokens[[c]])) for c in range(tokens.shape[0])]
    return Trace(
        np.stack([one.states for one in traces], axis=1),
        np.stack([one.attention for one in traces], axis=1),
    )


class Tracer(Forward):
    """Runs one content at a time and keeps its residual stream and attention."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan, keep=True)
        self._states: list[Array] = []
        self._weights = np.zeros(0)

    def follow(self, source: Given) -> Trace:
        """Return what one content leaves behind: (L+1, T, d) and (L, H, query, key)."""
        sizes = self.plan.sizes[0]
        context, heads = int(sizes["context"]), int(sizes["heads"])
        self._states = []
        self._weights = np.zeros((self.plan.blocks.size, heads, context, context))
        self._source = lambda draw: source
        self.run(0)
        return Trace(np.stack(self._states), self._weights)

    def _record(self, sample: Sample, depth: int) -> None:
        super()._record(sample, depth)
        context = int(self.plan.sizes[0]["context"])
        self._states.append(self.x[0, :, :context].T.copy())

    def _attended(self, number: int, place: LayerRoom) -> None:
        context = int(self.plan.sizes[0]["context"])
        self._weights[number] = place.room.kept[1, 0, :, :, :context].swapaxes(1, 2)
