"""Position 0, reach, rulers, precision and the residual leak against brute force."""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from ropeleak import Attention, Stack
from ropeleak.theory import mean_field
from ropeleak.theory.theorems import load

SEEDS = st.integers(0, 2**32 - 1)


def within(samples: np.ndarray, expected: float, z: float = 4.5) -> bool:
    return bool(abs(samples.mean() - expected) < z * samples.std() / np.sqrt(samples.size))


# Position 0


@pytest.mark.parametrize("placement", ["pre", "parallel", "sandwich", "res-post", "post", "none"])
@pytest.mark.parametrize("kind", ["none", "plain"])
def test_position_zero_in_predictions(placement: str, kind: str) -> None:
    if placement == "none" and kind == "plain":
        pytest.skip("the MLP's gain depends on the norm")
    stack = Stack.build(
        context=6, d_model=4096, n_heads=32, n_blocks=5, mlp={"kind": kind, "activation": "relu"},
        norm={"placement": placement, "eps": 0.0}, residual_multiplier=0.7,
        init={"attention_gain": 0.8, "mlp_gain": 0.6, "embedding_var": 0.9, "score_std": 1.3},
    )  # fmt: skip
    found = mean_field.predict(stack).k_diag.values[:, 0]
    depth = np.arange(6)
    mlp = 0.6 * stack.preactivation_var() / 2 if kind == "plain" else 0.0
    if placement in ("pre", "parallel"):
        expected = load("origin-variance")(depth, 0.9, 0.7, 1.0, 0.8, mlp)
    elif placement in ("sandwich", "res-post"):
        expected = load("origin-after-norm")(depth, 0.9, 0.7, 2 if mlp else 1)
    elif placement == "post":
        expected = np.where(depth == 0, 0.9, 1.0)
    else:
        expected = load("origin-without-norm")(depth, 0.9, 0.8 * 0.49)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@given(sigma=st.floats(0, 3), logit=st.floats(-5, 5))
@settings(max_examples=20, deadline=None)
def test_position_zero_with_a_null_key(sigma: float, logit: float) -> None:
    mean, _ = quad(
        lambda z: expit(sigma * z - logit) ** 2 * norm.pdf(z), -12, 12, epsabs=0, epsrel=1e-11
    )
    assert load("origin-null-key")(sigma, logit) == pytest.approx(mean, rel=1e-8)
    assert load("origin-closed").verify().holds


# Reach


def visible(windows: Iterable[int], n: int) -> np.ndarray:
    """Return which positions hear token 0, by products of boolean masks."""
    heard = np.zeros(n, dtype=bool)
    heard[0] = True
    i, j = np.arange(n)[:, None], np.arange(n)
    for window in windows:
        heard = ((j <= i) & (j > i - window)) @ heard
    return heard


@given(depth=st.integers(0, 6), w=st.integers(1, 9), other=st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_reach_is_what_masks_let_through(depth: int, w: int, other: int) -> None:
    assert load("window-reach")(depth, w) == np.flatnonzero(visible([w] * depth, 80)).max()
    paired = visible([w, other] * depth, 120)
    assert load("alternating-reach")(depth, w, other) == np.flatnonzero(paired).max()


@given(depth=st.integers(1, 4), w=st.integers(1, 6), seed=SEEDS, shift=st.integers(1, 20))
@settings(max_examples=25, deadline=None)
def test_outputs_are_shift_invariant_from_the_stated_position(
    depth: int, w: int, seed: int, shift: int
) -> None:
    rng = np.random.default_rng(seed)
    n, start = 40, int(load("shift-invariance")(depth, w))
    tokens = rng.normal(size=n + shift)

    def run(x: np.ndarray) -> np.ndarray:
        mixing = np.random.default_rng(seed + 1).normal(size=(depth, w))
        for layer in range(depth):
            new = np.empty_like(x)
            for i in range(x.size):
                keys = np.arange(max(0, i - w + 1), i + 1)
                weight = np.exp(mixing[layer, i - keys] + np.tanh(x[i] * x[keys]))
                new[i] = x[i] + weight @ x[keys] / weight.sum()
            x = new
        return x

    late, early = run(tokens)[shift:], run(tokens[shift:])
    np.testing.assert_array_equal(late[start:], early[start:])


@given(i=st.integers(0, 10**6), chunk=st.integers(1, 10**4))
def test_chunks_count_their_keys(i: int, chunk: int) -> None:
    keys = Attention(chunk=chunk).key_range([i, i + chunk], 10**7).n_keys
    assert load("chunk-keys")(i, chunk) == keys[0] == keys[1]


# Rulers


@given(seed=SEEDS, d=st.integers(200, 2000))
@settings(max_examples=5, deadline=None)
def test_rulers_are_the_discriminability_of_gaussians(seed: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    q = np.array([[0.30, 0.22], [0.22, 0.25]])
    k = np.array([1.0, 0.9])
    mean = np.linalg.cholesky(q) @ rng.normal(size=(2, d))
    noise = np.sqrt(k - np.diag(q))
    x = mean[:, None] + noise[:, None, None] * rng.normal(size=(2, 2000, d))
    readout = x @ (mean[0] - mean[1])
    gap = readout[0].mean() - readout[1].mean()
    found = gap / np.sqrt(readout.var(axis=1).mean())
    expected = load("ruler-linear")(d, q[0, 0], q[1, 1], q[0, 1], k[0], k[1])
    # |mean difference|² over d coordinates has relative deviation √(2/d); readouts 1/√n
    assert found == pytest.approx(expected, rel=4 * (np.sqrt(1 / (2 * d)) + 0.02))
    flat = np.sqrt(k)[:, None, None] * rng.normal(size=(2, 4000, d))
    log_norm = np.log((flat**2).sum(-1))
    seen = abs(log_norm.mean(1) @ [1, -1]) / np.sqrt(log_norm.var(axis=1).mean())
    assert seen == pytest.approx(load("ruler-norm")(d, *k), abs=0.15)


def test_information_is_the_limit_of_the_rulers() -> None:
    d, gain, n, h = 512.0, 0.7, 900.0, 1e-3

    def shared(a: float, b: float) -> float:
        return gain / (a * b)

    def k(a: float) -> float:
        return 1 + gain / a

    a, b = n * np.exp(-h / 2), n * np.exp(h / 2)
    linear = load("ruler-linear")(d, shared(a, a), shared(b, b), shared(a, b), k(a), k(b)) / h
    cue = load("ruler-norm")(d, k(a), k(b)) / h
    slope = (np.log(k(b) - shared(b, b)) - np.log(k(a) - shared(a, a))) / h
    noise = k(n) - shared(n, n)
    information = load("ruler-fisher")(d, shared(n, n), noise, slope)
    assert linear**2 + cue**2 == pytest.approx(information, rel=5e-3)
    assert load("ruler-scaling")(d, n, gain, gain) == pytest.approx(information, rel=5e-3)


# Precision


def rounded(x: np.ndarray, bits: int) -> np.ndarray:
    """Return ``x`` rounded to a significand of ``bits`` bits, ties to even."""
    mantissa, exponent = np.frexp(x)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits))


def scores(q: np.ndarray, k: np.ndarray, m: np.ndarray, n: np.ndarray) -> np.ndarray:
    return np.asarray((q * k.conj() * np.exp(1j * (m - n))).real.sum(-1))


@pytest.mark.parametrize("shift", [17, 4099, 262147])
@pytest.mark.parametrize(("p", "base"), [(64, 1e4), (32, 5e5)])
def test_rounded_angles_break_invariance_by_the_closed_form(
    p: int, base: float, shift: int
) -> None:
    rng = np.random.default_rng(p + shift)
    w = np.float32(base ** (-np.arange(p) / p)).astype(float)
    n = rng.integers(0, 1024, (4000, 1)).astype(float)
    m = n + rng.integers(0, 1024, (4000, 1))
    q, k = rng.normal(size=(2, 4000, p)) + 1j * rng.normal(size=(2, 4000, p))
    at = [rounded(x * w, 24) for x in (m, n, m + shift, n + shift)]
    change = (scores(q, k, at[2], at[3]) - scores(q, k, at[0], at[1])) / np.sqrt(2 * p)
    expected = load("precision-angle")(1.0, m[:, 0], n[:, 0], float(shift), w, p, 24)
    assert np.sqrt((change**2).mean()) == pytest.approx(np.sqrt((expected**2).mean()), rel=0.15)


@pytest.mark.parametrize(("bits", "shift"), [(8, 4099), (8, 131101), (11, 32771)])
def test_rounded_positions_break_invariance_by_the_closed_form(bits: int, shift: int) -> None:
    rng = np.random.default_rng(shift)
    p = 64
    w = 1e4 ** (-np.arange(p) / p)
    n = rng.integers(0, 1024, (4000, 1)).astype(float)
    m = n + rng.integers(0, 1024, (4000, 1))
    q, k = rng.normal(size=(2, 4000, p)) + 1j * rng.normal(size=(2, 4000, p))
    at = [rounded(x, bits) * w for x in (m, n, m + shift, n + shift)]
    change = (scores(q, k, at[2], at[3]) - scores(q, k, at[0], at[1])) / np.sqrt(2 * p)
    expected = load("precision-positions")(1.0, m[:, 0], n[:, 0], float(shift), w, p, bits).mean()
    assert (change**2).mean() == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("bits", [8, 11])
def test_rounded_tables_and_rotations(bits: int) -> None:
    rng = np.random.default_rng(bits)
    p, count = 64, 3000
    angle = rng.uniform(0, 2 * np.pi, (4, count, p))
    angle[3] = angle[1] + angle[2] - angle[0]  # the same offset at two places
    q, k = rng.normal(size=(2, 2, count, p))
    q, k = rounded(q, bits), rounded(k, bits)

    def turned(x: np.ndarray, a: np.ndarray, coarse: bool) -> np.ndarray:
        c, s = rounded(np.cos(a), bits), rounded(np.sin(a), bits)
        keep = (lambda y: rounded(y, bits)) if coarse else (lambda y: y)
        first = keep(keep(x[0] * c) - keep(x[1] * s))
        return np.stack([first, keep(keep(x[0] * s) + keep(x[1] * c))])

    tables = load("precision-tables")(1.0, bits)
    both = np.hypot(tables, load("precision-rotation")(1.0, bits))
    for coarse, expected in ((False, tables), (True, both)):
        places = [
            (turned(q, angle[a], coarse) * turned(k, angle[b], coarse)).sum((0, 2))
            for a, b in ((0, 1), (2, 3))
        ]
        change = (places[0] - places[1]) / np.sqrt(2 * p)
        # 3000 squares have a relative error of 3%, their root half of that
        assert np.sqrt((change**2).mean()) == pytest.approx(expected, rel=0.04)


@given(h=st.floats(1e-6, 6))
def test_a_rounding_error_keeps_its_cosine(h: float) -> None:
    x = (np.arange(20_000) + 0.5) / 20_000 * h - h / 2
    assert load("rounding-error")(h) == pytest.approx(np.cos(x).mean(), rel=1e-7)


# The residual leak


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_scores_of_shared_content_have_the_stated_second_moment(rho: float) -> None:
    rng = np.random.default_rng(7)
    p, sigma, draws = 3, 1.4, 400_000
    w = np.array([1.0, 0.3, 0.05])
    offsets = 4.0, 9.0
    tokens = rng.normal(size=(4, 3))  # i, k, j, l as vectors whose products are the correlations
    tokens[2:] += 0.7 * tokens[:2]
    tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    overlap = tokens @ tokens.T
    base = rng.normal(size=(draws, p, 3)) + 1j * rng.normal(size=(draws, p, 3))
    other = rng.normal(size=(draws, p, 3)) + 1j * rng.normal(size=(draws, p, 3))
    query, key = base, rho * base + np.sqrt(1 - rho**2) * other
    q_i, q_k = query @ tokens[0], query @ tokens[1]
    k_j, k_l = key @ tokens[2], key @ tokens[3]
    scale = sigma / np.sqrt(2 * p)
    first = scale * (q_i * k_j.conj() * np.exp(1j * offsets[0] * w)).real.sum(1)
    second = scale * (q_k * k_l.conj() * np.exp(1j * offsets[1] * w)).real.sum(1)
    kernel = [load("rope-kernel")(x, w, p) for x in
              (*offsets, offsets[0] - offsets[1], offsets[0] + offsets[1])]  # fmt: skip
    expected = load("residual-leak")(
        rho * sigma * np.sqrt(2 * p), sigma, overlap[0, 2], overlap[1, 3], overlap[0, 1],
        overlap[2, 3], overlap[0, 3], overlap[1, 2], *kernel, p,
    )  # fmt: skip
    assert within(first * second, float(expected))


def test_keys_that_differ_draw_more() -> None:
    rng = np.random.default_rng(3)
    n, size = 6, 0.25
    root = rng.normal(size=(n, n)) * size / np.sqrt(n)
    covariance = root @ root.T
    score = rng.normal(size=(1_000_000, n)) @ root.T
    weight = np.exp(score)
    weight /= weight.sum(1, keepdims=True)
    mean = covariance.mean(1)
    expected = load("key-weights")(
        n, np.diag(covariance), mean, covariance.mean(), np.diag(covariance).mean()
    )
    error = weight.std(0) / np.sqrt(weight.shape[0])
    fourth = np.diag(covariance).max() ** 2  # what the second order leaves out
    assert np.all(np.abs(weight.mean(0) - expected) < 4.5 * error + fourth / n)


def test_the_kernel_enters_with_the_stated_coefficient() -> None:
    sigma, overlap, n, h = 0.9, 0.4, 12, 1e-3

    def weight(kernel: float) -> float:
        covariance = sigma**2 * np.eye(n)
        covariance[0, 1] = covariance[1, 0] = sigma**2 * overlap * kernel
        own, mean = np.diag(covariance), covariance.mean(1)
        return float(load("key-weights")(n, own, mean, mean.mean(), own.mean())[0])

    slope = (weight(h) - weight(-h)) / (2 * h)
    assert load("frequencies-drop-out")(sigma, overlap, n) == pytest.approx(slope, rel=1e-8)
