"""The mean log softmax denominator against position: quadrature, series, Monte Carlo, a window."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import sympy as sp
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from ropeleak.describe import sig
from ropeleak.drawing import marks, prediction, style
from ropeleak.results import Result
from ropeleak.spec import Stack
from ropeleak.theory.theorems import load

from .bench import Bench, Pair
from .recipe import Recipe, dataset_of, finish, marks_words, name_of

CAPTION = r"""
The mean log softmax denominator in the first block of \texttt{<name>}. \textbf{Left}: with full
attention it grows as the logarithm of the number of keys, under a window of <window> keys it stops.
\textbf{Right}: its excess over that logarithm, by the standard deviation $\sigma$ of the scores.
The quadrature is exact for every position; the series to first order in the inverse number of keys
is off by <off> nats at position <early> for $\sigma=<sigma>$. <marks>
"""
STDS = (0.5, 1.0, 1.6)
"""``σ`` of the stacks that are compared."""
WINDOW = 16
EARLY = 1
SERIES: dict[str, Any] = {"linestyle": (0, (6, 2)), "linewidth": 0.6}


class Denominators(NamedTuple):
    """Single blocks: with full attention by ``σ``, and with a window at the base's ``σ``."""

    by_std: dict[float, Pair]
    full: Pair
    window: Pair


def data(bench: Bench) -> Denominators:
    """Return predictions and measurements of the first block alone."""
    base = first_block(bench.base())
    stds = STDS if bench.model is None else (base.score_std(0),)
    full = base.set("attention[all].window", None) if base.attention[0].window else base
    return Denominators(
        {std: bench.pair(full.set("init.score_std", std)) for std in stds},
        bench.pair(full),
        bench.pair(base.set("attention.window", base.attention[0].window or WINDOW)),
    )


def first_block(stack: Stack) -> Stack:
    """Return a stack of the first block only, with the softmax's scores as they are."""
    return stack.replace(
        n_blocks=1, attention=stack.attention[:1], mlp=stack.mlp[:1],
        init=stack.init.replace(score_std=stack.score_std(0)),
    )  # fmt: skip


def draw(
    ax: Axes, result: Result | xr.Dataset, block: int = 1, row: int = 0, label: str | None = None
) -> None:
    """Draw ``E ln Z`` against position, a prediction as a line or a measurement as points.

    Parameters
    ----------
    ax
        Any axes; its x axis becomes logarithmic in ``1 + position``.
    result
        A prediction or a measurement.
    block
        Which block's.
    row
        Which of several curves this is.
    label
        What a legend calls it.
    """
    dataset = dataset_of(result)
    marks.draw(ax, dataset, "log_z", dataset["query"], {"block": block}, row=row, label=label)
    _position_axis(ax, dataset)
    ax.set_ylabel("E ln Z (nats)")


def draw_excess(
    ax: Axes, result: Result | xr.Dataset, block: int = 1, row: int = 0, label: str | None = None
) -> None:
    """Draw ``E ln Z - ln n``, for the number of keys ``n``; parameters are those of `draw`."""
    dataset = dataset_of(result)
    stack = Stack.model_validate_json(dataset.attrs["stack"])
    query = np.asarray(dataset["query"].values)
    n_keys = stack.attention[block - 1].key_range(query, stack.context).n_keys
    excess = dataset.assign(log_z=dataset["log_z"] - np.log(n_keys))
    marks.draw(ax, excess, "log_z", query, {"block": block}, row=row, label=label)
    _position_axis(ax, dataset)
    ax.set_ylabel("E ln Z - ln n (nats)")


def draw_series(ax: Axes, std: float, last: int, row: int = 0) -> None:
    """Draw the excess over ``ln n`` by the series to first order in ``1/n``, up to ``last``."""
    query = np.arange(last + 1, dtype=float)
    ax.plot(query, series(query + 1, std), **{**marks.look(row), **SERIES}, zorder=1)


def series(n_keys: NDArray[np.float64], std: float) -> NDArray[np.float64]:
    """Return ``E ln Z - ln n`` to first order in ``1/n``.

    Later orders help only where ``n`` is large beside powers of ``exp(σ²)``.
    """
    theorem = load("log-denominator-series")
    n, sigma = theorem.arguments
    h = sp.Symbol("h")
    excess = (theorem.formula - sp.log(n)).subs({n: 1 / h, sigma: std})
    limit, slope = (float(part.subs(h, 0)) for part in (excess, sp.diff(excess, h)))
    return np.asarray(limit + slope / n_keys)


def compose(figure: Figure, found: Denominators) -> None:
    """Draw both views."""
    left, right = figure.subplots(1, 2)
    curves = (("full", found.full), (f"window of {_window(found)}", found.window))
    for row, (label, pair) in enumerate(curves):
        for dataset in pair.both:
            draw(left, dataset, row=row, label=label)
    query = np.asarray(found.full.predicted["query"].values)
    left.plot(query, np.log1p(query), color="0.5", linewidth=0.8, linestyle=(0, (1, 1.5)), zorder=1,
              label="ln(1 + i)")  # fmt: skip
    for row, (std, pair) in enumerate(found.by_std.items()):
        for dataset in pair.both:
            draw_excess(right, dataset, row=row, label=f"σ = {sig(std)}")
    low, high = right.get_ylim()
    for row, std in enumerate(found.by_std):
        draw_series(right, std, int(query[-1]), row)
    right.set_ylim(low, high)
    series = Line2D([], [], color="0.3", **SERIES, label="series, first order")
    prediction.legend_above(left, prediction.labelled(left))
    prediction.legend_above(right, [*prediction.labelled(right), series])
    finish(figure, found.full.both)


def words(found: Denominators) -> Mapping[str, str]:
    """Return the numbers of the caption."""
    std = max(found.by_std)
    exact = float(found.by_std[std].predicted["log_z"].sel(query=EARLY).values[0])
    n_keys = np.array([EARLY + 1.0])
    off = abs(float((series(n_keys, std) + np.log(n_keys))[0]) - exact)
    return {
        "name": name_of(found.full.predicted), "window": str(_window(found)),
        "early": str(EARLY), "sigma": sig(std), "off": sig(off),
        "marks": marks_words(found.full.both),
    }  # fmt: skip


def _window(found: Denominators) -> int:
    stack = Stack.model_validate_json(found.window.predicted.attrs["stack"])
    return stack.attention[0].window or 0


def _position_axis(ax: Axes, dataset: xr.Dataset) -> None:
    style.position_axis(ax, int(max(dataset["query"].values[-1], 1)))
    ax.set_xlabel("position (tokens)")


FIGURE = Recipe(
    name="denominator",
    says="the mean log softmax denominator against position: quadrature, series, Monte Carlo",
    width=style.PAGE,
    height=2.5,
    data=data,
    compose=compose,
    caption=CAPTION,
    words=words,
)
