"""The figure of theory and measurement."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

import ropeleak
from ropeleak import Stack
from ropeleak.drawing import agreement, marks
from ropeleak.results import plot_agreement

STACK = Stack.build(
    context=16, d_model=32, n_heads=2, n_blocks=4, mlp={"kind": "none"},
    init={"score_std": 1.0, "attention_gain": 1.0, "embedding_var": 1.0},
)  # fmt: skip


@pytest.fixture(scope="module")
def results() -> tuple[ropeleak.Result, ropeleak.Result]:
    return ropeleak.predict(STACK, positions="dense"), ropeleak.measure(STACK, draws=8, contents=4)


def test_lines_are_the_theory_and_points_the_measurement(
    results: tuple[ropeleak.Result, ropeleak.Result],
) -> None:
    predicted, measured = (result.dataset for result in results)
    figure = agreement.plot(predicted, measured)
    leaks, *others = figure.axes
    np.testing.assert_array_equal(leaks.lines[0].get_ydata(), predicted["leak_mask"])
    points = leaks.containers[0]
    assert isinstance(points, ErrorbarContainer)
    value, error = measured["leak_mask"].values, measured["leak_mask_se"].values
    np.testing.assert_array_equal(points.lines[0].get_ydata(), value)
    (bars,) = points.lines[2]
    ends = np.array([np.asarray(bar.vertices)[:, 1] for bar in bars.get_paths()])
    band = 2 * ((value + error) ** 2 - value**2)  # of the mean square, which the leak is a root of
    squares = np.stack([value**2 - band, value**2 + band], axis=1)
    np.testing.assert_allclose(ends, np.sqrt(np.maximum(squares, 0)))
    for ax, name in zip(others, ("beacon", "k_diag", "log_z"), strict=True):
        dim = predicted[name].dims[0]
        lines = {tuple(np.asarray(line.get_ydata())) for line in ax.lines}
        for dataset, kept in ((predicted, slice(None)), (measured, marks.evenly(np.arange(16.0)))):
            assert tuple(dataset[name].isel({dim: -1}).values[kept]) in lines


def test_legends_name_every_curve_once(
    results: tuple[ropeleak.Result, ropeleak.Result],
) -> None:
    figure = agreement.plot(*(result.dataset for result in results))
    legends = [figure.axes[k].get_legend() for k in (0, 1, 3)]
    words = [[text.get_text() for text in legend.get_texts()] for legend in legends if legend]
    assert words[0] == ["mask", "residual", "total"]
    assert words[1] == ["after block", "1", "2", "3", "4"]
    assert words[2] == ["block", "1", "2", "3", "4", "ln(1 + i)"]
    kinds = [text.get_text() for text in figure.legends[0].get_texts()]
    assert kinds == ["theory", "Monte Carlo (± 2 standard errors)"]


def test_files_are_the_same_twice(
    results: tuple[ropeleak.Result, ropeleak.Result], tmp_path: Path
) -> None:
    for name in ("a.png", "b.png", "a.pdf", "b.pdf"):
        plot_agreement(*results, tmp_path / name)
    for suffix in ("png", "pdf"):
        first, second = (tmp_path / f"{name}.{suffix}" for name in "ab")
        assert first.read_bytes() == second.read_bytes()
