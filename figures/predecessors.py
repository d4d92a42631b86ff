"""Score maps of parameter-free stacks, as a predecessor showed them (arXiv 2509.21042)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from ropeleak.describe import sig
from ropeleak.drawing import style
from ropeleak.simulate import score_maps
from ropeleak.spec import Stack

from .bench import Bench, as_data
from .recipe import Recipe

Array = NDArray[np.float64]

CAPTION = r"""
The causal mask makes attention scores depend on position without any parameters (after <source>):
queries, keys and values are the residual stream, <width> features wide and of unit length, contents
are independent. Shown is the mean score of every query and key over <contents> contents, by block.
Without RoPE near keys get higher scores from block two on; with RoPE the score also depends on the
distance, and what is left of it when the mean at every distance is taken out (bottom) is not
relative: up to <largest> nats in block <last>. Scores of tokens with themselves, all alike in the
first two rows, are off the scale.
"""
SOURCE = "Kim et al., arXiv 2509.21042"
TOKENS, WIDTH, BLOCKS = 50, 64, 4
CONTENTS = {"small": 512, "full": 100_000}
ROWS: dict[str, tuple[dict[str, Any], bool]] = {
    "no RoPE": ({"rope": None}, False),
    "RoPE": ({}, False),
    "RoPE, less its mean\nat the same distance": ({}, True),
}
"""Rows of the figure: the attention, and whether scores are centred."""
Maps = Mapping[str, xr.Dataset]


def stack(**attention: Any) -> Stack:
    """Return the decoder whose scores are shown: they are cosines of residual streams."""
    return Stack.build(
        name="parameter-free", context=TOKENS, d_model=WIDTH, n_heads=1, n_blocks=BLOCKS,
        mlp={"kind": "none"}, bos={"kind": "random"}, init={"scheme": "fan_in"},
        norm={"eps": 1e-12},
        attention={"scale": 1 / WIDTH, **attention},
    )  # fmt: skip


def data(bench: Bench) -> Maps:
    """Return the score maps of every row of the figure."""
    contents = CONTENTS[bench.budget.name]

    def maps(row: str) -> xr.Dataset:
        shown = stack(**ROWS[row][0])
        inputs = {"stack": as_data(shown), "contents": contents, "seed": bench.seed}

        def make() -> xr.Dataset:
            bench.progress("mapping scores", 0, 1)
            return score_maps(shown, contents=contents, seed=bench.seed)

        return bench.store.keep("maps", inputs, make)

    return {row: maps(row) for row in ROWS}


def centred(scores: Array) -> Array:
    """Return scores (query, key) less their mean at the same distance; NaN where there is none."""
    found = np.full_like(scores, np.nan)
    for distance in range(len(scores)):
        along = np.diagonal(scores, -distance)
        index = np.arange(along.size)
        found[index + distance, index] = along - along.mean()
    return found


def draw(
    ax: Axes, maps: xr.Dataset, block: int = 1, less_mean: bool = False, **limits: Any
) -> AxesImage:
    """Draw the mean score of every query and key as an image, which is returned.

    Parameters
    ----------
    ax
        Any axes.
    maps
        What `ropeleak.simulate.score_maps` returns.
    block
        Which block's.
    less_mean
        Whether the mean at the same distance is taken out.
    limits
        ``vmin`` and ``vmax`` of the colours.
    """
    scores = np.asarray(maps["score"].sel(block=block).values, dtype=float)
    shown = centred(scores) if less_mean else scores
    image = ax.imshow(shown, cmap="cividis", interpolation="nearest", **limits)
    ax.grid(False)
    ax.set_xlabel("key (tokens)")
    ax.set_ylabel("query (tokens)")
    return image


def compose(figure: Figure, found: Maps) -> None:
    """Draw a row of maps per attention, a block a column, and a scale of colours per row."""
    axes = figure.subplots(len(ROWS), BLOCKS, sharex=True, sharey=True)
    plain = max(_largest(found[row]) for row, (_, less_mean) in ROWS.items() if not less_mean)
    for line, (row, (_, less_mean)) in zip(axes, ROWS.items(), strict=True):
        most = _largest(found[row], less_mean=True) if less_mean else plain
        limits = {"vmin": -most if less_mean else 0.0, "vmax": most}
        for block, ax in enumerate(line, 1):
            image = draw(ax, found[row], block, less_mean, **limits)
            ax.label_outer()
        line[0].set_ylabel(f"{row}\n\nquery (tokens)")
        figure.colorbar(image, ax=list(line), label="mean score\n(nats)", shrink=0.9, aspect=12,
                        extend="neither" if less_mean else "max")  # fmt: skip
    for block, ax in enumerate(axes[0], 1):
        ax.set_title(f"block {block}")


def words(found: Maps) -> Mapping[str, str]:
    """Return the numbers of the caption."""
    maps = found["RoPE"]
    return {
        "source": SOURCE, "width": str(WIDTH), "contents": str(maps.attrs["contents"]),
        "last": str(BLOCKS), "largest": sig(_largest(maps.isel(block=[-1]), less_mean=True)),
    }  # fmt: skip


def _largest(maps: xr.Dataset, less_mean: bool = False) -> float:
    """Return the largest score of a query and another key."""
    below = np.tri(TOKENS, k=-1, dtype=bool)
    scores = np.asarray(maps["score"].values, dtype=float)
    shown = [centred(block) if less_mean else block for block in scores]
    return max(float(np.abs(block[below]).max()) for block in shown)


FIGURE = Recipe(
    name="predecessors",
    says="score maps of parameter-free stacks, with and without RoPE (arXiv 2509.21042)",
    width=style.PAGE,
    height=4.4,
    data=data,
    compose=compose,
    caption=CAPTION,
    words=words,
    takes_model=False,
)
