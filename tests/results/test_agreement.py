"""Theory beside measurement: scores and shares, against numbers worked out by hand."""

import numpy as np
import xarray as xr

from ropeleak.agreement import gaps, z_scores


def dataset(**values: list[float]) -> xr.Dataset:
    return xr.Dataset({name: ("query", np.array(v)) for name, v in values.items()},
                      {"query": np.arange(len(next(iter(values.values()))))})  # fmt: skip


def test_scores_are_differences_in_standard_errors() -> None:
    theory = dataset(k_diag=[1.0, 2.0, 5.0])
    measured = dataset(k_diag=[1.5, 2.0, 2.0], k_diag_se=[0.25, 0.1, 1.0])
    np.testing.assert_allclose(z_scores(theory, measured)["k_diag"], [-2.0, 0.0, 3.0])


def test_roots_of_mean_squares_are_compared_as_squares() -> None:
    """A leak of 0 ± √e is a mean square of 0 ± e."""
    theory = dataset(leak_residual=[0.2, 0.5])
    measured = dataset(leak_residual=[0.0, 0.4], leak_residual_se=[0.1, 0.1])
    wanted = [0.04 / 0.01, (0.25 - 0.16) / (0.25 - 0.16)]
    np.testing.assert_allclose(z_scores(theory, measured)["leak_residual"], wanted)


def test_exact_numbers_agree_or_do_not() -> None:
    theory = dataset(sink=[1.0, 0.5, 0.5])
    measured = dataset(sink=[1.0, 0.5 + 1e-9, 0.6], sink_se=[0.0, 0.0, 0.0])
    np.testing.assert_array_equal(z_scores(theory, measured)["sink"], [0.0, 0.0, -np.inf])


def test_only_common_positions_are_compared() -> None:
    theory = dataset(k_diag=[1.0, 2.0, 3.0, 4.0]).isel(query=[0, 3])
    measured = dataset(k_diag=[1.0, 2.0, 3.0, 5.0], k_diag_se=[1.0, 1.0, 1.0, 1.0])
    assert z_scores(theory, measured)["k_diag"].values.tolist() == [0.0, -1.0]
    assert gaps(theory, measured)["k_diag"] == np.sqrt(1 / 26)
