"""Every figure: nothing is lost, everything is named, captions hold no number of their own."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from PIL import Image

from ropeleak import Stack
from ropeleak.drawing import style
from ropeleak.figures import load, names, training
from ropeleak.figures.bench import Bench
from tools.pictures import README_PICTURE, difference, kept, pixels

TOLERANCE = 1.5
"""Root mean square of grey levels that another processor or font engine may change."""
CURVES: dict[str, list[tuple[int, int, int]]] = {
    "holes": [(0, 0, 0), (2, 0, 0), (10, 0, 0)],
    "denominator": [(3, 2, 0), (6, 3, 0)],
    "beacon": [(4, 4, 0), (3, 3, 0)],
    "leaks": [(4, 4, 0)] * 4,
    "ruler": [(4, 1, 0), (1, 2, 0)],
    "bos": [(4, 4, 0)] * 2,
    "architectures": [(6, 0, 0)] * 4,
    "plugs": [(26, 24, 0), (26, 24, 0), (26, 0, 0), (26, 0, 0)],
    "precision": [(6, 6, 0)],
    "training": [(1, 2, 0)] * 3,
    "predecessors": [(0, 0, 1)] * 12 + [(0, 0, 0)] * 3,
    "beyond": [(1, 1, 0), (4, 0, 0), (4, 4, 0)],
}
"""Lines, measurements and images of every axes."""

UNITLESS = ("block", "context over trained length", "BOS share of variance")
"""Labels of axes that count or compare."""


def trained() -> xr.Dataset:
    """Return made-up measurements of two architectures, one of them with fewer blocks."""
    random = np.random.default_rng(0)
    stacks = [
        Stack.build(name=f"{n} blocks", context=104, d_model=32, n_heads=2, n_blocks=n)
        for n in (3, 2)
    ]
    leaks, ruler = random.random((2, 2, 3, 2, 3)), random.random((2, 3, 2, 4))
    leaks[:, 1, ..., 2:], ruler[1, ..., 3:] = np.nan, np.nan
    over = ("architecture", "seed", "step")
    return xr.Dataset(
        {"mask": ((*over, "block"), leaks[0]), "residual": ((*over, "block"), leaks[1]),
         "d_prime": ((*over, "depth"), ruler),
         "stack": ("architecture", np.array([s.model_dump_json() for s in stacks], dtype=object))},
        {"architecture": [stack.name for stack in stacks], "seed": range(3), "step": [0, 640],
         "block": range(1, 4), "depth": range(4)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench("small")


def numbers(name: str, bench: Bench) -> Any:
    if name == "training" and training.missing():
        return training.compare(bench, trained())
    return load(name).data(bench)


def measurements(ax: Axes) -> list[ErrorbarContainer]:
    return [each for each in ax.containers if isinstance(each, ErrorbarContainer)]


def counted(ax: Axes) -> tuple[int, int, int]:
    """Return how many lines, measurements and images some axes have."""
    points = measurements(ax)
    return len(ax.lines) - len(points), len(points), len(ax.images)


@pytest.mark.parametrize("name", names())
def test_figure(name: str, bench: Bench) -> None:
    recipe = load(name)
    data = numbers(name, bench)
    figure = recipe.draw(data)
    assert (recipe.name, tuple(figure.get_size_inches())) == (name, (recipe.width, recipe.height))
    assert [counted(ax) for ax in figure.axes] == CURVES[name]

    shown = pixels(figure)
    check_caption(recipe.caption, recipe.float_of(data))
    check_names(figure)
    check_room(figure)
    if not (name == "training" and recipe.missing()):
        assert difference(shown, kept(name)) < TOLERANCE, "look at it, then run make pictures"
    for without in lost(figure):
        assert difference(shown, without) > TOLERANCE


def check_caption(caption: str, environment: str) -> None:
    """A caption has no number of its own, every placeholder is filled, and LaTeX can read it."""
    assert not re.search(r"\d", re.sub(r"\b(fp|bf)\d\d\b|(oken|position) 0\b", "", caption))
    assert not re.search(r"<[a-z ]+>", environment)
    assert environment.count("{") == environment.count("}")
    assert environment.count("$") % 2 == 0
    assert not re.search(r"(?<!\\)[%&#_]", environment.split("\n", 1)[1])
    assert environment.isascii()


def check_names(figure: Figure) -> None:
    """Every axis of numbers says what it is and, but for what is counted, in which unit."""
    for ax in figure.axes:
        for axis, words in ((ax.xaxis, ax.get_xlabel()), (ax.yaxis, ax.get_ylabel())):
            ticks = [text.get_text() for text in axis.get_ticklabels() if text.get_visible()]
            if any(re.fullmatch(r"\W?[\d.]+[%×]?", tick) for tick in ticks):
                assert words in UNITLESS or re.search(r"\(.+\)", words), (words, ticks)


def check_room(figure: Figure) -> None:
    """Nothing leaves the page, and no axes or legends overlap."""
    page, drawn = figure.bbox_inches.padded(0.02), figure.get_tightbbox()
    assert page.fully_contains(*drawn.min)
    assert page.fully_contains(*drawn.max)
    legends = [*figure.legends, *(ax.get_legend() for ax in figure.axes)]
    boxes = [each.get_window_extent() for each in (*figure.axes, *legends) if each is not None]
    for index, box in enumerate(boxes):
        assert not any(box.padded(-2).overlaps(other.padded(-2)) for other in boxes[:index])


def lost(figure: Figure) -> Iterator[Any]:
    """Yield what is seen where the theory, the measurements or the images of axes are lost.

    Of many axes some are tried.
    """
    figure.set_layout_engine("none")
    for ax in figure.axes[:: max(len(figure.axes) // 4, 1)]:
        points = measurements(ax)
        marked = {line for each in points for line in each.lines[:1]}
        theory = [line for line in ax.lines if line not in marked]
        measured = [*marked, *(bar for each in points for bar in each.lines[2])]
        for artists in (theory, measured, list(ax.images)):
            if artists:
                for artist in artists:
                    artist.set_visible(False)
                yield pixels(figure)
                for artist in artists:
                    artist.set_visible(True)


def test_the_readme_shows_the_figure_as_it_is(bench: Bench, tmp_path: Path) -> None:
    holes = load("holes")
    style.save(holes.draw(holes.data(bench)), tmp_path / "holes.png")
    first, second = (
        np.asarray(Image.open(path).convert("L"), dtype=float)
        for path in (README_PICTURE, tmp_path / "holes.png")
    )
    assert difference(first, second) < TOLERANCE, "look at it, then run make pictures"
