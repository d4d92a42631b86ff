"""Leak by block: through the mask and through the residual stream, for several attentions."""

from collections.abc import Mapping
from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ropeleak.claims.stacks import ALIGNED, FACTOR, WINDOW, ropes
from ropeleak.describe import sig
from ropeleak.drawing import marks, prediction, style
from ropeleak.results import Result
from ropeleak.spec import Stack

from .bench import Bench, Pair
from .recipe import Recipe, dataset_of, finish, marks_words, name_of

CAPTION = r"""
Leak by block through the mask (left) and through the residual stream (right), of \texttt{<name>} as
it is and changed: a window of <window> keys, NTK-aware RoPE that extends the context <factor>-fold,
no position encoding. <rows> In the last block the residual leak is <full> nats with full attention,
<windowed> under the window and <ntk> with NTK. <marks>
"""
HOLES = {"leak_mask": "mask leak", "leak_residual": "residual leak"}
ASIDE = 0.06
"""Points of a curve stand so far (blocks) beside those of the one before: error bars stay apart."""
Leaks = Mapping[tuple[float, str], Pair]
"""Pairs by alignment and by name of the variant."""


def variants(stack: Stack) -> dict[str, Stack]:
    """Return a stack as it is and with other attentions, by name; only those that differ."""
    changes: dict[str, tuple[str, Any]] = {f"window of {WINDOW}": ("attention.window", WINDOW)}
    if any(attention.rope for attention in stack.attention):
        changes["NTK"] = ("rope", ropes(stack.context)["NTK"])
        changes["NoPE"] = ("attention[all].rope", None)
    found = {"as it is" if any(a.is_local for a in stack.attention) else "full": stack}
    return found | {name: stack.set(*change) for name, change in changes.items()}


def data(bench: Bench) -> Leaks:
    """Return the leaks of every variant, at the model's alignment and with more of it."""
    base = bench.base()
    alignments = (0.0, ALIGNED) if bench.model is None else (base.attention[0].alignment,)
    return bench.pairs({
        (alignment, name): stack.set("attention[all].alignment", alignment)
        for alignment in alignments
        for name, stack in variants(base).items()
    })  # fmt: skip


def draw(
    ax: Axes, result: Result | xr.Dataset, hole: str = "leak_residual", row: int = 0,
    label: str | None = None,
) -> None:  # fmt: skip
    """Draw one leak by block, a prediction as a line or a measurement as points.

    Parameters
    ----------
    ax
        Any axes.
    result
        A prediction or a measurement.
    hole
        ``leak_mask``, ``leak_residual`` or ``leak_total``.
    row
        Which of several curves this is.
    label
        What a legend calls it.
    """
    dataset = dataset_of(result)
    aside = 0.0 if marks.kind_of(dataset) == "theory" else ASIDE * row
    marks.draw(ax, dataset, hole, dataset["block"] + aside, row=row, label=label)
    ax.set_xlabel("block")
    ax.set_ylabel(f"{HOLES.get(hole, 'total leak')}\n(nats RMS)")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    ax.set_ylim(bottom=0, auto=True)


def compose(figure: Figure, found: Leaks) -> None:
    """Draw a row of axes per alignment, a column per hole."""
    alignments = list(dict.fromkeys(alignment for alignment, _ in found))
    names = list(dict.fromkeys(name for _, name in found))
    axes = figure.subplots(len(alignments), len(HOLES), squeeze=False, sharex=True)
    for (alignment, name), pair in found.items():
        for ax, hole in zip(axes[alignments.index(alignment)], HOLES, strict=True):
            for dataset in pair.both:
                draw(ax, dataset, hole, names.index(name), name)
    for row, alignment in zip(axes, alignments, strict=True):
        row[0].set_title(f"m = {sig(alignment)}")
    for ax in axes[:-1].ravel():
        ax.set_xlabel("")
    figure.legend(handles=prediction.labelled(axes[0, 0]), loc="outside upper left", ncols=4)
    finish(figure, next(iter(found.values())).both)


def words(found: Leaks) -> Mapping[str, str]:
    """Return the numbers of the caption."""
    first = next(iter(found))[0]
    last = {
        name: sig(float(pair.predicted["leak_residual"].values[-1]))
        for (alignment, name), pair in found.items() if alignment == first
    }  # fmt: skip
    base = next(iter(found.values()))
    aligned = [sig(alignment) for alignment in dict.fromkeys(a for a, _ in found)]
    rows = ""
    if len(aligned) > 1:
        rows = (
            "Top: independent queries and keys, as at initialisation; bottom: aligned ones"
            f" (m = {aligned[-1]}), as training may make them."
        )
    return {
        "name": name_of(base.predicted), "window": str(WINDOW), "factor": f"{FACTOR:g}",
        "rows": rows, "full": next(iter(last.values())),
        "windowed": last.get(f"window of {WINDOW}", "-"), "ntk": last.get("NTK", "-"),
        "marks": marks_words(base.both),
    }  # fmt: skip


FIGURE = Recipe(
    name="leaks",
    says="both leaks by block: full attention, window, NTK, NoPE",
    width=style.PAGE,
    height=3.6,
    data=data,
    compose=compose,
    caption=CAPTION,
    words=words,
)
