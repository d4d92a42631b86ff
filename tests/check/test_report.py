"""Reports explain; the assertion of a test suite does too; the search shrinks."""

import json
from collections.abc import Callable

import numpy as np
import pytest

import ropeleak.check as rc
from ropeleak import Rope
from ropeleak.check import adapters
from tests.check.bugs import BUGS, dynamic
from tests.check.zoo import YARN, ZOO, Array, half


def test_three_lines_in_a_test_suite() -> None:
    rc.assert_rope(half, dtype="bf16", max_position=131_072, examples=10)
    with pytest.raises(AssertionError, match="bf16-positions"):
        rc.assert_rope(BUGS["bf16 positions"].fn, examples=20)


def test_a_failure_is_small_and_explained() -> None:
    finding = rc.check_relative_invariance(BUGS["bf16 positions"].fn)
    assert not finding
    failure = finding.failure
    assert failure is not None
    assert failure.case["head_size"] == 2
    assert len(failure.case["positions"]) <= 2
    assert abs(failure.got - failure.expected) == pytest.approx(failure.error)
    words = " ".join(finding.explain().split())
    for part in ("expected", "got", "tolerance", "closed form", "bf16-positions", "case"):
        assert part in words
    assert repr(finding) == finding.explain()


def test_verdicts_by_kind() -> None:
    report = rc.check_rope(dynamic, examples=20, head_size=32)
    assert report.verdict("position-id offset").startswith("broken")
    assert report.verdict("sequence index").startswith("holds")
    assert report.verdict("frequencies") == "not checked"
    assert json.loads(json.dumps(report.as_dict()))["passed"] is False


def test_an_attention_factor_is_noted() -> None:
    finding = rc.check_norm_preserved(ZOO["yarn"].fn, head_size=64, examples=5)
    factor = YARN.attention_scale(1)
    assert finding
    assert f"multiplied by {factor:.4g}" in " ".join(finding.notes)
    assert not rc.check_norm_preserved(half, examples=5).notes


WILD: dict[str, Callable[[Array, Array], Array]] = {
    "a random matrix for each position": lambda x, p: np.stack(
        [v @ np.random.default_rng(m).normal(size=(v.size, v.size))
         for v, m in zip(x, p, strict=True)]
    ),
    "entries move on with the position": lambda x, p: np.stack(
        [np.roll(v, m**2) for v, m in zip(x, p, strict=True)]
    ),
    "pairs from both ends": lambda x, p: np.cos(p)[:, None] * x + np.sin(p)[:, None] * x[:, ::-1],
    "not linear": lambda x, p: np.tanh(x + p[:, None]),
    "zero": lambda x, p: 0 * x,
    "NaN at some positions": lambda x, p: x * np.where(p % 7 == 3, np.nan, 1)[:, None],
    "infinity later": lambda x, p: x * np.where(p > 100, np.inf, 1)[:, None],
    "the sum of the tokens so far": lambda x, p: np.cumsum(x, axis=0),
}  # fmt: skip
"""What no one would call a rotation, of vectors ``(tokens, size)`` and positions ``(tokens,)``."""


@pytest.mark.parametrize("rope", [None, Rope(), Rope(fraction=0.5)])
@pytest.mark.parametrize("name", WILD)
def test_whatever_a_function_does_is_reported(name: str, rope: Rope | None) -> None:
    def wild(x: Array, positions: Array) -> Array:
        return WILD[name](x, positions).astype(x.dtype)

    fn = adapters.single(wild, axes="td")
    report = rc.check_rope(fn, rope=rope, head_size=(4, 8), examples=5)
    assert not report
    assert report.causes


def test_a_function_that_ignores_positions_is_noted() -> None:
    def nope(q: Array, k: Array, positions: Array) -> tuple[Array, Array]:
        return q, k

    report = rc.check_rope(nope, examples=5)
    assert report
    assert "positions have no effect" in report.explain()
    assert "no effect" not in rc.check_rope(half, examples=5).explain()


def test_rerotation_of_a_cache() -> None:
    def moved(keys: Array, shift: int) -> Array:
        return half(keys, np.full((keys.shape[0], keys.shape[2]), shift))

    def moved_too_far(keys: Array, shift: int) -> Array:
        return moved(keys, shift + 1)

    assert rc.check_cache_consistency(half, rerotate=moved, examples=20)
    assert not rc.check_cache_consistency(half, rerotate=moved_too_far, examples=20)


def test_a_step_that_is_off_by_one_is_named() -> None:
    def late(x: Array, positions: Array) -> Array:
        return half(x, positions + 1)

    finding = rc.check_cache_consistency(half, step=late, examples=20, max_position=1000)
    assert finding.causes[0].name == "off-by-one-cache"


def test_the_attention_factor_must_be_that_of_the_spec() -> None:
    assert rc.check_norm_preserved(ZOO["yarn"].fn, rope=YARN, head_size=64, examples=5)
    finding = rc.check_norm_preserved(half, rope=YARN, head_size=64, examples=5)
    assert not finding
    assert finding.causes[0].name == "attention-factor"
    assert finding.failure is not None
    assert finding.failure.expected == pytest.approx(YARN.attention_scale(1))
