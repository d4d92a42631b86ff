"""A sweep, drawn: lines where one field changes or the other has few values, else heat maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from ropeleak.observables import OBSERVABLES
from ropeleak.selection import common_position, headline

from . import style

Array = NDArray[np.float64]

FIRST = ("leak_mask", "leak_residual", "beacon", "leak_total")
"""What is drawn of a sweep that has them, in this order; other variables follow."""
PANELS = 3
FEW = 6
"""Values of a field that are drawn as lines; more make a heat map."""
FACETS = 4
TICKS = 6
MOST_TEXTS = 16
TEXT_ROOM = 40
"""Values, and letters of them, that find room along an axis."""
BAND = 2.0
"""Half-width of the bands, in standard errors."""


@dataclass(frozen=True)
class Scale:
    """The values of one dimension as they are drawn.

    Attributes
    ----------
    dim
        The dimension.
    name
        What an axis says.
    values
        Numbers, or the places of texts.
    texts
        Every value in words.
    """

    dim: str
    name: str
    values: Array
    texts: tuple[str, ...]
    is_number: bool

    @classmethod
    def of(cls, dataset: xr.Dataset, dim: str) -> "Scale":
        """Return the scale of a dimension; fields that change together are told together."""
        paths = [str(n) for n, c in dataset.coords.items() if c.dims == (dim,)]
        columns = [dataset[path].values for path in paths]
        texts = tuple(", ".join(map(_words, row)) for row in zip(*columns, strict=True))
        first = columns[0]
        number = first.dtype.kind in "iuf" and len(set(first.tolist())) == first.size
        values = first.astype(float) if number else np.arange(first.size, dtype=float)
        return cls(dim, ", ".join(paths), values, texts, number)

    def rank(self) -> tuple[bool, int]:
        """Return what orders scales: numbers first, the longest first."""
        return not self.is_number, -self.values.size

    @property
    def is_log(self) -> bool:
        """Whether ratios of the values vary less than their differences."""
        if not self.is_number or self.values.size < 3 or self.values.min() <= 0:
            return False
        steps = [np.abs(np.diff(v)) for v in (np.log(np.sort(self.values)), np.sort(self.values))]
        ratio, difference = (step.std() / step.mean() for step in steps)
        return bool(ratio < difference)


def plot(dataset: xr.Dataset) -> Figure:
    """Return the figure of a sweep.

    Parameters
    ----------
    dataset
        What `ropeleak.sweep` returns.

    Notes
    -----
    The longest dimension of numbers is the x axis. With one more, of few values, each of them is a
    line; of many, the two make a heat map. A third is spread over columns; of any more the first
    value is drawn, as the title says. A variable is drawn as it is in or after the last block, and
    at the position that reports name, or the nearest that was kept of every point.
    """
    scales = sorted((Scale.of(dataset, dim) for dim in swept(dataset)), key=Scale.rank)
    names, position = drawn(dataset), common_position(dataset)
    held = {scale.dim: 0 for scale in scales[3:]}
    facets = _facets(scales)
    lines = len(scales) < 2 or len(scales[1].texts) <= FEW
    with style.context():
        figure = style.new_figure(0.6 + 1.6 * len(names), _width(len(facets)))
        axes = figure.subplots(len(names), len(facets), squeeze=False, sharex=True, sharey="row")
        for name, row in zip(names, axes, strict=True):
            values = headline(dataset, name, position)
            error = headline(dataset, f"{name}_se", position) if f"{name}_se" in dataset else None
            parts = [(values.isel(held | f), error if error is None else error.isel(held | f))
                     for f in facets]  # fmt: skip
            if lines:
                for ax, (part, band) in zip(row, parts, strict=True):
                    draw_lines(ax, part, scales[:2], band)
                row[0].set_ylabel(_label(name, position))
                _show_zero(row[0], min(float(part.min()) for part, _ in parts))
            else:
                draw_maps(figure, row, [part for part, _ in parts], scales[:2], name, position)
        for ax in axes[-1]:
            ax.set_xlabel(scales[0].name)
        for ax, facet in zip(axes[0], facets, strict=True):
            ax.set_title(_title(scales, held | facet), loc="left", weight="normal")
        if lines and len(scales) > 1:
            handles, labels = axes[0][0].get_legend_handles_labels()
            figure.legend(
                handles, labels, loc="outside upper left", title=scales[1].name, ncols=3,
                alignment="left",
            )  # fmt: skip
        figure.align_ylabels(axes)
    return figure


def draw_lines(
    ax: Axes, values: xr.DataArray, scales: Sequence[Scale], error: xr.DataArray | None = None
) -> None:
    """Draw a quantity against the first scale, a line for every value of the second.

    Parameters
    ----------
    ax
        Any axes.
    values
        Over the dimensions of one or two scales.
    error
        Standard error of ``values``: bands of two are drawn.
    """
    x, *others = scales
    texts = others[0].texts if others else ("",)
    ordered = bool(others) and others[0].is_number
    colours = style.depth_colours(len(texts)) if ordered else style.COLOURS
    order = np.argsort(x.values)
    for row, text in enumerate(texts):
        at = {others[0].dim: row} if others else {}
        y = np.asarray(values.isel(at).values, dtype=float)[order]
        look: dict[str, Any] = {
            "color": colours[row % len(colours)], "marker": style.MARKERS[row % 5],
            "linestyle": style.LINES[row % 5] if x.is_number else "none",
            "markerfacecolor": "white", "markevery": max(y.size // 20, 1), "clip_on": False,
        }  # fmt: skip
        ax.plot(x.values[order], y, **look, label=text)
        if error is not None:
            band = BAND * np.asarray(error.isel(at).values, dtype=float)[order]
            ax.fill_between(x.values[order], y - band, y + band, color=look["color"], alpha=0.25,
                            linewidth=0)  # fmt: skip
    ticks = _ticks(x)
    if x.is_log:
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xticks(x.values[order][ticks], [x.texts[k] for k in order[ticks]])
    if not x.is_number:
        turned = max(map(len, x.texts)) * len(ticks) > TEXT_ROOM
        ax.set_xticks(x.values[ticks], [x.texts[k] for k in ticks], rotation=90 if turned else 0)
        ax.margins(x=0.08)


def _show_zero(ax: Axes, lowest: float) -> None:
    """Let the y axis, all its lines drawn, begin at 0 where that is near."""
    low, high = ax.get_ylim()
    if 0 < low < 0.6 * high or lowest >= 0 > low:
        ax.set_ylim(bottom=0)


def draw_maps(
    figure: Figure, axes: Sequence[Axes], values: Sequence[xr.DataArray], scales: Sequence[Scale],
    name: str, position: int | None,
) -> None:  # fmt: skip
    """Draw heat maps side by side with one bar of colours; points that failed stay grey.

    Parameters
    ----------
    figure, axes
        Where.
    values
        Over the dimensions of two scales, one for each of the axes.
    scales
        Of the x and the y axis.
    name, position
        What is drawn, for the bar's label.
    """
    x, y = scales
    rows = [np.asarray(part.transpose(y.dim, x.dim).values, dtype=float) for part in values]
    found = np.concatenate([row[np.isfinite(row)] for row in rows])
    low, high = (float(found.min()), float(found.max())) if found.size else (0.0, 1.0)
    order = np.ix_(np.argsort(y.values), np.argsort(x.values))
    for ax, row in zip(axes, rows, strict=True):
        image = ax.imshow(row[order], origin="lower", aspect="auto", cmap="cividis",
                          vmin=low, vmax=high, interpolation="nearest")  # fmt: skip
        ax.set_facecolor("0.8")
        ax.grid(visible=False)
        for axis, scale in ((ax.xaxis, x), (ax.yaxis, y)):
            ticks = _ticks(scale)
            ranks = np.argsort(scale.values)
            axis.set_ticks(ticks, [scale.texts[ranks[k]] for k in ticks])
    axes[0].set_ylabel(y.name)
    bar = figure.colorbar(image, ax=list(axes), pad=0.02, fraction=0.06)
    bar.set_label(_label(name, position))
    bar.outline.set_visible(False)


def swept(dataset: xr.Dataset) -> list[str]:
    """Return the dimensions of a sweep that have more than one value, or its first."""
    dims = [str(dim) for dim in dataset["status"].dims]
    return [dim for dim in dims if dataset.sizes[dim] > 1] or dims[:1]


def drawn(dataset: xr.Dataset) -> list[str]:
    """Return the variables that are drawn: the leaks and the beacon first, three at most."""
    kept = [name for name in (*FIRST, *OBSERVABLES) if name in dataset]
    return list(dict.fromkeys(kept))[:PANELS]


def _width(columns: int) -> float:
    return style.COLUMN if columns == 1 else 1.1 + 1.5 * columns


def _facets(scales: Sequence[Scale]) -> list[dict[str, int]]:
    """Return which values of the third dimension have a column of their own."""
    if len(scales) < 3:
        return [{}]
    count = scales[2].values.size
    chosen = np.unique(np.linspace(0, count - 1, min(count, FACETS)).round().astype(int))
    return [{scales[2].dim: int(k)} for k in chosen]


def _title(scales: Sequence[Scale], held: dict[str, int]) -> str:
    return "\n".join(f"{s.name} = {s.texts[held[s.dim]]}" for s in scales if s.dim in held)


def _ticks(scale: Scale) -> NDArray[np.int64]:
    """Return which values are written on an axis."""
    count = scale.values.size
    return np.arange(0, count, -(-count // (TICKS if scale.is_number else MOST_TEXTS)))


def _label(name: str, position: int | None) -> str:
    row = OBSERVABLES[name]
    where = f" at {position}" if "query" in row.dims else ""
    return f"{row.long_name}{where}\n(last block, {row.unit})"


def _words(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, (float, np.floating)) else str(value)
