"""The ruler: whether one activation tells at which of two positions a token was read."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray
from scipy.stats import norm

from ropeleak.claims.fifty_vs_hundred import FLOOR, PAIR, watch
from ropeleak.claims.number import jackknife
from ropeleak.describe import percent, sig
from ropeleak.drawing import marks, prediction, style
from ropeleak.errors import RopeleakError
from ropeleak.selection import pair_of_positions
from ropeleak.spec import Stack

from .bench import Bench
from .recipe import Recipe, finish, marks_words

Array = NDArray[np.float64]

CAPTION = r"""
The ruler: the same token at positions <first> and <second>, told apart by one activation of
\texttt{<name>}. \textbf{Left}: d$'$ of each cue. After block <last>, the direction gives <d> with
BOS, and <random> with ordinary content at position 0, where all that is left is how much the token
attends to itself. \textbf{Right}: how often an ideal linear observer is right: <ideal> after the
last block. <observers> <marks>
"""
OBSERVED = (
    "Fitted observers learn from some contents and are tried on others; the likelihood ratio also"
    " reads how much contents differ."
)
CUES = {"linear": "direction", "norm": "norm", "combined": "both"}
OBSERVERS = {"probe": "fitted linear", "likelihood": "fitted likelihood ratio"}


class Ruler(NamedTuple):
    """d′ by theory, with BOS and with ordinary content in its place, and what was observed."""

    stack: Stack
    predicted: xr.Dataset
    random: xr.Dataset
    observed: xr.Dataset | None


def data(bench: Bench) -> Ruler:
    """Return d′ of a stack; observers are fitted where it need not be narrowed for that."""
    base = bench.base(context=bench.lab.budget.watched)
    pair = pair_of_positions(base.context)
    if len(pair) < 2:
        raise RopeleakError(f"context={base.context} has no two positions after 0: give 3 or more")
    observed = None
    if pair == PAIR and base.d_model <= bench.budget.width:
        observed = _observed(bench, base)
    elif bench.model is not None:
        bench.notes.append(
            f"no observers were fitted to {base.name}: that takes a context above {max(PAIR)} and"
            f" d_model up to {bench.budget.width}"
        )
    ruler, random = (bench.ruler(stack, *pair) for stack in (base, base.set("bos", "random")))
    return Ruler(base, ruler, random, observed)


def _observed(bench: Bench, stack: Stack) -> xr.Dataset:
    """Return linear d′ and what fitted observers get right, by depth, with standard errors."""
    draws = watch(bench.lab, stack)
    found = {name: mean_with_error(draws[name]) for name in OBSERVERS}
    square, error = jackknife(lambda means: means["signal"] / (means["noise"] + FLOOR), draws)
    found["d"] = root(square, error)
    values = {
        key: ("depth", value)
        for name, pair in found.items()
        for key, value in zip((name, f"{name}_se"), pair, strict=True)
    }
    depth = np.arange(stack.n_blocks + 1)
    count = {"draws": len(draws["probe"]), "contents": bench.lab.budget.contents}
    return xr.Dataset(values, {"depth": depth}, {"method": "monte-carlo", **count})


def draw(ax: Axes, ruler: xr.Dataset, cues: Sequence[str] = tuple(CUES)) -> None:
    """Draw d′ between two positions by depth: the linear cue, the norm, and both.

    Parameters
    ----------
    ax
        Any axes.
    ruler
        What `Result.ruler` returns.
    cues
        Some of ``linear``, ``norm`` and ``combined``.
    """
    for row, cue in enumerate(CUES):
        if cue in cues:
            marks.curve(ax, ruler["depth"], ruler[cue], row=row, label=CUES[cue])
    _depth_axis(ax)
    ax.set_ylabel(f"d′({int(ruler.attrs['i'])}, {int(ruler.attrs['i2'])})\n(standard deviations)")


def draw_accuracy(ax: Axes, ruler: xr.Dataset) -> None:
    """Draw how often an ideal linear observer is right, by depth; ``ruler`` as `draw` takes it."""
    marks.curve(ax, ruler["depth"], norm.cdf(ruler["linear"] / 2), label="ideal linear")
    _depth_axis(ax)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set_ylabel("told apart (share of cases)")


def compose(figure: Figure, found: Ruler) -> None:
    """Draw d′ and the share that is right."""
    left, right = figure.subplots(1, 2)
    draw(left, found.predicted)
    linear = found.random["linear"]
    marks.curve(left, linear["depth"], linear, row=3, label="direction, random BOS")
    draw_accuracy(right, found.predicted)
    if found.observed is not None:
        marks.draw(left, found.observed, "d", found.observed["depth"], row=0)
        told = found.observed.isel(depth=slice(1, None))  # embeddings are all the same
        for row, (observer, label) in enumerate(OBSERVERS.items()):
            marks.draw(right, told, observer, told["depth"], row=2 * row, label=label)
    left.set_ylim(bottom=0, auto=True)
    prediction.legend_above(left, prediction.labelled(left))
    prediction.legend_above(right, prediction.labelled(right))
    finish(figure, _drawn(found))


def words(found: Ruler) -> Mapping[str, str]:
    """Return the numbers of the caption."""
    d, random = (float(ruler["linear"].values[-1]) for ruler in (found.predicted, found.random))
    return {
        "name": found.stack.name, "last": str(found.stack.n_blocks),
        "first": str(found.predicted.attrs["i"]), "second": str(found.predicted.attrs["i2"]),
        "d": sig(d), "random": sig(random), "ideal": percent(float(norm.cdf(d / 2))),
        "observers": OBSERVED if found.observed is not None else "",
        "marks": marks_words(_drawn(found)),
    }  # fmt: skip


def mean_with_error(draws: Array) -> tuple[Array, Array]:
    """Return the mean over draws and its standard error, from (draws, L+1)."""
    return draws.mean(axis=0), draws.std(axis=0, ddof=1) / np.sqrt(len(draws))


def root(square: Array, error: Array) -> tuple[Array, Array]:
    """Return the root of a mean square, and its error towards larger values."""
    positive = np.maximum(square, 0.0)
    return np.sqrt(positive), np.sqrt(positive + error) - np.sqrt(positive)


def _drawn(found: Ruler) -> list[xr.Dataset]:
    return [found.predicted, *([] if found.observed is None else [found.observed])]


def _depth_axis(ax: Axes) -> None:
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    ax.set_xlabel("depth (blocks)")


FIGURE = Recipe(
    name="ruler",
    says="the same token at two positions, told apart: d′ and what observers get right",
    width=style.PAGE,
    height=2.5,
    data=data,
    compose=compose,
    caption=CAPTION,
    words=words,
)
