"""Every RoPE type against a reference written as loops over pairs, in the three-branch forms."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from ropeleak.spec import Rope

EVEN = st.integers(2, 96).map(lambda n: 2 * n)
CONTEXT = st.integers(1, 300_000)


def plain(base: float, d: int) -> list[float]:
    return [1.0 / base ** (2 * k / d) for k in range(d // 2)]


def ref_default(rope: Rope, d: int, context: int) -> list[float]:
    return plain(rope.base, d)


def ref_linear(rope: Rope, d: int, context: int) -> list[float]:
    assert rope.factor is not None
    return [w / rope.factor for w in plain(rope.base, d)]


def ref_dynamic(rope: Rope, d: int, context: int) -> list[float]:
    assert rope.factor is not None and rope.max_context is not None
    length = max(context, rope.max_context)
    stretch = (rope.factor * length / rope.max_context) - (rope.factor - 1)
    return plain(rope.base * stretch ** (d / (d - 2)), d)


def ref_ntk(rope: Rope, d: int, context: int) -> list[float]:
    assert rope.factor is not None
    return plain(rope.base * rope.factor ** (d / (d - 2)), d)


def ref_yarn(rope: Rope, d: int, context: int) -> list[float]:
    assert rope.factor is not None and rope.original_context is not None

    def correction(rotations: float) -> float:
        turns = rope.original_context / (rotations * 2 * math.pi)  # type: ignore[operator]
        return d * math.log(turns) / (2 * math.log(rope.base))

    low, high = correction(rope.beta_fast), correction(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, d - 1)
    if low == high:
        high += 0.001
    found = []
    for k, w in enumerate(plain(rope.base, d)):
        ramp = min(max((k - low) / (high - low), 0), 1)
        found.append(w / rope.factor * ramp + w * (1 - ramp))
    return found


def ref_longrope(rope: Rope, d: int, context: int) -> list[float]:
    assert rope.short_factor and rope.long_factor and rope.original_context
    divisors = rope.long_factor if context > rope.original_context else rope.short_factor
    return [w / divisor for w, divisor in zip(plain(rope.base, d), divisors, strict=True)]


def ref_llama3(rope: Rope, d: int, context: int) -> list[float]:
    assert rope.factor and rope.original_context and rope.low_freq_factor and rope.high_freq_factor
    found = []
    for w in plain(rope.base, d):
        wavelength = 2 * math.pi / w
        if wavelength < rope.original_context / rope.high_freq_factor:
            found.append(w)
        elif wavelength > rope.original_context / rope.low_freq_factor:
            found.append(w / rope.factor)
        else:
            smooth = (rope.original_context / wavelength - rope.low_freq_factor) / (
                rope.high_freq_factor - rope.low_freq_factor
            )
            found.append((1 - smooth) * w / rope.factor + smooth * w)
    return found


def ref_proportional(rope: Rope, d: int, context: int) -> list[float]:
    angles = int(rope.fraction * d // 2)
    rotated = [rope.base ** (-2 * k / d) / (rope.factor or 1) for k in range(angles)]
    return rotated + [0.0] * (d // 2 - angles)


REFERENCES: dict[str, Callable[[Rope, int, int], list[float]]] = {
    "default": ref_default,
    "linear": ref_linear,
    "dynamic": ref_dynamic,
    "ntk": ref_ntk,
    "yarn": ref_yarn,
    "longrope": ref_longrope,
    "llama3": ref_llama3,
    "proportional": ref_proportional,
}


@st.composite
def ropes(draw: st.DrawFn, kind: str) -> tuple[Rope, int]:
    """Draw a rope of a type and a head size that it fits."""
    size = draw(EVEN)
    numbers = st.floats(1.0, 64.0)
    spread = draw(numbers)
    low = draw(st.floats(0.5, 4.0))
    return (
        Rope.model_validate(
            {
                "type": kind,
                "base": draw(st.floats(100.0, 1e7)),
                "factor": draw(numbers),
                "original_context": draw(st.integers(64, 10**5)),
                "max_context": draw(st.integers(64, 10**6)),
                "beta_fast": draw(st.floats(8.0, 64.0)),
                "beta_slow": draw(st.floats(0.5, 4.0)),
                "truncate": draw(st.booleans()),
                "low_freq_factor": low,
                "high_freq_factor": low + draw(st.floats(0.1, 8.0)),
                "short_factor": tuple(np.geomspace(1, spread, size // 2)),
                "long_factor": tuple(np.geomspace(spread, 64, size // 2)),
                "fraction": draw(st.floats(0.1, 1.0)) if kind == "proportional" else 1.0,
            }
        ),
        size,
    )


@pytest.mark.parametrize("kind", REFERENCES)
@given(data=st.data(), context=CONTEXT)
@settings(max_examples=40, deadline=None)
def test_frequencies_equal_the_reference(kind: str, data: st.DataObject, context: int) -> None:
    rope, size = data.draw(ropes(kind))
    rope.check(size, context)
    found = rope.inverse_frequencies(size, context)
    assert found.shape == (rope.rotary_dim(size) // 2,)
    np.testing.assert_allclose(found, REFERENCES[kind](rope, size, context), rtol=1e-11, atol=0)


@pytest.mark.parametrize("kind", REFERENCES)
@given(data=st.data(), context=CONTEXT)
@settings(max_examples=15, deadline=None)
def test_the_kernel_is_the_trace_of_the_rotation(
    kind: str, data: st.DataObject, context: int
) -> None:
    rope, size = data.draw(ropes(kind))
    offsets = np.array([[0, 1, 5], [17, 300, 4096]])
    found = rope.kernel(offsets, size, context)
    frequencies = rope.inverse_frequencies(size, context)
    traces = [2 * np.cos(delta * frequencies).sum() for delta in offsets.ravel()]
    expected = (np.array(traces) + size - 2 * frequencies.size) / size
    np.testing.assert_allclose(found, expected.reshape(offsets.shape), atol=1e-12)
    assert found[0, 0] == pytest.approx(1)
    assert rope.kernel(3, size, context).shape == ()


def test_partial_rotation_leaves_the_rest_at_frequency_zero() -> None:
    rope = Rope(fraction=0.25)
    assert rope.rotary_dim(64) == 16
    assert rope.kernel(10**9, 64, 512) >= 0.75 - 0.25
    np.testing.assert_allclose(rope.inverse_frequencies(64, 512), plain(1e4, 16))


# Published numbers


def test_yarn_attention_factors() -> None:
    gpt_oss = Rope(type="yarn", factor=32, original_context=4096, base=150000, truncate=False)
    assert gpt_oss.attention_scale(1) == pytest.approx(1.3465735902799727, rel=1e-12)
    deepseek = gpt_oss.replace(factor=40, mscale=1.0, mscale_all_dim=1.0)
    assert deepseek.attention_scale(1) == 1
    assert gpt_oss.replace(attention_factor=1.5).attention_scale(1) == 1.5
    two = gpt_oss.replace(factor=40, mscale=0.707, mscale_all_dim=1.0)
    expected = (0.0707 * math.log(40) + 1) / (0.1 * math.log(40) + 1)
    assert two.attention_scale(1) == pytest.approx(expected, rel=1e-12)
    assert gpt_oss.replace(factor=0.5).attention_scale(1) == 1


def test_longrope_attention_factor_of_phi() -> None:
    ones = (1.0,) * 48
    phi = Rope(
        type="longrope",
        original_context=4096,
        max_context=131072,
        short_factor=ones,
        long_factor=ones,
    )
    assert phi.attention_scale(100) == pytest.approx(1.190238071, rel=1e-9)
    assert phi.attention_scale(100) == phi.attention_scale(10**6)
    assert phi.replace(max_context=2048).attention_scale(100) == 1


def test_an_attention_factor_belongs_to_types_that_have_one() -> None:
    assert Rope(attention_factor=2.0).attention_scale(1) == 1


def test_llama3_keeps_the_fast_and_divides_the_slow() -> None:
    rope = Rope(
        type="llama3",
        base=500000,
        factor=8,
        original_context=8192,
        low_freq_factor=1,
        high_freq_factor=4,
    )
    ratio = rope.inverse_frequencies(128, 512) / np.array(plain(500000, 128))
    np.testing.assert_allclose(ratio[:29], 1)
    np.testing.assert_allclose(ratio[35:], 1 / 8)
    assert np.all(np.diff(ratio) <= 1e-12)


def score_change(rope: Rope, size: int, before: int, after: int) -> float:
    """RMS change of ``q·k/√d`` for Gaussian ``q, k`` at offsets below 1024."""
    gap = rope.inverse_frequencies(size, before) - rope.inverse_frequencies(size, after)
    offsets: NDArray[np.int64] = np.arange(1, 1024)
    change = 2 * (1 - np.cos(np.multiply.outer(offsets, gap)))
    return float(np.sqrt(change.mean()))


@pytest.mark.parametrize(("after", "expected"), [(2049, 0.010), (2304, 0.94), (4096, 1.13)])
def test_dynamic_scaling_changes_scores_past_its_maximum(after: int, expected: float) -> None:
    rope = Rope(type="dynamic", factor=2, max_context=2048)
    assert score_change(rope, 128, 2048, after) == pytest.approx(expected, rel=0.1)
    assert score_change(rope, 128, 17, 2048) == 0


@pytest.mark.parametrize("kind", REFERENCES)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_types_that_claim_to_be_relative_ignore_the_length(kind: str, data: st.DataObject) -> None:
    rope, size = data.draw(ropes(kind))
    at = [rope.inverse_frequencies(size, context) for context in (1, 10**4, 10**7)]
    if rope.breaks_relativity is None:
        assert all(np.array_equal(at[0], other) for other in at)
    else:
        assert kind in ("dynamic", "longrope")
        assert "\n" not in rope.breaks_relativity and "running length" in rope.breaks_relativity


# What is refused


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("linear", ["factor"]),
        ("ntk", ["factor"]),
        ("dynamic", ["factor", "original_context"]),
        ("yarn", ["factor", "original_context"]),
        ("longrope", ["factor", "original_context", "short_factor", "long_factor"]),
        ("llama3", ["factor", "original_context", "low_freq_factor", "high_freq_factor"]),
    ],
)
def test_a_type_names_all_that_it_lacks(kind: str, names: list[str]) -> None:
    with pytest.raises(ValidationError) as error:
        Rope.model_validate({"type": kind})
    message = str(error.value.errors()[0]["ctx"]["error"])
    assert message.startswith(f"type={kind!r} needs ")
    assert all(name in message for name in names)


def test_the_two_contexts_stand_in_for_each_other_and_give_the_factor() -> None:
    given_both = Rope(type="yarn", original_context=4096, max_context=131072)
    explicit = Rope(type="yarn", original_context=4096, factor=32)
    np.testing.assert_array_equal(
        given_both.inverse_frequencies(64, 1), explicit.inverse_frequencies(64, 1)
    )
    assert Rope(type="dynamic", factor=2, original_context=100).breaks_relativity == (
        Rope(type="dynamic", factor=2, max_context=100).breaks_relativity
    )


@pytest.mark.parametrize(
    ("rope", "size", "word"),
    [
        (Rope(), 7, "even"),
        (Rope(), 1, "even"),
        (Rope(fraction=0.3), 64, "fraction"),
        (Rope(fraction=0.01), 64, "fraction"),
        (Rope(type="ntk", factor=2), 2, "from 4"),
        (Rope(type="proportional", fraction=0.5), 5, "even"),
    ],
)
def test_heads_that_do_not_fit_are_refused(rope: Rope, size: int, word: str) -> None:
    with pytest.raises(ValueError, match=word) as error:
        rope.check(size, 512)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["short_factor", "long_factor"])
def test_longrope_lists_must_fit_the_head(name: str) -> None:
    fields = {"short_factor": (1.0,) * 32, "long_factor": (1.0,) * 32, name: (1.0, 2.0)}
    rope = Rope.model_validate({"type": "longrope", "factor": 2, "original_context": 100, **fields})
    with pytest.raises(ValueError, match=f"rope.{name} has 2 entries for 32 pairs"):
        rope.check(64, 512)


def test_llama3_needs_its_band_in_order() -> None:
    with pytest.raises(ValidationError, match="low_freq_factor=4 must be below"):
        Rope(type="llama3", factor=8, original_context=10, low_freq_factor=4, high_freq_factor=4)
