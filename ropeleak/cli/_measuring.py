"""What the commands that measure share: options, a progress bar, and stopping half-way."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ropeleak.errors import RopeleakError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ropeleak.results import Result
    from ropeleak.simulate import Measurement, Progress
    from ropeleak.spec import Stack

Width = Annotated[
    int | None,
    typer.Option(
        metavar="N", show_default=False,
        help="Measure a narrow stand-in with this d_model that keeps what decides the leak.",
    ),
]  # fmt: skip
Draws = Annotated[
    int | None,
    typer.Option(
        metavar="N", show_default=False,
        help="Draws of weights; 100 unless given, or as many as --target-se takes.",
    ),
]  # fmt: skip
Contents = Annotated[
    int, typer.Option(metavar="N", help="Contents that run through each draw of weights.")
]
Seed = Annotated[int, typer.Option(metavar="N", help="The same seed gives the same numbers.")]
TargetSe = Annotated[
    float | None,
    typer.Option(
        "--target-se", metavar="X", show_default=False,
        help="Go on until the leaks (nats RMS) and BOS's share have at most this standard error.",
    ),
]  # fmt: skip
Threads = Annotated[
    int | None,
    typer.Option(
        metavar="N", show_default=False,
        help="Draws made at the same time; as many as there are processors unless given.",
    ),
]  # fmt: skip
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", show_default=False,
        help="Written every few seconds; where it exists, the measurement goes on from it.",
    ),
]  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """How long to measure, and with what."""

    draws: int | None
    contents: int
    seed: int
    target_se: float | None
    threads: int | None
    checkpoint: Path | None
    keep: str = "summary"


@dataclass(frozen=True)
class WantedOfWeights:
    """Which weights to measure, and with what."""

    weights: Path
    contents: str | None
    bos_token: int | None
    seed: int
    threads: int | None
    checkpoint: Path | None
    keep: str = "summary"


@dataclass(frozen=True)
class Measured:
    """A measurement, and in words how to go on if it was stopped."""

    result: "Result"
    stopped: str | None


def run(stack: "Stack", label: str, wanted: Wanted) -> Measured:
    """Measure a stack, showing how far it is; Ctrl-C keeps what there is.

    Raises
    ------
    RopeleakError
        If the stack cannot be measured, or a number or file is not allowed.
    KeyboardInterrupt
        If it was stopped before two draws were made.
    """
    from ropeleak.results import Result
    from ropeleak.simulate import Measurement

    measurement = Measurement(
        stack,
        contents=wanted.contents,
        seed=wanted.seed,
        keep="full" if wanted.keep == "full" else "summary",
    )
    if wanted.checkpoint is not None:
        measurement.resume(wanted.checkpoint)
    stopped = None
    try:
        with _bar(f"measuring {label} at context {stack.context}") as progress:
            measurement.run(
                wanted.draws, target_se=wanted.target_se, threads=wanted.threads,
                checkpoint=wanted.checkpoint, progress=progress,
            )  # fmt: skip
    except KeyboardInterrupt:
        stopped = _how_to_go_on(measurement, wanted.checkpoint)
        if measurement.draws < 2:
            raise
    return Measured(Result(measurement.numbers()), stopped)


def run_weights(stack: "Stack", label: str, wanted: WantedOfWeights) -> Measured:
    """Measure given weights, showing how far it is.

    Raises
    ------
    RopeleakError
        If weights or contents cannot be read or do not fit, or a number or file is not allowed.
    KeyboardInterrupt
        If it was stopped; what was done is in the checkpoint, if there is one.
    """
    from ropeleak.results import Result
    from ropeleak.simulate import CONTENTS, WeightsMeasurement

    from ._report import working

    text = wanted.contents
    is_file = text is not None and not text.lstrip("+-").isdigit()
    measurement = WeightsMeasurement(
        stack,
        str(wanted.weights),
        contents=text if text is not None and is_file else count_of(text, CONTENTS),
        bos_token=wanted.bos_token,
        seed=wanted.seed,
        keep="full" if wanted.keep == "full" else "summary",
    )
    if wanted.checkpoint is not None:
        measurement.resume(wanted.checkpoint)
    with working(f"measuring {label} at context {stack.context}", stack.n_blocks) as progress:
        try:
            measurement.run(threads=wanted.threads, checkpoint=wanted.checkpoint, progress=progress)
        except KeyboardInterrupt:
            words = f"Stopped after {max(measurement.blocks, 0)} of {stack.n_blocks} blocks"
            on = "with --checkpoint FILE a stopped measurement can go on"
            if wanted.checkpoint is not None:
                on = f"the same command goes on from {wanted.checkpoint}"
            typer.echo(f"{words}: {on}.", err=True)
            raise
    return Measured(Result(measurement.numbers()), None)


def count_of(text: str | None, default: int) -> int:
    """Return the number of contents that an option says.

    Raises
    ------
    RopeleakError
        If it is no number.
    """
    try:
        return default if text is None else int(text)
    except ValueError:
        raise RopeleakError(
            f"--contents {text} is not a number: random weights know no tokens, give --weights too"
        ) from None


def _how_to_go_on(measurement: "Measurement", checkpoint: Path | None) -> str:
    words = f"Stopped after {measurement.draws} draws"
    if measurement.draws < 1:
        return f"{words}."
    if checkpoint is not None:
        return f"{words}: the same command goes on from {checkpoint}."
    path = Path("ropeleak-measure.checkpoint")
    number = 1
    while path.exists():
        number += 1
        path = Path(f"ropeleak-measure-{number}.checkpoint")
    try:
        measurement.save(path)
    except RopeleakError as error:
        return f"{words}, which cannot be taken up again: {error}."
    return f"{words}: the same command with --checkpoint {path} goes on."


@contextmanager
def _bar(what: str) -> "Iterator[Callable[[Progress], None]]":
    """Show the draws made on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bar

    from ropeleak.describe import sig

    err = Console(file=sys.stderr)
    if not err.is_terminal:
        yield lambda state: None
        return
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn()
    with Bar(*columns, TextColumn("{task.fields[state]}"), console=err, transient=True) as bar:
        task = bar.add_task(escape(what), total=None, state="")

        def show(state: "Progress") -> None:
            left = (state.wanted - state.draws) / state.rate if state.rate > 0 else float("nan")
            words = [f"{state.draws} of {state.wanted} draws", f"{sig(state.rate)} a second"]
            words.append(f"{duration(left)} left")
            if state.error == state.error:
                words.append(f"standard error {sig(state.error)}")
            bar.update(task, total=state.wanted, completed=state.draws, state=", ".join(words))

        yield show


def duration(seconds: float) -> str:
    """Return a time in words: ``40 s``, ``3 min``, ``2.5 h``."""
    from ropeleak.describe import sig

    for size, name in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 1.5 * size:
            return f"{sig(seconds / size)} {name}"
    return f"{seconds:.0f} s" if seconds == seconds else "-"
