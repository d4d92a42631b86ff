"""Rules: verdicts on both sides of every threshold, and numbers too uncertain for one."""

import numpy as np
import pytest

from ropeleak import RopeleakError, claims
from ropeleak.claims.number import (
    Number,
    exact,
    in_wide_limit,
    jackknife,
    mean_of,
    measured,
    predicted,
)
from ropeleak.claims.rule import VERDICTS, Condition, Rule

IDS = claims.names()
STEP = 1e-3


def passing(rule: Rule, ending: float = 1.0) -> dict[str, Number]:
    """Return numbers that pass every test, a step inside the tightest threshold of each name."""
    bounds: dict[str, tuple[float, float]] = {}
    for test in rule.tests:
        low, high = bounds.get(test.name, (-np.inf, np.inf))
        above = test.sense == "above"
        bounds[test.name] = (
            (max(low, test.threshold), high) if above else (low, min(high, test.threshold))
        )
    found = {}
    for name, (low, high) in bounds.items():
        size = STEP * max(abs(x) for x in (low, high) if np.isfinite(x)) or STEP
        found[name] = Number(low + size if np.isfinite(low) else high - size, None)
    return found


@pytest.mark.parametrize("name", IDS)
def test_every_threshold_has_two_sides(name: str) -> None:
    rule = claims.load(name).rule
    good = passing(rule)
    assert rule.decide(good) == "supported"
    for index, test in enumerate(rule.tests):
        size = STEP * abs(test.threshold) or STEP
        wrong = test.threshold + (size if test.sense == "below" else -size)
        numbers = {**good, test.name: Number(wrong, None)}
        first = next(t for t in rule.tests if t.holds(numbers[t.name]) is False)
        assert first is test or rule.tests.index(first) < index
        assert rule.decide(numbers) == first.otherwise
        assert test.holds(Number(wrong, None)) is False


@pytest.mark.parametrize("name", IDS)
def test_two_standard_errors_are_undecided(name: str) -> None:
    rule = claims.load(name).rule
    good = passing(rule)
    for test in rule.tests:
        value = good[test.name].value
        doubtful = {**good, test.name: Number(value, 0.51 * abs(value - test.threshold))}
        assert rule.decide(doubtful) == "undecided"
        nearest = min(abs(value - t.threshold) for t in rule.tests if t.name == test.name)
        certain = {**good, test.name: Number(value, 0.49 * nearest)}
        assert rule.decide(certain) == "supported"


def test_a_doubtful_condition_does_not_hide_behind_a_failing_one() -> None:
    rule = Rule((Condition("a", "above", 1.0, "refuted"), Condition("b", "above", 1.0)))
    assert rule.decide({"a": Number(1.1, 1.0), "b": Number(0.0)}) == "undecided"
    assert rule.decide({"a": Number(0.0), "b": Number(1.1, 1.0)}) == "refuted"


@pytest.mark.parametrize("name", IDS)
def test_the_rule_of_another_claim_is_caught(name: str) -> None:
    numbers = passing(claims.load(name).rule)
    for other in IDS:
        if other != name:
            with pytest.raises(RopeleakError, match="the rule asks for"):
                claims.load(other).rule.decide(numbers)


def test_thresholds_are_the_constants_of_their_modules() -> None:
    fixed = {
        "relative-scores": {("change", "below", 1e-18, "refuted")},
        "mask-denominator": {
            ("causal", "above", 0.01, "refuted"), ("ring share", "below", 0.05, "refuted"),
            ("change past window", "below", 0.1, "refuted"),
        },
        "closed-origin": {(n, "below", 0.5, "refuted") for n in ("contents", "lengths", "rope")},
        "fifty-vs-hundred": {("probe", "above", 0.6915, "refuted")},
        "bos-anchor": {
            ("random, early", "above", 0.25, "refuted"),
            ("random, late", "above", 0.25, "refuted"),
        },
        "ntk-suppresses": {
            ("NTK", "above", -0.1, "refuted"), ("NTK", "above", 0.1, "not at initialisation"),
        },
        "window-accumulates": {
            ("rise, window", "above", 0.0, "refuted"), ("excess", "above", 1.0, "refuted"),
        },
        "sinks-fingerprint": {
            ("sink", "above", 0.01, "refuted"), ("window", "below", 0.005, "refuted"),
        },
        "beyond-training": {
            ("new angles", "above", 0.01, "refuted"), ("ln Z beyond", "above", 0.5, "refuted"),
            ("growth, none", "above", 1.1, "not at initialisation"),
        },
        "plugs": {
            ("mask left", "above", 0.02, "refuted"), ("residual left", "above", 0.02, "refuted"),
        },
        "score-maps": {
            ("nearby", "above", 0.0, "refuted"), ("distortion", "above", 0.0, "refuted"),
        },
        "variance-shrinkage": {
            ("exponent", "below", -0.9, "refuted"), ("kept", "below", 1.0, "refuted"),
        },
        "nearby-similarity": {
            ("depth 1", "above", 0.5, "refuted"), ("bidirectional", "below", 0.52, "refuted"),
        },
        "residual-rollout": {
            ("collapse", "above", 0.5, "refuted"), ("kept", "below", 0.9, "refuted"),
            ("first over least", "above", 1.0, "refuted"),
            ("last over least", "above", 1.0, "refuted"),
        },
        "mask-comparison": {
            ("causal", "above", 2.0, "refuted"), ("window", "above", 2.0, "refuted"),
            ("slower", "below", 1.0, "refuted"), ("full", "below", 1.1, "refuted"),
            ("prefix", "above", 0.9, "refuted"),
            ("prefix, uneven", "below", 1.1, "refuted"),
        },
    }  # fmt: skip
    assert {name: set(map(tuple, claims.load(name).rule.tests)) for name in IDS} == fixed


@pytest.mark.parametrize("name", IDS)
def test_words_name_every_condition(name: str) -> None:
    rule = claims.load(name).rule
    for test in rule.tests:
        assert f"{test.otherwise} unless {test.name} {test.sense} {test.threshold:g}" in str(rule)
        assert test.otherwise in VERDICTS


def test_unknown_claims_are_refused() -> None:
    with pytest.raises(RopeleakError, match="did you mean bos-anchor"):
        claims.load("bos-ancor")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (Number(847.3, 12.0), "847 ± 10"), (Number(0.12345, 0.0021), "0.123 ± 0.002"),
        (exact(3), "3 (exact)"), (predicted(0.5), "0.5"), (in_wide_limit(2), "2 (wide limit)"),
    ],
)  # fmt: skip
def test_numbers_say_how_sure_they_are(number: Number, words: str) -> None:
    assert str(number) == words


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    samples = np.random.default_rng(0).normal(size=50)
    number = measured(lambda means: means["x"], {"x": samples})
    plain = mean_of(samples)
    assert number.value == pytest.approx(plain.value)
    assert number.se == pytest.approx(plain.se)


def test_shared_noise_cancels_in_a_difference() -> None:
    random = np.random.default_rng(1)
    shared, own = random.normal(size=200), 0.1 * random.normal(size=(2, 200))
    first, second = {"x": shared + own[0]}, {"x": shared + own[1]}
    _, error = jackknife(lambda a, b: a["x"] - b["x"], first, second)
    assert float(error) == pytest.approx(0.1 * np.sqrt(2 / 200), rel=0.2)
