"""Uniform attention: exact rational arithmetic to 200 tokens, high precision to a million."""

import math
from fractions import Fraction
from functools import cache
from math import comb

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ropeleak.theory.theorems import load

TOKENS = 200


@cache
def column(j: int, layers: int) -> list[list[Fraction]]:
    """Return column ``j`` of the powers 0 .. layers of ``U``, as exact rationals."""
    powers = [[Fraction(int(i == j)) for i in range(TOKENS)]]
    for _ in range(layers):
        total, row = Fraction(0), []
        for i, value in enumerate(powers[-1]):
            total += value
            row.append(total / (i + 1))
        powers.append(row)
    return powers


@pytest.mark.parametrize("j", [0, 1, 17, 198])
def test_powers_are_exact_to_two_hundred_tokens(j: int) -> None:
    layers = 12
    exact = column(j, layers)
    found = load("averaging-power")(layers, np.arange(j, TOKENS), j)
    assert found.shape == (TOKENS - j, layers)
    for m in range(1, layers + 1):
        for i in range(j, TOKENS):
            assert found[i - j, m - 1] == pytest.approx(float(exact[m][i]), rel=1e-11)


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_functions_are_exact_rationals(data: st.DataObject) -> None:
    j = data.draw(st.integers(0, 40))
    i = data.draw(st.integers(j, TOKENS - 1))
    layers = data.draw(st.integers(0, 6))
    weight = data.draw(st.fractions(0, 1, max_denominator=50))
    moments = [(1 - weight + weight / (k + 1)) ** layers for k in range(TOKENS)]
    rational = load("averaging-function")(i, j, moments)
    powers = column(j, 6)
    expected = sum(
        comb(layers, m) * (1 - weight) ** (layers - m) * weight**m * powers[m][i]
        for m in range(layers + 1)
    )
    assert rational == expected
    if layers:
        entries = np.concatenate([[float(i == j)], load("averaging-power")(layers, i, j)])
        stable = load("rollout")(layers, float(weight), entries)
        assert stable == pytest.approx(float(expected), rel=1e-11, abs=1e-300)


@given(i=st.integers(0, 10**6), back=st.floats(0, 1), m=st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_powers_are_stable_to_a_million_tokens(i: int, back: float, m: int) -> None:
    j = int(back * i)
    with mpmath.workdps(50):
        powers = [
            mpmath.zeta(k, j + 1) - mpmath.zeta(k, i + 2)
            if k > 1
            else mpmath.psi(0, i + 2) - mpmath.psi(0, j + 1)
            for k in range(1, m)
        ]
        found = [mpmath.mpf(1)]
        for q in range(1, m):
            found.append(sum(powers[k] * found[q - 1 - k] for k in range(q)) / q)
        exact = float(found[-1] / (i + 1))
    assert load("averaging-power")(m, i, j)[m - 1] == pytest.approx(exact, rel=1e-8)


@given(i=st.integers(1, 400), m=st.integers(1, 12))
@settings(max_examples=20, deadline=None)
def test_powers_are_the_logarithmic_integral(i: int, m: int) -> None:
    with mpmath.workdps(25):
        exact = mpmath.quad(
            lambda t: (1 - t) ** i * mpmath.log(1 / t) ** (m - 1) / mpmath.factorial(m - 1),
            [0, mpmath.mpf(1) / (50 * i), mpmath.mpf(1) / i, min(mpmath.mpf(10) / i, 1), 1],
        )
    assert load("averaging-power")(m, i, 0)[m - 1] == pytest.approx(float(exact), rel=1e-8)


@given(i=st.floats(20, 1e6), m=st.integers(1, 50))
@settings(max_examples=40, deadline=None)
def test_far_from_the_start_a_token_fades_as_stated(i: float, m: int) -> None:
    exact = load("averaging-power")(m, i, 0)
    found = load("averaging-asymptotics")(m, i)
    np.testing.assert_array_less(np.abs(found / exact - 1), 1.5 / i + 1e-11)
    leading = np.log(i) ** (m - 1) / math.factorial(m - 1) / i
    assert found[m - 1] >= leading * (1 - 1e-12)  # lower powers of the logarithm add to it


@given(data=st.data(), m=st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_each_token_has_less_influence_than_the_one_before(data: st.DataObject, m: int) -> None:
    j = data.draw(st.integers(0, 40))
    i = data.draw(st.integers(j + 1, TOKENS - 1))
    later = [powers[i] for powers in column(j + 1, m)]
    difference = column(j, m)[m][i] - later[m]
    assert load("averaging-primacy")(Fraction(j), m, later) == difference >= 0


@pytest.mark.parametrize("m", [1, 2, 4])
def test_positions_are_read_on_a_logarithmic_axis(m: int) -> None:
    i = 10**6
    log_distance = np.array([0.1, 0.7, 2.0, 4.0])
    j = np.round(i * np.exp(-log_distance))
    exact = load("averaging-power")(m + 1, float(i), j)[:, m] * j
    np.testing.assert_allclose(load("averaging-convolution")(np.log(i / j), m), exact, rtol=2e-4)


def test_entries_and_eigenvectors() -> None:
    i, k = np.meshgrid(np.arange(60), np.arange(10), indexing="ij")
    columns = load("averaging-eigenvectors")(i, k)
    for n in (0, 7, 59):
        means = [sum(comb(a, b) for a in range(n + 1)) / (n + 1) for b in range(10)]
        np.testing.assert_allclose(columns[n], means, rtol=1e-12)
    np.testing.assert_allclose(load("averaging-hausdorff")(np.arange(5)), 1 / np.arange(1, 6))
    # the average of the k-th column has the generating function X(s)/s of the theorem
    s, order = 0.3, 4
    series = sum(comb(n, order) / (order + 1) * s**n for n in range(400))
    found = load("averaging-generating")(s / (1 - s), order) / s
    assert found == pytest.approx(series, rel=1e-10)


@given(i=st.integers(1, 150), layers=st.integers(0, 50), weight=st.floats(0.01, 1))
@settings(max_examples=40, deadline=None)
def test_influence_collapses_no_slower_than_stated(i: int, layers: int, weight: float) -> None:
    n = i + 1
    influence = np.zeros(n)
    influence[-1] = 1.0  # row i of the power, from the right
    for _ in range(layers):
        spread = np.cumsum((influence / np.arange(1, n + 1))[::-1])[::-1]
        influence = (1 - weight) * influence + weight * spread
    bound = load("rollout-collapse")(i, layers, weight)
    assert influence[1:].sum() <= bound * (1 + 1e-12)
    assert (influence * np.arange(n)).sum() == pytest.approx(bound, rel=1e-10)


def test_residual_streams_prevent_the_collapse_where_weights_can_be_summed() -> None:
    i, layers = 30, 4000
    summable, divergent = (1 / np.arange(2, layers + 2) ** power for power in (2.0, 1.0))
    for weights, collapses in ((summable, False), (divergent, True)):
        kept = np.prod(1 - weights + weights / (i + 1))
        assert (kept < 1e-3) == collapses
        bound = i * np.prod([load("rollout-collapse")(1.0, 1, weight) for weight in weights])
        assert (bound < 1) == collapses


def average(matrix: np.ndarray) -> np.ndarray:
    return np.cumsum(matrix, 0) / np.arange(1, matrix.shape[0] + 1)[:, None]


@given(layers=st.integers(1, 8), gain=st.floats(0.01, 2), v0=st.floats(0.1, 10))
@settings(max_examples=15, deadline=None)
def test_kernels_without_norms(layers: int, gain: float, v0: float) -> None:
    n = 40
    q, k = np.zeros((n, n)), v0 * np.eye(n)
    q[0, 0] = v0
    for _ in range(layers):
        q, k = (x + gain * average(average(x).T).T for x in (q, k))
    i, j = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    lower = np.where((j <= i)[..., None], load("averaging-power")(layers, i, np.minimum(i, j)), 0)
    powers = np.concatenate([np.eye(n)[..., None], lower], axis=2)  # of U: (n, n, layers + 1)
    shared = v0 * powers[:, None, 0] * powers[None, :, 0]
    np.testing.assert_allclose(load("uniform-kernels")(layers, gain, shared), q, rtol=1e-10)
    own = v0 * np.einsum("ikm,jkm->ijm", powers, powers)
    np.testing.assert_allclose(load("uniform-kernels")(layers, gain, own), k, rtol=1e-10)


def test_variance_falls_with_the_inverse_position() -> None:
    n, gain = 4000, 0.4
    at = np.array([499, 999, 1999, 3999])
    k = np.eye(n)
    for layer in range(1, 5):
        k = k + gain * average(average(k).T).T
        profile = load("variance-profile")(at + 1.0, layer, gain, 1.0)
        errors = np.abs((k[at, at] - 1) / (profile - 1) - 1)
        if layer == 1:
            assert errors.max() < 1e-10
            exact = load("variance-shrinkage")(np.arange(1.0, n + 1), gain, 1.0)
            np.testing.assert_allclose(np.diag(k), exact, rtol=1e-12)
        else:  # corrections fall like powers of ln n over n
            assert np.all(errors[1:] < 0.7 * errors[:-1])
            assert errors[-1] < 0.012
