"""What is compared: statistics of random-init models, and their predictions."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ropeleak import Stack
from ropeleak.theory.mean_field import choose_grid
from ropeleak.theory.recursion import initial_state, run

from .models import Inside, build, look_inside

Floats = NDArray[np.float64]
Statistics = dict[str, Floats]


class Measured(NamedTuple):
    """Statistics and their standard errors."""

    mean: Statistics
    error: Statistics


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


def measured(config: Any, context: int, draws: int, contents: int, seed: int) -> Measured:
    """Return the statistics of random-init models, and their standard errors over draws."""
    return summary([draw(config, context, contents, seed, number) for number in range(draws)])


def draw(config: Any, context: int, contents: int, seed: int, number: int) -> Statistics:
    """Return the statistics of one random-init model: mean over its contents and their pairs."""
    random = np.random.default_rng([seed, number])
    tokens = random.integers(_ORDINARY, config.vocab_size, (contents, context))
    with_bos = tokens.copy()
    with_bos[:, 0] = BOS
    model = build(config, int(random.integers(2**31)))
    return of_draw(look_inside(model, np.concatenate([with_bos, tokens])), contents)


def summary(found: Sequence[Statistics]) -> Measured:
    """Return means and standard errors over draws."""
    values = {name: np.array([row[name] for row in found]) for name in NAMES}
    return Measured(
        {name: value.mean(0) for name, value in values.items()},
        {n: v.std(0, ddof=1) / np.sqrt(len(found)) for n, v in values.items()},
    )


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


class Comparison(NamedTuple):
    """How far a prediction is from what was measured, over depths or blocks and positions.

    Attributes
    ----------
    off, bias
        Median of the relative error, without and with its sign.
    error
        Median of the relative standard error of the measurement.
    z
        Root-mean-square of the error in standard errors.
    """

    off: float
    bias: float
    error: float
    z: float


LEAST_SHARE = 0.01
"""A BOS part below this share of the variance is not compared."""


def compare(theory: Statistics, wanted: Measured) -> dict[str, Comparison]:
    """Return how far predictions are from measurements, by name.

    Left out are attention where there is none to measure and rows that have one key, and the BOS
    part where it is small.
    """
    found = {}
    for name in NAMES:
        mean, error = wanted.mean[name], wanted.error[name]
        kept = (mean > 0) & (error > 0)
        if name == "bos_part":
            kept &= mean > LEAST_SHARE * wanted.mean["k_diag"]
        if name in ("sink", "participation"):
            kept[:, 0] &= mean[:, 0] < 1 - 1e-6
        gap = (theory[name] - mean)[kept]
        share, size = gap / mean[kept], error[kept]
        found[name] = Comparison(
            off=float(np.median(np.abs(share))),
            bias=float(np.median(share)),
            error=float(np.median(size / mean[kept])),
            z=float(np.sqrt(np.mean((gap / size) ** 2))),
        )
    return found
