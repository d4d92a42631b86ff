"""Closed forms and exact identities that the recursion must meet."""

from math import comb

import numpy as np
import pytest
from numpy.typing import NDArray

from ropeleak import Stack
from ropeleak.theory.mean_field import predict

Array = NDArray[np.float64]

UNIFORM = {"score_std": 1e-6, "attention_gain": 1.0, "embedding_var": 1.0}
UNIT = {**UNIFORM, "score_std": 1.0}


def test_uniform_attention_without_norms_is_a_sum_of_powers() -> None:
    depth, context = 5, 60
    stack = Stack.build(
        d_model=4096, n_heads=32, n_blocks=depth, context=context, mlp={"kind": "none"},
        norm={"placement": "none"}, init={**UNIFORM, "attention_gain": 0.7},
    )  # fmt: skip
    found = predict(stack, keep="full")
    u = np.tril(np.ones((context, context))) / np.arange(1, context + 1)[:, None]
    bos = np.zeros((context, context))
    bos[0, 0] = 1.0
    for name, start in (("K", np.eye(context)), ("Q", bos)):
        total, power = np.zeros_like(u), np.eye(context)
        for m in range(depth + 1):
            total += comb(depth, m) * 0.7**m * power @ start @ power.T
            power = u @ power
        np.testing.assert_allclose(found[name].values[-1], total, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("context", "window", "square"),
    [
        (96, None, 0.2303),
        (512, None, 0.2459),
        (4096, None, 0.2495),
        (96, 16, 0.0285),
        (512, 16, 0.0054),
        (4096, 16, 0.0007),
    ],
)
def test_mask_leak_of_uniform_attention(context: int, window: int | None, square: float) -> None:
    stack = Stack.build(
        d_model=512, n_blocks=2, context=context, attention={"window": window},
        mlp={"kind": "none"}, init=UNIFORM,
    )  # fmt: skip
    found = predict(stack)
    np.testing.assert_allclose(found.leak_mask.values**2, square, atol=6e-5)


def test_mask_leak_is_that_of_the_log_of_the_keys() -> None:
    context = 200
    stack = Stack.build(d_model=512, n_blocks=1, context=context, init=UNIFORM)
    log_n = np.log(np.arange(1, context + 1))
    squares = [
        np.square(log_n[offset:] - log_n[offset:].mean()) for offset in range(1, context // 2 + 1)
    ]
    wanted = np.concatenate(squares).mean()
    assert predict(stack).leak_mask.item() ** 2 == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("kind", ["random", "absent"])
@pytest.mark.parametrize("context", [64, 700])
def test_random_content_at_position_0_leaves_no_fingerprint(kind: str, context: int) -> None:
    stack = Stack.build(
        n_blocks=4, context=context, bos={"kind": kind}, mlp={"kind": "none"}, init=UNIT
    )
    found = predict(stack)
    assert not found.beacon.values.any()
    assert not found.leak_residual.values.any()
    assert found.leak_mask.values.min() > 0.3
    # at finite width a gated MLP has a mean, which follows the size of its input
    gated = predict(stack.set("mlp.kind", "gated"))
    assert gated.leak_residual.values.max() < 1e-4


@pytest.mark.parametrize("mask", ["ring", "bidirectional"])
def test_a_ring_leaks_nothing(mask: str) -> None:
    init = UNIT if mask == "ring" else UNIFORM
    stack = Stack.build(
        n_blocks=4, context=64, attention={"mask": mask}, bos={"kind": "random"}, init=init
    )
    found = predict(stack)
    assert np.ptp(found.k_diag.values, axis=1).max() < 1e-9 * found.k_diag.values.max()
    for leak in ("leak_mask", "leak_residual", "leak_total"):
        assert found[leak].values.max() < 1e-6, leak


def test_beyond_the_reach_of_windows_only_offsets_count() -> None:
    window, depth, context = 5, 4, 64
    stack = Stack.build(
        n_blocks=depth, context=context, attention={"window": window}, init={**UNIT, "std": 0.05}
    )
    found = predict(stack, keep="full")
    reach = depth * (window - 1)
    assert found.reach.values.tolist() == [level * (window - 1) for level in range(depth + 1)]
    k = found.K.values[-1]
    beyond = k[reach:, reach:]
    np.testing.assert_allclose(beyond[1:, 1:], beyond[:-1, :-1], rtol=1e-9, atol=1e-12)
    assert abs(k[reach - 1, reach - 1] - k[reach, reach]) > 1e-9
    assert not found.beacon.values[-1, reach + 1 :].any()
    assert found.beacon.values[-1, reach] > 0
    bos_only = found.Q.values[-1] - found.Q_common.values[-1]
    assert np.abs(bos_only[reach + 1 :]).max() < 1e-12


@pytest.mark.parametrize("change", [("context", 48), ("rope.base", 500.0), ("bos", "random")])
def test_position_0_is_a_closed_system(change: tuple[str, object]) -> None:
    stack = Stack.build(n_blocks=5, context=90, init={**UNIT, "std": 0.05})
    here, there = predict(stack), predict(stack.set(*change))
    np.testing.assert_allclose(here.k_diag.values[:, 0], there.k_diag.values[:, 0], rtol=1e-7)


def test_a_constant_bos_is_all_of_position_0() -> None:
    stack = Stack.build(n_blocks=5, context=90, init={**UNIT, "std": 0.05})
    found = predict(stack)
    np.testing.assert_allclose(found.q_diag[:, 0], found.k_diag[:, 0], rtol=1e-9)
    np.testing.assert_allclose(found.beacon[0], np.arange(90) == 0)


def test_frequencies_hardly_matter_at_initialisation() -> None:
    stack = Stack.build(n_blocks=4, context=120, init=UNIT, mlp={"kind": "none"})
    slow = predict(stack.set("rope.base", 1e6))
    fast = predict(stack.set("rope.base", 100.0))
    np.testing.assert_allclose(slow.k_diag, fast.k_diag, rtol=0.02)
    np.testing.assert_allclose(slow.leak_mask, fast.leak_mask, rtol=0.05)


def test_one_token_and_two_are_predicted() -> None:
    for context in (1, 2):
        found = predict(Stack.build(n_blocks=2, context=context, init=UNIT))
        assert all(np.isfinite(found[name].values).all() for name in found)
        assert found.sink.values[:, 0] == pytest.approx(1.0, abs=1e-9)
        assert not found.leak_residual.values.any()


def test_the_pieces_of_the_leak_add_up() -> None:
    found = predict(Stack.build(n_blocks=4, context=96, init=UNIT))
    total, mask, residual = (
        found[name].values ** 2 for name in ("leak_total", "leak_mask", "leak_residual")
    )
    cross = (residual + mask - total) / 2
    assert np.all(np.abs(cross) <= np.sqrt(mask * residual) + 1e-12)


@pytest.mark.parametrize("kind", ["constant", "random", "zero", "mean"])
@pytest.mark.parametrize("shared", [{"vocab_size": 9}, {"alpha": 0.2}])
def test_what_two_contents_share_is_at_most_what_there_is(
    kind: str, shared: dict[str, float]
) -> None:
    stack = Stack.build(d_model=64, n_heads=4, context=40, bos={"kind": kind}, init=UNIT, **shared)
    with np.errstate(over="raise"):
        found = predict(stack)
    variance = found.k_diag.values[:, 1:] * (1 + 1e-6)
    assert (found.q_diag.values[:, 1:] <= variance).all()
    assert (found.q_common.values[:, 1:] <= variance).all()
