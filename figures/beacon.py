"""Beacon strength by position and depth: BOS's share of the residual stream."""

from collections.abc import Mapping, Sequence

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ropeleak.describe import percent
from ropeleak.drawing import marks, prediction, style
from ropeleak.results import Result
from ropeleak.selection import at_position

from .bench import Bench, Pair
from .recipe import Recipe, dataset_of, finish, marks_words, name_of

CAPTION = r"""
BOS's share of the residual stream, \texttt{<name>}. \textbf{Left}: against position, after some of
its blocks. \textbf{Right}: against depth, at some positions; after block <last>, it is <early
share> at position <early> and <late share> at position <late>. <marks>
"""


def data(bench: Bench) -> Pair:
    """Return the prediction and the measurement of the architecture."""
    return bench.pair(bench.base())


def draw(ax: Axes, result: Result | xr.Dataset, depths: Sequence[int] | None = None) -> None:
    """Draw the beacon strength against position, as `drawing.prediction.draw_beacon` does.

    Parameters
    ----------
    ax
        Any axes.
    result
        A prediction, drawn as lines, or a measurement, drawn as points.
    depths
        After how many blocks; some from the first to the last unless given.
    """
    prediction.draw_beacon(ax, dataset_of(result), depths=depths)


def draw_by_depth(
    ax: Axes, result: Result | xr.Dataset, positions: Sequence[int] | None = None
) -> None:
    """Draw the beacon strength against depth.

    Parameters
    ----------
    ax
        Any axes.
    result
        A prediction, drawn as lines, or a measurement, drawn as points.
    positions
        Where; powers of ten and the last position unless given.
    """
    dataset = dataset_of(result)
    names = [name for name in ("beacon", "beacon_se") if name in dataset]
    for row, position in enumerate(positions or shown_positions(dataset)):
        at = {name: at_position(dataset[name], position) for name in names}
        marks.draw(ax, xr.Dataset(at, attrs=dataset.attrs), "beacon", dataset["depth"], row=row,
                   label=str(position))  # fmt: skip
    prediction.share_axis(ax)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    ax.set_xlabel("depth (blocks)")


def shown_positions(dataset: xr.Dataset) -> list[int]:
    """Return the powers of ten among the positions, or the last position of very few."""
    last = int(dataset["query"].values[-1])
    return [10**k for k in range(8) if 10**k <= last] or [last]


def compose(figure: Figure, pair: Pair) -> None:
    """Draw both views."""
    left, right = figure.subplots(1, 2, sharey=True)
    for dataset in pair.both:
        draw(left, dataset)
        draw_by_depth(right, dataset)
    right.set_ylabel("")
    prediction.legend_above(left, prediction.labelled(left), "after block")
    prediction.legend_above(right, prediction.labelled(right), "at position")
    finish(figure, pair.both)


def words(pair: Pair) -> Mapping[str, str]:
    """Return the numbers of the caption."""
    dataset = pair.predicted
    early, *_, late = [0, *shown_positions(dataset)][-2:]
    shares = {
        f"{name} share": percent(float(at_position(dataset["beacon"], position).values[-1]))
        for name, position in (("early", early), ("late", late))
    }
    return {
        "name": name_of(dataset), "last": str(dataset.sizes["block"]), "early": str(early),
        "late": str(late), "marks": marks_words(pair.both), **shares,
    }  # fmt: skip


FIGURE = Recipe(
    name="beacon",
    says="BOS's share of the residual stream, by position and depth",
    width=style.PAGE,
    height=2.5,
    data=data,
    compose=compose,
    caption=CAPTION,
    words=words,
)
