"""The figure draws every curve that it should, and the same bytes every time."""

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ropeleak import RopeleakError, Stack, predict
from ropeleak.drawing import prediction, style


def small(**fields: object) -> Stack:
    return Stack.build(
        **{"context": 24, "d_model": 64, "n_heads": 4, "n_blocks": 5,
           "init": {"scheme": "fan_in"}, **fields}
    )  # fmt: skip


def ends_at(ax: Axes, last: int) -> bool:
    """Whether an axis of positions shows them all, and little more."""
    low, high = ax.get_xlim()
    return -0.1 < low < 0 and last < high < 1.1 * last


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    return predict(small()).dataset


@pytest.fixture(scope="module")
def mixed() -> xr.Dataset:
    return predict(small(attention=[{"window": 4}, {}])).dataset


def test_leak_curves_are_the_data(dataset: xr.Dataset) -> None:
    ax = Figure().subplots()
    prediction.draw_leak_by_block(ax, dataset)
    curves = {str(line.get_label()): line.get_ydata() for line in ax.lines}
    assert list(curves) == ["mask", "residual", "total"]
    for name, words in prediction.LEAKS.items():
        np.testing.assert_array_equal(curves[words], dataset[name])
    assert ax.get_xlabel() == "block"
    assert ax.get_ylabel() == "leak (nats RMS)"


def test_local_and_full_blocks_are_curves_of_their_own(mixed: xr.Dataset) -> None:
    ax = Figure().subplots()
    prediction.draw_leak_by_block(ax, mixed)
    full, local = ax.lines[:2]
    assert np.asarray(full.get_xdata()).tolist() == [2, 4]
    assert np.asarray(local.get_xdata()).tolist() == [1, 3, 5]
    np.testing.assert_array_equal(local.get_ydata(), mixed["leak_mask"].sel(block=[1, 3, 5]))
    assert full.get_markerfacecolor() != local.get_markerfacecolor()


@pytest.mark.parametrize(
    ("draw", "name", "dim"),
    [
        (prediction.draw_beacon, "beacon", "depth"),
        (prediction.draw_log_z, "log_z", "block"),
    ],
)
def test_curves_against_position_are_the_data(
    dataset: xr.Dataset, draw: object, name: str, dim: str
) -> None:
    ax = Figure().subplots()
    draw(ax, dataset, None, None, [1, 5])  # type: ignore[operator]
    for line, level in zip(ax.lines, (1, 5), strict=False):
        np.testing.assert_array_equal(line.get_xdata(), dataset["query"])
        np.testing.assert_array_equal(line.get_ydata(), dataset[name].sel({dim: level}))
    assert ax.get_xlabel() == "position (tokens)"
    assert ends_at(ax, 23)


def test_variance_is_relative_to_the_last_position(dataset: xr.Dataset) -> None:
    ax = Figure().subplots()
    prediction.draw_variance(ax, dataset)
    assert len(ax.lines) == len(prediction.shown_depths(5))
    for line in ax.lines:
        assert np.asarray(line.get_ydata())[-1] == 1


def test_the_reference_is_drawn_once(dataset: xr.Dataset) -> None:
    ax = Figure().subplots()
    prediction.draw_log_z(ax, dataset, "a", 0)
    prediction.draw_log_z(ax, dataset, "b", 1)
    assert [line.get_gid() for line in ax.lines].count("reference") == 1


def test_standard_errors_are_bands(dataset: xr.Dataset) -> None:
    measured = dataset.assign(
        leak_mask_se=0.1 * dataset["leak_mask"], beacon_se=0.1 * dataset["beacon"],
        k_diag_se=0.1 * dataset["k_diag"], log_z_se=0.1 * dataset["log_z"],
    )  # fmt: skip
    bands = [len(ax.collections) for ax in prediction.plot(measured).axes]
    assert bands == [1, 4, 4, 4]
    assert [len(ax.collections) for ax in prediction.plot(dataset).axes] == [0, 0, 0, 0]


def test_one_architecture_shows_depths(dataset: xr.Dataset) -> None:
    leak, beacon, variance, log_z = prediction.plot(dataset).axes
    assert [len(ax.lines) for ax in (leak, beacon, variance, log_z)] == [3, 4, 4, 5]
    legend = beacon.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "after block", "1", "2", "3", "5",
    ]  # fmt: skip
    assert all(ax.get_ylabel() for ax in (leak, beacon, variance, log_z))
    styles = {(line.get_linestyle(), str(line._dash_pattern)) for line in beacon.lines}  # type: ignore[attr-defined]
    assert len(styles) == 4


def test_several_architectures_are_overlaid(dataset: xr.Dataset, mixed: xr.Dataset) -> None:
    figure = prediction.plot({"full": dataset, "mixed": mixed})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["full", "mixed"]
    leak, beacon, variance, log_z = figure.axes
    assert [len(ax.lines) for ax in (leak, beacon, variance, log_z)] == [3 + 6, 2, 2, 3]
    assert beacon.lines[0].get_color() != beacon.lines[1].get_color()
    assert beacon.lines[0].get_marker() != beacon.lines[1].get_marker()
    np.testing.assert_array_equal(beacon.lines[1].get_ydata(), mixed["beacon"].isel(depth=-1))


def test_contexts_of_different_length_all_fit(dataset: xr.Dataset) -> None:
    longer = predict(small(context=40, n_blocks=7)).dataset
    for order in ({"a": dataset, "b": longer}, {"b": longer, "a": dataset}):
        leak, beacon, *_ = prediction.plot(order).axes
        assert ends_at(beacon, 39)
        assert leak.get_xlim() == (0.5, 7.5)


@pytest.mark.parametrize("fields", [{"context": 1}, {"n_blocks": 1}, {"bos": {"kind": "random"}}])
def test_degenerate_results_can_be_drawn(fields: dict[str, object], tmp_path: Path) -> None:
    style.save(prediction.plot(predict(small(**fields)).dataset), tmp_path / "a.png")


def test_files_are_reproducible(dataset: xr.Dataset, tmp_path: Path) -> None:
    for suffix in ("pdf", "png", "svg"):
        first, second = tmp_path / f"1.{suffix}", tmp_path / f"2.{suffix}"
        for path in (first, second):
            style.save(prediction.plot(dataset), path)
        assert first.read_bytes() == second.read_bytes()


def test_files_know_no_other_format(dataset: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(RopeleakError, match=r"\.pdf, \.png, \.svg"):
        style.save(prediction.plot(dataset), tmp_path / "a.gif")
    assert os.listdir(tmp_path) == []


def test_the_style_does_not_outlive_its_block(dataset: xr.Dataset) -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    prediction.plot(dataset)
    assert dict(mpl.rcParams) == before


def test_figures_need_no_pyplot() -> None:
    import subprocess
    import sys

    code = "import sys, ropeleak.drawing.prediction; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
