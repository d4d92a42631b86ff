"""``ropeleak predict``: the leak of an architecture, from its config."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ropeleak.errors import RopeleakError

from ._options import (
    DEFAULT_MODEL,
    AsJson,
    Changes,
    Context,
    KeepChoice,
    MethodChoice,
    Model,
    PositionsChoice,
    changed,
    label_of,
)

if TYPE_CHECKING:
    from ropeleak.results import Result
    from ropeleak.spec import Stack


def predict(
    model: Model = None,
    context: Context = None,
    changes: Changes = None,
    vs: Annotated[
        list[str] | None,
        typer.Option(
            "--vs", metavar="MODEL", show_default=False,
            help="Compare with this model at the same context; repeatable.",
        ),
    ] = None,
    vs_changes: Annotated[
        list[str] | None,
        typer.Option(
            "--vs-set", metavar="PATH=VALUE", show_default=False,
            help="Compare with the same architecture changed so; repeatable, all together.",
        ),
    ] = None,
    positions: Annotated[
        PositionsChoice,
        typer.Option(
            help="Every position (dense), a log-spaced grid of them, or a coarse one; auto is dense"
            " for short contexts."
        ),
    ] = "auto",
    method: Annotated[
        MethodChoice,
        typer.Option(
            help="The closed recursion, its limit of small scores, or heads sampled at random,"
            " slower and with standard errors."
        ),
    ] = "mean-field",
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N", show_default=False, min=0,
            help="The same seed gives the same numbers (--method sampled).",
        ),
    ] = None,
    heads: Annotated[
        int | None,
        typer.Option(
            metavar="N", show_default=False,
            help="Heads that each chain draws in every block (--method sampled).",
        ),
    ] = None,
    keep: Annotated[
        KeepChoice, typer.Option(help="What --out holds: full adds the matrices K and Q.")
    ] = "summary",
    all_blocks: Annotated[
        bool, typer.Option("--all-blocks", help="Show every block in the table.")
    ] = False,
    as_json: AsJson = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.nc", show_default=False,
            help="Save the numbers as netCDF; alternatives go to FILE.vs1.nc, FILE.vs2.nc, ...",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.pdf|png|svg", show_default=False, help="Save the figure."),
    ] = None,
) -> None:  # fmt: skip
    """Predict how much position an architecture leaks."""
    stacks = architectures(model, context, changes or [], vs or [], vs_changes or [])
    outputs = output_paths(out, plot, len(stacks), model)

    from ropeleak.results import plot_all
    from ropeleak.results import predict as run

    from ._compare import comparison
    from ._report import as_data, note, print_json, report, show, working

    results: dict[str, Result] = {}
    for label, stack in stacks.items():
        what = f"predicting {label} at context {stack.context}"
        with working(what, stack.n_blocks) as progress:
            results[label] = run(
                stack, keep=keep, positions=positions, method=method, seed=seed, heads=heads,
                progress=progress,
            )  # fmt: skip
    with working("telling positions apart"):
        if as_json:
            data = [as_data(label, result) for label, result in results.items()]
        elif len(results) > 1:
            pages = comparison(results)
        else:
            pages = report(*next(iter(results.items())), all_blocks)
    for path, result in zip(outputs, results.values(), strict=False):
        result.save(path)
    if plot is not None:
        plot_all(results, plot)
    if as_json:
        print_json({**data[0], "alternatives": data[1:]})
        return
    show(pages)
    if model is None:
        note(f"No model was given: this is the bundled {DEFAULT_MODEL}; ropeleak models lists all.")
    for path in [*outputs, *([plot] if plot is not None else [])]:
        note(f"Wrote {path}.")


def architectures(
    model: str | None,
    context: int | None,
    changes: list[str],
    vs: list[str],
    vs_changes: list[str],
) -> "dict[str, Stack]":
    """Return the architectures to predict, by label: the main one first.

    Raises
    ------
    RopeleakError
        If one of them cannot be had.
    """
    from ropeleak.results import load_stack

    base = load_stack(DEFAULT_MODEL if model is None else model, context)
    main = changed(base, changes)
    stacks = {label_of(main, changes): main}
    for name in vs:
        other = load_stack(name, main.context)
        stacks[_unused(label_of(other, []), stacks)] = other
    if vs_changes:
        other = changed(main, vs_changes, "--vs-set")
        stacks[_unused(label_of(other, [*changes, *vs_changes]), stacks)] = other
    return stacks


def output_paths(
    out: Path | None, plot: Path | None, count: int, model: str | None = None
) -> list[Path]:
    """Return the netCDF files to write, one per architecture, after checking every destination.

    Raises
    ------
    RopeleakError
        If a file cannot be written, or one would overwrite another or the config.
    """
    from ropeleak.output import check_figure, check_writable

    outputs: list[Path] = []
    if out is not None:
        outputs = [out, *(out.with_suffix(f".vs{k}{out.suffix}") for k in range(1, count))]
    targets = [check_writable(path) for path in outputs]
    if plot is not None:
        check_figure(plot)
        targets.append(check_writable(plot))
    if len(set(targets)) < len(targets):
        raise RopeleakError(f"--out and --plot both name {plot}: give two files")
    if model is not None and Path(model).is_file() and Path(model).resolve() in targets:
        raise RopeleakError(f"{model} is the config that is read: write to another file")
    return outputs


def _unused(label: str, taken: "dict[str, Stack]") -> str:
    count, candidate = 1, label
    while candidate in taken:
        count += 1
        candidate = f"{label} ({count})"
    return candidate
