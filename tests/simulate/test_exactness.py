"""What holds exactly, or exactly on average, whatever the weights."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ropeleak import Stack
from ropeleak.simulate import measure
from ropeleak.simulate.forward import Forward
from ropeleak.simulate.measurement import reach
from ropeleak.simulate.plan import make_plan
from ropeleak.simulate.sampling import samples
from ropeleak.theory.reach import next_reach

SMALL: dict[str, Any] = {
    "context": 40, "d_model": 32, "n_heads": 2, "n_blocks": 3, "mlp": {"d_ff": 48},
    "init": {"score_std": 1.0, "attention_gain": 1.0, "embedding_var": 1.0},
}  # fmt: skip


def states(stack: Stack, contents: int = 3) -> NDArray[np.float32]:
    """Return the last residual stream (contents, d, T)."""
    forward = Forward(make_plan(stack, contents, seed=1))
    forward.run(0)
    return forward.x[:contents, :, : stack.context].copy()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"norm": {"kind": "layer", "placement": "parallel"}, "mlp": {"kind": "plain", "d_ff": 30}},
        {"attention": {"window": 7, "sinks": 2}},
        {"attention": {"qk_norm": "projection", "softmax": {"sink_logit": 0.5}}},
        {"norm": {"placement": "sandwich"}, "attention": {"softmax": {"softcap": 5.0}}},
        {"mlp": {"d_ff": 20, "experts": {"count": 4, "active": 2}}},
    ],
)
def test_position_0_is_a_closed_system(changes: dict[str, Any]) -> None:
    first = [
        states(Stack.build(**{**SMALL, **changes, "context": context}))[:, :, 0]
        for context in (1, 2, 40, 64, 131)
    ]
    for other in first:
        for content in other:
            np.testing.assert_array_equal(content, first[0][0])


def test_contents_do_not_depend_on_what_comes_later() -> None:
    short = states(Stack.build(**{**SMALL, "context": 23}))
    np.testing.assert_array_equal(states(Stack.build(**SMALL))[:, :, :23], short)


def test_beyond_the_reach_nothing_of_bos_is_left() -> None:
    stack = Stack.build(**{**SMALL, "attention": {"window": 5}})
    result = measure(stack, draws=3, contents=3)
    for depth, last in enumerate(reach(stack)):
        beyond = result.sel(depth=depth, query=slice(int(last) + 1, None))
        assert (beyond["q_diag"] == beyond["q_common"]).all()
        assert (beyond["beacon"] == 0).all() and (beyond["beacon_se"] == 0).all()
        within = result["beacon"].sel(depth=depth, query=slice(0, int(last)))
        assert (within != 0).all()


@pytest.mark.parametrize(
    "attention",
    [{}, {"window": 5}, {"window": 5, "sinks": 1}, {"chunk": 6}, {"mask": "ring"},
     [{"window": 4}, {"chunk": 8}, {"window": 3}]],
)  # fmt: skip
def test_reach_is_that_of_the_theory(attention: dict[str, Any]) -> None:
    stack = Stack.build(**{**SMALL, "attention": attention})
    last = 0
    for layer, measured in zip(stack.attention, reach(stack)[1:], strict=True):
        last = next_reach(layer, last, stack.context)
        assert measured == last


def squares(stack: Stack, draws: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean squares of the leaks (blocks, 3), and their standard errors."""
    found = np.array([s.leak for s in samples(make_plan(stack, 6, seed=3), False, 0, draws, 1)])
    return found.mean(0), found.std(0, ddof=1) / np.sqrt(draws)


def test_a_ring_leaks_nothing() -> None:
    stack = Stack.build(**{**SMALL, "attention": {"mask": "ring"}, "bos": {"kind": "random"}})
    mean, error = squares(stack, 200)
    assert (np.abs(mean) < 4 * error).all()
    causal, spread = squares(stack.set("attention.mask", "causal"), 50)
    assert (causal[:, 0] > 20 * spread[:, 0]).all()


def test_random_content_at_position_0_leaks_nothing_through_the_residual_stream() -> None:
    fields = {**SMALL, "mlp": {"kind": "none"}}
    random, error = squares(Stack.build(**fields, bos={"kind": "random"}), 300)
    assert (np.abs(random[:, 1]) < 4 * error[:, 1]).all()
    constant, spread = squares(Stack.build(**fields), 300)
    assert constant[-1, 1] > 4 * spread[-1, 1]


def test_a_ring_is_shift_equivariant() -> None:
    """Variance, denominators and sinks are the same at every position, up to noise."""
    stack = Stack.build(**{**SMALL, "attention": {"mask": "ring"}, "bos": {"kind": "random"}})
    result = measure(stack, draws=150, contents=6)
    for name in ("k_diag", "log_z", "sink"):
        value, error = result[name].values, result[f"{name}_se"].values
        z = (value - value.mean(-1, keepdims=True)) / error
        assert np.abs(z).max() < 5


def test_without_bos_both_sets_of_contents_are_the_same() -> None:
    result = measure(Stack.build(**{**SMALL, "bos": {"kind": "absent"}}), draws=3, contents=3)
    np.testing.assert_array_equal(result["q_diag"], result["q_common"])
    assert (result["beacon"] == 0).all()


def test_a_zero_bos_has_no_fingerprint_of_its_own() -> None:
    result = measure(Stack.build(**{**SMALL, "bos": {"kind": "zero"}}), draws=3, contents=2)
    assert (result["k_diag"].sel(query=0) == 0).all()
    assert (result["beacon"].sel(query=0) == 0).all()
    assert all(np.isfinite(result[name]).all() for name in result.data_vars)


@pytest.mark.parametrize("sigma", [0.0, 1e-30, 1e4])
def test_extreme_scores_are_finite_and_right(sigma: float) -> None:
    stack = Stack.build(**SMALL).set("init.score_std", sigma)
    result = measure(stack, draws=4, contents=2)
    assert all(np.isfinite(result[name]).all() for name in result.data_vars)
    n = np.arange(1, stack.context + 1)
    if sigma < 1:
        np.testing.assert_allclose(
            result["log_z"], np.tile(np.log(n), (3, 1)), rtol=1e-6, atol=1e-6
        )
        np.testing.assert_allclose(result["sink"], np.tile(1 / n, (3, 1)), rtol=1e-5)
    else:
        assert float(np.abs(result["log_z"]).max()) > 1e4
        assert ((result["sink"] >= 0) & (result["sink"] <= 1)).all()
