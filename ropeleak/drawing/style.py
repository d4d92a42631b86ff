"""The one look of all figures, and files that come out byte for byte the same."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.scale import FuncScale
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter
from numpy.typing import ArrayLike, NDArray

from ropeleak.output import check_figure

COLUMN = 3.4
"""Width of one column, inches."""
PAGE = 7.0
"""Width of two columns and what is between them, inches."""

STYLE_FILE = Path(__file__).with_name("ropeleak.mplstyle")

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, told apart with any colour vision."""

LINES: tuple[Any, ...] = (
    "-",
    (0, (4, 1.2)),
    (0, (1, 1)),
    (0, (4, 1, 1, 1)),
    (0, (6, 1, 1, 1, 1, 1)),
    (0, (9, 1.5)),
)
"""Line styles, told apart without colour."""

MARKERS = ("o", "s", "^", "D", "v", "P")

MARGIN = 0.015
"""Share of a position axis that is left free at its ends, so that markers there are whole."""

# A date in the file would make two runs differ.
METADATA: dict[str, dict[str, Any]] = {
    ".pdf": {"CreationDate": None, "ModDate": None, "Creator": "ropeleak", "Producer": None},
    ".png": {"Software": "ropeleak"},
    ".svg": {"Date": None, "Creator": "ropeleak"},
}

_LOCK = RLock()


@contextmanager
def context() -> Iterator[None]:
    """Apply ropeleak's style within the block; one thread at a time, as rcParams are global."""
    with _LOCK, mpl.rc_context(fname=STYLE_FILE):
        yield


def new_figure(height: float, width: float = COLUMN) -> Figure:
    """Return an empty figure of so many inches, without pyplot; call it within `context`."""
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure: vector PDF or SVG, PNG at 300 dpi, the same bytes every time.

    Raises
    ------
    RopeleakError
        If the suffix names no known format.
    OSError
        If the file cannot be written.
    """
    suffix = check_figure(path)
    with context():
        figure.savefig(path, format=suffix[1:], dpi=300, metadata=METADATA[suffix])


def depth_colours(count: int) -> list[tuple[float, float, float, float]]:
    """Return colours from shallow (dark) to deep (light but legible on white)."""
    levels: Sequence[float] = [0.0] if count == 1 else np.linspace(0.0, 0.8, count).tolist()
    return [mpl.colormaps["cividis"](level) for level in levels]


def position_axis(ax: Axes, largest: int) -> None:
    """Make the x axis ``ln(1+i)``: logarithmic in position, with position 0 on it."""
    ax.set_xscale(FuncScale(ax.xaxis, (_log1p, _expm1)))
    decades = [10.0**k for k in range(9) if 10**k <= largest]
    within = (1, 2, 5) if len(decades) <= 2 else (1,)
    step = 2 if len(decades) > 6 else 1
    ticks = [0.0, *(m * d for d in decades[::step] for m in within if m * d <= largest)]
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _position_label(value)))
    minor = [m * d for d in decades for m in range(1, 10) if m * d <= largest]
    ax.xaxis.set_minor_locator(FixedLocator(minor))
    ax.xaxis.set_minor_formatter(NullFormatter())
    end = float(np.log1p(max(largest, 1)))
    ax.set_xlim(*_expm1([-MARGIN * end, (1 + MARGIN) * end]).tolist())


def _log1p(value: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(np.log1p(np.maximum(np.asarray(value, dtype=float), -0.999)))


def _expm1(value: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(np.expm1(np.minimum(np.asarray(value, dtype=float), 700.0)))


def _position_label(value: float) -> str:
    for size, suffix in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.0f}{suffix}"
    return f"{value:.0f}"
