"""Softmax moments: quadrature against exact cases, sampling and the series it replaces."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import roots_hermitenorm

from ropeleak.theory.softmax import (
    chi_square_nodes,
    cosine_nodes,
    row_moments,
    sigmoid_moments,
    softmax_moments,
)

Array = NDArray[np.float64]


def pair_average(f: Array, w: Array) -> float:
    return float(w @ f @ w)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5])
def test_two_keys_are_a_double_integral(sigma: float) -> None:
    z, w = roots_hermitenorm(100)
    w = w / w.sum()
    first, second = np.meshgrid(np.exp(sigma * z), np.exp(sigma * z), indexing="ij")
    total = first + second
    found = softmax_moments(np.array([2.0]), np.array([sigma]))
    assert found.log_z.item() == pytest.approx(pair_average(np.log(total), w), rel=1e-10)
    squares = (first**2 + second**2) / total**2
    assert found.participation.item() == pytest.approx(pair_average(squares, w), rel=1e-8)


@pytest.mark.parametrize("null", [-1.0, 0.0, 2.0])
def test_a_null_key_takes_its_share(null: float) -> None:
    z, w = roots_hermitenorm(100)
    w = w / w.sum()
    y = np.exp(1.2 * z)
    found = softmax_moments(np.array([1.0]), np.array([1.2]), np.array([null]))
    share = y / (y + np.exp(null))
    assert found.log_z.item() == pytest.approx(float(np.log(y + np.exp(null)) @ w), rel=1e-10)
    assert found.row_sum.item() == pytest.approx(float(share @ w), rel=1e-10)
    assert found.row_sum_square.item() == pytest.approx(float(share**2 @ w), rel=1e-10)
    assert found.participation.item() == pytest.approx(float(share**2 @ w), rel=1e-10)


def test_one_key_has_no_denominator_to_share() -> None:
    found = softmax_moments(np.array([1.0]), np.array([0.5, 3.0]))
    np.testing.assert_allclose(found.log_z, 0, atol=1e-11)
    np.testing.assert_allclose(found.participation, 1, atol=1e-10)


@pytest.mark.parametrize(("n", "sigma"), [(6, 1.6), (40, 2.0), (300, 1.0)])
def test_many_keys_are_what_sampling_finds(n: int, sigma: float) -> None:
    rng = np.random.default_rng(3)
    s = sigma * rng.normal(size=(20_000, n))
    e = np.exp(s)
    z = e.sum(1)
    found = softmax_moments(np.array([float(n)]), np.array([sigma]))
    samples = {"log_z": np.log(z), "participation": (e**2).sum(1) / z**2}
    for name, sample in samples.items():
        error = sample.std(ddof=1) / np.sqrt(sample.size)
        assert abs(getattr(found, name).item() - sample.mean()) < 4 * error, name


def test_large_rows_follow_the_series() -> None:
    n, sigma = np.array([1e5, 1e6]), 0.5
    found = softmax_moments(n, np.array([sigma])).log_z[:, 0, 0]
    series = np.log(n) + sigma**2 / 2 - np.expm1(sigma**2) / (2 * n)
    np.testing.assert_allclose(found, series, atol=1e-9)


def test_tables_agree_with_the_quadrature() -> None:
    n = np.array([1, 2, 3, 5, 17, 100, 1234, 99_999], dtype=float)
    for sigma in (0.05, 0.4, 1.1, 2.3):
        table = row_moments(n, np.full(n.size, sigma))
        exact = softmax_moments(n, np.array([sigma]))
        np.testing.assert_allclose(table.log_z, exact.log_z[:, 0, 0], atol=2e-4)
        np.testing.assert_allclose(table.participation, exact.participation[:, 0, 0], rtol=2e-3)


def test_a_small_head_widens_the_scores() -> None:
    rng = np.random.default_rng(5)
    head, n, sigma = 8, 50, 1.0
    q = rng.normal(size=(20_000, head))
    s = np.sqrt((q**2).mean(1, keepdims=True)) * sigma * rng.normal(size=(20_000, n))
    sample = np.log(np.exp(s).sum(1))
    found = row_moments(np.array([float(n)]), np.array([sigma]), dof=head).log_z.item()
    assert abs(found - sample.mean()) < 4 * sample.std(ddof=1) / np.sqrt(sample.size)


@pytest.mark.parametrize("dof", [1, 2, 64, 343, 344, 4096, 10**6])
def test_nodes_of_a_querys_norm_have_its_moments(dof: int) -> None:
    x, w = chi_square_nodes(dof)
    for power in range(6):
        moment = np.prod(1 + 2 * np.arange(power) / dof)
        assert w @ x**power == pytest.approx(moment, rel=1e-12)


def test_sigmoid_rows_are_what_sampling_finds() -> None:
    rng = np.random.default_rng(7)
    n, sigma, bias, shared = 20, 1.3, -2.0, 0.4
    common = np.sqrt(shared) * rng.normal(size=(50_000, 1))
    s = sigma * (common + np.sqrt(1 - shared) * rng.normal(size=(50_000, n)))
    a = 1 / (1 + np.exp(-s - bias))
    rows = [np.array([x]) for x in (n, sigma, bias, shared)]
    found = sigmoid_moments(*rows)
    samples = {"row_sum": a.sum(1), "row_sum_square": a.sum(1) ** 2, "participation": (a**2).sum(1)}
    for name, sample in samples.items():
        error = sample.std(ddof=1) / np.sqrt(sample.size)
        assert abs(getattr(found, name).item() - sample.mean()) < 4 * error + 0.002, name


@pytest.mark.parametrize("size", [1, 2, 3, 6, 64, 1024])
def test_cosines_have_the_moments_of_directions(size: int) -> None:
    z, w = cosine_nodes(size)
    assert w.sum() == pytest.approx(1, rel=1e-12)
    assert (w @ z).item() == pytest.approx(0, abs=1e-12)
    accuracy = 1e-3 if size == 3 else 1e-9  # where the density has corners
    assert (w @ z**2).item() == pytest.approx(1, rel=accuracy)
    assert (w @ z**4).item() == pytest.approx(3 * size / (size + 2), rel=accuracy)


@pytest.mark.parametrize(("n", "sigma", "size"), [(6, 1.6, 4), (40, 1.0, 64), (200, 1.5, 8)])
def test_normalised_queries_and_keys_are_what_sampling_finds(
    n: int, sigma: float, size: int
) -> None:
    rng = np.random.default_rng(4)
    keys = rng.normal(size=(10_000, n, size))
    cosine = keys[..., 0] / np.linalg.norm(keys, axis=-1)  # with any one direction
    e = np.exp(sigma * np.sqrt(size) * cosine)
    z = e.sum(1)
    found = softmax_moments(np.array([float(n)]), np.array([sigma]), unit=size)
    samples = {"log_z": np.log(z), "participation": (e**2).sum(1) / z**2}
    for name, sample in samples.items():
        error = sample.std(ddof=1) / np.sqrt(sample.size)
        assert abs(getattr(found, name).item() - sample.mean()) < 4 * error, name


def test_many_dimensions_are_gaussian() -> None:
    n, sigma = np.array([1.0, 7.0, 500.0]), np.array([0.4, 1.3])
    wide, normal = softmax_moments(n, sigma, unit=10**6), softmax_moments(n, sigma)
    for name, values in normal._asdict().items():
        np.testing.assert_allclose(getattr(wide, name), values, rtol=1e-4, atol=1e-5)
