"""All checks of a function at once, and the three lines of a test."""

from dataclasses import replace
from typing import Any

from ._search import EXAMPLES
from ._subject import subject_of
from .adapters import required_parameters
from .attention import (
    check_attention_packing,
    check_causality,
    check_shift_equivariance,
    in_one_document,
)
from .batches import check_packing, check_padding
from .caches import check_cache_consistency
from .report import Report
from .rotary import (
    check_composition,
    check_frequencies,
    check_norm_preserved,
    check_position_ids,
    check_relative_invariance,
    check_repeatable,
)

CHECKS = (
    check_relative_invariance,
    check_norm_preserved,
    check_composition,
    check_cache_consistency,
    check_padding,
    check_packing,
    check_position_ids,
    check_repeatable,
)
"""What every rotary function is checked for; `check_frequencies` too where ``rope`` is given."""


def check_rope(fn: Any, *, examples: int = EXAMPLES, seed: int = 0, **options: Any) -> Report:
    """Run every check of a rotary function.

    Parameters
    ----------
    fn, examples, seed, **options
        As `check_relative_invariance` takes them.

    Returns
    -------
    Report
        True if everything passed; one verdict for each kind of invariance.

    Raises
    ------
    RopeleakError
        If an option is not allowed, or the function fails outright.

    Examples
    --------
    >>> import numpy as np
    >>> from ropeleak.check import check_rope
    >>> def rope(x, positions):
    ...     size = x.shape[-1] // 2
    ...     angles = positions[:, None, :, None] * 10000.0 ** (-np.arange(size) / size)
    ...     a, b = x[..., :size], x[..., size:]
    ...     cos, sin = np.cos(angles), np.sin(angles)
    ...     return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
    >>> bool(check_rope(rope, dtype="fp64", examples=20))
    True
    """
    subject = subject_of(fn, **options)
    checks = (*CHECKS, *((check_frequencies,) if subject.rope is not None else ()))
    findings = tuple(check(subject, examples=examples, seed=seed) for check in checks)
    sizes = ", ".join(map(str, subject.sizes))
    words = (
        f"{subject.name}: {subject.door.dtype.name} in {subject.door.framework}, positions up to"
        f" {subject.max_position}, head sizes {sizes}"
    )
    return Report(words, findings)


def check_attention(
    fn: Any, *, window: int | None = None, examples: int = EXAMPLES, seed: int = 0, **options: Any
) -> Report:
    """Run every check of a causal attention function.

    Parameters
    ----------
    fn
        ``fn(q, k, v, positions)``; packing is checked too if it is
        ``fn(q, k, v, positions, documents)``, as `check_attention_packing` takes it.
    window, examples, seed, **options
        As `check_shift_equivariance` takes them.

    Returns
    -------
    Report
        True if everything passed; one verdict for each kind of invariance.

    Raises
    ------
    RopeleakError
        If an option is not allowed, or the function fails outright.
    """
    cases = {"examples": examples, "seed": seed}
    packs = callable(fn) and required_parameters(fn) >= 5
    alone = in_one_document(fn) if packs else fn
    report = check_shift_equivariance(alone, window=window, **cases, **options)
    findings = [*report, check_causality(alone, **cases, **options)]
    if packs:
        findings.append(check_attention_packing(fn, **cases, **options))
    return replace(report, findings=tuple(findings))


def assert_attention(fn: Any, **options: Any) -> None:
    """Fail a test, with an explanation, unless an attention function passes every check.

    Parameters and errors as `check_attention` and `assert_rope`.
    """
    __tracebackhide__ = True
    _insist(check_attention(fn, **options))


def assert_rope(fn: Any, **options: Any) -> None:
    """Fail a test, with an explanation, unless a rotary function passes every check.

    Three lines in a test suite::

        from ropeleak.check import assert_rope

        def test_rope():
            assert_rope(my_rope, dtype="bf16", max_position=131072)

    Parameters
    ----------
    fn, **options
        As `check_rope` takes them.

    Raises
    ------
    AssertionError
        If a check fails; its message is the report.
    RopeleakError
        As `check_rope` does.
    """
    __tracebackhide__ = True
    _insist(check_rope(fn, **options))


def _insist(report: Report) -> None:
    __tracebackhide__ = True
    if not report:
        raise AssertionError("\n" + report.explain())
