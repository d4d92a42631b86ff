"""``ropeleak sweep``: the leak over a grid of architectures."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ropeleak.errors import RopeleakError

from ._measuring import Draws, TargetSe, Width
from ._options import DEFAULT_MODEL, AsJson, Changes, Context, PositionsChoice, changed

if TYPE_CHECKING:
    from ropeleak.spec import Stack
    from ropeleak.sweeps.api import Sweep, SweepProgress

SweepMethod = Literal["predict", "uniform", "sampled", "measure"]


def sweep(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL|CONFIG", show_default=False,
            help="Bundled models (see ropeleak models), Hugging Face config.json files, or their"
            f" folders; {DEFAULT_MODEL} unless given.",
        ),
    ] = None,
    over: Annotated[
        list[str] | None,
        typer.Option(
            "--over", metavar="PATH=VALUES", show_default=False,
            help="Values of a field with commas between them, or a range of them:"
            " attention.window=64,128,256 or rope.base=1e4:1e7:log:20; repeatable, every"
            " combination is a point.",
        ),
    ] = None,
    zipped: Annotated[
        list[str] | None,
        typer.Option(
            "--zip", metavar="PATH+PATH", show_default=False,
            help="Fields of --over whose values change together, e.g. n_heads+d_head; repeatable.",
        ),
    ] = None,
    context: Context = None,
    changes: Changes = None,
    method: Annotated[
        SweepMethod,
        typer.Option(
            help="The closed recursion, another theory, or Monte Carlo on random weights."
        ),
    ] = "predict",
    positions: Annotated[
        PositionsChoice | None,
        typer.Option(
            show_default=False,
            help="Where the theories compute: every position (dense), or a log-spaced grid of them,"
            " which is faster and within 1%; coarse unless given, auto as predict does.",
        ),
    ] = None,
    heads: Annotated[
        int | None,
        typer.Option(metavar="N", show_default=False, help="Heads to draw (--method sampled)."),
    ] = None,
    width: Width = None,
    draws: Draws = None,
    contents: Annotated[
        int | None,
        typer.Option(metavar="N", show_default=False,
                     help="Contents of each draw of weights (--method measure); 8 unless given."),
    ] = None,
    target_se: TargetSe = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", show_default=False,
                     help="The same seed gives the same numbers (--method sampled, measure)."),
    ] = None,
    variables: Annotated[
        str | None,
        typer.Option(metavar="NAMES", show_default=False,
                     help="What to keep, e.g. leak_mask,leak_residual; everything unless given."),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="POSITIONS", show_default=False,
                     help="Positions to keep, e.g. 50,100, or all."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.nc|DIR.zarr", show_default=False,
            help="Save the numbers, as they come: a sweep that was stopped goes on from there, and"
            " one with more values computes only these.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.pdf|png|svg", show_default=False,
                     help="Save a figure: lines or heat maps."),
    ] = None,
    as_json: AsJson = False,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", show_default=False,
                     help="Processes on this machine; one for each processor unless given."),
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", show_default=False,
                     help="Compute on the Dask cluster of this scheduler, e.g."
                     " tcp://10.0.0.1:8786."),
    ] = None,
) -> None:  # fmt: skip
    """Predict or measure every combination of models and settings."""
    from ropeleak.output import check_figure, check_writable

    if plot is not None:
        check_figure(plot)
        check_writable(plot)
    values = split_over(over or [])
    stacks = load(models, context, changes or [])
    from ropeleak.sweeps.api import Sweep

    running = Sweep(
        stacks, values, zipped=zipped or [], method=method, seed=seed,
        variables=None if variables is None else words(variables), at=positions_of(at), out=out,
        positions=positions, heads=heads, width=width, draws=draws, contents=contents,
        target_se=target_se,
    )  # fmt: skip
    with running:
        try:
            with _bar(f"sweeping {running.grid.size:,} points") as progress:
                running.run(workers=workers, dask=dask, progress=progress)
            dataset = running.dataset()
        except KeyboardInterrupt:
            from ._errors import INTERRUPTED

            typer.echo(how_to_go_on(running), err=True)
            raise typer.Exit(INTERRUPTED) from None
        except RopeleakError as error:
            if not running.done:
                raise
            raise RopeleakError(f"{error} ({how_to_go_on(running)})") from None

    from ._report import note, print_json, show
    from ._sweep_report import as_data, report

    if plot is not None:
        from ropeleak.sweeps.api import plot_sweep

        plot_sweep(dataset, plot)
    if as_json:
        print_json(as_data(dataset))
        return
    show(report(dataset, running.grid))
    if models is None:
        note(f"No model was given: this is the bundled {DEFAULT_MODEL}; ropeleak models lists all.")
    for path in (out, plot):
        if path is not None:
            note(f"Wrote {path}.")


def split_over(entries: list[str]) -> dict[str, object]:
    """Return the values of ``--over`` by path, still as texts.

    Raises
    ------
    RopeleakError
        If one has no ``=``, or a path comes twice.
    """
    found: dict[str, object] = {}
    for entry in entries:
        path, equals, values = entry.partition("=")
        path = path.strip()
        if not equals or not path:
            raise RopeleakError(
                f"--over {entry}: write it as path=values, e.g. attention.window=64,128,256"
            )
        if path in found:
            raise RopeleakError(f"--over {path} is given twice: list all its values in one")
        found[path] = values
    return found


def words(text: str) -> list[str]:
    """Return what stands between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def positions_of(text: str | None) -> "list[int] | Literal['all'] | None":
    """Return the positions of ``--at``.

    Raises
    ------
    RopeleakError
        If one is not a whole number.
    """
    if text is None:
        return None
    if text.strip() == "all":
        return "all"
    try:
        return [int(word) for word in words(text)]
    except ValueError:
        raise RopeleakError(
            f"--at {text}: give whole numbers with commas between them, e.g. 50,100, or all"
        ) from None


def load(models: list[str] | None, context: int | None, changes: list[str]) -> "list[Stack]":
    """Return the architectures that the grid starts from.

    Raises
    ------
    RopeleakError
        If one cannot be had, or a change is not allowed.
    """
    from ropeleak.results import load_stack

    return [changed(load_stack(name, context), changes) for name in models or [DEFAULT_MODEL]]


def how_to_go_on(running: "Sweep") -> str:
    """Return what was done of a sweep that stopped, and how to take it up again."""
    said = f"Stopped after {running.done:,} of {running.grid.size:,} points"
    if not running.done:
        return f"{said}."
    if running.where is not None:
        return f"{said}: the same command goes on from {running.where}."
    path, number = Path("ropeleak-sweep.nc"), 1
    while path.exists() or path.with_name(f"{path.name}.part").exists():
        number += 1
        path = Path(f"ropeleak-sweep-{number}.nc")
    try:
        running.keep(path)
    except RopeleakError as error:
        return f"{said}, which cannot be taken up again: {error}."
    return f"{said}: the same command with --out {path} goes on."


@contextmanager
def _bar(what: str) -> "Iterator[Callable[[SweepProgress], None]]":
    """Show how far the sweep is on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bar

    from ropeleak.describe import sig

    from ._measuring import duration

    err = Console(file=sys.stderr)
    if not err.is_terminal:
        yield lambda state: None
        return
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn()
    with Bar(*columns, TextColumn("{task.fields[state]}"), console=err, transient=True) as bar:
        task = bar.add_task(escape(what), total=None, state="")

        def show(state: "SweepProgress") -> None:
            told = [f"{state.done:,} of {state.total:,}", f"{sig(state.rate)} a second"]
            told.append(f"{duration(state.left)} left")
            if state.failed:
                told.append(f"{state.failed:,} failed")
            bar.update(task, total=state.total, completed=state.done, state=", ".join(told))

        yield show
