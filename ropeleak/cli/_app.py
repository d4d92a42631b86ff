"""The program and its commands; a new command is one file and one row here."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from .check import check
from .claims import claims
from .compare import compare
from .figures import figures
from .measure import measure
from .models import models
from .predict import predict
from .sweep import sweep
from .theorems import theorems

COMMANDS: tuple[Callable[..., Any], ...] = (
    predict, measure, compare, models, sweep, claims, theorems, figures, check,
)  # fmt: skip

app = typer.Typer(
    name="ropeleak",
    help="Predict how much absolute position leaks into a RoPE transformer, before any training.",
    # Plain help: rich's would double the time that --help takes.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for command in COMMANDS:
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"ropeleak {version('ropeleak')}")
        except PackageNotFoundError:
            typer.echo("ropeleak (not installed)")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _start(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
