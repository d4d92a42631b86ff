"""Theory and measurement, drawn over each other: lines, and points with error bars."""

import xarray as xr
from matplotlib.figure import Figure

from . import marks, prediction, style


def plot(predicted: xr.Dataset, measured: xr.Dataset) -> Figure:
    """Return the figure of one architecture, predicted and measured.

    Parameters
    ----------
    predicted
        With the variables of `ropeleak.observables`.
    measured
        The same with ``<name>_se``.
    """
    both = predicted, measured
    depths = prediction.shown_depths(int(predicted.sizes["block"]))
    with style.context():
        figure = style.new_figure(6.1)
        axes = figure.subplots(4, 1, height_ratios=[1.15, 1.25, 1, 1])
        for dataset in both:
            prediction.draw_leak_by_block(axes[0], dataset)
            prediction.draw_beacon(axes[1], dataset, depths=depths)
            prediction.draw_by_position(axes[2], dataset, "k_diag", depths=depths)
            prediction.draw_log_z(axes[3], dataset, blocks=depths)
        axes[2].set_ylabel("variance of the\nresidual stream")
        for ax in axes[1:3]:
            ax.tick_params(labelbottom=False)
            ax.set_xlabel("")
        prediction.legend_above(axes[0], prediction.labelled(axes[0]))
        prediction.legend_above(axes[1], prediction.labelled(axes[1]), "after block")
        prediction.legend_above(axes[3], prediction.labelled(axes[3]), "block")
        handles = marks.kind_handles(map(marks.kind_of, both))
        figure.legend(handles=handles, loc="outside upper left", ncols=2)
        figure.align_ylabels(axes)
    return figure
