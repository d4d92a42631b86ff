"""The softmax denominator: twins against other integrals, high precision and Monte Carlo."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import expit, roots_genlaguerre
from scipy.stats import norm

from ropeleak.theory.softmax import chi_square_nodes, row_moments, softmax_moments
from ropeleak.theory.theorems import load
from tests.theory.theorems import brute

SIGMA = st.floats(0, 3)
KEYS = st.floats(0, 6).map(lambda digits: round(10**digits))
NULL_KEY = (
    "null-key-denominator", "null-key-row-sum", "null-key-row-sum-square", "null-key-participation",
)  # fmt: skip
"""The theorems of what `softmax_moments` returns, in its order."""


def normal_mean(f) -> float:  # type: ignore[no-untyped-def]
    value, _ = quad(lambda z: f(z) * norm.pdf(z), -12, 12, epsabs=1e-13, epsrel=1e-12, limit=200)
    return float(value)


@given(sigma=SIGMA)
@settings(max_examples=40, deadline=None)
def test_two_keys_are_one_ordinary_integral(sigma: float) -> None:
    apart = np.sqrt(2) * sigma
    exact = normal_mean(lambda z: np.logaddexp(0, apart * z))
    assert load("log-denominator")(2, sigma) == pytest.approx(exact, rel=1e-8)
    share = normal_mean(lambda z: expit(apart * z) ** 2 + expit(-apart * z) ** 2)
    assert load("participation-ratio")(2, sigma) == pytest.approx(share, rel=1e-8)
    assert load("log-denominator")(1, sigma) == pytest.approx(0, abs=1e-9)
    assert load("participation-ratio")(1, sigma) == pytest.approx(1, rel=1e-8)


@given(n=KEYS, sigma=SIGMA)
@settings(max_examples=40, deadline=None)
def test_rows_are_what_brute_force_finds(n: int, sigma: float) -> None:
    exact = brute.row(n, sigma)
    assert load("log-denominator")(n, sigma) == pytest.approx(exact.log_z, rel=1e-8, abs=1e-11)
    assert load("participation-ratio")(n, sigma) == pytest.approx(exact.participation, rel=1e-8)
    assert load("mask-gradient")(n, sigma) == pytest.approx(exact.gradient, rel=1e-8)


@given(n=KEYS, sigma=SIGMA, logit=st.floats(-6, 6))
@settings(max_examples=30, deadline=None)
def test_rows_beside_a_null_key_are_what_brute_force_finds(
    n: int, sigma: float, logit: float
) -> None:
    exact = brute.row(n, sigma, null=np.exp(logit))
    for name, value in zip(NULL_KEY, exact, strict=False):
        assert load(name)(n, sigma, logit) == pytest.approx(value, rel=1e-8), name


@given(n=KEYS, sigma=SIGMA, own=SIGMA)
@settings(max_examples=30, deadline=None)
def test_one_key_unlike_the_others_is_what_brute_force_finds(
    n: int, sigma: float, own: float
) -> None:
    exact = brute.row(n, sigma, own=own)
    assert load("key-share")(n, sigma, own) == pytest.approx(exact.one_key, rel=1e-8)


@pytest.mark.parametrize(("n", "sigma"), [(6, 1.6)])
def test_many_keys_agree_with_high_precision(n: int, sigma: float) -> None:
    with mpmath.workdps(22):
        spread = mpmath.mpf(sigma)

        def missing(u: mpmath.mpf) -> mpmath.mpf:
            rise = mpmath.exp(u)
            cut = -u / spread  # where the exponent is about one
            ends = sorted({-11, max(-11, min(cut, 16)), 17})
            return mpmath.quad(
                lambda z: -mpmath.expm1(-rise * mpmath.exp(spread * z)) * mpmath.npdf(z), ends
            )

        def integrand(u: mpmath.mpf) -> mpmath.mpf:
            return mpmath.exp(-mpmath.exp(u)) - mpmath.exp(n * mpmath.log1p(-missing(u)))

        low = -(mpmath.log(n) + 2 * spread**2 + 25)
        # composite trapezoid: the integrand is analytic and vanishes at both ends
        step = mpmath.mpf(1) / 4
        count = int((9 * spread + 6 - low) / step)
        exact = step * mpmath.fsum(integrand(low + step * k) for k in range(count))
    assert load("log-denominator")(n, sigma) == pytest.approx(float(exact), rel=1e-8)


@pytest.mark.parametrize(("n", "sigma"), [(2, 1.0), (6, 1.6), (64, 2.5), (500, 0.5)])
def test_monte_carlo_agrees(n: int, sigma: float) -> None:
    rng = np.random.default_rng(n)
    score = sigma * rng.normal(size=(20_000, n))
    z = np.exp(score).sum(1)
    for name, sample in (
        ("log-denominator", np.log(z)),
        ("participation-ratio", (np.exp(score) ** 2).sum(1) / z**2),
    ):
        error = sample.std() / np.sqrt(sample.size)
        assert abs(load(name)(n, sigma) - sample.mean()) < 4.5 * error
    for name, sample in (
        ("null-key-denominator", np.log(z + np.exp(0.7))),
        ("null-key-row-sum", z / (z + np.exp(0.7))),
        ("null-key-row-sum-square", (z / (z + np.exp(0.7))) ** 2),
        ("null-key-participation", (np.exp(score) ** 2).sum(1) / (z + np.exp(0.7)) ** 2),
    ):
        error = sample.std() / np.sqrt(sample.size)
        assert abs(load(name)(n, sigma, 0.7) - sample.mean()) < 4.5 * error


@given(n=KEYS, sigma=SIGMA)
@settings(max_examples=60, deadline=None)
def test_the_tables_of_predict_are_these_integrals(n: int, sigma: float) -> None:
    logits = np.array([-4.0, -1.0, 2.0, 5.0])
    table = softmax_moments(np.array([n]), np.array([sigma]), logits)
    for name, found in zip(NULL_KEY, table, strict=True):
        # a row sum is 1 less an integral, and keeps the rounding error of 1
        exact = load(name)(n, sigma, logits)
        np.testing.assert_allclose(found[0, 0], exact, rtol=1e-9, atol=1e-11, err_msg=name)
    plain = softmax_moments(np.array([n]), np.array([sigma]))
    for name, found in (
        ("log-denominator", plain.log_z), ("participation-ratio", plain.participation),
    ):  # fmt: skip
        np.testing.assert_allclose(found.item(), load(name)(n, sigma), rtol=1e-9, atol=1e-11)


@given(n=KEYS, sigma=SIGMA)
@settings(max_examples=60, deadline=None)
def test_denominator_participation_and_gradient_hang_together(n: int, sigma: float) -> None:
    log_z = load("log-denominator")
    variance, h = max(sigma, 0.05) ** 2, 2e-4
    slope = (log_z(n, np.sqrt(variance + h)) - log_z(n, np.sqrt(variance - h))) / (2 * h)
    share = load("participation-ratio")(n, np.sqrt(variance))
    assert slope == pytest.approx((1 - share) / 2, rel=1e-6, abs=1e-7)
    assert np.log(n) - 1e-9 <= log_z(n, sigma) <= load("log-denominator-bounds")(n, sigma) + 1e-9
    step = 1e-4 * n
    falls = (log_z(n + step, sigma) - log_z(n - step, sigma)) / (2 * step)
    assert load("mask-gradient")(n, sigma) == pytest.approx(-falls, rel=1e-5)


@given(sigma=st.floats(0, 2.2), more=st.floats(1, 1e3))
@settings(max_examples=40, deadline=None)
def test_series_are_good_from_the_stated_number_of_keys(sigma: float, more: float) -> None:
    n = max(3 * np.exp(2 * sigma**2), 2) * more
    assert load("log-denominator-series")(n, sigma) == pytest.approx(
        load("log-denominator")(n, sigma), abs=0.01
    )
    n = (100 + 5 * np.exp(3 * sigma**2)) * more
    assert load("participation-series")(n, sigma) == pytest.approx(
        load("participation-ratio")(n, sigma), rel=0.01
    )


@given(sigma=st.floats(0, 1.2), n=st.integers(2000, 10**6))
@settings(max_examples=40, deadline=None)
def test_series_are_right_for_many_keys(sigma: float, n: int) -> None:
    growth = np.exp(sigma**2)
    found = load("log-denominator-series")(n, sigma)
    beyond = 4 * growth**10 / n**4  # the size of the first term that is left out
    assert abs(found - load("log-denominator")(n, sigma)) <= beyond + 1e-11 * found
    share = load("participation-series")(n, sigma)
    assert share == pytest.approx(
        load("participation-ratio")(n, sigma), rel=40 * growth**6 / n**2 + 1e-9
    )
    gradient = load("mask-gradient-series")(n, sigma)
    assert gradient == pytest.approx(
        load("mask-gradient")(n, sigma), rel=10 * growth**4 / n**2 + 1e-9
    )


def test_many_positions_are_interpolated_without_loss() -> None:
    positions = np.unique(np.geomspace(1, 1e6, 3000).astype(int))
    sigma = np.array([0.05, 1.6, 3.0])
    for name in ("log-denominator", "participation-ratio", "mask-gradient"):
        whole = load(name)(positions[:, None], sigma)
        assert whole.shape == (positions.size, 3)
        some = np.arange(0, positions.size, 97)
        np.testing.assert_allclose(
            whole[some], load(name)(positions[some][:, None], sigma), rtol=1e-8, atol=1e-10
        )


def test_arguments_are_broadcast() -> None:
    log_z = load("log-denominator")
    paired = log_z(np.array([3, 7]), np.array([0.5, 2.0]))
    assert paired[1] == pytest.approx(log_z(7, 2.0), rel=1e-12)
    assert np.ndim(log_z(3, 1.0)) == 0


@given(n=KEYS, sigma=st.floats(0, 3), size=st.integers(16, 256))
@settings(max_examples=30, deadline=None)
def test_moments_of_the_denominator(n: int, sigma: float, size: int) -> None:
    exact = np.expm1(sigma**2) / n
    assert load("denominator-moments")(n, sigma) == pytest.approx(exact, rel=1e-8, abs=1e-300)
    mean = n * float(
        mpmath.quad(
            lambda w: mpmath.exp(sigma**2 * w / 2)
            * (size / 2) ** (size / 2) / mpmath.gamma(size / 2) * w ** (size / 2 - 1)
            * mpmath.exp(-size * w / 2),
            [0, 0.5, 1, 2, 4, 20],
        )
    )  # fmt: skip
    assert load("finite-head")(n, sigma, size) == pytest.approx(mean, rel=1e-8)


@given(n=KEYS, sigma=SIGMA, size=st.integers(16, 256))
@settings(max_examples=8, deadline=None)
def test_a_finite_head_is_a_mixture_over_the_querys_norm(n: int, sigma: float, size: int) -> None:
    x, w = roots_genlaguerre(60, size / 2 - 1)
    kept = w > 1e-20 * w.max()
    deviation, w = sigma * np.sqrt(x[kept] / (size / 2)), w[kept] / w.sum()
    for name, family in (
        ("finite-head-denominator", "log-denominator"),
        ("finite-head-participation", "participation-ratio"),
    ):
        exact = w @ load(family)(n, deviation)
        found = load(name)(n, sigma, size)
        assert found == pytest.approx(exact, rel=1e-8, abs=1e-10), name


@pytest.mark.parametrize("size", [8, 64])
def test_a_finite_head_is_what_sampling_and_predictions_find(size: int) -> None:
    rng = np.random.default_rng(size)
    n, sigma = 30, 1.2
    q, k = rng.normal(size=(20_000, size)), rng.normal(size=(20_000, n, size))
    score = sigma * np.einsum("ad,and->an", q, k) / np.sqrt(size)
    z = np.exp(score).sum(1)
    log_z, share = load("finite-head-denominator"), load("finite-head-participation")
    for exact, sample in (
        (log_z(n, sigma, size), np.log(z)),
        (share(n, sigma, size), (np.exp(score) ** 2).sum(1) / z**2),
    ):
        assert abs(exact - sample.mean()) < 4.5 * sample.std() / np.sqrt(sample.size)
    table = row_moments(np.array([float(n)]), np.array([sigma]), dof=size)
    assert table.log_z.item() == pytest.approx(log_z(n, sigma, size), abs=2e-4)
    assert table.participation.item() == pytest.approx(share(n, sigma, size), rel=2e-3)
    assert chi_square_nodes(size)[1].sum() == pytest.approx(1)


@pytest.mark.parametrize(("sigma", "within"), [(0.5, 0.003), (1.0, 0.015), (1.6, 0.07)])
@pytest.mark.parametrize("n", [2, 6, 30])
def test_rows_that_share_scores_choose_together(sigma: float, within: float, n: int) -> None:
    rng = np.random.default_rng(n)
    share = load("participation-ratio")(n, sigma)
    first, fresh = rng.normal(size=(2, 60_000, n))
    for rho in (0.0, 0.4, 0.8, 1.0):
        second = rho * first + np.sqrt(1 - rho**2) * fresh
        a, b = (np.exp(sigma * x) for x in (first, second))
        together = (a * b).mean(1) / (a.sum(1) * b.sum(1))
        expected = load("shared-choice")(n, n, share, rho)
        error = together.std() / np.sqrt(together.size)
        exact = rho in (0.0, 1.0)
        allowed = 4.5 * error + (0.0 if exact else within * expected)
        assert abs(together.mean() - expected) < allowed, rho


def mask_leak(context: int) -> float:
    """Return the mean square of centred ``ln(i + 1)`` on the band, by its definition."""
    log_n = np.log(np.arange(1, context + 1))
    squares = [
        ((row - row.mean()) ** 2).sum()
        for row in (log_n[offset:] for offset in range(1, context // 2 + 1))
    ]
    return float(sum(squares) / sum(context - d for d in range(1, context // 2 + 1)))


def test_the_mask_leak_tends_to_its_constant() -> None:
    constant = load("mask-leak-constant")()
    found = [mask_leak(context) for context in (96, 512, 4096, 16384)]
    np.testing.assert_allclose(found[:3], [0.2303, 0.2459, 0.2495], atol=5e-5)
    gaps = constant - np.array(found)
    assert np.all(gaps > 0) and np.all(np.diff(gaps) < 0) and gaps[-1] < 2e-4
    assert float(mpmath.polylog(3, 0.5)) == pytest.approx(
        7 / 8 * float(mpmath.zeta(3)) - np.pi**2 * np.log(2) / 12 + np.log(2) ** 3 / 6, rel=1e-14
    )


@given(i=st.integers(0, 10**6), window=st.integers(1, 10**6))
def test_a_window_keeps_the_number_of_keys(i: int, window: int) -> None:
    assert load("window-keys")(i, window) == len(range(max(0, i + 1 - window), i + 1))


def test_weights_give_the_growth_of_the_denominator() -> None:
    weights = np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(load("denominator-heat")(weights), (1 - (weights**2).sum(1)) / 2)


@pytest.mark.parametrize(("n", "sigma"), [(1, 1.0), (3, 0.5), (20, 1.6)])
def test_entropy_is_the_mean_surprise(n: int, sigma: float) -> None:
    score = np.random.default_rng(7).normal(0, sigma, (200_000, n))
    surprise = np.log(np.exp(score).sum(1, keepdims=True)) - score
    row = (np.exp(-surprise) * surprise).sum(1)
    log_z, ratio = (load(x)(n, sigma) for x in ("log-denominator", "participation-ratio"))
    error = row.std() / np.sqrt(len(row)) + 1e-9
    assert abs(load("attention-entropy")(log_z, sigma**2, ratio) - row.mean()) < 4 * error
