"""``ropeleak measure``: the leak of an architecture, by Monte Carlo on random weights."""

from pathlib import Path
from typing import Annotated

import typer

from ._measuring import (
    Checkpoint,
    Draws,
    Seed,
    TargetSe,
    Threads,
    Wanted,
    WantedOfWeights,
    Width,
)
from ._options import DEFAULT_MODEL, AsJson, Changes, Context, KeepChoice, Model, changed, label_of


def measure(
    model: Model = None,
    context: Context = None,
    changes: Changes = None,
    width: Width = None,
    draws: Draws = None,
    contents: Annotated[
        str | None,
        typer.Option(
            metavar="N|FILE",
            show_default=False,
            help="Contents that run through each draw of weights, 8 unless given. With --weights:"
            " how many of random tokens, 36 unless given, or a text or .npy file of token ids.",
        ),
    ] = None,
    seed: Seed = 0,
    target_se: TargetSe = None,
    threads: Threads = None,
    checkpoint: Checkpoint = None,
    keep: KeepChoice = "summary",
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER|FILE",
            show_default=False,
            help="Measure these weights (safetensors) instead of random ones; MODEL is then the"
            " config.json beside them unless given.",
        ),
    ] = None,
    bos_token: Annotated[
        int | None,
        typer.Option(
            metavar="ID",
            show_default=False,
            help="Token id of BOS in --weights; what their config.json says unless given.",
        ),
    ] = None,
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
    """Measure what predict predicts, on random or given weights."""
    from ropeleak.results import load_stack, refuse_of_weights
    from ropeleak.weights.files import config_of

    from ._errors import INTERRUPTED
    from ._measuring import count_of, run, run_weights
    from .predict import output_paths

    default = DEFAULT_MODEL if weights is None else config_of(weights)
    stack = changed(load_stack(default if model is None else model, context), changes or [])
    label = label_of(stack, changes or [])
    outputs = output_paths(out, plot, 1, model or (None if weights is None else str(weights)))

    from ._report import as_data, note, print_json, report, show

    if weights is None:
        stack = stack if width is None else stack.proxy(width)
        number = count_of(contents, 8)
        wanted = Wanted(draws, number, seed, target_se, threads, checkpoint, keep)
        measured = run(stack, label, wanted)
    else:
        refuse_of_weights(width=width, draws=draws, target_se=target_se)
        asked = WantedOfWeights(weights, contents, bos_token, seed, threads, checkpoint, keep)
        measured = run_weights(stack, label, asked)
    result = measured.result
    for path in outputs:
        result.save(path)
    if plot is not None:
        result.plot(plot)
    if as_json:
        print_json(as_data(label, result))
    else:
        show(report(label, result, all_blocks))
        if model is None and weights is None:
            note(f"No model was given: this is the bundled {DEFAULT_MODEL}.")
        for path in [*outputs, *([plot] if plot is not None else [])]:
            note(f"Wrote {path}.")
    if measured.stopped is not None:
        typer.echo(measured.stopped, err=True)
        raise typer.Exit(INTERRUPTED)
