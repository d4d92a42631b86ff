"""``ropeleak check``: whether rotary code of one's own is relative."""

import importlib
import os
import sys
from typing import Annotated, Any, Literal

import typer

from ropeleak.errors import RopeleakError

from ._options import AsJson

FAILED = 1
"""The exit code where a check fails."""

DtypeChoice = Literal["fp64", "fp32", "bf16", "fp16"]
AxesChoice = Literal["bhtd", "bthd", "btd", "htd", "thd", "td"]
FrameworkChoice = Literal["numpy", "torch", "jax"]


def check(
    function: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:FUNCTION",
            help="A function of (q, k, positions), (q, k, cos, sin), (xq, xk, freqs_cis) or (x,"
            " positions).",
        ),
    ],
    dtype: Annotated[
        DtypeChoice, typer.Option(help="Format of the queries and keys it is given.")
    ] = "fp32",
    max_position: Annotated[
        int, typer.Option(metavar="N", help="The largest position to try.")
    ] = 4096,
    tables: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:NAME", show_default=False,
            help="What gives cos and sin for positions, or the array freqs_cis.",
        ),
    ] = None,
    axes: Annotated[
        AxesChoice | None,
        typer.Option(
            show_default=False,
            help="Axes of q and k (batch, heads, tokens, entries); bhtd unless given, for"
            " freqs_cis bthd.",
        ),
    ] = None,
    head_size: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N", show_default=False,
            help="Head size to try; repeatable. Those that work unless given.",
        ),
    ] = None,
    rope: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE", show_default=False,
            help="Check frequencies too: the RoPE that it should be (default, yarn, llama3, ...).",
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", show_default=False,
            help="Set a field of that RoPE, e.g. base=500000; repeatable.",
        ),
    ] = None,
    angles: Annotated[
        DtypeChoice | None,
        typer.Option(
            show_default=False,
            help="Format in which it may compute angles; fp64 for fp64, else fp32, unless given.",
        ),
    ] = None,
    table_dtype: Annotated[
        DtypeChoice | None,
        typer.Option(
            show_default=False,
            help="Format in which it may keep cos and sin; the coarser one of both unless given.",
        ),
    ] = None,
    framework: Annotated[
        FrameworkChoice | None,
        typer.Option(show_default=False, help="Arrays that it takes; found out unless given."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", show_default=False,
            help="Where PyTorch puts its arrays, e.g. cuda; its default unless given.",
        ),
    ] = None,
    any_dtype: Annotated[
        bool, typer.Option("--any-dtype", help="Its answers may have another dtype.")
    ] = False,
    examples: Annotated[int, typer.Option(metavar="N", help="Cases for every check.")] = 100,
    seed: Annotated[int, typer.Option(metavar="N", help="Another one gives other cases.")] = 0,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Check whether rotary code of your own is relative; exit code 1 if it is not."""
    from ropeleak.check import adapters, check_rope

    fn = _imported(function)
    adapted = adapters.adapted(fn, None if tables is None else _imported(tables), axes)
    report = check_rope(
        adapted, dtype=dtype, max_position=max_position, head_size=head_size or None,
        rope=_rope(rope, changes), angles=angles, table_dtype=table_dtype, framework=framework,
        device=device, any_dtype=any_dtype, examples=examples, seed=seed,
    )  # fmt: skip
    if as_json:
        from ._report import print_json

        print_json(report.as_dict())
    else:
        print(report.explain())
    if not report:
        raise typer.Exit(FAILED)


def _imported(path: str) -> Any:
    """Return what ``module:name`` names; the folder the command runs in comes first.

    Raises
    ------
    RopeleakError
        If there is no such module or name, or importing it fails.
    """
    module, colon, name = path.partition(":")
    if not colon or not module or not name:
        raise RopeleakError(f"{path!r} must be MODULE:NAME, e.g. mymodel.rope:apply_rope")
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
    except RopeleakError:
        raise
    except (Exception, SystemExit) as error:  # a script may end the program
        told = " ".join(str(error).split())[:200]
        raise RopeleakError(
            f"module {module!r} cannot be imported ({type(error).__name__}: {told}): run this where"
            " `python -c 'import ...'` works"
        ) from error
    finally:
        sys.path.remove(here)
    for part in name.split("."):
        if not hasattr(found, part):
            raise RopeleakError(f"{module!r} has no {name!r}: check the name after the colon")
        found = getattr(found, part)
    return found


def _rope(kind: str | None, changes: list[str] | None) -> Any:
    """Return the RoPE that ``--rope`` and ``--set`` describe, or None."""
    if kind is None:
        if changes:
            raise RopeleakError("--set changes a field of --rope: give --rope too, e.g. default")
        return None
    from ropeleak.spec import Stack

    from ._options import changed

    # A type may need its fields, so they come before it.
    stack = Stack.build(context=2)
    stack = changed(stack, [f"attention.rope.{change.strip()}" for change in changes or ()])
    return changed(stack, [f"attention.rope.type={kind}"], "--rope").attention[0].rope
