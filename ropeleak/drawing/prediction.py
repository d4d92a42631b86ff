"""What a result says, drawn: leak by block, and three quantities against position.

Every function takes predictions and measurements alike: draw both on the same axes to compare them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator
from numpy.typing import NDArray

from ropeleak.selection import representative_blocks
from ropeleak.spec import Stack

from . import marks, style

Array = NDArray[np.float64]

LEAKS = {"leak_mask": "mask", "leak_residual": "residual", "leak_total": "total"}
"""Leak variables and what a legend calls them."""

LEAST_VARIANCE_SPAN = 0.02
"""Relative variances closer to one than this are drawn as flat."""
SHARES = {0: "0", 1e-4: "0.01%", 1e-3: "0.1%", 1e-2: "1%", 1e-1: "10%", 1: "100%"}
"""Ticks of the beacon's axis, which is linear below the last that all curves exceed."""
SMALLEST_SHARE = 1e-4


def draw_leak_by_block(
    ax: Axes, dataset: xr.Dataset, label: str | None = None, index: int | None = None
) -> None:
    """Draw the mask, residual and total leak of every block (nats RMS).

    Parameters
    ----------
    ax
        Any axes.
    dataset
        With ``leak_mask``, ``leak_residual`` and ``leak_total`` over ``block``.
    label
        Name of the architecture, put before each legend entry.
    index
        Which of several architectures this is: it gets one colour and marker of its own. Without
        it, each leak gets a colour.

    Notes
    -----
    Where blocks with full attention alternate with blocks that see a window or a chunk, each kind
    is a curve of its own: filled markers for full attention, open ones for the others.
    """
    block = np.asarray(dataset["block"].values, dtype=float)
    groups = _blocks_by_kind(dataset)
    plain = index is None and len(groups) == 1 and block.size > 1
    for row, (name, words) in enumerate(LEAKS.items()):
        look = {**_architecture(row if index is None else index), **_leak_look(name)}
        if plain and marks.kind_of(dataset) == "theory":
            look["marker"] = ""
        for number, (local, members) in enumerate(groups.items()):
            filled = look["color"] if not local and len(groups) > 1 else "white"
            legend = f"{label}, {words}" if label else words
            _curve(
                ax, dataset.isel(block=members), name, block[members],
                **{**look, "markerfacecolor": filled}, clip_on=False,
                markevery=max(members.size // 16, 1), zorder=4 - row,
                label="_nolegend_" if number else legend,
            )  # fmt: skip
    ax.set_xlabel("block")
    ax.set_ylabel(f"leak ({dataset['leak_mask'].attrs.get('units', 'nats RMS')})")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 4, 5, 8, 10]))
    ax.set_xlim(0.5, max(float(ax.dataLim.x1), 1.0) + 0.5)
    ax.set_ylim(bottom=0, auto=True)


def draw_beacon(
    ax: Axes, dataset: xr.Dataset, label: str | None = None, index: int | None = None,
    depths: Sequence[int] | None = None,
) -> None:  # fmt: skip
    """Draw BOS's share of the residual stream against position, at several depths.

    Parameters
    ----------
    ax
        Any axes; its x axis becomes logarithmic in ``1 + position``.
    dataset
        With ``beacon`` over ``depth`` and ``query``.
    label, index
        Name and number of the architecture, for overlays.
    depths
        Which depths; unless given, some from the first block's to the last's.
    """
    draw_by_position(ax, dataset, "beacon", label, index, depths)
    share_axis(ax)


def draw_variance(
    ax: Axes, dataset: xr.Dataset, label: str | None = None, index: int | None = None,
    depths: Sequence[int] | None = None,
) -> None:  # fmt: skip
    """Draw the residual stream's variance ``K_ii`` over that of the last position.

    Parameters are those of `draw_beacon`; the dataset needs ``k_diag``.
    """
    names = [name for name in ("k_diag", "k_diag_se") if name in dataset]
    relative = (dataset[names] / dataset["k_diag"].isel(query=-1)).assign_attrs(dataset.attrs)
    draw_by_position(ax, relative, "k_diag", label, index, depths)
    ax.set_ylabel("variance relative to\nthe last position")
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, 1 - LEAST_VARIANCE_SPAN), max(high, 1 + LEAST_VARIANCE_SPAN))


def draw_log_z(
    ax: Axes, dataset: xr.Dataset, label: str | None = None, index: int | None = None,
    blocks: Sequence[int] | None = None,
) -> None:  # fmt: skip
    """Draw the mean log softmax denominator (nats) against position, ``ln(1+i)`` beside it.

    Parameters are those of `draw_beacon`; the dataset needs ``log_z``, and ``blocks`` are, unless
    given, the first, the last, and those that leak most and least through the mask.
    """
    if blocks is None and "leak_mask" in dataset:
        blocks = representative_blocks(dataset["leak_mask"].values, 4)
    draw_by_position(ax, dataset, "log_z", label, index, blocks)
    if not any(line.get_gid() == "reference" for line in ax.lines):
        query = np.asarray(dataset["query"].values, dtype=float)
        ax.plot(query, np.log1p(query), color="0.5", linewidth=0.8, linestyle=(0, (1, 1.5)),
                zorder=1, gid="reference", label="ln(1 + i)")  # fmt: skip
    ax.set_ylabel(f"mean ln Z ({dataset['log_z'].attrs.get('units', 'nats')})")


def plot(datasets: xr.Dataset | Mapping[str, xr.Dataset]) -> Figure:
    """Return the figure of one architecture, or of several drawn over each other.

    Parameters
    ----------
    datasets
        One dataset, or several by label. One alone shows several depths; of several, each shows
        the state after its last block.
    """
    named = {"": datasets} if isinstance(datasets, xr.Dataset) else dict(datasets)
    overlay = len(named) > 1
    with style.context():
        figure = style.new_figure(6.1 + 0.13 * len(named) * overlay)
        axes = figure.subplots(4, 1, height_ratios=[1.15, 1.25, 1, 1])
        for ax in axes[2:]:
            ax.sharex(axes[1])
        for index, (label, dataset) in enumerate(named.items()):
            last = [int(dataset.sizes["block"])] if overlay else None
            name, number = (label, index) if overlay else (None, None)
            draw_leak_by_block(axes[0], dataset, name, number)
            draw_beacon(axes[1], dataset, name, number, last)
            draw_variance(axes[2], dataset, name, number, last)
            draw_log_z(axes[3], dataset, name, number, last)
        for ax in axes[1:3]:
            ax.tick_params(labelbottom=False)
            ax.set_xlabel("")
        if overlay:
            handles = [
                Line2D([], [], **_architecture(k), label=name) for k, name in enumerate(named)
            ]
            figure.legend(handles=handles, loc="outside upper left")
            legend_above(axes[0], [*_leak_handles(), *_kind_handles(named.values())])
            for ax in axes[1:3]:
                ax.set_title("after the last block", loc="right", weight="normal", pad=2)
            legend_above(axes[3], [line for line in axes[3].lines if line.get_gid()])
            axes[3].set_title("in the last block", loc="right", weight="normal", pad=2)
        else:
            legend_above(axes[0], [*labelled(axes[0]), *_kind_handles(named.values())])
            legend_above(axes[1], labelled(axes[1]), "after block")
            legend_above(axes[3], labelled(axes[3]), "block")
        figure.align_ylabels(axes)
    return figure


def shown_depths(count: int) -> list[int]:
    """Return at most four of the depths 1..count, about evenly spaced in ``ln depth``."""
    return sorted({round(count**power) for power in (0.0, 1 / 3, 2 / 3, 1.0)})


def _architecture(index: int) -> dict[str, Any]:
    """Return the colour and marker of one of several architectures."""
    return {
        "color": style.COLOURS[index % len(style.COLOURS)],
        "marker": style.MARKERS[index % len(style.MARKERS)],
        "markersize": 2.8, "markerfacecolor": "white", "markeredgewidth": 0.8,
    }  # fmt: skip


def _leak_look(name: str) -> dict[str, Any]:
    """Return what tells a leak from the others without colour; the total lies under the mask."""
    if name == "leak_total":
        return {"linestyle": "-", "linewidth": 2.6, "alpha": 0.4, "marker": ""}
    return {"linestyle": style.LINES[list(LEAKS).index(name)]}


def _leak_handles() -> list[Line2D]:
    return [
        Line2D([], [], color="0.3", **_leak_look(name), label=words)
        for name, words in LEAKS.items()
    ]


def _kind_handles(datasets: Iterable[xr.Dataset]) -> list[Line2D]:
    """Return the legend of filled and open markers, where some stack has both kinds of blocks."""
    if all(len(_blocks_by_kind(dataset)) == 1 for dataset in datasets):
        return []
    look: dict[str, Any] = {"linestyle": "", "color": "0.3", "marker": "o", "markersize": 2.8}
    return [
        Line2D([], [], **look, label="full"),
        Line2D([], [], **look, markerfacecolor="white", label="local"),
    ]


def labelled(ax: Axes) -> list[Line2D]:
    """Return the curves that have a label, of several with the same one the first."""
    found: dict[str, Line2D] = {}
    for line in ax.lines:
        found.setdefault(str(line.get_label()), line)
    return [line for label, line in found.items() if not label.startswith("_")]


def _blocks_by_kind(dataset: xr.Dataset) -> dict[bool, NDArray[np.int64]]:
    """Return the indices of the blocks with full (False) and with local attention (True)."""
    count = dataset.sizes["block"]
    local = np.zeros(count, dtype=bool)
    if "stack" in dataset.attrs:
        stack = Stack.model_validate_json(dataset.attrs["stack"])
        if stack.n_blocks == count:
            local = np.array([attention.is_local for attention in stack.attention])
    return {kind: np.flatnonzero(local == kind) for kind in (False, True) if (local == kind).any()}


def legend_above(ax: Axes, lines: Sequence[Line2D], heading: str = "") -> None:
    """Put a legend over the axes, where it hides no data; a heading is said only once."""
    handles, labels = list(lines), [str(line.get_label()) for line in lines]
    if heading:
        handles.insert(0, Line2D([], [], linestyle="none"))
        labels = [heading, *(label.removeprefix(heading + " ") for label in labels)]
    ax.legend(
        handles, labels, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(handles),
        borderaxespad=0, borderpad=0.15, handlelength=1.8,
    )  # fmt: skip


def share_axis(ax: Axes) -> None:
    """Make the y axis that of BOS's share: logarithmic, with 0 on it."""
    ax.set_ylabel("BOS share of variance")
    first = max(tick for tick in SHARES if tick <= max(ax.dataLim.minposy, SMALLEST_SHARE))
    ticks = {tick: words for tick, words in SHARES.items() if not 0 < tick < first}
    ax.set_yscale("symlog", linthresh=first, linscale=0.5)
    ax.set_yticks(list(ticks), list(ticks.values()))
    minor = [m * tick for tick in ticks for m in range(2, 10) if 0 < tick < 1]
    ax.yaxis.set_minor_locator(FixedLocator(minor))
    ax.set_ylim(-0.15 * first, 1.3)


def draw_by_position(
    ax: Axes, dataset: xr.Dataset, name: str, label: str | None = None, index: int | None = None,
    depths: Sequence[int] | None = None,
) -> None:  # fmt: skip
    """Draw any quantity against position, at several depths or in several blocks.

    Parameters are those of `draw_beacon`; the dataset needs ``name`` over ``query``.
    """
    dim = "block" if "block" in dataset[name].dims else "depth"
    chosen = list(depths) if depths else shown_depths(int(dataset[dim].values[-1]))
    query = np.asarray(dataset["query"].values, dtype=float)
    colours = style.depth_colours(len(chosen))
    for row, depth in enumerate(chosen):
        look: dict[str, Any] = {
            "color": colours[row], "linestyle": style.LINES[row % len(style.LINES)]
        }  # fmt: skip
        if index is not None:
            look = {**_architecture(index), "markevery": (0.03 + 0.05 * (index % 3), 0.16),
                    "linestyle": look["linestyle"]}  # fmt: skip
        words = f"block {depth}" if dim == "block" else f"after block {depth}"
        _curve(ax, dataset, name, query, {dim: depth}, row=row, **look,
               label=f"{label}, {words}" if label else words)  # fmt: skip
    style.position_axis(ax, int(max(query[-1], ax.dataLim.x1)))
    ax.set_xlabel("position (tokens)")


_OF_LINES = ("linestyle", "linewidth", "markevery", "alpha", "zorder")


def _curve(
    ax: Axes, dataset: xr.Dataset, name: str, x: Array, where: dict[str, int] | None = None,
    **look: Any,
) -> None:  # fmt: skip
    """Draw one curve; of a measurement only what makes points."""
    if marks.kind_of(dataset) != "theory":
        look = {key: value for key, value in look.items() if key not in _OF_LINES and value != ""}
    marks.draw(ax, dataset, name, x, where, **look)
