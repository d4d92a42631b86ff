"""The narrow stand-in keeps what decides the leak."""

import pytest

from ropeleak import RopeleakError, Stack, catalog


@pytest.mark.parametrize("name", catalog.names())
@pytest.mark.parametrize("width", [256, 512])
def test_published_models_keep_their_numbers(name: str, width: int) -> None:
    stack = catalog.load(name)
    narrow = stack.proxy(width)
    assert narrow.d_model == width
    assert narrow.d_head == stack.d_head
    assert narrow.embedding_var == pytest.approx(stack.embedding_var, rel=1e-12)
    assert narrow.preactivation_var() == pytest.approx(stack.preactivation_var(), rel=1e-12)
    for block, (ours, theirs) in enumerate(zip(narrow.attention, stack.attention, strict=True)):
        assert narrow.score_std(block) == pytest.approx(stack.score_std(block), rel=1e-9)
        assert narrow.attention_gain(block) == pytest.approx(stack.attention_gain(block), rel=1e-9)
        assert narrow.mlp_gain(block) == pytest.approx(stack.mlp_gain(block), rel=0.02)
        assert ours.replace(latent=None) == theirs.replace(latent=None)
    words = narrow.approximations[-1]
    assert f"d_model {stack.d_model} -> {width}" in words
    assert narrow.approximations[:-1] == stack.approximations


def test_a_rounded_gain_is_told() -> None:
    words = catalog.load("deepseek-v3").proxy(512).approximations[-1]
    assert words.endswith("but for rounding in the MLP gain of some blocks")


def test_a_stack_that_is_no_wider_stays_what_it_is() -> None:
    stack = Stack.build(d_model=64, n_heads=2)
    assert stack.proxy(64) is stack
    assert stack.proxy(512) is stack


def test_a_width_of_nothing_is_refused() -> None:
    with pytest.raises(RopeleakError, match="width=0 is not allowed"):
        Stack.build().proxy(0)
