"""The ruler against activations of the same token at two positions."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ropeleak import RopeleakError, Stack
from ropeleak.theory.ruler import ruler
from tests.support.naive import one_block

Array = NDArray[np.float64]

STACK = Stack.build(
    d_model=128, n_heads=4, n_blocks=4, context=48, mlp={"kind": "none"},
    init={"score_std": 1.0, "attention_gain": 1.0, "embedding_var": 1.0},
)  # fmt: skip


def discriminability(stack: Stack, i: int, i2: int, draws: int, contents: int) -> Array:
    """Return estimates of d′² of the best linear readout by draw and depth, (draws, L + 1)."""
    rng = np.random.default_rng(42)
    d = stack.d_model
    found = np.empty((draws, stack.n_blocks + 1))
    for draw in range(draws):
        bos, token = rng.normal(size=(2, d))
        x = rng.normal(size=(2, contents, stack.context, d))
        x[:, :, 0] = bos
        x[0, :, i] = token
        x[1, :, i2] = token
        x = x.reshape(-1, stack.context, d)
        for depth in range(stack.n_blocks + 1):
            if depth:
                x = one_block(stack, depth - 1, x, rng, {})
            first, second = x[:contents, i], x[contents:, i2]
            gap = first.mean(0) - second.mean(0)
            noise = (first.var(0, ddof=1).mean() + second.var(0, ddof=1).mean()) / 2
            bias = 2 * noise * d / contents  # of the squared distance of two noisy means
            found[draw, depth] = (gap @ gap - bias) / max(noise, 1e-12) if depth else 0.0
    return found


def test_ruler_is_what_activations_show() -> None:
    squares = discriminability(STACK, 20, 40, draws=40, contents=24)
    mean, error = squares.mean(0), squares.std(0, ddof=1) / np.sqrt(len(squares))
    predicted = ruler(STACK, 20, 40).linear.values
    measured = np.sqrt(np.maximum(mean, 0))
    allowed = np.maximum(3 * error / np.maximum(2 * measured, 1e-9), 0.1 * measured)
    assert np.all(np.abs(predicted - measured)[1:] < allowed[1:]), (predicted, measured)


def test_ruler_is_symmetric_and_zero_at_one_position() -> None:
    there, back = ruler(STACK, 10, 30), ruler(STACK, 30, 10)
    np.testing.assert_allclose(there.linear, back.linear, rtol=1e-9)
    np.testing.assert_allclose(there.norm, back.norm, rtol=1e-9)
    same = ruler(STACK, 10, 10)
    np.testing.assert_allclose(same.combined, 0, atol=1e-6)


def test_ruler_grows_with_distance_in_log_position() -> None:
    near, far = (float(ruler(STACK, 5, x).combined[-1]) for x in (8, 40))
    assert far > near > 0


def test_ruler_of_a_long_context_is_that_of_a_short_one() -> None:
    short = ruler(STACK.set("context", 150), 50, 100)
    long = ruler(STACK.set("context", 3000), 50, 100)
    np.testing.assert_allclose(long.linear, short.linear, rtol=0.02, atol=1e-6)
    np.testing.assert_allclose(long.norm, short.norm, rtol=0.05, atol=2e-3)


def test_beyond_the_reach_of_windows_positions_cannot_be_told_apart() -> None:
    windows = STACK.set("attention.window", 4)
    beyond = ruler(windows, 20, 40)
    np.testing.assert_allclose(beyond.combined, 0, atol=1e-5)
    assert float(ruler(windows, 6, 40).combined[-1]) > 0.01


@pytest.mark.parametrize("pair", [(-1, 5), (5, 48)])
def test_ruler_refuses_positions_outside(pair: tuple[int, int]) -> None:
    with pytest.raises(RopeleakError, match="is outside the context of 48 tokens"):
        ruler(STACK, *pair)
