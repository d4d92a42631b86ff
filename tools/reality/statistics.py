"""What is compared: statistics of random-init models, and their predictions."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ropeleak import Stack
from ropeleak.theory.mean_field import choose_grid
from ropeleak.theory.recursion import initial_state, run

from .models import Inside, build, look_inside

Floats = NDArray[np.float64]
Statistics = dict[str, Floats]

NAMES = ("k_diag", "bos_part", "sink", "participation")
BOS = 1
_ORDINARY = 3
"""First token id that is not one of padding, BOS and end."""


def predicted(stack: Stack) -> Statistics:
    """Return the statistics that the closed recursion predicts, on all positions.

    Returns
    -------
    dict
        ``k_diag`` and ``bos_part``, ``Q_ii - Q∅_ii`` (L+1, T); ``sink`` and ``participation``,
        ``E Σ_j a_ij²`` (L, T).
    """
    grid = choose_grid(stack, "dense")
    start = initial_state(stack, grid)
    blocks = list(run(stack, grid, start))
    states = [start, *(block.after for block in blocks)]
    return {
        "k_diag": np.array([state.same.diag for state in states]),
        "bos_part": np.array(
            [state.other["bos"].diag - state.other["common"].diag for state in states]
        ),
        "sink": np.array([block.row.sink for block in blocks]),
        "participation": np.array([block.row.moments.participation for block in blocks]),
    }


def measured(
    config: Any,
    context: int,
    draws: int,
    contents: int,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> tuple[Statistics, Statistics]:
    """Return the statistics of random-init models, and their standard errors over draws."""
    found: list[Statistics] = []
    for draw in range(draws):
        random = np.random.default_rng([seed, draw])
        tokens = random.integers(_ORDINARY, config.vocab_size, (contents, context))
        with_bos = tokens.copy()
        with_bos[:, 0] = BOS
        inside = look_inside(build(config, seed * draws + draw), np.concatenate([with_bos, tokens]))
        found.append(of_draw(inside, contents))
        if progress is not None:
            progress(draw + 1)
    values = {name: np.array([row[name] for row in found]) for name in NAMES}
    mean = {name: value.mean(0) for name, value in values.items()}
    return mean, {n: v.std(0, ddof=1) / np.sqrt(draws) for n, v in values.items()}


def of_draw(inside: Inside, contents: int) -> Statistics:
    """Return the statistics of one model; the second half of its inputs have no BOS."""
    x = inside.states.astype(float)
    k = np.einsum("lcif,lcif->lci", x, x) / x.shape[-1]

    def shared(part: slice) -> Floats:
        total = x[:, part].sum(1)
        both = np.einsum("lif,lif->li", total, total) / x.shape[-1]
        return np.asarray((both - k[:, part].sum(1)) / (contents * (contents - 1)))

    weights = inside.attention[:, :contents].astype(float)
    return {
        "k_diag": k[:, :contents].mean(1),
        "bos_part": shared(slice(contents)) - shared(slice(contents, None)),
        "sink": weights[..., 0].mean((1, 2)),
        "participation": (weights**2).sum(-1).mean((1, 2)),
    }
