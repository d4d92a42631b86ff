"""Correct functions raise no alarm, wrong ones are caught and named."""

import os

import pytest

from ropeleak.check import check_cache_consistency, check_rope
from tests.check.bugs import BUGS, Cache
from tests.check.frameworks import FRAMEWORK_ZOO
from tests.check.zoo import ZOO, Correct, half

EXAMPLES = int(os.environ.get("ROPELEAK_EXAMPLES", "10"))
"""Examples of each check; 1000 is the full run, in which bugs are looked for in bf16 too."""

SEED = int(os.environ.get("ROPELEAK_SEED", "0"))
"""Another one gives other examples."""

BUG_DTYPES = ("fp32", "bf16") if EXAMPLES >= 1000 else ("fp32",)


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", [*ZOO, *FRAMEWORK_ZOO])
@pytest.mark.timeout(3600)
def test_no_false_alarm(name: str, dtype: str) -> None:
    correct: Correct = ZOO.get(name) or FRAMEWORK_ZOO[name]()
    options = {"max_position": 131_072, **correct.options}
    report = check_rope(
        correct.fn, dtype=dtype, rope=correct.rope, examples=EXAMPLES, seed=SEED, **options
    )
    assert report, report


def test_the_zoo_is_large() -> None:
    assert len(ZOO) >= 10
    assert len(BUGS) >= 15


@pytest.mark.parametrize("dtype", BUG_DTYPES)
@pytest.mark.parametrize("name", BUGS)
def test_bugs_are_caught_and_named(name: str, dtype: str) -> None:
    bug = BUGS[name]
    options = {"max_position": 4096, "examples": 40, "dtype": dtype, "seed": SEED, **bug.options}
    report = check_rope(bug.fn, **options)
    assert not report, report
    assert report.causes[0].name == bug.cause, report


@pytest.mark.parametrize("late", [1, -1, 2])
def test_a_cache_that_is_off_is_caught_and_named(late: int) -> None:
    right = check_cache_consistency(half, decoder=lambda: Cache(0), examples=20)
    wrong = check_cache_consistency(half, decoder=lambda: Cache(late), examples=20)
    assert right, right
    assert not wrong
    assert wrong.causes[0].name == "off-by-one-cache", wrong
    assert ("too high" if late > 0 else "too low") in wrong.causes[0].sentence
