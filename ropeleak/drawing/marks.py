"""What numbers look like: theory is a line, Monte Carlo open points, a trained model filled stars.

`draw` does it for a variable of any dataset, `curve` for arrays.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from ropeleak.observables import OBSERVABLES

from .style import COLOURS, LINES, MARKERS

Kind = Literal["theory", "monte-carlo", "trained"]
KINDS: dict[Kind, str] = {
    "theory": "theory", "monte-carlo": "Monte Carlo", "trained": "trained model",
}  # fmt: skip
"""Where numbers come from, and what a legend calls it."""
BAND = 2.0
"""Half-length of error bars and half-width of bands, in standard errors."""
RMS = OBSERVABLES["leak_mask"].unit
"""Unit of roots of mean squares."""
MOST_POINTS = 14
"""Points that are drawn of a measurement against position."""


def kind_of(dataset: xr.Dataset) -> Kind:
    """Return where the numbers of a dataset come from."""
    if "weights" in dataset.attrs:
        return "trained"
    return "monte-carlo" if dataset.attrs.get("method") == "monte-carlo" else "theory"


def look(row: int) -> dict[str, Any]:
    """Return the colour and line style of a curve of a figure: told apart without colour too."""
    return {"color": COLOURS[row % len(COLOURS)], "linestyle": LINES[row % len(LINES)]}


def curve(
    ax: Axes,
    x: ArrayLike,
    y: ArrayLike,
    error: ArrayLike | None = None,
    *,
    kind: Kind = "theory",
    row: int = 0,
    **changes: Any,
) -> None:
    """Draw a curve as its kind looks.

    Parameters
    ----------
    ax
        Any axes.
    x, y
        Values (N,). Points that are not finite are left out.
    error
        Lengths of the error bars of points, or of the band of a line: (N,), or (2, N) below and
        above.
    kind
        Where the numbers come from.
    row
        Which of several curves this is; theory and measurements of one thing share it.
    changes
        To the look, as matplotlib's ``plot`` and ``errorbar`` take it.
    """
    at, value = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    ends = None if error is None else np.broadcast_to(np.asarray(error, float), (2, value.size))
    if kind == "theory":
        (line,) = ax.plot(at, value, **{**look(row), **changes})
        if ends is not None:
            ax.fill_between(at, value - ends[0], value + ends[1], color=line.get_color(),
                            alpha=0.25, linewidth=0)  # fmt: skip
        return
    shown = np.isfinite(value)
    label = changes.pop("label", "_nolegend_")
    drawn = ax.errorbar(
        at[shown], value[shown], None if ends is None else ends[:, shown], elinewidth=0.8,
        **{**look(row), **points(kind, row), **changes, "linestyle": "none"},
    )  # fmt: skip
    drawn.lines[0].set_label(label)


def draw(
    ax: Axes, dataset: xr.Dataset, name: str, x: ArrayLike, where: Mapping[str, Any] | None = None,
    **options: Any,
) -> None:  # fmt: skip
    """Draw a variable of a dataset over ``x`` as its kind looks, with its standard error.

    Parameters
    ----------
    ax
        Any axes.
    dataset
        A prediction or a measurement.
    name
        The variable; ``<name>_se`` is its standard error where there is one.
    x
        Values of the one dimension that ``where`` leaves (N,).
    where
        Labels of the other dimensions.
    options
        As `curve` takes them.
    """
    kind, chosen = kind_of(dataset), dataset[_with_error(dataset, name)].sel(where or {})
    at, y = np.asarray(x, dtype=float), np.asarray(chosen[name].values, dtype=float)
    error = None
    if f"{name}_se" in chosen:
        se = np.asarray(chosen[f"{name}_se"].values, dtype=float)
        error = error_bars(y, se, root=chosen[name].attrs.get("units") == RMS)
    if kind != "theory" and chosen[name].dims == ("query",):
        kept = evenly(at)
        at, y, error = at[kept], y[kept], None if error is None else error[:, kept]
    curve(ax, at, y, error, kind=kind, **options)


def short_lines(ax: Axes, x: ArrayLike, row: int, **changes: Any) -> None:
    """Draw predictions of what has a row to itself: short upright lines, changed as in `curve`."""
    values = np.atleast_1d(np.asarray(x, dtype=float))
    ax.plot(values, np.full(values.size, row), **{
        "color": COLOURS[0], "linestyle": "none", "marker": "|", "markersize": 6,
        "markeredgewidth": 0.8, **changes,
    })  # fmt: skip


def row_axis(ax: Axes, names: Sequence[str]) -> None:
    """Make the y axis a list of names, from top to bottom."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)


def error_bars(y: NDArray[np.float64], se: NDArray[np.float64], root: bool) -> NDArray[np.float64]:
    """Return the lengths of error bars below and above (2, N).

    Parameters
    ----------
    y, se
        Values and their standard errors (N,).
    root
        Whether they are roots of mean squares, and ``se`` the error towards larger values: then
        it is the mean square that has a symmetric error, and the bar ends at 0.
    """
    if not root:
        return np.stack([BAND * se, BAND * se])
    square = y**2
    error = BAND * ((y + se) ** 2 - square)
    return np.stack([y - np.sqrt(np.maximum(square - error, 0)), np.sqrt(square + error) - y])


def evenly(positions: NDArray[np.float64], most: int = MOST_POINTS) -> NDArray[np.int64]:
    """Return the indices of at most so many positions, evenly spread in ``ln(1+i)``."""
    if positions.size <= most:
        return np.arange(positions.size)
    wanted = np.expm1(np.linspace(np.log1p(positions[0]), np.log1p(positions[-1]), most))
    return np.unique(np.abs(positions[:, None] - wanted).argmin(axis=0))


def kind_handles(kinds: Iterable[Kind]) -> list[Line2D]:
    """Return what a legend shows of the kinds of numbers, in the order of `KINDS`."""
    drawn = set(kinds)
    ends = {"monte-carlo": f" (± {BAND:g} standard errors)"}
    return [
        handle(kind, words + ends.get(kind, "")) for kind, words in KINDS.items() if kind in drawn
    ]


def handle(kind: Kind, label: str, color: str = "0.3") -> Line2D:
    """Return what a legend shows of one kind of numbers."""
    look = {} if kind == "theory" else {**points(kind, 0), "linestyle": "none"}
    return Line2D([], [], color=color, label=label, **look)


def points(kind: Kind, row: int) -> dict[str, Any]:
    """Return the look of the points of a measurement."""
    if kind == "trained":
        return {"marker": "*", "markersize": 5.5, "zorder": 5}
    return {
        "marker": MARKERS[row % len(MARKERS)], "markersize": 3, "markerfacecolor": "white",
        "markeredgewidth": 0.8, "zorder": 4,
    }  # fmt: skip


def _with_error(dataset: xr.Dataset, name: str) -> list[str]:
    return [each for each in (name, f"{name}_se") if each in dataset]
