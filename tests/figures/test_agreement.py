"""The figure of theory and measurement."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PolyCollection

import ropeleak
from ropeleak import Stack
from ropeleak.figures import agreement
from ropeleak.results import plot_agreement

STACK = Stack.build(
    context=16, d_model=32, n_heads=2, n_blocks=4, mlp={"kind": "none"},
    init={"score_std": 1.0, "attention_gain": 1.0, "embedding_var": 1.0},
)  # fmt: skip


@pytest.fixture(scope="module")
def results() -> tuple[ropeleak.Result, ropeleak.Result]:
    return ropeleak.predict(STACK, positions="dense"), ropeleak.measure(STACK, draws=8, contents=4)


def test_lines_are_the_theory_and_bands_the_measurement(
    results: tuple[ropeleak.Result, ropeleak.Result],
) -> None:
    predicted, measured = (result.dataset for result in results)
    figure = agreement.plot(predicted, measured)
    leaks, *others = figure.axes
    np.testing.assert_array_equal(leaks.lines[0].get_ydata(), predicted["leak_mask"])
    band = next(c for c in leaks.collections if isinstance(c, PolyCollection))
    low, high = (f(np.asarray(band.get_paths()[0].vertices)[:, 1]) for f in (np.min, np.max))
    value, error = measured["leak_mask"].values, measured["leak_mask_se"].values
    assert low == pytest.approx((value - 2 * error).min())
    assert high == pytest.approx((value + 2 * error).max())
    for ax, name in zip(others, ("beacon", "k_diag", "log_z"), strict=True):
        dim = predicted[name].dims[0]
        np.testing.assert_array_equal(
            ax.lines[-1].get_ydata(), predicted[name].isel({dim: -1}).values
        )


def test_files_are_the_same_twice(
    results: tuple[ropeleak.Result, ropeleak.Result], tmp_path: Path
) -> None:
    for name in ("a.png", "b.png", "a.pdf", "b.pdf"):
        plot_agreement(*results, tmp_path / name)
    for suffix in ("png", "pdf"):
        first, second = (tmp_path / f"{name}.{suffix}" for name in "ab")
        assert first.read_bytes() == second.read_bytes()
