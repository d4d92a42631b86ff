"""Theory, Monte Carlo and trained models look the same wherever they are drawn."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from ropeleak.drawing import marks

X = np.arange(5.0)


def dataset(**attrs: str) -> xr.Dataset:
    values = {"beacon": ("query", X / 10), "beacon_se": ("query", X / 100)}
    return xr.Dataset(values, {"query": X}, attrs)


@pytest.mark.parametrize(
    ("attrs", "kind"),
    [
        ({}, "theory"),
        ({"method": "sampled"}, "theory"),
        ({"method": "monte-carlo"}, "monte-carlo"),
        ({"method": "monte-carlo", "weights": "model.safetensors"}, "trained"),
    ],
)
def test_kinds_are_told_by_the_dataset(attrs: dict[str, str], kind: str) -> None:
    assert marks.kind_of(dataset(**attrs)) == kind


def test_theory_is_a_line_with_a_band() -> None:
    ax = Figure().subplots()
    marks.draw(ax, dataset(), "beacon", X, row=1, label="words")
    (line,), (band,) = ax.lines, ax.collections
    assert (line.get_linestyle(), line.get_marker(), line.get_label()) == ("--", "None", "words")
    assert band.get_datalim(ax.transData).y1 == pytest.approx(0.4 + 2 * 0.04)


@pytest.mark.parametrize(
    ("attrs", "marker", "open_face"),
    [({}, "s", True), ({"weights": "x"}, "*", False)],
)
def test_measurements_are_points_with_error_bars(
    attrs: dict[str, str], marker: str, open_face: bool
) -> None:
    ax = Figure().subplots()
    marks.draw(ax, dataset(method="monte-carlo", **attrs), "beacon", X, row=1, label="words")
    (points,) = ax.containers
    assert isinstance(points, ErrorbarContainer)
    data, _, (bars,) = points.lines
    assert (data.get_linestyle(), data.get_marker(), data.get_label()) == ("None", marker, "words")
    assert (data.get_markerfacecolor() == "white") is open_face
    ends = np.array([np.asarray(path.vertices)[:, 1] for path in bars.get_paths()])
    np.testing.assert_allclose(ends, np.stack([X / 10 - X / 50, X / 10 + X / 50], axis=1))


def test_bars_of_roots_are_those_of_mean_squares() -> None:
    square, error = np.array([4.0, 0.0, 1.0]), np.array([0.5, 0.5, 1.0])
    root = np.sqrt(square)
    below, above = marks.error_bars(root, np.sqrt(square + error) - root, root=True)
    np.testing.assert_allclose((root + above) ** 2, square + 2 * error)
    np.testing.assert_allclose((root - below) ** 2, np.maximum(square - 2 * error, 0), atol=1e-15)


def test_many_positions_are_thinned_evenly_in_their_logarithm() -> None:
    kept = marks.evenly(np.arange(1000.0))
    assert kept[0] == 0
    assert kept[-1] == 999
    assert kept.size <= marks.MOST_POINTS
    steps = np.diff(np.log1p(kept[4:]))
    assert steps.max() < 1.2 * steps.min()
    np.testing.assert_array_equal(marks.evenly(X), np.arange(5))


def test_what_is_not_finite_is_left_out() -> None:
    ax = Figure().subplots()
    marks.curve(ax, [1, 2, 3], [1, np.nan, 3], [0.1, 0.1, 0.1], kind="monte-carlo")
    assert len(ax.lines[0].get_xdata()) == 2  # type: ignore[arg-type]


def test_the_legend_names_the_kinds_that_are_drawn() -> None:
    kinds: list[marks.Kind] = ["monte-carlo", "theory", "monte-carlo"]
    words = [str(line.get_label()) for line in marks.kind_handles(kinds)]
    assert words == ["theory", "Monte Carlo (± 2 standard errors)"]
