"""A claim's evidence: its panels, and under them the numbers that decide."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from . import marks, style

THEORY = ", theory"
"""End of the label of a curve that is drawn as a line."""
FEW = 24
"""Points that are drawn of a measured curve at most."""
WIDTH = 5.2
"""Of the figure, inches: a panel and its legend."""
HEIGHT, ROW, FACT = 1.9, 0.125, 0.11
"""Of a panel, of a category that has a row to itself, and of a line of text, inches."""
LETTERS, TITLE_LETTERS = 104, 78
"""Letters of text and of the title that go into the figure's width."""


class Line(NamedTuple):
    """A curve: ``se`` where it was measured."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    se: Sequence[float] | None = None

    @property
    def is_theory(self) -> bool:
        """Whether it is drawn as a line."""
        return self.label.endswith(THEORY)

    @property
    def name(self) -> str:
        """What it is of: theory and measurement share it."""
        return self.label.removesuffix(THEORY)


class Panel(NamedTuple):
    """One plot.

    Attributes
    ----------
    lines
        Measurements and theory.
    x_label, y_label
        Labels of the axes.
    categories
        Names of the x values where they are not numbers.
    log, log_y
        Whether an axis is logarithmic.
    """

    lines: Sequence[Line]
    x_label: str
    y_label: str
    categories: Sequence[str] = ()
    log: bool = False
    log_y: bool = False

    @property
    def lies(self) -> bool:
        """Whether categories are so many that each has a row to itself."""
        return len(self.categories) > len(style.COLOURS)

    @property
    def height(self) -> float:
        """Height of the plot, inches."""
        return max(HEIGHT, 0.5 + ROW * len(self.categories)) if self.lies else HEIGHT

    @property
    def rows(self) -> Mapping[str, int]:
        """Number of every curve's look, by what it is of."""
        names = dict.fromkeys(line.name for line in self.lines)
        return {name: row for row, name in enumerate(names)}


def plot(title: str, panels: Sequence[Panel], facts: Sequence[str] = ()) -> Figure:
    """Return the figure of one claim.

    Parameters
    ----------
    title
        The claim and the verdict.
    panels
        Plots, one below the other: measurements as points with bars of two standard errors, theory
        as lines, or as short lines where the x values are categories.
    facts
        Lines of text below: the numbers that decide.
    """
    below = [fill(fact, LETTERS, subsequent_indent="    ") for fact in facts]
    texts = sum(text.count("\n") + 1 for text in below)
    heights = [panel.height for panel in panels]
    with style.context():
        figure = style.new_figure(0.4 + sum(heights) + FACT * texts, WIDTH)
        axes = figure.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0]
        for ax, panel in zip(axes, panels, strict=True):
            draw(ax, panel)
        figure.suptitle(fill(title, TITLE_LETTERS), ha="left", x=0.02, weight="bold", fontsize=7)
        if below:
            figure.supxlabel("\n".join(below), ha="left", x=0.02, fontsize=6)
    return figure


def draw(ax: Axes, panel: Panel) -> None:
    """Draw a panel; a measurement and its theory share a colour, and a line of the legend."""
    for line in panel.lines:
        (_draw_rows if panel.lies else _draw_line)(ax, line, panel)
    x_label, y_label = panel.x_label, panel.y_label
    if panel.lies:
        marks.row_axis(ax, panel.categories)
        x_label, y_label = " ".join(y_label.split("\n")), x_label
    elif panel.categories:
        ax.set_xticks(range(len(panel.categories)), panel.categories)
        ax.margins(x=0.1)
    else:
        ax.margins(x=0.03)
        if all(float(x).is_integer() for line in panel.lines for x in line.x):
            ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    if panel.log:
        _log_axis(ax, sorted({float(x) for line in panel.lines for x in line.x}))
    if panel.log_y:
        ax.set_yscale("log")
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    ax.legend(handles=_handles(panel), loc="upper left", bbox_to_anchor=(1.01, 1.02))


def _log_axis(ax: Axes, values: Sequence[float]) -> None:
    """Make the x axis logarithmic, with a tick at every value where they are few."""
    ax.set_xscale("log", base=2)
    if len(values) <= len(style.COLOURS):
        ax.set_xticks(values, [f"{value:g}" for value in values])
    else:
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _draw_line(ax: Axes, line: Line, panel: Panel) -> None:
    row = panel.rows[line.name]
    if not line.is_theory:
        kept = marks.evenly(np.asarray(line.x), FEW)
        x, y = np.asarray(line.x)[kept], np.asarray(line.y)[kept]
        marks.curve(ax, x, y, _error(line, kept), kind="monte-carlo", row=row)
    elif panel.categories:
        ax.plot(line.x, line.y, color=marks.look(row)["color"], linestyle="none", marker="_",
                markersize=9)  # fmt: skip
    else:
        marks.curve(ax, line.x, line.y, row=row)


def _draw_rows(ax: Axes, line: Line, panel: Panel) -> None:
    """Draw a curve whose x values have a row each."""
    row = panel.rows[line.name]
    for at, (x, y) in enumerate(zip(line.x, line.y, strict=True)):
        if line.is_theory:
            marks.short_lines(ax, y, int(x), color=marks.look(row)["color"])
        else:
            error = _error(line, np.array([at]))
            marks.curve(ax, [y], [x], kind="monte-carlo", row=row, xerr=error)


def _error(line: Line, kept: Any) -> Any:
    return None if line.se is None else marks.BAND * np.asarray(line.se)[kept]


def _handles(panel: Panel) -> list[Line2D]:
    """Return what the legend shows: what the curves are of, and where numbers come from."""
    found = []
    for name, row in panel.rows.items():
        kinds = {line.is_theory for line in panel.lines if line.name == name}
        look = marks.look(row)
        points = {} if kinds == {True} else marks.points("monte-carlo", row)
        if panel.categories or kinds == {False}:
            look = {**look, "linestyle": "none"}
        if panel.categories and kinds == {True}:
            points = {"marker": "|" if panel.lies else "_"}
        found.append(Line2D([], [], label=fill(name, 26), **{**look, **points}))
    drawn = {line.is_theory for line in panel.lines}
    if drawn == {True, False}:
        (measured,) = marks.kind_handles(["monte-carlo"])
        measured.set_label(f"measured\n(± {marks.BAND:g} standard errors)")
        theory = marks.handle("theory", "theory")
        if panel.categories:
            theory.set(linestyle="none", marker="|" if panel.lies else "_")
        found += [theory, measured]
    return found
