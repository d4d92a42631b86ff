"""``ropeleak compare``: theory beside Monte Carlo, with z-scores."""

from pathlib import Path
from typing import Annotated

import typer

from ._measuring import Checkpoint, Contents, Draws, Seed, TargetSe, Threads, Wanted, Width
from ._options import DEFAULT_MODEL, AsJson, Changes, Context, Model, changed, label_of


def compare(
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
    as_json: AsJson = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.pdf|png|svg", show_default=False, help="Save the figure."),
    ] = None,
) -> None:
    """Compare prediction and measurement, with z-scores."""
    from ropeleak.results import load_stack

    from ._errors import INTERRUPTED
    from ._measuring import run
    from .predict import output_paths

    stack = changed(load_stack(DEFAULT_MODEL if model is None else model, context), changes or [])
    label = label_of(stack, changes or [])
    if width is not None:
        stack = stack.proxy(width)
    output_paths(None, plot, 1, model)

    from ropeleak.results import plot_agreement, predict

    from ._agreement import as_data, report
    from ._report import note, print_json, show, working

    with working(f"predicting {label} at context {stack.context}", stack.n_blocks) as progress:
        predicted = predict(stack, positions="dense", progress=progress)
    wanted = Wanted(draws, contents, seed, target_se, threads, checkpoint)
    measured = run(stack, label, wanted)
    if plot is not None:
        plot_agreement(predicted, measured.result, plot)
    if as_json:
        print_json(as_data(label, predicted, measured.result))
    else:
        show(report(label, predicted, measured.result))
        if plot is not None:
            note(f"Wrote {plot}.")
    if measured.stopped is not None:
        typer.echo(measured.stopped, err=True)
        raise typer.Exit(INTERRUPTED)
