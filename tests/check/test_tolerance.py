"""The closed form against the errors of real roundings."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ropeleak.check import tolerance
from ropeleak.check._arrays import DTYPES, Door
from ropeleak.theory.rounding import of_rotation, of_tables
from ropeleak.theory.theorems import load
from tests.check.zoo import half, powers

D, DRAWS = 128, 4000
Array = NDArray[np.float64]


def shifted_errors(dtype: str, shift: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Errors of the scores of random pairs, and the positions of the four rotated vectors."""
    door = Door("numpy", dtype)
    m, n = rng.integers(0, 1024, (2, DRAWS))
    q, k = (door.array(x) for x in rng.standard_normal((2, DRAWS, 1, 1, D)))

    def score(a: Array, b: Array) -> Array:
        x = door.floats(half(q, a[:, None])) * door.floats(half(k, b[:, None]))
        return np.asarray(x.sum(-1)[:, 0, 0] / np.sqrt(D))

    return score(m + shift, n + shift) - score(m, n), np.stack([m, n, m + shift, n + shift], -1)


@pytest.mark.parametrize("shift", [257, 4099, 32_771, 1_000_003])
def test_fp32_angles_obey_the_law(shift: int) -> None:
    error, places = shifted_errors("fp32", shift, np.random.default_rng(shift))
    law = tolerance.angle_rms(places, powers(D).astype(np.float32), D, 24)
    # Squares of errors over their predicted variances have the mean 1.
    ratio = (error / np.hypot(law, tolerance.rotation_rms(tolerance.Precision.of("fp32")))) ** 2
    se = ratio.std() / np.sqrt(DRAWS)
    # Not all errors are uniform and independent: the law itself is good to 10 %.
    assert abs(ratio.mean() - 1) < 4 * se + 0.1


@pytest.mark.parametrize(("dtype", "shift"), [("bf16", 17), ("bf16", 4099), ("fp16", 17)])
def test_low_precision_obeys_the_law(dtype: str, shift: int) -> None:
    error, places = shifted_errors(dtype, shift, np.random.default_rng(1))
    precision = tolerance.Precision.of(dtype)
    law = np.hypot(tolerance.angle_rms(places, powers(D), D, 24), tolerance.rotation_rms(precision))
    # Slow pairs hardly turn at low positions, and cos = 1 is exact: the law is an upper one.
    assert 0.7 < np.sqrt(np.mean(error**2)) / np.sqrt(np.mean(law**2)) < 1.05


def test_published_magnitudes() -> None:
    for dtype, rms in (("bf16", 5.4e-3), ("fp16", 6.8e-4), ("fp32", 8.3e-8)):
        assert tolerance.rotation_rms(tolerance.Precision.of(dtype)) == pytest.approx(rms, rel=0.02)


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("size", [2, 4, 64, 128])
def test_no_error_passes_the_bound_and_the_bound_is_not_wide(dtype: str, size: int) -> None:
    rng = np.random.default_rng(size)
    door, precision = Door("numpy", dtype), tolerance.Precision.of(dtype)
    m, n, s = rng.integers(0, 5000, (3, 2000))
    q, k = (door.array(rng.choice([-1.0, 1.0], (2000, 1, 1, size))) for _ in range(2))

    def score(a: Array, b: Array) -> Array:
        x = door.floats(half(q, a[:, None])) * door.floats(half(k, b[:, None]))
        return np.asarray(x.sum(-1)[:, 0, 0] / np.sqrt(size))

    error = np.abs(score(m + s, n + s) - score(m, n))
    places = np.stack([m, n, m + s, n + s], -1)
    bound = tolerance.score_tolerance(places, powers(size), size, precision)
    assert (error < bound).all()
    if size >= 64:  # in smaller heads, most angles are those of exact pairs
        assert np.max(error / bound) > 0.1


@pytest.mark.parametrize("dtype", DTYPES)
def test_spacing_is_that_of_the_format(dtype: str) -> None:
    door = Door("numpy", dtype)
    x = door.rounded(np.array([1.0, 1.5, 2.0, 3.7, 1000.0, 0.3]))
    up = tolerance.spacing(x, door.dtype.bits)
    assert (door.rounded(x + up) == x + up).all()
    assert (door.rounded(x + up / 4) == x).all()
    assert tolerance.spacing(0.0, 8) == 0


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_one_rounding_obeys_the_law(dtype: str) -> None:
    door = Door("numpy", dtype)
    x = np.random.default_rng(0).standard_normal(400_000)
    rms = np.sqrt(np.mean((door.rounded(x) - x) ** 2))
    assert tolerance.rounding_rms(door.dtype.bits) == pytest.approx(rms, rel=0.01)


def test_tolerances_are_the_theorems() -> None:
    m, n, shift, w = 7.0, 1000.0, 4099.0, powers(D)
    places = np.array([m, n, m + shift, n + shift])
    for bits in (8, 11, 24, 53):
        theorem = load("precision-angle")(1.0, m, n, shift, w, D // 2, bits)
        # the first pair turns by whole radians, which are exact up to 2^bits
        if places.max() <= 2**bits:
            found = tolerance.angle_rms(places, w, D, bits)
            assert found == pytest.approx(theorem, rel=1e-12)
        assert of_tables(bits) == pytest.approx(load("precision-tables")(1.0, bits), rel=1e-12)
        assert of_rotation(bits) == pytest.approx(load("precision-rotation")(1.0, bits), rel=1e-12)


def test_the_quantile_grows_with_the_comparisons() -> None:
    assert 7 < tolerance.quantile(1) < tolerance.quantile(10**6) < 10
