"""Kept attention: equal to plain NumPy, and to what `measure` gathers of the same draws."""

from typing import Any

import numpy as np
import pytest

from ropeleak import RopeleakError, Stack
from ropeleak.simulate.attention import Attention, Hole, watch_attention
from ropeleak.simulate.plan import make_plan
from ropeleak.simulate.sampling import samples
from tests.simulate.reference import visible

BASE: dict[str, Any] = {
    "context": 40, "d_model": 32, "n_heads": 4, "n_kv_heads": 2, "n_blocks": 2,
    "mlp": {"kind": "none"},
    "init": {"score_std": 1.2, "attention_gain": 1.0, "embedding_var": 1.0},
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "long": {"context": 150},
    "window and sinks": {"context": 150, "attention": {"window": 20, "sinks": 3}},
    "chunks": {"attention": [{"chunk": 7}, {}]},
    "prefix": {"attention": {"prefix": 9}},
    "ring": {"attention": {"mask": "ring"}},
    "sink logits": {"attention": {"softmax": {"sink_logit": 1.0, "sink_logit_std": 0.5}}},
    "soft cap": {"attention": {"softmax": {"softcap": 1.5, "temperature": 0.5}}},
    "reads sinks": {"attention": {"sink_bias": 2.0}},
    "random BOS": {"bos": {"kind": "random"}},
}
HOLES: tuple[Hole, ...] = ("mask", "residual", "cross")


def watched(stack: Stack, draws: int = 2, **options: Any) -> list[Attention]:
    return list(watch_attention(stack, draws=draws, contents=3, seed=5, **options))


@pytest.mark.parametrize("name", VARIANTS)
def test_it_is_the_attention_that_is_measured(name: str) -> None:
    stack = Stack.build(**{**BASE, **VARIANTS[name]})
    measured = samples(make_plan(stack, 3, 5), False, 0, 2, 1)
    for found, sample in zip(watched(stack), measured, strict=True):
        np.testing.assert_allclose(found.log_z.mean((1, 2)), sample.log_z, atol=2e-5)
        np.testing.assert_allclose(found.weight[..., 0].mean((1, 2)), sample.sink, atol=1e-6)
        sums = np.array([found.leak_by_query(hole).sum(-1) for hole in HOLES])
        for block, square in enumerate(sample.leak):
            np.testing.assert_allclose(
                sums[:, block] / max(found.entries(block).sum(), 1), square, atol=2e-5
            )


@pytest.mark.parametrize("name", VARIANTS)
def test_weights_are_the_softmax_of_the_scores(name: str) -> None:
    stack = Stack.build(**{**BASE, **VARIANTS[name]})
    (found, _) = watched(stack, threads=1)
    for block, attention in enumerate(stack.attention):
        seen = visible(attention, stack.context)
        assert not found.weight[block][..., ~seen].any()
        if attention.softmax.null_logit is None:
            np.testing.assert_allclose(found.weight[block].sum(-1), 1.0, atol=1e-5)
        ratio = np.exp(found.score[block] - found.log_z[block][..., None])
        np.testing.assert_allclose(
            np.where(seen, ratio, 0.0), found.weight[block], atol=2e-5, rtol=2e-4
        )


def test_entropy_is_between_none_and_uniform() -> None:
    stack = Stack.build(**{**BASE, "n_blocks": 1})
    (plain, _), (even, _) = watched(stack), watched(stack.set("init.score_std", 1e-6))
    most = np.log(np.arange(1, 41))
    np.testing.assert_allclose(even.entropy[0], most, atol=1e-5)
    assert np.all(plain.entropy[0, 1:] < most[1:])
    assert plain.entropy[0, 0] == pytest.approx(0, abs=1e-6)


def test_threads_do_not_change_a_bit() -> None:
    stack = Stack.build(**BASE)
    for one, two in zip(watched(stack, threads=1), watched(stack, threads=2), strict=True):
        np.testing.assert_array_equal(one.weight, two.weight)


def test_sigmoid_attention_is_refused() -> None:
    stack = Stack.build(**BASE).set("attention.softmax.kind", "sigmoid")
    with pytest.raises(RopeleakError, match="no denominator to watch"):
        watch_attention(stack, draws=1)
