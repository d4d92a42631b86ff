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
from ropeleak.theory import mean_field, sampled
from ropeleak.theory.dense import normalised
from ropeleak.theory.grid import dense_grid
from ropeleak.theory.heads import Heads
from ropeleak.theory.reach import reaches
from ropeleak.theory.recursion import run
from ropeleak.theory.ruler import conditioned_state
from ropeleak.theory.theorems import load

SEEDS = st.integers(0, 2**32 - 1)


def within(samples: np.ndarray, expected: float, z: float = 4.5) -> bool:
    return bool(abs(samples.mean() - expected) < z * samples.std() / np.sqrt(samples.size))


# Position 0


@pytest.mark.parametrize("placement", ["pre", "parallel", "sandwich", "res-post", "post", "none"])
@pytest.mark.parametrize("kind", ["none", "plain"])
def test_position_zero_in_predictions(placement: str, kind: str) -> None:
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
        expected = np.where(depth == 0, 0.9, load("origin-post-norm")())
    else:
        expected = load("origin-without-norm")(depth, 0.9, 1.0, 0.8 * 0.49, mlp * 0.49)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@given(sigma=st.floats(0, 3), logit=st.floats(-5, 5))
@settings(max_examples=20, deadline=None)
def test_position_zero_with_a_null_key(sigma: float, logit: float) -> None:
    mean, _ = quad(
        lambda z: expit(sigma * z - logit) ** 2 * norm.pdf(z), -12, 12, epsabs=0, epsrel=1e-11
    )
    assert load("origin-null-key")(sigma, logit) == pytest.approx(mean, rel=1e-8)


@given(score=st.floats(-700, 700), value=st.floats(-1e6, 1e6))
def test_position_zero_reads_its_own_value(score: float, value: float) -> None:
    weight = np.exp(score) / np.exp(score)
    assert load("origin-closed")(np.array([value])) == weight * value


# Reach


def visible(windows: Iterable[int], n: int) -> np.ndarray:
    """Return which positions hear token 0, by products of boolean masks."""
    heard = np.zeros(n, dtype=bool)
    heard[0] = True
    i, j = np.arange(n)[:, None], np.arange(n)
    for window in windows:
        heard = ((j <= i) & (j > i - window)) @ heard
    return heard


@given(depth=st.integers(0, 6), w=st.integers(1, 9), windows=st.lists(st.integers(1, 12)))
@settings(max_examples=40, deadline=None)
def test_reach_is_what_masks_let_through(depth: int, w: int, windows: list[int]) -> None:
    assert load("window-reach")(depth, w) == np.flatnonzero(visible([w] * depth, 80)).max()
    context = 12 * len(windows) + 1
    farthest = np.flatnonzero(visible(windows, context)).max()
    assert load("alternating-reach")(np.array(windows)) == farthest
    if windows:
        layers = [{"window": window} for window in windows]
        stack = Stack.build(context=context, n_blocks=len(windows), attention=layers)
        assert reaches(stack)[-1] == farthest
        with_global = [*layers[1:], {}]
        everywhere = Stack.build(context=context, n_blocks=len(windows), attention=with_global)
        assert reaches(everywhere)[-1] == context - 1


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


@given(chunk=st.integers(1, 12), depth=st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_reach_never_leaves_a_chunk(chunk: int, depth: int) -> None:
    heard = np.arange(40) == 0
    same = np.arange(40)[:, None] // chunk == np.arange(40) // chunk
    for _ in range(depth):
        heard = (np.tri(40, dtype=bool) & same) @ heard
    stack = Stack.build(context=40, n_blocks=depth, attention={"chunk": chunk})
    assert np.flatnonzero(heard).max() == reaches(stack)[-1] == chunk - 1


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


@pytest.mark.parametrize(("depth", "sigma"), [(1, 0.0), (1, 1.0), (3, 0.0), (3, 0.8), (6, 0.5)])
def test_rulers_grow_with_depth_as_stated(depth: int, sigma: float) -> None:
    d, gain = 4096, 0.4
    stack = Stack.build(
        context=2**17, d_model=d, n_heads=1, n_blocks=depth, mlp={"kind": "none"},
        norm={"placement": "none"}, attention={"qk_norm": "head"},
        init={"score_std": sigma, "attention_gain": gain, "embedding_var": 1.0},
    )  # fmt: skip
    found = mean_field.predict(stack, keep="full").isel(depth=-1)
    node = int(np.searchsorted(found["query"].values, 60_000))
    at = found["query"].values[[node - 2, node + 2]] + 1.0
    n, step = np.sqrt(at.prod()), np.log(at[1] / at[0])
    q = found["Q"].values[np.ix_([node - 2, node + 2], [node - 2, node + 2])]
    mean_part = (q[0, 0] + q[1, 1] - 2 * q[0, 1]) / step**2
    k = found["K"].values[[node - 2, node + 2], [node - 2, node + 2]]
    information = d * (mean_part + (np.log(k[1] / k[0]) / step) ** 2 / 2)
    column = np.concatenate([[0.0], load("averaging-asymptotics")(depth, n) * n])
    rates = np.concatenate([[0.0], column[:-1] - column[1:]])  # r_m, from m = 0
    expected = load("ruler-depth")(d, n, depth, gain, sigma, rates[: depth + 1])
    assert information == pytest.approx(expected, rel=0.03)


def test_conditioned_kernels_are_those_of_sampled_heads() -> None:
    context, at, depth = 32, 12, 3
    stack = Stack.build(
        context=context, d_model=512, n_heads=16, n_blocks=depth, mlp={"kind": "none"},
        init={"score_std": 1.3, "attention_gain": 1.0, "embedding_var": 1.0},
    )  # fmt: skip
    grid = dense_grid(context)
    closed = [
        block.after.other["first"].pairs[at]
        for block in run(stack, grid, conditioned_state(stack, grid, at, context - 1))
    ]
    chains = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        kernels = {"K": np.eye(context), "Q": np.zeros((context, context))}
        kernels["Q"][[0, at], [0, at]] = 1.0
        rows = []
        for block in range(depth):
            read = normalised(kernels, stack.norm.eps)
            written, _ = sampled.attention(
                Heads.of(stack, block), read | {"Q_common": read["Q"]}, 192, 2, rng
            )
            kernels = {name: kernel + written[name] for name, kernel in kernels.items()}
            rows.append(kernels["Q"][at])
        chains.append(rows)
    mean = np.mean(chains, 0)
    error = np.std(chains, 0, ddof=1) / np.sqrt(len(chains))
    off = np.abs(np.array(closed) - mean)
    # the query, what it shares with BOS, and with all others; Gaussian errors of 8 chains
    assert np.mean(off > 3 * error + 0.02 * np.abs(mean)) < 0.02


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


@given(bits=st.sampled_from([8, 11, 24]), shift=st.integers(0, 10**6), seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_no_score_is_off_by_more_than_the_bound(bits: int, shift: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = 16
    w = 1e4 ** (-np.arange(p) / p)
    q, k = (rounded(x, bits) for x in rng.normal(size=(2, 2, p)))

    def score(m: float, n: float) -> float:
        turned = []
        for x, at in ((q, m), (k, n)):
            angle = rounded(at * w, bits)
            c, s = rounded(np.cos(angle), bits), rounded(np.sin(angle), bits)
            first = rounded(rounded(x[0] * c, bits) - rounded(x[1] * s, bits), bits)
            second = rounded(rounded(x[0] * s, bits) + rounded(x[1] * c, bits), bits)
            turned.append(np.concatenate([first, second]))
        total = 0.0
        for product in rounded(turned[0] * turned[1], bits):
            total = float(rounded(np.array(total + product), bits))
        return total

    m, n = rng.integers(0, 2**7, 2)
    exact = ((q[0] + 1j * q[1]) * np.conj((k[0] + 1j * k[1]) * np.exp(1j * (n - m) * w))).real.sum()
    norms = np.hypot(*q), np.hypot(*k)
    for place in (0.0, float(shift)):
        bound = load("precision-bound")(*norms, w, m + place, n + place, p, bits)
        assert abs(score(m + place, n + place) - exact) <= bound * (1 + 2.0 ** (6 - bits))


@given(count=st.integers(1, 10**6), alarm=st.floats(1e-12, 0.1))
def test_the_tail_of_rounding_errors(count: int, alarm: float) -> None:
    z = load("precision-tail")(count, alarm)
    assert 2 * count * np.exp(-(z**2) / 2) == pytest.approx(alarm, rel=1e-8)


def test_sums_of_rounding_errors_stay_below_the_tail() -> None:
    rng = np.random.default_rng(2)
    weights = rng.exponential(size=12)
    error = rng.uniform(-0.5, 0.5, (400_000, 12)) @ weights
    rms = np.sqrt((weights**2).sum() / 12)
    for alarm in (0.3, 0.01, 1e-3):
        beyond = np.mean(np.abs(error) > load("precision-tail")(1, alarm) * rms)
        assert beyond <= alarm


# The residual leak


def test_predictions_sum_the_second_moment_over_the_band() -> None:
    context, block, m = 24, 3, 0.7
    stack = Stack.build(
        context=context, d_model=1024, n_heads=8, n_blocks=block, mlp={"kind": "none"},
        attention={"alignment": m}, init={"score_std": 1.1, "attention_gain": 0.8},
    )  # fmt: skip
    found = mean_field.predict(stack, keep="full")
    before = found.isel(depth=block - 1)
    norm = 1 / np.sqrt(np.diag(before["K"]) + stack.norm.eps)
    c, d = (before[name].values * np.outer(norm, norm) for name in ("K", "Q"))
    rope = stack.attention[0].rope
    assert rope is not None
    size = stack.d_head
    sigma = stack.score_std(block - 1)
    square, count = 0.0, 0
    for delta in range(1, context // 2 + 1):
        i = np.arange(delta, context)
        j, kernel = i - delta, rope.kernel(delta, size, context)
        rows, keys = np.ix_(i, i), np.ix_(j, j)
        moment = load("residual-leak")(
            m, sigma, c[i, j][:, None], c[i, j], d[rows], d[keys], 0.0, 0.0, kernel, kernel, 1.0,
            0.0, size / 2,
        )  # fmt: skip
        square += np.trace(moment) - moment.mean() * i.size
        count += i.size
    assert float(found["leak_residual"][-1]) ** 2 == pytest.approx(square / count, rel=1e-6)


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
