"""Positions off the grid, representative blocks, and numbers in words."""

import numpy as np
import pytest
import xarray as xr

from ropeleak.describe import percent, sig, spread
from ropeleak.selection import at_position, pair_of_positions, representative_blocks


def test_pairs_exist_in_their_context() -> None:
    for context in range(1, 300):
        pair = pair_of_positions(context)
        assert all(0 < i < context for i in pair)
        assert list(pair) == sorted(set(pair))
        assert len(pair) == 2 or context < 3
    assert pair_of_positions(101) == (50, 100)


def test_positions_between_the_grid_are_interpolated_in_log_position() -> None:
    query = np.array([0, 1, 2, 4, 64, 1000])
    law = xr.DataArray(3 - 2 * np.log1p(query), dims="query", coords={"query": query})
    for i in (0, 1, 3, 50, 100, 999, 1000):
        assert float(at_position(law, i)) == pytest.approx(3 - 2 * np.log1p(i), abs=1e-12)
    assert float(at_position(law, 5000)) == float(law[-1])
    assert float(at_position(law[:1], 0)) == 3.0


def test_representative_blocks_show_both_kinds() -> None:
    leak = [0.1 if block % 6 else 0.5 for block in range(1, 41)]
    shown = representative_blocks(np.array(leak), 6)
    assert len(shown) <= 6
    assert {shown[0], shown[-1]} == {1, 40}
    assert {leak[block - 1] for block in shown} == {0.1, 0.5}
    assert representative_blocks(np.array(leak)) == list(range(1, 41))
    assert representative_blocks(np.full(5, 0.1), 12) == [1, 2, 3, 4, 5]
    assert representative_blocks(np.full(30, np.nan), 4) == [1, 11, 20, 30]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.4799, "0.48"), (0.0, "0"), (12.3, "12"), (123.4, "123"), (1.0, "1"), (2e-7, "2e-07"),
     (123456.0, "1.2e+05"), (float("nan"), "-"), (None, "-"), (-0.5, "-0.5")],
)  # fmt: skip
def test_significant_digits(value: float | None, text: str) -> None:
    assert sig(value) == text


def test_shares_and_ranges() -> None:
    assert percent(0.031) == "3.1%"
    assert percent(1e-7) == "< 0.01%"
    assert percent(0.0) == "0%"
    assert percent(float("nan")) == "-"
    assert spread([0.481, 0.4799]) == "0.48"
    assert spread([0.03, 0.48, 0.1]) == "0.03 to 0.48"
