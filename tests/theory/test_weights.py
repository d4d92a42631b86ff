"""Mean weights of keys: the tables against the theorem, sampling and the expansion."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ropeleak import Stack
from ropeleak.theory import weights
from ropeleak.theory.grid import dense_grid
from ropeleak.theory.layer import Layer
from ropeleak.theory.share_table import ShareTable, log_key_shares
from ropeleak.theory.shares import key_shares
from ropeleak.theory.theorems import load
from ropeleak.theory.vicinity import Vicinity

Array = NDArray[np.float64]


@given(n=st.integers(1, 10**6), sigma=st.floats(0, 3), own=st.floats(0, 3))
@settings(max_examples=40, deadline=None)
def test_tables_are_the_theorem(n: int, sigma: float, own: float) -> None:
    found = key_shares(np.array([[own**2]]), np.array([[sigma**2]]), np.array([float(n)]), None)
    assert found.item() == pytest.approx(load("key-share")(n, sigma, own), rel=1e-4)


def test_a_querys_norm_spreads_the_scores() -> None:
    rng = np.random.default_rng(3)
    head, n, sigma, own = 8, 12, 1.5, 0.4
    norm = np.sqrt((rng.normal(size=(400_000, head)) ** 2).mean(1, keepdims=True))
    score = norm * rng.normal(size=(400_000, n)) * sigma
    score[:, 0] *= own / sigma
    weight = np.exp(score[:, 0]) / np.exp(score).sum(1)
    found = key_shares(np.array([[own**2]]), np.array([[sigma**2]]), np.array([float(n)]), head)
    assert abs(found.item() - weight.mean()) < 4 * weight.std() / np.sqrt(weight.size)


def relative_weights(correlation: Array, sigma: float) -> Array:
    """Return the mean weights of the last query's keys, by `tilt`."""
    n = correlation.shape[0]
    stack = Stack.build(context=n, attention={"rope": None, "qk_norm": "head"})
    grid = dense_grid(n)
    layer = Layer.of(stack, stack.attention[0], grid, Vicinity.of(stack, grid))
    share = weights.tilt(stack, layer, np.full(n, sigma**2), correlation, np.diag(correlation))[-1]
    return np.asarray(share / share.sum())


@pytest.mark.parametrize("sigma", [0.5, 1.6, 2.5])
@pytest.mark.parametrize("n", [2, 5, 24])
def test_a_key_unlike_the_others_draws_what_sampling_finds(sigma: float, n: int) -> None:
    rng = np.random.default_rng(n)
    correlation = np.full((n, n), 0.6) + 0.4 * np.eye(n)
    correlation[0, 1:] = correlation[1:, 0] = 0.1
    score = sigma * rng.normal(size=(400_000, n)) @ np.linalg.cholesky(correlation).T
    weight = np.exp(score - score.max(1, keepdims=True))
    first = weight[:, 0] / weight.sum(1)
    found = relative_weights(correlation, sigma)[0]
    # independent scores with the same spread about the row are not the same scores: up to 3%
    assert abs(found - first.mean()) < 4 * first.std() / np.sqrt(first.size) + 0.03 * found


def test_independent_scores_are_told_apart_exactly() -> None:
    sizes = np.array([0.0, 1.0, 1.0, 4.0, 1.0])
    stack = Stack.build(context=5, attention={"rope": None})
    grid = dense_grid(5)
    layer = Layer.of(stack, stack.attention[0], grid, Vicinity.of(stack, grid))
    found = weights.apart(layer.averaging, np.diag(sizes), sizes)
    for query in range(2, 5):
        np.testing.assert_allclose(found[query, : query + 1], sizes[: query + 1], atol=1e-12)


def test_small_scores_follow_the_expansion() -> None:
    rng = np.random.default_rng(1)
    n, sigma = 9, 0.05
    x = rng.normal(size=(n, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    scores = sigma**2 * (x @ x.T)
    mean = scores.mean(1)
    expected = load("key-weights")(n, np.diag(scores), mean, mean.mean(), np.diag(scores).mean())
    found = relative_weights(x @ x.T, sigma)
    np.testing.assert_allclose(found * n - 1, expected * n - 1, atol=2e-3 * sigma**2 + sigma**4)


@pytest.mark.parametrize("largest", [0.9, 3.9, 15.0, 30.0])
@pytest.mark.parametrize("dof", [None, 16, 64])
def test_the_table_of_key_weights_is_as_exact_as_the_integrals(
    largest: float, dof: int | None
) -> None:
    own, rest = np.random.default_rng(0).uniform(0, largest, (2, 8, 40))
    own[:, 0], rest[:, 1], own[0, 2] = 0.0, 0.0, largest
    n = np.array([1.0, 2.0, 3.0, 8.0, 9.0, 64.0, 65.0, 1000.0])
    expected = np.log(key_shares(own, rest, n, dof))
    np.testing.assert_allclose(log_key_shares(own, rest, n, dof), expected, rtol=0, atol=3e-5)


def test_the_table_of_key_weights_does_not_depend_on_what_it_was_made_for() -> None:
    one, other = (ShareTable(dof=64, limit=4.0, count=10) for _ in range(2))
    n = np.arange(1.0, 80.0)
    own = np.random.default_rng(0).uniform(0, 4, (n.size, 5))
    for some in ([0, 6], [7, 8], [40], [30, 78]):
        other.values(own[some], own[some], n[some])
    np.testing.assert_array_equal(other.values(own, own[::-1], n), one.values(own, own[::-1], n))
