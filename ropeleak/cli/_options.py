"""Options that several commands share, and what they mean."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ropeleak.errors import RopeleakError

if TYPE_CHECKING:
    from ropeleak.spec import Stack

DEFAULT_MODEL = "llama-3.1-8b"

PositionsChoice = Literal["auto", "dense", "grid", "coarse"]
MethodChoice = Literal["mean-field", "uniform", "sampled"]
KeepChoice = Literal["summary", "full"]

Model = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL|CONFIG",
        help="A bundled model (see ropeleak models), a Hugging Face config.json, or its folder;"
        f" {DEFAULT_MODEL} unless given.",
        show_default=False,
    ),
]
Context = Annotated[
    int | None,
    typer.Option(
        "--context", "-n", metavar="N", show_default=False,
        help="Number of tokens; the model's maximum, but at most 512, unless given.",
    ),
]  # fmt: skip
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", show_default=False,
        help="Change the architecture, e.g. attention.window=1024 or bos=random; repeatable, in"
        " order.",
    ),
]  # fmt: skip
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a report.")]


def changed(stack: "Stack", changes: Sequence[str], option: str = "--set") -> "Stack":
    """Return a stack with ``path=value`` changes applied in order.

    Raises
    ------
    RopeleakError
        If a change has no ``=``, or its path or value is not allowed.
    """
    for change in changes:
        path, equals, value = change.partition("=")
        if not equals or not path.strip():
            raise RopeleakError(
                f"{option} {change}: write it as path=value, e.g. attention.window=1024"
            )
        stack = stack.set(path.strip(), value)
    return stack


def label_of(stack: "Stack", changes: Sequence[str]) -> str:
    """Return what a report calls an architecture: its name and what was changed."""
    return ", ".join([stack.name, *changes])
