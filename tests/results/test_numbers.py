"""Plain arrays say what their dataset says."""

import json

import numpy as np
import pytest
import xarray as xr

from ropeleak import Result, Stack
from ropeleak.cli._report import as_data
from ropeleak.numbers import Numbers
from ropeleak.selection import at_position
from ropeleak.simulate import Measurement

STACK = Stack.build(context=24, d_model=32, n_heads=2, n_blocks=3)


@pytest.fixture(scope="module")
def measurement() -> Measurement:
    measurement = Measurement(STACK, contents=2, keep="full")
    measurement.run(3)
    return measurement


def test_numbers_become_their_dataset_and_come_back(measurement: Measurement) -> None:
    numbers, dataset = measurement.numbers(), measurement.dataset()
    xr.testing.assert_identical(numbers.dataset(), dataset)
    back = Numbers.of(dataset)
    assert list(back.variables) == list(numbers.variables)
    assert all(np.array_equal(back.variables[k], v) for k, v in numbers.variables.items())
    xr.testing.assert_identical(back.dataset(), dataset)


def test_numbers_at_a_position_are_those_of_the_dataset(measurement: Measurement) -> None:
    coarse = measurement.dataset().isel(query=[0, 1, 5, 20], key=[0, 1, 5, 20])
    for name in ("beacon", "log_z_se", "K"):
        for position in (0, 3, 5, 23):
            np.testing.assert_array_equal(
                Numbers.of(coarse).at(name, position), at_position(coarse[name], position)
            )


def test_a_result_says_the_same_of_both(measurement: Measurement) -> None:
    plain, labelled = Result(measurement.numbers()), Result(measurement.dataset())
    assert plain.verdict() == labelled.verdict()
    assert json.dumps(as_data("x", plain)) == json.dumps(as_data("x", labelled))
    assert plain.table().equals(labelled.table())
    xr.testing.assert_identical(plain.dataset, labelled.dataset)
