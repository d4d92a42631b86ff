"""The verdict says what the numbers say, in every case."""

from typing import Any

import numpy as np
import pytest

from ropeleak import Result, Stack, predict


def stack(**fields: Any) -> Stack:
    return Stack.build(
        **{"context": 160, "d_model": 64, "n_heads": 4, "n_blocks": 2,
           "mlp": {"kind": "none"}, "init": {"scheme": "fan_in"}, **fields}
    )  # fmt: skip


def verdict(**fields: Any) -> str:
    return predict(stack(**fields)).verdict()


def with_values(result: Result, **values: Any) -> Result:
    """The same result with some per-block variables overwritten."""
    dataset = result.dataset.copy()
    for name, value in values.items():
        dataset[name] = dataset[name].copy(data=np.asarray(value, dtype=float))
    return Result(dataset)


@pytest.fixture(scope="module")
def two_blocks() -> Result:
    return predict(stack())


def test_one_number_where_all_blocks_leak_the_same(two_blocks: Result) -> None:
    text = with_values(two_blocks, leak_mask=[0.48, 0.48], leak_residual=[0.0, 0.1]).verdict()
    assert "by 0.48 nats RMS between early and late queries in every block" in text
    assert "a factor of 1.6 in attention" in text
    assert "up to 0.1 nats RMS (block 2): the mask is the larger hole in every block" in text


def test_a_range_where_blocks_differ(two_blocks: Result) -> None:
    text = with_values(two_blocks, leak_mask=[0.03, 0.48]).verdict()
    assert "by 0.03 (block 1) to 0.48 nats RMS (block 2)" in text


def test_kinds_of_blocks_are_told_apart() -> None:
    text = verdict(attention=[{"window": 4}, {}], n_blocks=4)
    assert "in the 2 blocks with window 4 and" in text
    assert "in the 2 blocks with full attention" in text


@pytest.mark.parametrize(
    ("residual", "words"),
    [
        ([0.0, 0.0], "Nothing leaks through the residual stream"),
        ([0.1, 0.2], "the mask is the larger hole in every block"),
        ([0.6, 0.7], "it is the larger hole in every block"),
        ([0.1, 0.7], "it is the larger hole from block 2 on"),
        ([0.7, 0.1], "it is the larger hole in 1 of 2 blocks"),
    ],
)
def test_which_hole_is_larger(two_blocks: Result, residual: list[float], words: str) -> None:
    text = with_values(two_blocks, leak_mask=[0.5, 0.5], leak_residual=residual).verdict()
    assert words in text


def test_a_ring_has_no_mask_leak() -> None:
    text = verdict(attention={"mask": "ring"}, bos={"kind": "random"})
    assert "the mask leaks nothing in any block (keys: ring)" in text


def test_sigmoid_attention_has_no_denominator() -> None:
    assert "sigmoid attention has no softmax denominator" in verdict(
        attention={"softmax": {"kind": "sigmoid"}}
    )


def test_random_content_at_position_0_leaves_no_fingerprint() -> None:
    text = verdict(bos={"kind": "random"})
    assert "No token carries a fingerprint of position 0, which is ordinary content" in text
    assert "BOS's fingerprint" not in text


def test_a_window_limits_the_reach() -> None:
    text = verdict(attention={"window": 16})
    assert "BOS's fingerprint does not reach position 100" in text
    assert "no further than position 30 of 159: what lies beyond is exactly shift-invariant" in text
    assert "reaches no further" not in verdict()


def test_positions_fit_the_context() -> None:
    assert "at positions 50 and 100 " in verdict()
    assert "at positions 10 and 20 " in verdict(context=40)
    assert "at positions 1 and 2 " in verdict(context=4)


@pytest.mark.parametrize("context", [1, 2, 3])
def test_a_tiny_context_is_said_to_be_too_short(context: int) -> None:
    text = verdict(context=context)
    assert f"A context of {context} token" in text
    assert "too short" in text


@pytest.mark.parametrize(
    ("d", "words"),
    [
        (2.1, "can be told apart by its activation after the last block: d′ = 2.1, mostly by"),
        (2.1, "by its direction (an ideal observer is right 85% of the time)"),
        (0.5, "can barely be told apart"),
        (0.1, "can hardly be told apart"),
        (0.0, "cannot be told apart by its activation after the last block: d′ = 0."),
        (9.0, "right more than 99.9% of the time"),
    ],
)
def test_discriminability_in_words(d: float, words: str) -> None:
    import xarray as xr

    from ropeleak.verdict import apart

    ruler = xr.Dataset(
        {"linear": ("depth", [0, d]), "norm": ("depth", [0, d / 2]), "combined": ("depth", [0, d])}
    )
    assert words in apart(ruler, (50, 100))
