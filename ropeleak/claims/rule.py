"""`Rule`: how numbers become a verdict; written down before the numbers are known."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ropeleak.errors import RopeleakError

from .number import Number, Row

Verdict = Literal["supported", "refuted", "not at initialisation", "undecided"]
Failure = Literal["refuted", "not at initialisation"]

SUPPORTED: Verdict = "supported"
UNDECIDED: Verdict = "undecided"
VERDICTS: tuple[Verdict, ...] = ("supported", "refuted", "not at initialisation", "undecided")

MARGIN = 2.0
"""A number this many standard errors or less from its threshold decides nothing."""


class Condition(NamedTuple):
    """One condition of a rule.

    Attributes
    ----------
    name
        The row of the evidence.
    sense, threshold
        On which side of what it must be.
    otherwise
        The verdict where it is on the other side.
    """

    name: str
    sense: Literal["above", "below"]
    threshold: float
    otherwise: Failure = "refuted"

    def holds(self, number: Number) -> bool | None:
        """Return whether a number passes; None within two standard errors of the threshold."""
        if number.se is not None and abs(number.value - self.threshold) <= MARGIN * number.se:
            return None
        over = number.value > self.threshold
        return over if self.sense == "above" else number.value < self.threshold

    def __str__(self) -> str:
        """Return the condition in words."""
        return f"{self.name} {self.sense} {self.threshold:g}"


@dataclass(frozen=True)
class Rule:
    """Conditions in their order: the first that fails gives the verdict."""

    tests: tuple[Condition, ...]

    def decide(self, numbers: Mapping[str, Number]) -> Verdict:
        """Return the verdict on numbers.

        Raises
        ------
        RopeleakError
            If a number is missing that the rule asks for: it is the rule of another claim.
        """
        for test in self.tests:
            if test.name not in numbers:
                raise RopeleakError(f"the rule asks for {test.name}, which was not found out")
        doubtful = False
        for test in self.tests:
            holds = test.holds(numbers[test.name])
            if holds is False:
                return UNDECIDED if doubtful else test.otherwise
            doubtful = doubtful or holds is None
        return UNDECIDED if doubtful else SUPPORTED

    def decide_rows(self, rows: Iterable[Row]) -> Verdict:
        """Return the verdict on the rows of an experiment."""
        return self.decide({row.name: row.number for row in rows})

    def __str__(self) -> str:
        """Return the whole rule in words."""
        failing = [f"{test.otherwise} unless {test}" for test in self.tests]
        return "; ".join([*failing, "else supported"])
