"""What replacing BOS does: the residual leak by block, and BOS's share by position."""

from collections.abc import Mapping

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ropeleak.claims.bos_anchor import SHARED
from ropeleak.describe import percent
from ropeleak.drawing import marks, prediction, style
from ropeleak.results import Result

from . import leaks
from .bench import Bench, Pair
from .recipe import Recipe, dataset_of, finish, marks_words, name_of

CAPTION = r"""
Token 0 of \texttt{<name>} replaced. \textbf{Left}: the residual leak by block. \textbf{Right}: the
share of the residual stream that is the fingerprint of token <first>, after block <last>. Any
constant is as good as BOS; a zero vector removes <zero> of the residual leak (as a mean square,
last block) and ordinary content <random>. The mean embedding is that of content tokens which share
<shared> of their variance. <marks>
"""
KINDS = {
    "constant": "BOS", "zero": "zero vector", "mean": "mean embedding", "random": "content",
}  # fmt: skip
Replaced = Mapping[str, Pair]
"""Pairs by what stands at position 0."""


def data(bench: Bench) -> Replaced:
    """Return the architecture with everything that may stand at position 0."""
    base = bench.base()
    stacks = {kind: base.set("bos", kind) for kind in KINDS}
    stacks["mean"] = stacks["mean"].replace(alpha=base.alpha or SHARED)
    return bench.pairs(stacks)


def draw(ax: Axes, result: Result | xr.Dataset, row: int = 0, label: str | None = None) -> None:
    """Draw BOS's share against position after the last block.

    Parameters
    ----------
    ax
        Any axes; its x axis becomes logarithmic in ``1 + position``.
    result
        A prediction, drawn as a line, or a measurement, drawn as points.
    row
        Which of several curves this is.
    label
        What a legend calls it.
    """
    dataset = dataset_of(result)
    last, query = int(dataset.sizes["block"]), dataset["query"]
    marks.draw(ax, dataset, "beacon", query, {"depth": last}, row=row, label=label)
    style.position_axis(ax, int(query[-1]))
    ax.set_xlabel("position (tokens)")
    prediction.share_axis(ax)


def compose(figure: Figure, found: Replaced) -> None:
    """Draw the residual leak by block, and the share by position."""
    left, right = figure.subplots(1, 2)
    for row, (kind, pair) in enumerate(found.items()):
        for dataset in pair.both:
            leaks.draw(left, dataset, "leak_residual", row, KINDS[kind])
            draw(right, dataset, row, KINDS[kind])
    handles = prediction.labelled(left)
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    finish(figure, next(iter(found.values())).both)


def words(found: Replaced) -> Mapping[str, str]:
    """Return the numbers of the caption."""
    left = {k: float(pair.predicted["leak_residual"].values[-1]) ** 2 for k, pair in found.items()}
    base = found["constant"]
    removed = {
        kind: percent(1 - left[kind] / left["constant"]) if kind in left else "-"
        for kind in ("zero", "random")
    }
    return {
        "name": name_of(base.predicted), "first": "0", "last": str(base.predicted.sizes["block"]),
        "shared": percent(SHARED), "marks": marks_words(base.both), **removed,
    }  # fmt: skip


FIGURE = Recipe(
    name="bos",
    says="what replacing BOS does to the residual leak and to the beacon",
    width=style.PAGE,
    height=2.5,
    data=data,
    compose=compose,
    caption=CAPTION,
    words=words,
)
