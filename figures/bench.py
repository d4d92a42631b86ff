"""`Bench`: where figures get their numbers, each computed once and kept on disk."""

import os
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple, TypeVar

import xarray as xr

from ropeleak.claims.lab import Lab
from ropeleak.claims.stacks import decoder
from ropeleak.errors import RopeleakError
from ropeleak.results import Result, measure, predict
from ropeleak.spec import Stack

from .store import Store

K = TypeVar("K", bound=Hashable)


class Budget(NamedTuple):
    """How large stacks are, and how often they are drawn.

    Attributes
    ----------
    name
        ``small`` or ``full``.
    context, n_blocks
        Of the reference decoder.
    draws, contents
        Draws of weights, and contents that run through each.
    width
        Wider stacks are measured as stand-ins with this ``d_model``.
    every
        Of the published models, every so manyth is compared.
    claims
        The budget of what figures share with the claims.
    """

    name: str
    context: int
    n_blocks: int
    draws: int
    contents: int
    width: int
    every: int
    claims: str


BUDGETS = {
    "small": Budget("small", 112, 4, 8, 6, 128, 5, "quick"),
    "full": Budget("full", 256, 8, 100, 8, 256, 1, "full"),
}

Progress = Callable[[str, int, int], None]


class Pair(NamedTuple):
    """A prediction, and the measurement of the same where there is one."""

    predicted: xr.Dataset
    measured: xr.Dataset | None = None

    @property
    def both(self) -> tuple[xr.Dataset, ...]:
        """What there is, the prediction first."""
        return (self.predicted,) if self.measured is None else (self.predicted, self.measured)


class Bench:
    """Where figures get their numbers.

    Parameters
    ----------
    budget
        One of `BUDGETS`.
    seed
        Decides every random number.
    folder
        Where numbers are kept and taken up again; nowhere unless given.
    model
        The architecture to draw; the reference decoder unless given.
    progress
        Called with what is done, how much of it is done, and how much there is.

    Attributes
    ----------
    notes
        What could not be measured, and why.

    Raises
    ------
    RopeleakError
        If there is no such budget, the seed is not allowed, or the folder cannot be made.
    """

    def __init__(
        self,
        budget: str = "small",
        *,
        seed: int = 0,
        folder: str | os.PathLike[str] | None = None,
        model: Stack | None = None,
        progress: Progress | None = None,
    ) -> None:
        if budget not in BUDGETS:
            raise RopeleakError(f"budget={budget!r} is not known: give {' or '.join(BUDGETS)}")
        self.budget, self.seed, self.model = BUDGETS[budget], seed, model
        self.progress: Progress = progress or (lambda what, done, wanted: None)
        self.store = Store(folder)
        self.lab = Lab(self.budget.claims, seed, self.store.folder, self.progress)
        self.notes: list[str] = []

    def base(self, **changes: Any) -> Stack:
        """Return the architecture to draw; fields of the reference decoder may be changed."""
        return self.decoder(**changes) if self.model is None else self.model

    def decoder(self, **changes: Any) -> Stack:
        """Return the reference decoder: that of the claims, in the size of the budget."""
        size = {"context": self.budget.context, "n_blocks": self.budget.n_blocks}
        return decoder(self.lab.budget, **{**size, **changes})

    def predict(self, stack: Stack, **options: Any) -> xr.Dataset:
        """Return the prediction of a stack; options as `ropeleak.predict` takes them."""

        def make() -> xr.Dataset:
            self.progress(f"predicting {stack.name}", 0, 1)
            return predict(stack, **options).dataset

        found = self.store.keep("predict", {"stack": as_data(stack), **options}, make)
        return found.assign_attrs(stack=stack.model_dump_json())  # kept under another name, maybe

    def ruler(self, stack: Stack, i: int, i2: int) -> xr.Dataset:
        """Return d′ between two positions of a stack by depth, as `Result.ruler` does."""

        def make() -> xr.Dataset:
            self.progress(f"telling positions of {stack.name} apart", 0, 1)
            return Result(self.predict(stack)).ruler(i, i2)

        return self.store.keep("ruler", {"stack": as_data(stack), "i": i, "i2": i2}, make)

    def measure(self, stack: Stack) -> xr.Dataset:
        """Return the Monte Carlo of a stack, or of a narrow stand-in where it is wide.

        What was measured before an interruption is taken up again.

        Raises
        ------
        RopeleakError
            If the stack cannot be measured.
        """
        narrow, budget = stack.proxy(self.budget.width), self.budget
        options: dict[str, Any] = {
            "draws": budget.draws,
            "contents": budget.contents,
            "seed": self.seed,
        }
        inputs = {"stack": as_data(narrow), **options}

        def make() -> xr.Dataset:
            checkpoint = self.store.path("draws", inputs)
            found = measure(
                narrow, **options, checkpoint=checkpoint,
                progress=lambda s: self.progress(f"measuring {stack.name}", s.draws, s.wanted),
            ).dataset  # fmt: skip
            if checkpoint is not None:
                checkpoint.unlink(missing_ok=True)
            return found

        return self.store.keep("measure", inputs, make)

    def pair(self, stack: Stack) -> Pair:
        """Return prediction and measurement of a stack.

        A model that cannot be measured is only predicted, which `notes` tells.
        """
        predicted = self.predict(stack)
        try:
            return Pair(predicted, self.measure(stack))
        except RopeleakError as error:
            if self.model is None:
                raise
            self.notes.append(f"{stack.name} was not measured: {error}")
            return Pair(predicted)

    def pairs(self, stacks: Mapping[K, Stack]) -> dict[K, Pair]:
        """Return prediction and measurement of the first stack, and of others like it.

        Changes of a model that cannot be predicted are left out, which `notes` tells.
        """
        found: dict[K, Pair] = {}
        for key, stack in stacks.items():
            try:
                found[key] = self.pair(stack)
            except RopeleakError as error:
                if self.model is None or not found:
                    raise
                self.notes.append(f"{key} was left out: {error}")
        return found


def as_data(stack: Stack) -> dict[str, Any]:
    """Return what tells an architecture from others, without its name."""
    return stack.replace(name="").model_dump(mode="json")
