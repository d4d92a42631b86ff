"""Looking for the case that fails, with Hypothesis, and shrinking it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ropeleak.errors import RopeleakError

from ._arrays import Floats, Integers
from ._subject import Subject
from .diagnosis import diagnose
from .report import Failure, Finding, Kind
from .tolerance import explained

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

EXAMPLES = 100


@dataclass(frozen=True)
class Case:
    """What one example of a check is made from.

    Parameters
    ----------
    head_size
        Entries of a head.
    positions
        Of the tokens of a row.
    shift
        What is added to them, or what else the check moves by.
    seed
        Of the entries of queries and keys.
    """

    head_size: int
    positions: tuple[int, ...]
    shift: int
    seed: int

    def row(self) -> Integers:
        """Return the positions, shape ``(1, tokens)``."""
        return np.array([self.positions], dtype=np.int64)

    def vectors(self, subject: Subject, tokens: int | None = None, count: int = 2) -> list[Floats]:
        """Return arrays of shape ``(1, 1, tokens, head_size)``, as the subject gets them."""
        n = len(self.positions) if tokens is None else tokens
        draws = entries(self.seed, (count, 1, 1, n, self.head_size))
        return [subject.rounded(x) for x in draws]


def entries(seed: int, shape: tuple[int, ...]) -> Floats:
    """Return random entries of about unit variance: either sign, sizes from 0.8 to 1.2.

    So no pair of entries is so large that its errors outweigh those of the others, which the
    tolerance counts on, and yet no two are the same.
    """
    rng = np.random.default_rng(seed)
    return np.asarray(rng.uniform(0.8, 1.2, shape) * rng.choice([-1.0, 1.0], shape))


@dataclass(frozen=True)
class Outcome:
    """One comparison of one case, the worst: ``error`` is a failure above ``tolerance``."""

    expected: float
    got: float
    error: float
    tolerance: float
    where: str
    positions: tuple[int, ...]

    @property
    def ratio(self) -> float:
        """The error over its tolerance; infinite for NaN."""
        if not (np.isfinite(self.expected) or np.isfinite(self.got)):
            return 0.0
        return self.error / self.tolerance if np.isfinite(self.error) else float("inf")


def worst(
    expected: Floats,
    got: Floats,
    tolerance: Floats,
    where: Callable[[tuple[int, ...]], tuple[str, tuple[int, ...]]],
    error: Floats | None = None,
) -> Outcome:
    """Return the comparison that is worst by its tolerance.

    Parameters
    ----------
    expected, got, tolerance, error
        Of one shape; the error is ``|got - expected|`` unless given.
    where
        Tells, for an index into them, which numbers these are and the positions that matter.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.abs(got - expected) if error is None else error
        ratio = np.where(np.isfinite(off), off / tolerance, np.inf)
    # What was NaN already does not differ; NaN out of numbers does.
    ratio = np.where(np.isfinite(expected) | np.isfinite(got), ratio, 0.0)
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(ratio)), ratio.shape))
    words, positions = where(at)
    a, b, c, d = (
        float(np.broadcast_to(x, ratio.shape)[at]) for x in (expected, got, off, tolerance)
    )
    return Outcome(a, b, c, d, words, positions)


def scores(q: Floats, k: Floats) -> Floats:
    """Return ``q·k/√d`` of every query and key, shape ``(batch, heads, queries, keys)``."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]))


def gain(before: Floats, after: Floats) -> float:
    """Return by what a rotation multiplies norms (1, or an attention factor), from 1 to 4.

    Rounding errors grow with it; a wild one is another check's matter.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        ratio = np.sqrt(np.sum(after**2) / np.sum(before**2))
    return float(np.clip(np.nan_to_num(ratio, nan=1.0), 1.0, 4.0))


class _Found(Exception):  # noqa: N818
    """Carries a failing outcome through Hypothesis."""


def search(
    subject: Subject,
    strategy: "SearchStrategy[Case]",
    evaluate: Callable[[Case], Outcome],
    *,
    check: str,
    kind: Kind,
    claim: str,
    examples: int = EXAMPLES,
    seed: int = 0,
    source: str | None = None,
) -> Finding:
    """Try a check on many cases and return what was found, shrunk and explained.

    Parameters
    ----------
    subject
        What is checked.
    strategy
        Of the cases.
    evaluate
        The worst comparison of one case.
    check, kind, claim
        As in `Finding`.
    examples
        How many cases.
    seed
        Another one gives other cases.
    source
        Where the tolerance comes from, if not from that of scores.
    """
    margin, tried, failing = look(strategy, evaluate, examples, seed)
    if failing is None:
        return Finding(check, kind, claim, tried, margin)
    case, outcome = failing
    failure = Failure(
        vars(case), outcome.expected, outcome.got, outcome.error, outcome.tolerance,
        source or _source(subject, case, outcome), outcome.where,
    )  # fmt: skip
    causes = diagnose(subject, case.head_size, outcome.positions, outcome.ratio)
    return Finding(check, kind, claim, tried, margin, failure, causes)


def look(
    strategy: "SearchStrategy[Any]", evaluate: Callable[[Any], Outcome], examples: int, seed: int
) -> tuple[float, int, tuple[Any, Outcome] | None]:
    """Return the largest ratio, the number of cases, and the smallest failing case if any."""
    hypothesis = _hypothesis()
    if examples < 1:
        raise RopeleakError(f"examples={examples} must be at least 1")
    margin, tried = 0.0, 0
    failing: tuple[Any, Outcome] | None = None

    def example(case: Any) -> None:
        nonlocal margin, tried, failing
        tried += failing is None
        outcome = evaluate(case)
        margin = max(margin, outcome.ratio)
        if outcome.ratio > 1:
            failing = case, outcome
            raise _Found

    phases = (hypothesis.Phase.generate, hypothesis.Phase.shrink)
    options = hypothesis.settings(
        max_examples=examples, phases=phases, database=None, deadline=None, print_blob=False,
        report_multiple_bugs=False, suppress_health_check=list(hypothesis.HealthCheck),
        verbosity=hypothesis.Verbosity.quiet, derandomize=False,
    )  # fmt: skip
    run = hypothesis.seed(seed)(options(hypothesis.given(strategy)(example)))
    try:
        run()
    except _Found:
        pass
    except hypothesis.errors.Flaky:
        # The function keeps state: what failed once need not fail again. The last failure counts.
        if failing is None:
            raise
    return margin, tried, failing


def _source(subject: Subject, case: Case, outcome: Outcome) -> str:
    frequencies = subject.frequencies(case.head_size)
    return explained(outcome.positions, frequencies, case.head_size, subject.precision)


def _hypothesis() -> Any:
    try:
        import hypothesis
        import hypothesis.errors
    except ImportError:
        raise RopeleakError(
            "hypothesis is not installed, and ropeleak searches for failing examples with it:"
            " pip install 'ropeleak[check]'"
        ) from None
    return hypothesis


def cases(
    subject: Subject, *, min_size: int = 1, max_size: int = 4, contiguous: bool = False
) -> "SearchStrategy[Case]":
    """Cases whose positions and shifts sum to at most the subject's largest position."""
    _hypothesis()
    from hypothesis import strategies as st

    from ropeleak import strategies

    # A row and a shift are drawn by themselves and then moved down until their sum is allowed.
    most = subject.max_position
    rows = strategies.rows(
        most, min_size=min_size, max_size=max_size, contiguous=contiguous, near=subject.limits
    )

    def case(size: int, row: tuple[int, ...], shift: int, seed: int) -> Case:
        room = most - shift
        excess = max(max(row) - room, 0)
        if contiguous:
            return Case(size, tuple(p - excess for p in row), shift, seed)
        return Case(size, tuple(min(p, room) for p in row), shift, seed)

    shifts = strategies.positions(most - max_size, near=subject.limits)
    return st.builds(case, st.sampled_from(subject.sizes), rows, shifts, st.integers(0, 2**16))
