"""What is done with every point, and the part of a sweep that runs in another process."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ropeleak.errors import RopeleakError
from ropeleak.numbers import Numbers
from ropeleak.results import Positions, in_range
from ropeleak.spec import Stack
from ropeleak.spec.explain import nearest, shorten

from .grid import Point
from .labels import Labels

DONE, FAILED = 1, 2
"""Status of a point that was computed, and of one that could not be; 0 is not computed yet."""

MEAN_FIELD_POSITIONS: Positions = "coarse"
"""Positions on which the closed recursion runs unless told otherwise."""


class Method(NamedTuple):
    """A way to get numbers from stacks.

    Attributes
    ----------
    run
        From some stacks, the seed and the options.
    options
        Names of the options that it takes.
    sampled
        Whether it draws random numbers and has standard errors.
    together
        Whether several stacks take less time than one after the other.
    """

    run: Callable[..., list[Numbers]]
    options: tuple[str, ...]
    sampled: bool
    together: bool = False


def _predict(method: str) -> Callable[..., list[Numbers]]:
    def run(
        stacks: Sequence[Stack], seed: int | None, positions: Positions = "auto", **given: Any
    ) -> list[Numbers]:
        from ropeleak.theory.methods import predictor

        predict = predictor(method, seed=seed, **given)
        return [Numbers.of(predict(stack, positions=positions)) for stack in stacks]

    return run


def _predict_many(
    stacks: Sequence[Stack], seed: None, positions: Positions = MEAN_FIELD_POSITIONS
) -> list[Numbers]:
    from ropeleak.theory.methods import predict_many

    return predict_many(stacks, positions)


def _measure(
    stacks: Sequence[Stack], seed: int, width: int | None = None, **given: Any
) -> list[Numbers]:
    from ropeleak.simulate import measure

    proxies = stacks if width is None else [stack.proxy(width) for stack in stacks]
    # One thread for each point: the points themselves run at the same time.
    return [Numbers.of(measure(stack, seed=seed, threads=1, **given)) for stack in proxies]


METHODS: dict[str, Method] = {
    "mean-field": Method(_predict_many, ("positions",), sampled=False, together=True),
    "uniform": Method(_predict("uniform"), ("positions",), sampled=False),
    "sampled": Method(_predict("sampled"), ("positions", "heads"), sampled=True),
    "measure": Method(_measure, ("width", "draws", "contents", "target_se"), sampled=True),
}
ALIASES = {"predict": "mean-field"}


@dataclass(frozen=True)
class Task:
    """What is done with every point, and what is kept of it.

    Attributes
    ----------
    method
        One of `METHODS`.
    options
        Those of the method.
    seed
        Decides, with a point's identity, its random numbers.
    labels
        Variables, depths and positions that are kept.
    """

    method: str
    labels: Labels
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def sampled(self) -> bool:
        """Whether the points have random numbers of their own."""
        return METHODS[self.method].sampled

    def seed_of(self, point: Point) -> int:
        """Return the seed of a point, whatever the grid around it."""
        text = f"{self.seed}:{point.identity}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")

    def run(self, stack: Stack, point: Point) -> Numbers:
        """Return what is found for one point."""
        seed = self.seed_of(point) if self.sampled else None
        with in_range(stack):
            return METHODS[self.method].run([stack], seed, **self.options)[0]

    def run_together(self, stacks: Sequence[Stack]) -> list[Numbers] | None:
        """Return what is found for some points, or None if each has to run alone."""
        method = METHODS[self.method]
        if not method.together or len(stacks) < 2:
            return None
        try:
            with in_range(stacks[0]):
                return method.run(stacks, None, **self.options)
        except Exception:  # each says for itself what is wrong
            return None


class Finished(NamedTuple):
    """What came of some points.

    Attributes
    ----------
    indices
        Places in the grid (N,).
    values
        Arrays (N, …) by name.
    status
        `DONE` or `FAILED` (N,).
    reasons
        Why a point failed, in a sentence; empty for the others.
    approximations
        What the numbers leave out, one sentence a line.
    seconds
        How long it took.
    """

    indices: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]
    status: NDArray[np.int8]
    reasons: list[str]
    approximations: list[str]
    seconds: float

    def rows(self, rows: NDArray[np.int64]) -> "Finished":
        """Return some of the points."""
        return Finished(
            self.indices[rows],
            {name: array[rows] for name, array in self.values.items()},
            self.status[rows],
            [self.reasons[row] for row in rows],
            [self.approximations[row] for row in rows],
            self.seconds,
        )


def compute(task: Task, models: Mapping[str, Stack], points: Sequence[Point]) -> Finished:
    """Return what comes of some points; one that fails has its reason and the rest goes on."""
    start = time.perf_counter()
    finished = failed(task, points, "")
    stacks: dict[int, Stack] = {}
    for row, point in enumerate(points):
        try:
            stacks[row] = point.stack(models)
        except RopeleakError as error:
            finished.reasons[row] = str(error)
    together = task.run_together(list(stacks.values()))
    done = dict(zip(stacks, together, strict=True)) if together else {}
    for row, stack in stacks.items():
        try:
            found = done[row] if row in done else task.run(stack, points[row])
        except RopeleakError as error:
            finished.reasons[row] = str(error)
        except MemoryError:
            finished.reasons[row] = "this point needs more memory than there is"
        except Exception as error:
            finished.reasons[row] = f"unexpected {type(error).__name__}: {error}"
        else:
            task.labels.fill(finished.values, row, found)
            finished.status[row] = DONE
            finished.approximations[row] = str(found.attrs["approximations"])
    return finished._replace(seconds=time.perf_counter() - start)


def failed(task: Task, points: Sequence[Point], reason: str) -> Finished:
    """Return points that could not be computed."""
    count = len(points)
    return Finished(
        indices=np.array([point.index for point in points], dtype=np.int64),
        values=task.labels.empty(count),
        status=np.full(count, FAILED, dtype=np.int8),
        reasons=[reason] * count,
        approximations=[""] * count,
        seconds=0.0,
    )


def method_named(name: str) -> str:
    """Return a method's name in full.

    Raises
    ------
    RopeleakError
        If there is no such method.
    """
    found = ALIASES.get(name, name)
    if found not in METHODS:
        known = ", ".join([*ALIASES, *METHODS])
        raise RopeleakError(f"method={shorten(name)} is not known: give {known}")
    return found


def options_of(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are not None.

    Raises
    ------
    RopeleakError
        If the method does not take one of them, or it is not one of a few.
    """
    found = {name: value for name, value in given.items() if value is not None}
    for name, value in found.items():
        if name not in METHODS[method].options:
            owners = [m for m, row in METHODS.items() if name in row.options]
            if owners:
                hint = f"it is one of method={' or '.join(owners)}"
            else:
                hint = f"did you mean {nearest(name, METHODS[method].options, cutoff=0.0)}?"
            raise RopeleakError(f"{name}={shorten(value)} does not go with method={method}: {hint}")
    if found.get("positions", "auto") not in get_args(Positions):
        known = ", ".join(get_args(Positions))
        raise RopeleakError(f"positions={shorten(found['positions'])} is not known: give {known}")
    return found
