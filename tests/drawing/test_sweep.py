"""Figures of sweeps: lines or heat maps, whatever the dimensions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ropeleak import sweep
from ropeleak.drawing import style
from ropeleak.drawing import sweep as drawing
from ropeleak.sweeps.api import plot_sweep
from tests.sweeps.support import STACK

STDS = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1]
WINDOWS = [1, 2, 3, 4, 6, 8, 12]


@pytest.mark.parametrize(
    ("over", "zipped", "panels", "lines", "maps"),
    [
        ({"window": WINDOWS}, (), 3, 1, 0),
        ({"window": WINDOWS, "bos": ["constant", "random"]}, (), 3, 2, 0),
        ({"bos": ["constant", "random"], "norm.placement": ["pre", "none"]}, (), 3, 2, 0),
        ({"window": WINDOWS, "init.score_std": STDS}, (), 3, 0, 1),
        ({"window": WINDOWS, "init.score_std": STDS[:2], "bos": ["constant", "random"]}, (),
         6, 2, 0),
        ({"window": WINDOWS, "init.score_std": STDS, "alpha": [0.0, 0.1]}, (), 6, 0, 1),
        ({"window": WINDOWS, "init.score_std": STDS}, ["window+init.score_std"], 3, 1, 0),
        ({"window": WINDOWS[:2], "alpha": [0.0, 0.1], "bos": ["constant", "random"],
          "n_blocks": [1, 2]}, (), 6, 2, 0),
        ({"window": [2]}, (), 3, 1, 0),
        ({"window": [2, 4, 0]}, (), 3, 1, 0),
    ],
)  # fmt: skip
def test_what_is_drawn_fits_the_dimensions(
    over: dict[str, Any], zipped: Sequence[str], panels: int, lines: int, maps: int
) -> None:
    figure = drawing.plot(sweep(STACK, over, zipped=zipped, workers=1))
    axes = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    assert len(axes) == panels
    assert {len(ax.lines) for ax in axes} == {lines}
    assert {len(ax.images) for ax in axes} == {maps}


def test_lines_and_maps_show_the_numbers() -> None:
    found = sweep(STACK, {"window": WINDOWS[::-1], "init.score_std": STDS}, workers=1)
    last = found["leak_mask"].isel(block=-1)
    figure = drawing.plot(found)
    (image,) = figure.axes[0].images
    expected = last.transpose("init.score_std", "window").values[:, ::-1]
    np.testing.assert_array_equal(np.asarray(image.get_array()), expected)
    (line,) = drawing.plot(found.isel({"init.score_std": [0]})).axes[0].lines
    np.testing.assert_array_equal(line.get_xdata(), WINDOWS)
    np.testing.assert_array_equal(line.get_ydata(), last.values[::-1, 0])


def test_panels_side_by_side_have_room_for_the_lines_of_all() -> None:
    over = {"window": WINDOWS, "alpha": [0.0, 0.1, 0.2], "init.score_std": [0.3, 1.2]}
    for ax in drawing.plot(sweep(STACK, over, workers=1)).axes:
        highest = max(np.max(line.get_ydata()) for line in ax.lines)
        assert ax.get_ylim()[0] <= 0 and highest <= ax.get_ylim()[1]


def test_errors_are_bands_and_failures_are_blank() -> None:
    options: dict[str, Any] = {"method": "measure", "draws": 3, "contents": 2, "workers": 1}
    found = sweep(STACK, {"window": [2, 4, 0, 8]}, variables=["leak_total"], **options)
    figure = drawing.plot(found)
    (ax,) = figure.axes
    assert "total leak" in ax.get_ylabel()
    assert len(ax.collections) == 1
    assert np.isnan(np.asarray(ax.lines[0].get_ydata())[0])  # window 0 comes first


def test_a_ratio_of_values_makes_a_logarithmic_axis() -> None:
    for values, scale in (([1, 2, 4, 8], "log"), ([1, 4, 7, 10], "linear")):
        figure = drawing.plot(sweep(STACK, {"window": values}, workers=1))
        assert figure.axes[0].get_xscale() == scale
        assert [tick.get_text() for tick in figure.axes[-1].get_xticklabels()] == [
            str(v) for v in values
        ] or scale == "linear"


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_files_come_out_the_same(suffix: str, tmp_path: Path) -> None:
    found = sweep(STACK, {"window": [2, 4]}, workers=1)
    for name in "ab":
        plot_sweep(found, tmp_path / f"{name}.{suffix}")
    one, other = (tmp_path.joinpath(f"{name}.{suffix}").read_bytes() for name in "ab")
    assert one == other
    assert drawing.plot(found).get_size_inches()[0] == pytest.approx(style.COLUMN)
