"""What architectures by themselves let through, and the references that tell."""

from typing import Any

import numpy as np
import pytest

from ropeleak import Attention, Rope, RopeleakError, Stack, catalog
from ropeleak.check import check_rope, check_stack, reference
from tests.check.test_attention import attend
from tests.check.zoo import LLAMA3, YARN, half, interleaved, partial, scaled

FEW = 10
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("rope", "other"),
    [
        (Rope(), half),
        (Rope(layout="interleaved"), interleaved),
        (Rope(fraction=0.25), partial),
        (YARN, scaled(YARN)),
        (LLAMA3, scaled(LLAMA3)),
    ],
)
def test_the_reference_is_what_others_compute(rope: Rope, other: Any) -> None:
    x = RNG.normal(size=(2, 3, 4, 64)).astype(np.float32)
    positions = RNG.integers(0, 4096, (2, 4))
    np.testing.assert_array_equal(reference.turned(x, positions, rope), other(x, positions))


@pytest.mark.parametrize("window", [None, 3])
def test_reference_attention_is_what_others_compute(window: int | None) -> None:
    q, k, v = RNG.normal(size=(3, 2, 3, 7, 16))
    positions = np.arange(7)[None] + np.array([[0], [100]])
    found = reference.attention(Attention(window=window))(q, k, v, positions)
    # the others compute angles in float32
    np.testing.assert_allclose(found, attend(q, k, v, positions, window=window), atol=1e-5)


def test_chunks_start_where_positions_do() -> None:
    q, k, v = RNG.normal(size=(3, 1, 1, 6, 8))
    found = reference.attention(Attention(chunk=4))(q, k, v, np.arange(2, 8)[None])
    np.testing.assert_allclose(found[0, 0, 2], v[0, 0, 2], atol=1e-12)  # position 4 sees itself


@pytest.mark.parametrize("name", ["llama-3.1-8b", "gemma-2-9b", "deepseek-v3", "gpt-oss-20b"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_static_ropes_are_relative(name: str, dtype: str) -> None:
    for report in check_stack(catalog.load(name), dtype=dtype, examples=FEW):
        assert report, report


@pytest.mark.parametrize(
    ("stack", "causes"),
    [
        (catalog.load("phi-3.5-mini-instruct"), [{"longrope-switch"}]),
        (catalog.load("llama-4-scout-17b-16e"), [{"chunks"}, {"query-scale"}]),
        (
            Stack.build(attention={
                "rope": {"type": "dynamic", "factor": 2.0, "max_context": 3000},
                "softmax": {"length_scaling": "log-n"},
            }),
            [{"dynamic-ntk", "query-scale"}],
        ),
    ],
)  # fmt: skip
def test_what_sees_an_offset_is_named(stack: Stack, causes: list[set[str]]) -> None:
    reports = check_stack(stack, examples=100)
    assert [{cause.name for cause in report.causes} for report in reports] == causes
    for report in reports:
        assert report.verdict("position-id offset").startswith("broken")
        assert report.verdict("sequence index").startswith("holds")


def test_positions_next_to_the_limits_of_a_rope_are_tried() -> None:
    rope = Rope(type="dynamic", factor=2.0, max_context=54_321)
    assert not check_rope(
        reference.rotary(rope), rope=rope, max_position=54_330, head_size=64, examples=40
    )


def test_a_ring_has_no_offset() -> None:
    stack = Stack.build(attention={"mask": "ring"})
    with pytest.raises(RopeleakError, match="mask='ring' has no positions"):
        check_stack(stack, examples=1)
