"""Random numbers and elementary functions of the kernels."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats

from ropeleak.simulate import _kernels as kernels


def normals(key: int, size: int, dtype: type = np.float32) -> NDArray[Any]:
    out: NDArray[Any] = np.empty(size, dtype)
    kernels.fill_normal(np.uint64(key), 1.0, out)
    return out


def test_normals_are_normal() -> None:
    assert stats.kstest(normals(1, 10**6).astype(float), "norm").pvalue > 1e-3
    tail = np.abs(normals(2, 4 * 10**6))
    for level in (3.0, 4.0, 4.5):
        wanted = tail.size * 2 * stats.norm.sf(level)
        assert abs((tail > level).sum() - wanted) < 4 * math.sqrt(wanted)


def test_the_two_of_a_pair_are_independent() -> None:
    x = normals(3, 10**6)
    first, second = x[: x.size // 2], x[x.size // 2 :]
    for a, b in ((first, second), (first**2, second**2), (first[1:], first[:-1])):
        assert abs(stats.pearsonr(a, b).statistic) < 4 / math.sqrt(first.size)


def test_streams_are_independent() -> None:
    keys = [
        kernels.stream(seed, draw, kind, a, b)
        for seed in map(np.uint64, (0, 1, 2**64 - 1))
        for draw in (0, 1)
        for kind in (0, 5)
        for a in (0, 1)
        for b in (0, 1)
    ]
    assert len(set(keys)) == len(keys)
    x, y = normals(int(keys[0]), 10**5), normals(int(keys[1]), 10**5)
    assert abs(np.corrcoef(x, y)[0, 1]) < 4 / math.sqrt(x.size)


def test_an_odd_size_is_filled() -> None:
    assert np.isfinite(normals(4, 1)).all()
    assert len(set(normals(4, 7).tolist())) == 7


def test_double_precision_has_the_same_numbers() -> None:
    np.testing.assert_array_equal(normals(5, 99), normals(5, 99, np.float64))


@pytest.mark.parametrize(
    ("kernel", "exact", "low", "high", "accuracy"),
    [
        (kernels._exp32, np.exp, -87.0, 88.0, 3e-7),
        (kernels._tanh32, np.tanh, -12.0, 12.0, 3e-7),
        (kernels._erf32, special.erf, -6.0, 6.0, 5e-7),
    ],
)
def test_elementary_functions(
    kernel: Callable[[np.float32], float], exact: np.ufunc, low: float, high: float, accuracy: float
) -> None:
    """Accuracy is relative for the exponential and above 1, absolute elsewhere."""
    x = np.linspace(low, high, 4001).astype(np.float32)
    got = np.array([kernel(value) for value in x], dtype=float)
    wanted = exact(x.astype(float))
    size = wanted if kernel is kernels._exp32 else np.maximum(np.abs(wanted), 1.0)
    assert (np.abs(got - wanted) <= accuracy * size).all()


def test_the_exponential_of_zero_is_one() -> None:
    assert kernels._exp32(np.float32(0)) == 1.0
