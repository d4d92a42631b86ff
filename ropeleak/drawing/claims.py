"""A claim's evidence: its curves, and under them the numbers that decide."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import marks, style

THEORY = ", theory"
"""End of the label of a curve that is drawn as a line."""
FEW = 24
"""Points that are drawn of a measured curve at most."""


class Line(NamedTuple):
    """A curve: ``se`` where it was measured."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    se: Sequence[float] | None = None


def plot(
    title: str,
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    categories: Sequence[str] = (),
    facts: Sequence[str] = (),
) -> Figure:
    """Return the figure of one claim.

    Parameters
    ----------
    title
        The claim and the verdict.
    lines
        Measurements as points with bars of two standard errors, theory as lines, or as short
        lines where the x values are categories.
    x_label, y_label
        Labels of the axes.
    categories
        Names of the x values where they are not numbers.
    facts
        Lines of text below: the numbers that decide.
    """
    with style.context():
        # Long names of categories take room of their own.
        many = len(categories) > len(style.COLOURS)
        figure = style.new_figure(3.0 + 0.16 * len(facts) + (1.2 if many else 0.0))
        ax = figure.subplots()
        draw(ax, lines, categories)
        ax.set_xlabel(x_label)
        ax.set_ylabel(y_label)
        ax.set_title(title, loc="left", wrap=True)
        ax.legend(loc="upper left", bbox_to_anchor=(0, -0.85 if many else -0.2), ncols=2)
        if facts:
            figure.supxlabel("\n".join(facts), ha="left", x=0.02, fontsize="x-small")
    return figure


def draw(ax: Axes, lines: Sequence[Line], categories: Sequence[str] = ()) -> None:
    """Draw curves; a measurement and its theory share a colour."""
    rows: dict[str, int] = {}
    for line in lines:
        row = rows.setdefault(line.label.removesuffix(THEORY), len(rows))
        if not (line.label.endswith(THEORY) or line.label == "theory"):
            kept = marks.evenly(np.asarray(line.x), FEW)
            x, y = np.asarray(line.x)[kept], np.asarray(line.y)[kept]
            error = None if line.se is None else marks.BAND * np.asarray(line.se)[kept]
            marks.curve(ax, x, y, error, kind="monte-carlo", row=row, label=line.label)
        elif categories:
            ax.plot(line.x, line.y, color=marks.look(row)["color"], linestyle="none", marker="_",
                    markersize=8, label=line.label)  # fmt: skip
        else:
            marks.curve(ax, line.x, line.y, row=row, label=line.label)
    if categories:
        turned = 90 if len(categories) > len(style.COLOURS) else 0
        ax.set_xticks(range(len(categories)), categories, rotation=turned)
    ax.margins(x=0.05)
