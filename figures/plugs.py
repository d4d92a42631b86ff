"""What plugs the leaks: both leaks, the beacon and the ruler that every intervention leaves."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ropeleak.claims.fifty_vs_hundred import PAIR
from ropeleak.claims.interventions import TABLE, Intervention, Plugged, plugged
from ropeleak.describe import sig
from ropeleak.drawing import marks, style
from ropeleak.errors import RopeleakError
from ropeleak.spec import Stack

from .bench import Bench, as_data
from .recipe import Recipe, finish, marks_words

CAPTION = r"""
What interventions leave of the leaks of \texttt{<name>} in its last block, of the beacon at
position <second> and of d$'$ between positions <first> and <second>. Dotted: without any. A filled
circle is zero by a theorem. Of <count> interventions, <mask> plug the mask's hole exactly,
<residual> that of the residual stream, <both> of these both; the smallest d$'$ is <least> (<least
name>). <marks>
"""
PANELS = {
    "mask": "mask leak\n(nats RMS)",
    "residual": "residual leak\n(nats RMS)",
    "beacon": f"BOS share at {PAIR[1]}\n(share of variance)",
    "d_prime": f"d′({PAIR[0]}, {PAIR[1]})\n(standard deviations)",
}
"""What is left, and the label of its axis."""
HOLES = ("mask", "residual")
EXACT: dict[str, Any] = {
    "marker": "o",
    "markersize": 5.5,
    "linestyle": "none",
    "color": style.COLOURS[1],
}


class Left(NamedTuple):
    """What every intervention leaves, by theory and, by its name, as measured."""

    name: str
    rows: Sequence[Plugged]
    measured: Mapping[str, xr.Dataset]


def data(bench: Bench) -> Left:
    """Return what the interventions leave of the architecture's leaks."""
    base = bench.base(context=bench.lab.budget.watched)
    if base.context <= max(PAIR):
        raise RopeleakError(f"context={base.context} is too short: give more than {max(PAIR)}")
    rows, measured = [], {}
    for number, intervention in enumerate(TABLE):
        bench.progress("interventions", number, len(TABLE))
        try:
            rows.append(_left(bench, intervention, base))
        except RopeleakError as error:
            if bench.model is None:
                raise
            bench.notes.append(f"{intervention.name} was left out: {error}")
            continue
        pair = bench.pair(intervention.apply(base))
        if pair.measured is not None and not intervention.burn_in:
            measured[intervention.name] = pair.measured
    return Left(base.name, rows, measured)


def _left(bench: Bench, intervention: Intervention, base: Stack) -> Plugged:
    def make() -> xr.Dataset:
        found = plugged(bench.lab, intervention, base)._asdict()
        return xr.Dataset({name: found[name] for name in PANELS})

    changed = as_data(intervention.apply(base))
    kept = bench.store.keep("plugged", {"stack": changed, "plug": intervention.name}, make)
    return Plugged(intervention, **{name: float(kept[name]) for name in PANELS})


def value(row: Plugged, name: str) -> float:
    """Return what is left of a quantity in `PANELS`: leaks in nats, not squared."""
    found = float(getattr(row, name))
    return float(np.sqrt(found)) if name in HOLES else found


def draw(ax: Axes, rows: Sequence[Plugged], name: str) -> None:
    """Draw what is left of a quantity, an intervention a row; the first is that without any.

    Parameters
    ----------
    ax
        Any axes.
    rows
        What `claims.interventions.plugged` returns.
    name
        One of `PANELS`.
    """
    for place, row in enumerate(rows):
        exact = name in HOLES and getattr(row.intervention, name)
        marks.short_lines(ax, value(row, name), place, **(EXACT if exact else {}))
    ax.axvline(value(rows[0], name), color="0.5", linestyle=(0, (1, 1.5)), linewidth=0.8, zorder=0)
    marks.row_axis(ax, [row.intervention.name for row in rows])


def draw_measured(ax: Axes, found: Left, name: str) -> None:
    """Draw a measured leak of the last block as points, in the rows of `draw`."""
    for place, row in enumerate(found.rows):
        dataset = found.measured.get(row.intervention.name)
        if dataset is None:
            continue
        y, se = (dataset[f"leak_{name}{end}"].values[-1:] for end in ("", "_se"))
        marks.curve(ax, y, [place], kind="monte-carlo", xerr=marks.error_bars(y, se, root=True))


def compose(figure: Figure, found: Left) -> None:
    """Draw a column of axes per quantity."""
    axes = figure.subplots(1, len(PANELS), sharey=True)
    for ax, (name, label) in zip(axes, PANELS.items(), strict=True):
        draw(ax, found.rows, name)
        if name in HOLES:
            draw_measured(ax, found, name)
        ax.set_xlabel(label)
        ax.set_xlim(left=-0.04 * ax.get_xlim()[1])
    figure.legend(handles=[Line2D([], [], label="zero by a theorem", **EXACT)],
                  loc="outside upper left")  # fmt: skip
    finish(figure, _drawn(found))


def words(found: Left) -> Mapping[str, str]:
    """Return the numbers of the caption."""
    plugs = found.rows[1:]
    exact = {hole: {r.intervention.name for r in plugs if getattr(r.intervention, hole)}
             for hole in HOLES}  # fmt: skip
    least = min(plugs, key=lambda row: row.d_prime)
    return {
        "name": found.name, "first": str(PAIR[0]), "second": str(PAIR[1]),
        "count": str(len(plugs)), **{hole: str(len(names)) for hole, names in exact.items()},
        "both": str(len(set.intersection(*exact.values()))), "least": sig(least.d_prime),
        "least name": least.intervention.name, "marks": marks_words(_drawn(found)),
    }  # fmt: skip


def _drawn(found: Left) -> list[xr.Dataset]:
    theory = xr.Dataset(attrs={"method": "mean-field"})
    return [theory, *list(found.measured.values())[:1]]


FIGURE = Recipe(
    name="plugs",
    says="what interventions leave of both leaks, the beacon and the ruler",
    width=style.PAGE,
    height=3.7,
    data=data,
    compose=compose,
    caption=CAPTION,
    words=words,
)
