"""RoPE: numeric twins against complex arithmetic, high precision and the spec's frequencies."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ropeleak.catalog import load as load_stack
from ropeleak.spec import Rope
from ropeleak.theory.theorems import load

SEEDS = st.integers(0, 2**32 - 1)
PAIRS = st.integers(1, 64)
POSITION = st.integers(0, 10**7)


def frequencies(p: int, base: float) -> np.ndarray:
    return base ** (-np.arange(p) / p)


@given(seed=SEEDS, p=PAIRS, m=POSITION, n=POSITION, base=st.floats(2, 1e7))
@settings(max_examples=60, deadline=None)
def test_scores_are_those_of_turned_vectors_at_all_shifts(
    seed: int, p: int, m: int, n: int, base: float
) -> None:
    rng = np.random.default_rng(seed)
    q1, q2, k1, k2 = rng.normal(size=(4, p))
    w = frequencies(p, base)
    found = load("rope-relative")(q1, q2, k1, k2, w, m, n)
    bound = load("precision-bound")
    norms = np.hypot(q1, q2), np.hypot(k1, k2)
    for shift in (0, 1, 4097, 10**6):
        at, other = m + shift, n + shift
        turned = ((q1 + 1j * q2) * np.exp(1j * at * w)) * np.conj(
            (k1 + 1j * k2) * np.exp(1j * other * w)
        )
        allowed = bound(*norms, w, at, other, p, 53) + bound(*norms, w, m, n, p, 53)
        assert abs(turned.real.sum() - found) <= allowed


ANGLE = st.floats(-1e7, 1e7)


@given(a=ANGLE, b=ANGLE)
def test_the_group_law_is_that_of_matrices(a: float, b: float) -> None:
    def rotation(x: float) -> np.ndarray:
        return np.array([[np.cos(x), -np.sin(x)], [np.sin(x), np.cos(x)]])

    # the angle b - a is rounded by what a spacing of its terms is
    np.testing.assert_allclose(
        load("rope-group-law")(a, b), rotation(a).T @ rotation(b), atol=1e-15 + 3e-16 * abs(b - a)
    )


@given(i=POSITION, j=POSITION, w=st.floats(-3, 3), start=st.floats(-3, 3))
def test_linear_phases_turn_by_the_offset(i: int, j: int, w: float, start: float) -> None:
    with mpmath.workdps(40):
        angle = mpmath.mpf(start) - mpmath.mpf(0.5) + mpmath.mpf(w) * (i - j)
        exact = complex(mpmath.expj(angle))
    found = load("rope-converse")(start, 0.5, w, i, j)
    assert abs(found - exact) < 1e-8


@pytest.mark.parametrize("rule", [np.sqrt, lambda i: i / (1 + 1e-3 * i)])
def test_phases_that_are_not_linear_are_not_relative(rule) -> None:  # type: ignore[no-untyped-def]
    i = np.arange(50.0)
    apart = np.exp(1j * (rule(i[:, None] + 3) - rule(i)))
    same_offset = np.diagonal(apart)
    assert np.ptp(np.angle(same_offset / same_offset[0])) > 1e-3


@given(delta=st.integers(0, 10**7), p=PAIRS, base=st.floats(2, 1e7))
@settings(max_examples=40, deadline=None)
def test_the_kernel_is_right_to_long_offsets(delta: int, p: int, base: float) -> None:
    w = frequencies(p, base)
    exact = mpmath.fsum(mpmath.cos(mpmath.mpf(delta) * mpmath.mpf(float(x))) for x in w) / p
    found = load("rope-kernel")(float(delta), w, p)
    assert abs(found - float(exact)) <= 1e-8 / np.sqrt(2 * p)


def test_the_kernel_is_vectorised() -> None:
    w = frequencies(16, 1e4)
    delta = np.arange(12.0).reshape(3, 4)
    found = load("rope-kernel")(delta, w, 16)
    assert found.shape == (3, 4)
    np.testing.assert_allclose(found, Rope().kernel(delta, 32, 512), rtol=0, atol=1e-13)


@pytest.mark.parametrize("m", [1, 2, 5])
def test_short_offsets_follow_the_taylor_coefficients(m: int) -> None:
    p, base = 12, 300.0
    rates = [mpmath.mpf(base) ** (-mpmath.mpf(r) / p) for r in range(p)]
    exact = mpmath.taylor(lambda x: sum(mpmath.cos(x * w) for w in rates) / p, 0, 2 * m)
    assert load("rope-kernel-series")(m, base, p, p - 1) == pytest.approx(
        float(exact[2 * m]), rel=1e-8
    )


@given(delta=st.floats(2, 1e7), base=st.floats(100, 1e7))
@settings(max_examples=30, deadline=None)
def test_long_offsets_follow_the_cosine_integrals(delta: float, base: float) -> None:
    with mpmath.workdps(30):
        exact = (mpmath.ci(delta) - mpmath.ci(mpmath.mpf(delta) / base)) / mpmath.log(base)
    assert load("rope-kernel-decay")(delta, base) == pytest.approx(
        float(exact), rel=1e-8, abs=1e-12
    )
    # Riemann sums of a function that turns Δ/2π times: the midpoint rule converges as 1/p²
    p = 10**6
    comb = np.cos(delta * base ** (-(np.arange(p) + 0.5) / p)).mean()
    slope = delta * np.log(base) / p
    assert abs(comb - float(exact)) <= slope**2 + 1e-9


def test_the_kernel_keeps_its_root_mean_square() -> None:
    p = 32
    offsets = np.arange(200_000) * np.sqrt(2.0) + 1e4
    squares = load("rope-kernel")(offsets, frequencies(p, 1e4), p) ** 2
    blocks = squares.reshape(100, -1).mean(1)
    error = blocks.std() / np.sqrt(blocks.size)
    assert abs(squares.mean() - load("rope-kernel-rms")(p)) < 4 * error


@given(p=PAIRS, base=st.floats(2, 1e7))
def test_a_pair_turns_once_in_its_wavelength(p: int, base: float) -> None:
    wave = load("rope-wavelengths")(np.arange(p), p, base)
    np.testing.assert_allclose(wave * frequencies(p, base), 2 * np.pi, rtol=1e-13)
    whole = np.flatnonzero(wave <= 999)  # a text of 1000 tokens holds their whole turn
    place = p * np.log(999 / (2 * np.pi)) / np.log(base)
    assert whole.size == min(int(np.floor(place)) + 1, p)


@given(trained=st.integers(2, 3000), p=st.integers(1, 24), base=st.floats(2, 1e7))
@settings(max_examples=40, deadline=None)
def test_unseen_angles_are_counted(trained: int, p: int, base: float) -> None:
    w = frequencies(p, base)
    # what is covered of the circle, from the largest angle of every pair
    covered = np.array([min((trained - 1) * x, 2 * np.pi) for x in w]) / (2 * np.pi)
    found = load("rope-unseen")(trained, w, p)
    assert found == pytest.approx(1 - covered.mean(), rel=1e-8, abs=1e-12)


@given(trained=st.integers(10, 10**5), base=st.floats(1e5, 1e7))
@settings(max_examples=20, deadline=None)
def test_many_pairs_leave_the_closed_form_unseen(trained: int, base: float) -> None:
    exact = load("rope-unseen")(trained, frequencies(200_000, base), 200_000)
    assert load("rope-unseen-comb")(float(trained), base) == pytest.approx(exact, abs=1e-5)


@pytest.mark.parametrize(
    ("after", "measured"), [(2049, 0.010), (2304, 0.94), (4096, 1.13)]
)  # RMS of 4000 random pairs with logit deviation 1, offsets below 1024
def test_dynamic_scaling_breaks_by_the_measured_size(after: int, measured: float) -> None:
    rope = Rope(type="dynamic", factor=2, max_context=2048)
    gap = rope.inverse_frequencies(128, after) - rope.inverse_frequencies(128, 2048)
    change = load("rope-break")(1.0, np.arange(1024)[:, None] * gap, 64)
    assert np.sqrt((change**2).mean()) == pytest.approx(measured, rel=0.05)


def test_longrope_breaks_by_the_measured_size() -> None:
    rope = load_stack("phi-3.5-mini-instruct", 4096).attention[0].rope
    assert rope is not None and rope.short_factor is not None and rope.long_factor is not None
    short, long = (np.array(factors) for factors in (rope.short_factor, rope.long_factor))
    gap = load("rope-switch")(rope.base ** (-np.arange(short.size) / short.size), short, long)
    jump = rope.inverse_frequencies(96, 4097) - rope.inverse_frequencies(96, 4096)
    np.testing.assert_allclose(gap, jump, rtol=1e-9, atol=1e-15)
    # RMS of 4000 random pairs with logit deviation 1.39, offsets below 1024
    assert load("rope-break-mean")(1.39, gap, gap.size, 1024) == pytest.approx(1.61, rel=0.05)


@given(p=PAIRS, base=st.floats(2, 1e7), count=st.integers(1, 3000), scale=st.floats(0.01, 4))
@settings(max_examples=40, deadline=None)
def test_breaks_over_a_range_are_the_mean_of_breaks(
    p: int, base: float, count: int, scale: float
) -> None:
    gap = frequencies(p, base) * (1 / scale - 1)
    each = load("rope-break")(1.3, np.arange(count)[:, None] * gap, p)
    found = load("rope-break-mean")(1.3, gap, p, count)
    assert found == pytest.approx(np.sqrt((each**2).mean()), rel=1e-8, abs=1e-9)


@given(j=st.integers(0, 10**7), offset=st.integers(0, 1000), seed=SEEDS, p=PAIRS)
@settings(max_examples=20, deadline=None)
def test_mixed_caches_break_by_the_key_and_not_the_offset(
    j: int, offset: int, seed: int, p: int
) -> None:
    rng = np.random.default_rng(seed)
    old, new = frequencies(p, 1e4), frequencies(p, 3e4)
    q, k = rng.normal(size=(2, 4000, p)) + 1j * rng.normal(size=(2, 4000, p))
    fresh = (q * k.conj() * np.exp(1j * offset * new)).real.sum(1)
    stale = (q * k.conj() * np.exp(1j * (offset * new + j * (new - old)))).real.sum(1)
    square = ((stale - fresh) / np.sqrt(2 * p)) ** 2
    error = square.std() / np.sqrt(square.size)
    expected = load("rope-cache")(1.0, j, new - old, p) ** 2
    assert abs(square.mean() - expected) < 5 * error + 1e-12


@given(seed=SEEDS, p=PAIRS)
@settings(max_examples=10, deadline=None)
def test_the_break_is_that_of_random_scores(seed: int, p: int) -> None:
    rng = np.random.default_rng(seed)
    change = rng.normal(size=p)
    q, k = rng.normal(size=(2, 4000, p)) + 1j * rng.normal(size=(2, 4000, p))
    square = ((q * k.conj() * (np.exp(1j * change) - 1)).real.sum(1) / np.sqrt(2 * p)) ** 2
    error = square.std() / np.sqrt(square.size)
    assert abs(square.mean() - load("rope-break")(1.0, change, p) ** 2) < 5 * error


@given(factor=st.floats(1, 8), length=st.integers(2049, 10**6), p=st.integers(2, 64))
@settings(max_examples=30, deadline=None)
def test_dynamic_frequencies_are_those_of_the_spec(factor: float, length: int, p: int) -> None:
    rope = Rope(type="dynamic", factor=factor, max_context=2048)
    ratio = rope.inverse_frequencies(2 * p, length) / rope.inverse_frequencies(2 * p, 1)
    growth = factor * length / 2048 - (factor - 1)
    np.testing.assert_allclose(load("rope-dynamic")(growth, np.arange(p), p - 1), ratio, rtol=1e-10)
