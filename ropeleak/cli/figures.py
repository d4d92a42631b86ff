"""``ropeleak figures``: the figures of the gallery, for the reference decoder or for one's own."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ropeleak.errors import RopeleakError

from ._options import Changes, Context, changed, label_of

if TYPE_CHECKING:
    from ropeleak.figures.recipe import Recipe
    from ropeleak.spec import Stack

BudgetChoice = Literal["small", "full"]
CACHE = "cache"
"""Folder of kept numbers, below that of the figures."""


def figures(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", show_default=False,
                       help="Which figures; all of them unless given (see --list)."),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the figures; made where it is missing.")
    ] = Path("out/figures"),
    budget: Annotated[
        BudgetChoice, typer.Option(help="small takes seconds a figure, full minutes.")
    ] = "small",
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL|CONFIG", show_default=False,
                     help="Draw this architecture: a bundled model or a config.json."),
    ] = None,
    context: Context = None,
    changes: Changes = None,
    formats: Annotated[
        str, typer.Option("--format", metavar="F,F", help="Some of pdf, png and svg.")
    ] = "pdf,png",
    seed: Annotated[
        int, typer.Option(metavar="N", help="The same seed gives the same numbers.")
    ] = 0,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", show_default=False,
                     help=f"Where numbers are kept and taken up again; OUT/{CACHE} unless given."),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the figures and stop.")] = False,
) -> None:  # fmt: skip
    """Draw figures for a paper, with captions in LaTeX."""
    # Many small products: threads of the linear algebra would wait for each other.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    from ropeleak.figures import load
    from ropeleak.figures import names as known

    chosen = [load(name) for name in dict.fromkeys(names or known())]
    if listed:
        _list(chosen)
        return
    stack = _stack(model, context, changes or [])

    from ropeleak.figures.bench import Bench
    from ropeleak.figures.recipe import check_formats

    from ._errors import INTERRUPTED
    from ._report import note

    wanted = [word.strip() for word in formats.split(",") if word.strip()]
    check_formats(wanted)
    drawn = chosen if names else _drawable(chosen, stack, note)
    _make_folder(out)
    try:
        with _bar(len(drawn)) as progress:
            bench = Bench(
                budget, seed=seed, folder=cache or out / CACHE, model=stack,
                progress=progress.working,
            )  # fmt: skip
            for number, recipe in enumerate(drawn):
                start = perf_counter()
                progress.figure(recipe.name, number)
                files = recipe.write(bench, out, wanted)
                progress.done(files, perf_counter() - start)
    except KeyboardInterrupt:
        typer.echo("Stopped: the same command goes on from what is kept.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    for sentence in bench.notes:
        note(f"{sentence}.")
    if budget == "small":
        note("Small budget: --budget full has longer contexts and smaller error bars.")


def _stack(model: str | None, context: int | None, changes: list[str]) -> "Stack | None":
    """Return the architecture to draw, under the name that figures call it; None for none."""
    from ropeleak.results import load_stack

    if model is None:
        given = "--context" if context is not None else "--set" if changes else None
        if given:
            raise RopeleakError(f"{given} changes a model: give --model too")
        return None
    stack = changed(load_stack(model, context), changes)
    return stack.replace(name=label_of(stack, changes)[:200])


def _drawable(
    recipes: "list[Recipe[Any]]", stack: "Stack | None", note: Callable[[str], None]
) -> "list[Recipe[Any]]":
    """Return the figures that can be drawn here; those that cannot are told, with the reason."""
    found = []
    for recipe in recipes:
        reason = recipe.missing()
        if stack is not None and not recipe.takes_model:
            reason = "it is of no one architecture"
        if reason is None:
            found.append(recipe)
        else:
            note(f"Left out {recipe.name}: {reason}.")
    return found


def _list(recipes: "list[Recipe[Any]]") -> None:
    from rich.table import Table

    from ._report import show

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for column in ("figure", "shows", "--model", "inches"):
        table.add_column(column, no_wrap=column != "shows")
    for recipe in recipes:
        takes = "yes" if recipe.takes_model else "no"
        table.add_row(recipe.name, recipe.says, takes, f"{recipe.width:g} x {recipe.height:g}")
    show([table])


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RopeleakError(f"cannot write {folder}: {error.strerror or error}") from None


class _Progress:
    """What is done of how many figures, shown by a bar or not at all."""

    def __init__(self, update: Callable[[str, float], None], count: int) -> None:
        self._update, self._count = update, count
        self._name, self._number = "", 0

    def figure(self, name: str, number: int) -> None:
        """Begin a figure."""
        self._name, self._number = name, number
        self._update(name, number)

    def working(self, what: str, done: int, wanted: int) -> None:
        """Tell how far a computation for the figure is."""
        counted = f", {done} of {wanted}" if wanted > 1 else ""
        self._update(f"{self._name}: {what}{counted}", self._number)

    def done(self, files: list[Path], seconds: float) -> None:
        """Tell what was written."""
        from ._measuring import duration

        names = ", ".join([str(files[0]), *(file.suffix for file in files[1:])])
        print(f"{self._number + 1} of {self._count}: {names} ({duration(seconds)})", flush=True)


@contextmanager
def _bar(count: int) -> Iterator[_Progress]:
    """Show what is done on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    err = Console(file=sys.stderr)
    if not err.is_terminal:
        yield _Progress(lambda what, number: None, count)
        return
    columns = SpinnerColumn(), BarColumn(bar_width=12), TimeElapsedColumn()
    with Progress(*columns, TextColumn("{task.description}"), console=err, transient=True) as bar:
        task = bar.add_task("", total=count)

        def update(what: str, number: float) -> None:
            bar.update(task, description=escape(what), completed=number)

        yield _Progress(update, count)
