"""The two holes, as a picture: the mask counts keys, and the residual stream carries token 0."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle, Wedge

from ropeleak.describe import sig
from ropeleak.drawing import style
from ropeleak.results import Result
from ropeleak.spec import Stack

from .bench import Bench
from .recipe import Recipe, dataset_of

CAPTION = r"""
The two holes. \textbf{a}: a query that sees more keys has a larger softmax denominator: at the same
distance, the outlined later query pays <factor> times less attention. A window of <window> keys
stops the count. \textbf{b}: token 0 sees only itself, so its trajectory is the same in every text;
every later token mixes some of it in. The filled part of a circle is BOS's share of that token's
residual stream, as predicted for random weights ($\sigma=\gamma=<one>$): after block <last>,
<early> at position <one> and <late> at position <end>, whatever the text says.
"""
TEXTS = (
    ("BOS", "the", "cat", "sat", "on", "a", "mat", "by", "the", "door"),
    ("BOS", "we", "saw", "two", "red", "kites", "up", "in", "the", "sky"),
)
"""Two texts that share nothing but BOS, and a word by chance."""
TOKENS, BLOCKS, WINDOW = len(TEXTS[0]), 4, 4
OUTLINED = ((3, 1), (9, 7))
"""Two entries (query, key) at the same distance."""
INK, MASK, BOS = "0.2", style.COLOURS[0], style.COLOURS[1]
PLACES = ((0.38, 0.4, 2.2, 2.0), (2.66, 0.4, 0.86, 2.0), (4.0, 0.32, 2.98, 2.2))
"""Left, bottom, width and height of mask, denominator and residual stream, inches."""
RISE = 1.45
"""Height of a block, in distances between tokens."""
RADIUS, LINE = 0.36, 0.8
"""Of a circle, and between lines of text, in the same unit."""


class Holes(NamedTuple):
    """Predictions of a very short decoder: with full attention, and with a window."""

    full: xr.Dataset
    window: xr.Dataset


def data(bench: Bench) -> Holes:
    """Return the predictions."""
    stack = bench.decoder(context=TOKENS, n_blocks=BLOCKS)
    return Holes(bench.predict(stack), bench.predict(stack.set("attention.window", WINDOW)))


def draw_mask(ax: Axes, result: Result | xr.Dataset) -> None:
    """Draw which keys every query sees, each as dark as the mean attention that it gets.

    Parameters
    ----------
    ax
        Any axes.
    result
        A prediction for a few tokens.
    """
    dataset = dataset_of(result)
    query = np.asarray(dataset["query"].values)
    stack = Stack.model_validate_json(dataset.attrs["stack"])
    keys = stack.attention[0].key_range(query, query.size)
    shades = LinearSegmentedColormap.from_list("mask", ["white", MASK])
    for i, first, stop in zip(query, keys.first, keys.stop, strict=True):
        for j in query:
            seen = first <= j < stop
            shade = shades(0.1 + 0.9 / (stop - first) ** 0.6) if seen else "white"
            ax.add_patch(_cell(i, j, facecolor=shade, edgecolor="white" if seen else "0.9"))
        ax.text(query.size, i, str(stop - first), ha="center", va="center", fontsize=6)
    ax.text(query.size, -0.7, "$n_i$", ha="center", va="bottom")
    ax.set_xlim(-0.5, query.size + 0.5)
    ax.set_ylim(query.size - 0.5, -0.5)
    ax.set_aspect("equal")
    ax.set_xticks(query[::2])
    ax.set_yticks(query[::2])
    ax.set_xlabel("key position $j$ (tokens)")
    ax.set_ylabel("query position $i$ (tokens)")
    _bare(ax)


def draw_comparison(ax: Axes, holes: Holes) -> None:
    """Outline two entries of the mask at the same distance, and tell how attention differs."""
    (early, first), (late, last) = OUTLINED
    for i, j in OUTLINED:
        ax.add_patch(_cell(i, j, fill=False, edgecolor=INK, linewidth=1.2, zorder=3))
    ax.annotate("", (last - 0.5, late - 0.5), (first + 0.5, early + 0.5), arrowprops={
        "arrowstyle": "-|>", "linewidth": 0.9, "color": INK, "mutation_scale": 7,
        "shrinkA": 0, "shrinkB": 0,
    }, zorder=3)  # fmt: skip
    words = f"same distance,\n{_factor(holes, early, late)} times less attention"
    ax.text((first + last) / 2 - 0.9, (early + late) / 2 + 0.9, words, rotation=-45, ha="center",
            va="center", color=INK, linespacing=1.2)  # fmt: skip
    ax.text(0.97 * TOKENS - 0.5, 0.15 * TOKENS, "masked", color="0.6", ha="right", va="center",
            style="italic")  # fmt: skip


def draw_denominator(ax: Axes, holes: Holes) -> None:
    """Draw ``E ln Z`` of the first block from left to right, a query a row as in the mask."""
    looks: tuple[tuple[str, tuple[float, float], str, dict[str, Any]], ...] = (
        ("causal", (1.75, 2.2), "left", {"color": MASK, "linestyle": "-"}),
        (f"window\nof {WINDOW}", (1.6, 6.5), "right", {"color": "0.5", "linestyle": (0, (2, 1))}),
    )
    for (words, place, side, look), dataset in zip(looks, holes, strict=True):
        ax.plot(dataset["log_z"].values[0], dataset["query"].values, marker=".", markersize=4,
                zorder=3, clip_on=False, **look)  # fmt: skip
        ax.text(*place, words, color=look["color"], ha=side, va="center", linespacing=1.1)
    ax.set_ylim(TOKENS - 0.5, -0.5)
    ax.set_yticks(range(TOKENS), [])
    ax.set_xlim(0, 3.2)
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.spines["bottom"].set_visible(False)
    ax.spines["top"].set_visible(True)
    ax.set_xlabel("E ln $Z_i$ (nats)")
    ax.tick_params(axis="y", length=0)


def draw_stream(
    ax: Axes, result: Result | xr.Dataset, texts: Sequence[Sequence[str]] = TEXTS
) -> None:
    """Draw the residual stream: circles filled with BOS's share, arcs as heavy as its attention.

    Parameters
    ----------
    ax
        Any axes.
    result
        A prediction for a few tokens and blocks.
    texts
        Words under the tokens.
    """
    dataset = dataset_of(result)
    beacon, sink = dataset["beacon"].values, dataset["sink"].values
    depths, tokens = beacon.shape
    for i in range(tokens):
        ax.plot([i, i], [0, (depths - 1) * RISE], color=BOS if i == 0 else "0.8",
                linewidth=2.2 if i == 0 else 1.0, zorder=1, solid_capstyle="butt")  # fmt: skip
    for block in range(depths - 1):
        for i in range(1, tokens):
            ax.add_patch(FancyArrowPatch(
                (0, block * RISE), (i, (block + 1) * RISE), arrowstyle="-",
                connectionstyle="angle3,angleA=0,angleB=90", color=BOS, zorder=2,
                linewidth=3 * float(sink[block, i]), alpha=0.55, shrinkA=0, shrinkB=0,
            ))  # fmt: skip
    for depth in range(depths):
        for i in range(tokens):
            centre, share = (i, depth * RISE), float(beacon[depth, i])
            ax.add_patch(Circle(centre, RADIUS, facecolor="white", edgecolor=INK, linewidth=0.6,
                                zorder=3))  # fmt: skip
            ax.add_patch(Wedge(centre, RADIUS, 90 - 360 * share, 90, facecolor=BOS, zorder=4))
    for row, text in enumerate(texts):
        for i, word in enumerate(text[:tokens]):
            look: dict[str, Any] = {"color": INK} if i else {"color": BOS, "weight": "bold"}
            ax.text(i, -0.9 - LINE * row, word, ha="center", va="center", fontsize=6.2, **look)
    ax.set_xlim(-0.6, tokens - 0.4)
    ax.set_ylim(-0.5 - LINE * len(texts), (depths - 1) * RISE + 0.5)
    ax.set_aspect("equal")
    ax.set_yticks([depth * RISE for depth in range(depths)], [str(d) for d in range(depths)])
    ax.set_xticks(range(tokens))
    ax.set_ylabel("depth (blocks)")
    ax.set_xlabel("position $i$ (tokens)")
    _bare(ax)


def compose(figure: Figure, holes: Holes) -> None:
    """Draw the mask with its denominators, and the residual stream."""
    figure.set_layout_engine("none")
    size = np.array([FIGURE.width, FIGURE.height] * 2)
    mask, denominator, stream = (figure.add_axes(tuple(place / size)) for place in PLACES)
    draw_mask(mask, holes.full)
    draw_comparison(mask, holes)
    draw_denominator(denominator, holes)
    draw_stream(stream, holes.full)
    for ax, *lines in (
        (mask, "a  Hole 1: the causal mask", "the softmax denominator counts the keys"),
        (
            stream,
            "b  Hole 2: the residual stream",
            "token 0 seeps into every later token: filled is BOS's share",
        ),
    ):
        for line, height, weight in zip(lines, (0.95, 0.9), ("bold", "normal"), strict=True):
            left = PLACES[0 if ax is mask else 2][0] / FIGURE.width - 0.03
            figure.text(left, height, line, weight=weight, fontsize=8, va="center")


def words(holes: Holes) -> Mapping[str, str]:
    """Return the numbers of the caption."""
    beacon = holes.full["beacon"].values[-1]
    return {
        "factor": _factor(holes, OUTLINED[0][0], OUTLINED[1][0]), "window": str(WINDOW),
        "one": "1", "last": str(BLOCKS), "end": str(TOKENS - 1),
        "early": f"{100 * beacon[1]:.0f}%", "late": f"{100 * beacon[-1]:.0f}%",
    }  # fmt: skip


def _factor(holes: Holes, early: int, late: int) -> str:
    log_z = holes.full["log_z"].values[0]
    return sig(float(np.exp(log_z[late] - log_z[early])))


def _cell(i: int, j: int, **look: Any) -> Rectangle:
    return Rectangle((j - 0.5, i - 0.5), 1, 1, **{"linewidth": 0.4, **look})


def _bare(ax: Axes) -> None:
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


FIGURE = Recipe(
    name="holes",
    says="the two holes, as a picture",
    width=style.PAGE,
    height=2.95,
    data=data,
    compose=compose,
    caption=CAPTION,
    words=words,
    takes_model=False,
)
