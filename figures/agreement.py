"""Theory and measurement, drawn over each other: a line, and a band of two standard errors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from . import style
from .prediction import LEAKS, shown_depths

BAND = 2.0
"""Half-width of the bands, in standard errors."""


def plot(predicted: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Return the figure of one architecture, predicted and measured.

    Parameters
    ----------
    predicted
        With the variables of `ropeleak.observables`.
    measured
        The same with ``<name>_se``.
    """
    with style.context():
        figure = style.new_figure(6.1)
        axes = figure.subplots(4, 1, height_ratios=[1.15, 1, 1, 1])
        draw_leaks(axes[0], predicted, measured)
        rows = (
            ("beacon", "BOS share of variance"),
            ("k_diag", "variance of the\nresidual stream"),
            ("log_z", "mean ln Z (nats)"),
        )
        for ax, (name, words) in zip(axes[1:], rows, strict=True):
            draw_by_position(ax, predicted, measured, name, legend=name != "k_diag")
            ax.set_ylabel(words)
        for ax in axes[1:3]:
            ax.tick_params(labelbottom=False)
            ax.set_xlabel("")
        handles: Sequence[Any] = [
            Line2D([], [], color="0.3", label="theory"),
            Patch(facecolor="0.3", alpha=0.3, linewidth=0,
                  label=f"measurement, ± {BAND:g} standard errors"),
        ]  # fmt: skip
        figure.legend(handles=handles, loc="outside upper left", ncols=2)
        figure.align_ylabels(axes)
    return figure


def draw_leaks(ax: Axes, predicted: xr.Dataset, measured: xr.Dataset) -> None:
    """Draw the leaks of every block (nats RMS), theory as lines and measurement as bands."""
    for row, (name, words) in enumerate(LEAKS.items()):
        look: dict[str, Any] = {"color": style.COLOURS[row], "linestyle": style.LINES[row]}
        block = np.asarray(predicted["block"].values, dtype=float)
        ax.plot(block, predicted[name].values, **look, label=words)
        _band(ax, block, measured, name, {}, style.COLOURS[row])
    ax.set_xlabel("block")
    ax.set_ylabel("leak (nats RMS)")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 4, 5, 8, 10]))
    ax.set_ylim(bottom=0)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0)


def draw_by_position(
    ax: Axes, predicted: xr.Dataset, measured: xr.Dataset, name: str, legend: bool = True
) -> None:
    """Draw one quantity against position at several depths, the first to the last block's."""
    dim = str(predicted[name].dims[0])
    depths = shown_depths(int(predicted[dim].values[-1]))
    for row, (depth, colour) in enumerate(
        zip(depths, style.depth_colours(len(depths)), strict=True)
    ):
        line = predicted[name].sel({dim: depth})
        ax.plot(line["query"].values, line.values, color=colour, linestyle=style.LINES[row],
                label=str(depth))  # fmt: skip
        query = np.asarray(measured["query"].values, dtype=float)
        _band(ax, query, measured, name, {dim: depth}, colour)
    style.position_axis(ax, int(measured["query"].values[-1]))
    ax.set_xlabel("position (tokens)")
    if not legend:
        return
    heading = "block" if dim == "block" else "after block"
    handles = [Line2D([], [], linestyle="none"), *ax.lines]
    labels = [heading, *(str(line.get_label()) for line in ax.lines)]
    ax.legend(handles, labels, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(labels),
              borderaxespad=0, borderpad=0.15, handlelength=1.8)  # fmt: skip


def _band(
    ax: Axes, x: np.ndarray, measured: xr.Dataset, name: str, where: dict[str, int], colour: Any
) -> None:
    value = np.asarray(measured[name].sel(where).values, dtype=float)
    error = BAND * np.asarray(measured[f"{name}_se"].sel(where).values, dtype=float)
    ax.fill_between(x, value - error, value + error, color=colour, alpha=0.3, linewidth=0)
