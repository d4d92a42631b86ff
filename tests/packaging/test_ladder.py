"""The comparison of theories and Monte Carlo: its page, and how its cells are made."""

import numpy as np
import pytest
import xarray as xr

from ropeleak.theory.provenance import DRIFT
from tools.ladder import (
    BLOCK,
    DEPTHS,
    PAGE,
    QUANTITIES,
    SCORE_STDS,
    Estimate,
    difference,
    estimates,
    settings,
)


def test_the_page_is_of_these_settings() -> None:
    found = BLOCK.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None
    lines = found[0].splitlines()
    assert lines[: len(settings())] == settings(), "run make ladder"
    assert [line for line in lines if line.startswith("## ")] == [
        f"## σ = {sigma:g}" for sigma in SCORE_STDS
    ]
    heads = [line for line in lines if line.startswith("| depth")]
    assert len(heads) == 2 * len(SCORE_STDS)
    assert all(line.count("`") == 2 * len(QUANTITIES) for line in heads)


@pytest.mark.parametrize("sigma", SCORE_STDS)
def test_reports_tell_where_the_closed_recursion_drifts(sigma: float) -> None:
    words = {
        "sink_excess": "attention to token 0",
        "leak_residual": "residual leak",
        "q_diag": "shared variance",
    }
    text = PAGE.read_text(encoding="utf-8").split(f"## σ = {sigma:g}\n")[1]
    rows = text.split("Sampled against")[0].splitlines()
    cells = [row.split("|")[2:-1] for row in rows if "**" in row]
    drifting = {name for row in cells for name, cell in zip(QUANTITIES, row, strict=True)
                if "**" in cell}  # fmt: skip
    told = DRIFT.get(sigma, "")
    assert drifting == {name for name, word in words.items() if word in told}


@pytest.mark.parametrize(
    ("first", "second", "cell"),
    [
        ((1.1, 0.0), (1.0, 0.01), "**+10.0 ± 1.1**"),
        ((1.1, 0.0), (1.0, 0.06), "+10.0 ± 6.6"),
        ((1.02, 0.0), (1.0, 0.001), "+2.0 ± 0.1"),
        ((0.0, 0.0), (1.0, 0.1), "within noise"),
        ((1.0, 0.1), (0.1, 0.2), "within noise"),
    ],
)
def test_cells_are_ratios_with_errors(
    first: tuple[float, float], second: tuple[float, float], cell: str
) -> None:
    pair = [Estimate(*(np.array([x]) for x in values)) for values in (first, second)]
    assert list(difference(*pair)) == [cell]


def test_runs_are_averaged_with_their_spread() -> None:
    def run(value: float) -> xr.Dataset:
        depth, query = np.arange(max(DEPTHS) + 1), np.arange(3)
        rows = np.full((depth.size, 3), value)
        rows[:, 0] = 1e9  # position 0 is left out
        values = {
            name: ("depth", rows[:, 1]) if name.startswith("leak") else (("depth", "query"), rows)
            for name in QUANTITIES
        }
        return xr.Dataset(values, {"depth": depth, "query": query})

    found = estimates([run(3.0), run(5.0)])
    assert found["k_diag"].mean == pytest.approx(np.full(len(DEPTHS), 4.0))
    assert found["k_diag"].error == pytest.approx(np.full(len(DEPTHS), 1.0))
    # the squares 9 and 25 have the mean 17 with an error of 8
    assert found["leak_mask"].mean == pytest.approx(np.full(len(DEPTHS), 17**0.5))
    assert found["leak_mask"].error == pytest.approx(np.full(len(DEPTHS), 4 / 17**0.5))
