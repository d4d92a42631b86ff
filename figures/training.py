"""What is predicted before training against what training makes of it, by architecture."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import spearmanr

from ropeleak.describe import sig
from ropeleak.drawing import marks, style
from ropeleak.errors import RopeleakError
from ropeleak.output import ENGINE
from ropeleak.spec import Stack

from .bench import Bench
from .recipe import Recipe

CAPTION = r"""
Predicted before training, and measured: <count> small decoders, <seeds> seeds each, at random
initialisation (open) and after <steps> steps of training (stars); bars are two standard errors over
seeds. \textbf{Left}: mask leak, \textbf{middle}: residual leak, root mean squares over blocks;
\textbf{right}: d$'$ of a linear probe between positions <first> and <second> after the last block.
On the line the prediction is right. Over architectures, the rank correlation of prediction and
trained models is <mask> for the mask leak, <residual> for the residual leak and <position> for
d$'$.
"""
RESULTS = Path(__file__).resolve().parents[1] / "paper" / "training" / "results" / "trained.nc"
"""What was measured of trained decoders: part of the source tree, not of an installed package."""
PAIR = (50, 100)
PANELS = {
    "mask": ("mask leak", "nats RMS"),
    "residual": ("residual leak", "nats RMS"),
    "position": ("d′({}, {})".format(*PAIR), "standard deviations"),
}
"""What is compared, and its unit."""
STAGES: dict[int, marks.Kind] = {0: "monte-carlo", -1: "trained"}
"""Kept steps that are drawn, the first and the last, and how."""


class Trained(NamedTuple):
    """Predictions (architecture,) and measurements (architecture, seed, step) of `PANELS`."""

    predicted: xr.Dataset
    measured: xr.Dataset


def missing(path: Path = RESULTS) -> str | None:
    """Return why the figure cannot be drawn, if it cannot."""
    if path.exists():
        return None
    return f"there are no trained decoders: {path} is missing, which is part of the source tree"


def data(bench: Bench) -> Trained:
    """Return what is predicted and what was measured of the trained decoders."""
    return compare(bench, read(RESULTS))


def read(path: Path) -> xr.Dataset:
    """Return the measurements of a file.

    Raises
    ------
    RopeleakError
        If it is missing.
    """
    reason = missing(path)
    if reason is not None:
        raise RopeleakError(reason)
    return xr.load_dataset(path, engine=ENGINE)


def compare(bench: Bench, trained: xr.Dataset) -> Trained:
    """Return predictions beside measurements.

    Parameters
    ----------
    bench
        Where predictions come from.
    trained
        Over ``architecture``, ``seed``, ``step`` and ``block`` or ``depth``: ``mask`` and
        ``residual`` (nats², NaN where there is no such block) and ``d_prime``; over
        ``architecture`` the ``stack`` as JSON.
    """
    names = trained["architecture"]
    stacks = [Stack.model_validate_json(str(text)) for text in trained["stack"].values]
    last = xr.DataArray([stack.n_blocks for stack in stacks], names.coords)
    measured = xr.Dataset({
        "mask": np.sqrt(trained["mask"].mean("block")),
        "residual": np.sqrt(np.maximum(trained["residual"].mean("block"), 0)),
        "position": trained["d_prime"].sel(architecture=names, depth=last).drop_vars("depth"),
    })  # fmt: skip
    rows = []
    for stack in stacks:
        found = bench.predict(stack)
        leaks = {hole: np.sqrt((found[f"leak_{hole}"].values ** 2).mean())
                 for hole in ("mask", "residual")}  # fmt: skip
        linear = bench.ruler(stack, *PAIR)["linear"].values[-1]
        rows.append(xr.Dataset({**leaks, "position": linear}))
    return Trained(xr.concat(rows, names), measured)


def draw(ax: Axes, found: Trained, name: str) -> None:
    """Draw measurements against predictions: open points before training, stars after it.

    Parameters
    ----------
    ax
        Any axes.
    found
        What `compare` returns.
    name
        One of `PANELS`.
    """
    x = found.predicted[name].values
    for row, (step, kind) in enumerate(STAGES.items()):
        y = found.measured[name].isel(step=step)
        error = marks.BAND * y.std("seed", ddof=1) / np.sqrt(y.sizes["seed"])
        marks.curve(ax, x, y.mean("seed"), error, kind=kind, row=row)
    end = float(np.nanmax(x))
    ax.plot([0, end], [0, end], color="0.3", linewidth=0.8, zorder=1)
    what, unit = PANELS[name]
    ax.set_title(what)
    ax.set_xlabel(f"predicted ({unit})")
    ax.set_ylabel(f"measured ({unit})")


def compose(figure: Figure, found: Trained) -> None:
    """Draw a column of axes per quantity."""
    for ax, name in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        draw(ax, found, name)
    looks = [(kind, style.COLOURS[row]) for row, kind in enumerate(STAGES.values())]
    handles = [
        Line2D([], [], color="0.3", linewidth=0.8, label="prediction"),
        *(marks.handle(kind, words, color=colour) for (kind, colour), words in zip(
            looks, ("at initialisation", "trained"), strict=True)),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper right", ncols=3)


def words(found: Trained) -> Mapping[str, str]:
    """Return the numbers of the caption."""
    trained = found.measured.isel(step=-1).mean("seed")
    return {
        "count": str(trained.sizes["architecture"]), "seeds": str(found.measured.sizes["seed"]),
        "steps": str(int(found.measured["step"].values[-1])),
        "first": str(PAIR[0]), "second": str(PAIR[1]),
        **{name: sig(float(spearmanr(found.predicted[name], trained[name]).statistic))
           for name in PANELS},
    }  # fmt: skip


FIGURE = Recipe(
    name="training",
    says="what is predicted before training against what training makes of it",
    width=style.PAGE,
    height=2.5,
    data=data,
    compose=compose,
    caption=CAPTION,
    words=words,
    takes_model=False,
    missing=missing,
)
