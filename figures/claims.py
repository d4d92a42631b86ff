"""A claim's evidence: its curves, and under them the numbers that decide."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import style

BAND = 2.0
"""Half-length of the error bars, in standard errors."""
THEORY = ", theory"
"""End of the label of a curve that is drawn as a line."""
FEW = 24
"""Curves of more points than this are drawn with bands instead of bars."""


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
        Measurements as points or bands of two standard errors, theory as lines.
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
    colours: dict[str, Any] = {}
    for line in lines:
        name = line.label.removesuffix(THEORY)
        colour = colours.setdefault(name, style.COLOURS[len(colours) % len(style.COLOURS)])
        row = list(colours).index(name)
        if line.label.endswith(THEORY) or line.label == "theory":
            look = "" if not categories else style.MARKERS[row % len(style.MARKERS)]
            ax.plot(line.x, line.y, color=colour, marker=look, label=line.label,
                    linestyle="none" if categories else style.LINES[row % len(style.LINES)],
                    markerfacecolor="white")  # fmt: skip
            continue
        error = [BAND * e for e in line.se] if line.se is not None else [0.0] * len(line.x)
        if len(line.x) > FEW:
            low = [y - e for y, e in zip(line.y, error, strict=True)]
            high = [y + e for y, e in zip(line.y, error, strict=True)]
            ax.fill_between(line.x, low, high, color=colour, alpha=0.3, linewidth=0,
                            label=line.label)  # fmt: skip
        else:
            marker = style.MARKERS[row % len(style.MARKERS)]
            ax.errorbar(line.x, line.y, error, color=colour, linestyle="none", marker=marker,
                        label=line.label)  # fmt: skip
    if categories:
        turned = 90 if len(categories) > len(style.COLOURS) else 0
        ax.set_xticks(range(len(categories)), categories, rotation=turned)
    ax.margins(x=0.05)
