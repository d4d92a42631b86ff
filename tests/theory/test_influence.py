"""Mean attention, its entropy and rollout: closed forms, and Monte Carlo of random heads."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ropeleak import Attention, RopeleakError, Stack
from ropeleak.simulate.attention import Hole, watch_attention
from ropeleak.theory import influence
from ropeleak.theory.leak_parts import leak_parts
from ropeleak.theory.mean_field import predict
from ropeleak.theory.theorems import load

Array = NDArray[np.float64]

BASE: dict[str, Any] = {
    "context": 40, "d_model": 128, "n_heads": 4, "n_blocks": 3, "mlp": {"kind": "none"},
    "init": {"score_std": 1.2, "attention_gain": 1.0, "embedding_var": 1.0},
}  # fmt: skip
MASKS: dict[str, dict[str, Any]] = {
    "causal": {}, "window": {"window": 7}, "prefix": {"prefix": 9},
    "window and sinks": {"window": 7, "sinks": 2}, "bidirectional": {"mask": "bidirectional"},
}  # fmt: skip
HOLES: tuple[Hole, ...] = ("mask", "residual", "cross")


def measured(stack: Stack, draws: int = 60) -> dict[str, tuple[Array, Array]]:
    """Return means over draws and their standard errors, by name."""
    rows: dict[str, list[Array]] = {"attention": [], "entropy": [], "leak": []}
    for found in watch_attention(stack, draws=draws, contents=6, seed=2):
        rows["attention"].append(found.weight.mean((1, 2)))
        rows["entropy"].append(found.entropy)
        rows["leak"].append(np.stack([found.leak_by_query(hole) for hole in HOLES], axis=1))
    return {
        name: (np.mean(values, axis=0), np.std(values, axis=0, ddof=1) / draws**0.5)
        for name, values in rows.items()
    }


def rms_z(found: Array, mean: Array, error: Array) -> float:
    z = (found - mean) / np.maximum(error, 1e-6)
    return float(np.sqrt(np.mean(np.minimum(np.abs(z), 50.0) ** 2)))


@pytest.mark.parametrize("name", MASKS)
def test_attention_and_entropy_are_what_is_measured(name: str) -> None:
    stack = Stack.build(**BASE, attention=MASKS[name])
    found = measured(stack)
    assert rms_z(influence.mean_attention(stack), *found["attention"]) < 1.5
    assert rms_z(influence.entropy(stack).values, *found["entropy"]) < 2.5


def test_rows_of_mean_attention_sum_to_one() -> None:
    weights = influence.mean_attention(Stack.build(**BASE, attention={"window": 7}))
    np.testing.assert_allclose(weights.sum(-1), 1.0)


def test_entropy_of_one_block_is_the_theorem() -> None:
    """Scores of heads so large are Gaussian."""
    fields = {**BASE, "n_blocks": 1, "norm": {"eps": 0.0}, "d_head": 2**16, "attention": {}}
    stack = Stack.build(**fields)
    n, sigma = np.arange(1, 41), 1.2
    parts = (load(name)(n, sigma) for name in ("log-denominator", "participation-ratio"))
    log_z, ratio = parts
    exact = load("attention-entropy")(log_z, sigma**2, ratio)
    np.testing.assert_allclose(influence.entropy(stack).values[0], exact, atol=1e-4)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.2])
def test_uniform_rollout_is_the_closed_form(share: float) -> None:
    layers, context = 6, 30
    u = influence.uniform_attention(Attention(), context)
    found = influence.rollout(np.array([u] * layers), share)
    powers = np.array([np.linalg.matrix_power(u, m) for m in range(layers + 1)])
    closed = np.array([
        [load("rollout")(layers, share, powers[:, i, j]) for j in (0, 3, 20)] for i in (5, 20, 29)
    ])  # fmt: skip
    np.testing.assert_allclose(found[np.ix_([5, 20, 29], [0, 3, 20])], closed, atol=1e-12)
    np.testing.assert_allclose(found.sum(1), 1.0)


def test_early_and_late_queries_make_up_the_leak() -> None:
    stack = Stack.build(**BASE)
    ranges = [range(40), range(15), range(15, 40)]
    whole, early, late = leak_parts(stack, ranges)
    entries = np.minimum(np.arange(40), 20)
    weights = [entries[r.start : r.stop].sum() for r in ranges]
    for name in HOLES:
        parts = [[getattr(x, name) for x in leaks] for leaks in (early, late)]
        mixed = np.average(parts, axis=0, weights=weights[1:])
        np.testing.assert_allclose(mixed, [getattr(x, name) for x in whole], rtol=1e-9, atol=1e-12)
    expected = predict(stack)["leak_mask"].values ** 2
    np.testing.assert_allclose([x.mask for x in whole], expected)


def test_early_and_late_leaks_are_what_is_measured() -> None:
    stack = Stack.build(**BASE)
    mean, error = measured(stack, 120)["leak"]
    entries = np.minimum(np.arange(40), 20)
    for part in (range(10), range(30, 40)):
        (found,) = leak_parts(stack, [part])
        chosen = slice(part.start, part.stop)
        for row, name in enumerate(HOLES):
            got = mean[:, row, chosen].sum(-1) / entries[chosen].sum()
            # queries of one draw share its weights: their errors add up
            spread = error[:, row, chosen].sum(-1) / entries[chosen].sum()
            wanted = np.array([getattr(x, name) for x in found])
            assert np.all(np.abs(got - wanted) < 3.5 * spread + 0.02 * np.abs(wanted)), name


def test_entropy_needs_denominators_and_random_heads() -> None:
    for changes in ({"sink_bias": 1.0}, {"alignment": 1.0}, {"softmax": {"kind": "sigmoid"}}):
        with pytest.raises(RopeleakError, match="entropy of attention is predicted for"):
            influence.entropy(Stack.build(**BASE, attention=changes))
