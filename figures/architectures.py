"""Published architectures compared: both leaks of every block, the beacon, and the ruler."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from ropeleak import catalog
from ropeleak.describe import sig
from ropeleak.drawing import marks, style
from ropeleak.selection import at_position, pair_of_positions
from ropeleak.spec import Stack

from .bench import Bench
from .recipe import Recipe

CAPTION = r"""
Published architectures at initialisation, at a context of <context> tokens, as predicted: the leak
of every block through the mask and through the residual stream, BOS's share of the residual stream
at position <second> after every block, and how well one activation after the last block tells
positions <first> and <second> apart. A short line is a block; in colour those that see all keys, in
grey those that see a window or a chunk. The mask leak of a block is between <least> (<least name>)
and <most> nats (<most name>).
"""
CONTEXT = 8192
"""Where no model is given: longer than most windows."""
FULL, LOCAL = style.COLOURS[0], "0.6"
PANELS = {
    "leak_mask": "mask leak\n(nats RMS)",
    "leak_residual": "residual leak\n(nats RMS)",
    "beacon": "BOS share at {second}\n(share of variance)",
    "ruler": "d′({first}, {second})\n(standard deviations)",
}
"""What is compared, and the label of its axis."""


class Compared(NamedTuple):
    """Predictions and rulers by the name of the architecture, all of one context."""

    context: int
    predicted: Mapping[str, xr.Dataset]
    rulers: Mapping[str, xr.Dataset]


def data(bench: Bench) -> Compared:
    """Return predictions for the bundled models, or some of them, and for the model at hand."""
    every = bench.budget.every
    context = CONTEXT if bench.model is None else bench.model.context
    stacks = {} if bench.model is None else {bench.model.name: bench.model}
    for name in catalog.names()[every // 2 :: every]:
        stacks.setdefault(name, catalog.load(name, context))
    pair = pair_of_positions(context)
    return Compared(
        context,
        {name: bench.predict(stack) for name, stack in stacks.items()},
        {name: bench.ruler(stack, *pair) for name, stack in stacks.items()},
    )


def draw(
    ax: Axes, values: Mapping[str, ArrayLike], local: Mapping[str, Sequence[bool]] | None = None
) -> None:
    """Draw a short line for every value, an architecture a row.

    Parameters
    ----------
    ax
        Any axes.
    values
        By the name of the architecture, from top to bottom.
    local
        Which of them are drawn in grey; none unless given.
    """
    for row, (name, numbers) in enumerate(values.items()):
        x = np.atleast_1d(np.asarray(numbers, dtype=float))
        grey = np.zeros(x.size, bool) if local is None else np.asarray(local[name], bool)
        for chosen, colour in ((grey, LOCAL), (~grey, FULL)):
            marks.short_lines(ax, x[chosen], row, color=colour)
    marks.row_axis(ax, list(values))
    ax.set_xlim(left=0)


def compose(figure: Figure, found: Compared) -> None:
    """Draw a column of axes per quantity."""
    first, second = pair_of_positions(found.context)
    axes = figure.subplots(1, len(PANELS), sharey=True)
    local = {name: _local(dataset) for name, dataset in found.predicted.items()}
    for ax, (name, words) in zip(axes, PANELS.items(), strict=True):
        if name == "ruler":
            draw(ax, {k: ruler["combined"].values[-1] for k, ruler in found.rulers.items()})
        elif name == "beacon":
            shares = {k: at_position(d["beacon"], second)[1:] for k, d in found.predicted.items()}
            draw(ax, shares, local)
        else:
            draw(ax, {k: d[name].values for k, d in found.predicted.items()}, local)
        ax.set_xlabel(words.format(first=first, second=second))
    handles = [
        Line2D([], [], linestyle="none", marker="|", markersize=6, color=colour, label=label)
        for colour, label in ((FULL, "a block that sees all keys"), (LOCAL, "window or chunk"))
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2)


def words(found: Compared) -> Mapping[str, str]:
    """Return the numbers of the caption."""
    mask = {name: dataset["leak_mask"].values for name, dataset in found.predicted.items()}
    least = min(mask, key=lambda name: float(mask[name].min()))
    most = max(mask, key=lambda name: float(mask[name].max()))
    first, second = pair_of_positions(found.context)
    return {
        "context": str(found.context), "first": str(first), "second": str(second),
        "least": sig(float(mask[least].min())), "least name": least,
        "most": sig(float(mask[most].max())), "most name": most,
    }  # fmt: skip


def _local(dataset: xr.Dataset) -> list[bool]:
    stack = Stack.model_validate_json(dataset.attrs["stack"])
    sizes = [attention.window or attention.chunk for attention in stack.attention]
    return [size is not None and size < stack.context for size in sizes]


FIGURE = Recipe(
    name="architectures",
    says="published architectures compared: both leaks, beacon and ruler",
    width=style.PAGE,
    height=2.9,
    data=data,
    compose=compose,
    caption=CAPTION,
    words=words,
)
