"""`Claim`: one executable experiment, and `Finding`: what came of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

from ropeleak.spec import Stack

from .lab import Budget, Lab
from .number import Curve, Row
from .rule import Rule, Verdict

SOURCE = "2606.06160"
"""arXiv number of the paper whose claims are put to the test; others are its predecessors."""

Stacks = Mapping[str, Stack]


class Panel(NamedTuple):
    """One plot of an experiment.

    Attributes
    ----------
    curves
        What it shows.
    x_label, y_label
        Its axes, with units.
    categories
        Names of the x values where they are not numbers.
    log, log_y
        Whether an axis is logarithmic.
    """

    curves: tuple[Curve, ...]
    x_label: str
    y_label: str
    categories: tuple[str, ...] = ()
    log: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Evidence:
    """The numbers of an experiment.

    Parameters
    ----------
    rows
        Numbers, theory beside measurement; the rule decides on some of them.
    says
        The result in a sentence or two that the numbers are put into.
    panels
        What the plot shows.
    table
        What there is to say of many variants: a header and rows.
    """

    rows: tuple[Row, ...]
    says: str
    panels: tuple[Panel, ...]
    table: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Claim:
    """A claim and the experiment that settles it.

    Parameters
    ----------
    id, says
        Its name and what is claimed.
    question
        What is asked.
    observable
        What is looked at.
    rule
        How numbers become a verdict.
    stacks
        The architectures compared, by label.
    experiment
        Takes a lab and the stacks and returns the evidence.
    paper
        arXiv number of the paper that claims it.
    """

    id: str
    says: str
    question: str
    observable: str
    rule: Rule
    stacks: Callable[[Budget], Stacks]
    experiment: Callable[[Lab, Stacks], Evidence]
    paper: str = SOURCE

    def run(self, lab: Lab, stacks: Stacks | None = None) -> "Finding":
        """Do the experiment and decide.

        Parameters
        ----------
        lab
            Where it is done.
        stacks
            Other architectures under the same labels; the claim's own unless given.
        """
        start = perf_counter()
        found = self.experiment(lab, self.stacks(lab.budget) if stacks is None else stacks)
        return Finding(self, self.rule.decide_rows(found.rows), found, perf_counter() - start)


@dataclass(frozen=True)
class Finding:
    """The verdict on a claim, with its evidence."""

    claim: Claim
    verdict: Verdict
    evidence: Evidence
    seconds: float
