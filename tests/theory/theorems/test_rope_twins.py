"""RoPE: numeric twins against complex arithmetic, high precision and the spec's frequencies."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@given(delta=st.floats(2, 1e6), base=st.floats(100, 1e7))
@settings(max_examples=30, deadline=None)
def test_long_offsets_follow_the_cosine_integrals(delta: float, base: float) -> None:
    mpmath.mp.dps = 30
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


@given(trained=st.integers(10, 10**5), base=st.floats(1e5, 1e7))
@settings(max_examples=20, deadline=None)
def test_unseen_angles_are_counted(trained: int, base: float) -> None:
    w = frequencies(200_000, base)
    unseen = np.maximum(1 - (trained - 1) * w / (2 * np.pi), 0).mean()
    assert load("rope-unseen")(float(trained), base) == pytest.approx(unseen, abs=1e-5)


@pytest.mark.parametrize(
    ("after", "measured"), [(2049, 0.010), (2304, 0.94), (4096, 1.13)]
)  # RMS of 4000 random pairs with logit deviation 1, offsets below 1024
def test_dynamic_scaling_breaks_by_the_measured_size(after: int, measured: float) -> None:
    rope = Rope(type="dynamic", factor=2, max_context=2048)
    gap = rope.inverse_frequencies(128, after) - rope.inverse_frequencies(128, 2048)
    change = load("rope-break")(1.0, np.arange(1024)[:, None] * gap, 64)
    assert np.sqrt((change**2).mean()) == pytest.approx(measured, rel=0.05)


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
