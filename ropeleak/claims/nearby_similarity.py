"""Nearby embeddings are more similar than distant ones in a decoder without position embeddings."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from ropeleak.simulate.activations import activations
from ropeleak.spec import Stack
from ropeleak.theory.grid import dense_grid
from ropeleak.theory.recursion import initial_state, run
from ropeleak.theory.state import SameContent

from .claim import Claim, Evidence, Panel, Stacks
from .lab import Budget, Lab, Stream
from .number import Draws, Row, exact, measured, predicted
from .rule import Condition, Rule
from .stacks import both
from .variance_shrinkage import stack

CHANCE = 0.5
"""Adjacency of tokens that are alike whatever their distance."""
HARDLY = 0.52
"""Most of it that may be left without a mask."""
CONTENTS = 16


def stacks(budget: Budget) -> Stacks:
    """Return a decoder without position embeddings, and the same without a mask."""
    return {
        "decoder": stack("decoder", budget),
        "bidirectional": stack(
            "bidirectional", budget, attention={"rope": None, "mask": "bidirectional"}
        ),
    }


def adjacency(x: NDArray[np.float64]) -> float:
    """Return how often the nearer of two neighbouring keys is the more similar to a query.

    Over all keys ``j ≥ 1`` before a query, similarity the cosine; ``x`` is (contents, T, d).
    """
    unit = x / np.linalg.norm(x, axis=-1, keepdims=True)
    cosine = unit @ unit.swapaxes(-1, -2)
    nearer = cosine[..., 1:] > cosine[..., :-1]
    return float(nearer[:, _compared(x.shape[1])].mean())


def _compared(context: int) -> NDArray[np.bool_]:
    """Return which keys ``j`` are compared with ``j - 1`` for a query (T, T-1)."""
    return np.asarray(np.arange(1, context) < np.arange(context)[:, None])


def watch(lab: Lab, stack: Stack) -> Draws:
    """Return the adjacency of every draw (draws, L+1)."""
    wanted, everywhere = lab.budget.draws // 2, range(stack.context)

    def stream(first: int) -> Stream:
        made = activations(
            stack, [None] * CONTENTS, everywhere, draws=wanted, seed=lab.seed, first=first
        )
        try:
            for acts in made:
                yield {"adjacency": np.array([adjacency(x.astype(float)) for x in acts])}
        finally:
            made.close()

    return lab.gather(
        "adjacency", stack, stream, wanted, made_by=(adjacency, _compared), contents=CONTENTS
    )


def expected(stack: Stack) -> NDArray[np.float64]:
    """Return the predicted adjacency by depth (L+1,).

    The difference of two overlaps with a token, of mean ``C_ij - C_i,j-1``, is Gaussian. Random
    vectors leave it the variance ``2 (1 - C_j,j-1) / d``, heads and hidden units of a finite number
    as much more as the recursion's spread of an overlap says.
    """
    grid = dense_grid(stack.context)
    start = initial_state(stack, grid)
    states = [start, *(block.after for block in run(stack, grid, start))]
    return np.array([_of_state(state.same, stack.d_model) for state in states])


def _of_state(same: SameContent, width: int) -> float:
    size = np.sqrt(np.outer(same.diag, same.diag))
    c = same.matrix / size
    neighbours = np.diagonal(c, 1)
    spread = 1 / width + same.spread[:, 1:] / size[:, 1:] ** 2
    deviation = np.sqrt(2 * np.maximum(1 - neighbours, 1e-12) * spread)
    nearer = norm.cdf(np.diff(c, axis=1) / deviation)
    return float(nearer[_compared(c.shape[0])].mean())


def experiment(lab: Lab, compared: Stacks) -> Evidence:
    """Compare similarities at neighbouring distances."""
    draws = {name: watch(lab, stack) for name, stack in compared.items()}
    theory = {name: expected(stack) for name, stack in compared.items()}
    last = lab.budget.n_blocks
    words = "how often the nearer of two neighbouring keys is the more similar"
    rows = (
        *(Row(f"depth {depth}", f"{words}, after block {depth}",
              predicted(theory["decoder"][depth]),
              measured(lambda m, d=depth: m["adjacency"][d], draws["decoder"]))
          for depth in (1, last)),
        Row("embedding", f"{words}, in the embedding", exact(CHANCE),
            measured(lambda m: m["adjacency"][0], draws["decoder"])),
        Row("bidirectional", f"{words}, without a mask", exact(CHANCE),
            measured(lambda m: m["adjacency"][last], draws["bidirectional"])),
    )  # fmt: skip
    x = np.arange(last + 1)
    curves = [
        line
        for name in compared
        for line in both(name, x, draws[name], lambda m: m["adjacency"], theory[name])
    ]
    return Evidence(
        rows,
        f"The nearer of two neighbouring keys is the more similar in"
        f" {100 * rows[0].number.value:.1f}% of the cases after block 1 and in"
        f" {100 * rows[1].number.value:.1f}% after the last, against"
        f" {100 * rows[3].number.value:.1f}% without a mask.",
        (Panel(tuple(curves), "depth (blocks)", "nearer key more similar (share)"),),
    )


CLAIM = Claim(
    id="nearby-similarity",
    says="nearby embeddings are more similar than distant ones, even at initialisation",
    question="Is the nearer of two neighbouring tokens the more similar one?",
    observable="cosine similarity of activations by distance",
    rule=Rule((
        Condition("depth 1", "above", CHANCE), Condition("bidirectional", "below", HARDLY),
    )),
    stacks=stacks,
    experiment=experiment,
    paper="2501.00073",
)  # fmt: skip
