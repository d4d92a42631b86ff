"""`Material`: what the paper's numbers, tables and figures are made from, each computed once."""

import os
from functools import cached_property
from pathlib import Path

import numpy as np
import xarray as xr

from paper.training.questions import QUESTIONS, Answer
from paper.training.results import Results
from ropeleak import catalog
from ropeleak.claims import load as load_claim
from ropeleak.claims.claim import Finding
from ropeleak.claims.number import Number
from ropeleak.figures.bench import BUDGETS, Bench, Progress


class Material:
    """Where the paper's numbers come from.

    Parameters
    ----------
    budget
        ``small`` or ``full``, as of the figures.
    folder
        Where numbers are kept and taken up again.
    progress
        Called with what is done, how much of it is done, and how much there is.

    Raises
    ------
    RopeleakError
        If there is no such budget, or the folder cannot be made.
    """

    def __init__(
        self, budget: str, folder: str | os.PathLike[str], progress: Progress | None = None
    ) -> None:
        self.bench = Bench(budget, folder=folder, progress=progress)
        self.folder = Path(folder)
        self._findings: dict[str, Finding] = {}

    @property
    def budget(self) -> str:
        """Name of the budget."""
        return self.bench.budget.name

    @property
    def claims_budget(self) -> str:
        """Name of the claims' budget."""
        return BUDGETS[self.budget].claims

    def finding(self, claim: str) -> Finding:
        """Return the finding on a claim."""
        if claim not in self._findings:
            self.bench.progress(f"claim {claim}", 0, 1)
            self._findings[claim] = load_claim(claim).run(self.bench.lab)
        return self._findings[claim]

    def number(self, claim: str, row: str) -> Number:
        """Return what was found of a row of a claim: measured where it was, else by theory."""
        return next(r.number for r in self.finding(claim).evidence.rows if r.name == row)

    def theory(self, claim: str, row: str) -> Number:
        """Return the theory's number in a row of a claim."""
        found = next(r.theory for r in self.finding(claim).evidence.rows if r.name == row)
        assert found is not None
        return found

    @cached_property
    def reference(self) -> xr.Dataset:
        """The prediction of the reference decoder."""
        return self.bench.predict(self.bench.decoder())

    @cached_property
    def trained(self) -> Results:
        """What was measured of trained decoders."""
        return Results.load()

    def answer(self, question: str) -> Answer:
        """Return the answer to a question about trained decoders."""
        asked = next(each for each in QUESTIONS if each.id == question)
        return asked.answer(self.trained)

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Names of the published models."""
        return tuple(catalog.names())


def rms(values: xr.DataArray) -> float:
    """Return the root mean square of numbers."""
    return float(np.sqrt((np.asarray(values, dtype=float) ** 2).mean()))
