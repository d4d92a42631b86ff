"""`Number`: a value with its standard error, or one that has none, and where it comes from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import hypot
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

EXACT = "exact"
WIDE = "wide limit"
CLOSED = "closed form"
MEAN_FIELD = "mean-field"
MEASURED = "measured"
SOURCES = {
    EXACT: "a theorem, or counted",
    WIDE: "exact in the limit of infinite width",
    CLOSED: "a formula that neglects higher orders",
    MEAN_FIELD: "the theory's closed recursion",
    MEASURED: "Monte Carlo, or counted on it",
}
"""Where a number may come from."""
SAID = (EXACT, WIDE, CLOSED)
"""Sources that are told behind a number."""


@dataclass(frozen=True)
class Number:
    """A value.

    Parameters
    ----------
    value
        What it is.
    se
        Its standard error; None for one that is not sampled.
    source
        One of `SOURCES`.
    """

    value: float
    se: float | None = None
    source: str = MEASURED

    def __str__(self) -> str:
        """Return the value and its standard error, or in words why it has none."""
        if self.se is not None:
            return f"{_rounded(self.value, self.se)} ± {float(f'{self.se:.1g}'):g}"
        return f"{self.value:.3g}" + (f" ({self.source})" if self.source in SAID else "")


def exact(value: float) -> Number:
    """Return a number that follows from a theorem or is counted."""
    return Number(float(value), None, EXACT)


def in_wide_limit(value: float) -> Number:
    """Return a number that follows from a theorem on stacks of infinite width."""
    return Number(float(value), None, WIDE)


def in_closed_form(value: float) -> Number:
    """Return a number that a formula gives to leading order."""
    return Number(float(value), None, CLOSED)


def predicted(value: float) -> Number:
    """Return a number of the mean-field theory, which does not sample."""
    return Number(float(value), None, MEAN_FIELD)


def mean_of(samples: Any) -> Number:
    """Return the mean of independent samples with its standard error."""
    values = np.asarray(samples, dtype=float)
    return Number(float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size)))


def quotient(top: Number, bottom: Number) -> Number:
    """Return the quotient of two independent measurements, to first order in their errors."""
    assert top.se is not None and bottom.se is not None
    ratio = top.value / bottom.value
    return Number(ratio, hypot(top.se, ratio * bottom.se) / abs(bottom.value))


class Row(NamedTuple):
    """One line of a claim's evidence.

    Attributes
    ----------
    name
        What the rule calls it.
    words
        What it is, with its unit.
    theory, measured
        The two numbers; None where there is none.
    """

    name: str
    words: str
    theory: Number | None = None
    measured: Number | None = None

    @property
    def number(self) -> Number:
        """What the rule decides on: the measurement where there is one."""
        found = self.measured if self.measured is not None else self.theory
        assert found is not None
        return found


class Curve(NamedTuple):
    """A line of a claim's plot: theory without, measurement with standard errors."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    se: tuple[float, ...] | None = None


def curve(label: str, x: Any, y: Any, se: Any = None) -> Curve:
    """Return a curve from arrays of any kind."""
    as_tuple = [tuple(float(v) for v in np.ravel(a)) for a in (x, y)]
    error = None if se is None else tuple(float(v) for v in np.ravel(se))
    return Curve(label, as_tuple[0], as_tuple[1], error)


Means = dict[str, NDArray[np.float64]]
Draws = dict[str, NDArray[np.float64]]
"""Statistics of every draw of weights, by name: the draw is the first dimension."""
Statistic = Callable[[Means], Any]
"""A function of the means over draws."""


def jackknife(statistic: Callable[..., Any], *draws: Draws) -> tuple[Any, Any]:
    """Return a function of the means over draws and its standard error, draw by draw left out.

    Stacks that were measured with one seed share their random numbers, so that a difference of
    two has the error of the difference.

    Parameters
    ----------
    statistic
        Takes the means of each stack and returns a number or an array.
    draws
        The stacks' draws, as many of each.
    """
    counts = {len(next(iter(stack.values()))) for stack in draws}
    n = counts.pop()
    assert not counts
    totals: Sequence[Means] = [{k: v.sum(axis=0) for k, v in stack.items()} for stack in draws]
    value = np.asarray(statistic(*({k: v / n for k, v in t.items()} for t in totals)))
    without = np.stack([
        np.asarray(statistic(*(
            {k: (v - stack[k][draw]) / (n - 1) for k, v in total.items()}
            for total, stack in zip(totals, draws, strict=True)
        )))
        for draw in range(n)
    ])  # fmt: skip
    spread = ((without - without.mean(axis=0)) ** 2).sum(axis=0) * (n - 1) / n
    return value, np.sqrt(spread)


def measured(statistic: Callable[..., Any], *draws: Draws) -> Number:
    """Return a function of the means over draws as a number with its standard error."""
    value, error = jackknife(statistic, *draws)
    return Number(float(value), float(error))


def _rounded(value: float, se: float) -> str:
    if se > 0 and abs(value) < 1e5 and se > 1e-5:
        return f"{value:.{max(0, -int(np.floor(np.log10(se))))}f}"
    return f"{value:.3g}"
