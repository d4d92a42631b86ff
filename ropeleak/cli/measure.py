"""``ropeleak measure``: the leak of an architecture, by Monte Carlo on random weights."""

from pathlib import Path
from typing import Annotated

import typer

from ._measuring import Checkpoint, Contents, Draws, Seed, TargetSe, Threads, Wanted, Width
from ._options import DEFAULT_MODEL, AsJson, Changes, Context, KeepChoice, Model, changed, label_of


def measure(
    model: Model = None,
    context: Context = None,
    changes: Changes = None,
    width: Width = None,
    draws: Draws = None,
    contents: Contents = 8,
    seed: Seed = 0,
    target_se: TargetSe = None,
    threads: Threads = None,
    checkpoint: Checkpoint = None,
    keep: KeepChoice = "summary",
    all_blocks: Annotated[
        bool, typer.Option("--all-blocks", help="Show every block in the table.")
    ] = False,
    as_json: AsJson = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.nc", show_default=False, help="Save the numbers as netCDF."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.pdf|png|svg", show_default=False, help="Save the figure."),
    ] = None,
) -> None:
    """Measure how much absolute position an architecture leaks, on random weights."""
    from ropeleak.results import load_stack

    from ._errors import INTERRUPTED
    from ._measuring import run
    from .predict import output_paths

    stack = changed(load_stack(DEFAULT_MODEL if model is None else model, context), changes or [])
    label = label_of(stack, changes or [])
    if width is not None:
        stack = stack.proxy(width)
    outputs = output_paths(out, plot, 1, model)

    from ._report import as_data, note, print_json, report, show

    wanted = Wanted(draws, contents, seed, target_se, threads, checkpoint, keep)
    measured = run(stack, label, wanted)
    result = measured.result
    for path in outputs:
        result.save(path)
    if plot is not None:
        result.plot(plot)
    if as_json:
        print_json(as_data(label, result))
    else:
        show(report(label, result, all_blocks))
        if model is None:
            note(f"No model was given: this is the bundled {DEFAULT_MODEL}.")
        for path in [*outputs, *([plot] if plot is not None else [])]:
            note(f"Wrote {path}.")
    if measured.stopped is not None:
        typer.echo(measured.stopped, err=True)
        raise typer.Exit(INTERRUPTED)
