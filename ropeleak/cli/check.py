"""``ropeleak check``: whether rotary code of one's own is relative."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ropeleak.errors import RopeleakError

from ._options import AsJson, changed

if TYPE_CHECKING:
    from ropeleak.check import Report

FAILED = 1
"""The exit code where a check fails."""

EVERY_FUNCTION = ("angles", "table_dtype", "framework", "device", "any_dtype", "max_position")
"""Options that every function takes."""

DtypeChoice = Literal["fp64", "fp32", "bf16", "fp16"]
AxesChoice = Literal["bhtd", "bthd", "btd", "htd", "thd", "td"]
FrameworkChoice = Literal["numpy", "torch", "jax"]


def check(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:FUNCTION|MODEL|CONFIG",
            help="A function of (q, k, positions), (q, k, cos, sin), (xq, xk, freqs_cis) or (x,"
            " positions); an attention function of (q, k, v, positions); or a model, for what its"
            " architecture lets through.",
        ),
    ],
    dtype: Annotated[
        DtypeChoice, typer.Option(help="Format of the queries and keys it is given.")
    ] = "fp32",
    max_position: Annotated[
        int | None,
        typer.Option(
            metavar="N", show_default=False,
            help="The largest position to try; 4096 unless given, for a model 131072.",
        ),
    ] = None,
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
            help="Head size to try; repeatable. Those that work unless given; attention takes one,"
            " 64 unless given.",
        ),
    ] = None,
    heads: Annotated[
        int | None,
        typer.Option(metavar="N", show_default=False, help="Heads of attention; 2 unless given."),
    ] = None,
    kv_heads: Annotated[
        int | None,
        typer.Option(
            metavar="N", show_default=False,
            help="Heads of its keys and values; as many as of queries unless given.",
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            metavar="N", show_default=False,
            help="Keys that a query of attention sees, itself included, if it has a window.",
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
            help="Set a field of that RoPE, e.g. base=500000, or of the model, e.g."
            " attention.rope.type=ntk; repeatable.",
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
        bool | None,
        typer.Option("--any-dtype", show_default=False, help="Answers may have another dtype."),
    ] = None,
    examples: Annotated[int, typer.Option(metavar="N", help="Cases for every check.")] = 100,
    seed: Annotated[int, typer.Option(metavar="N", help="Another one gives other cases.")] = 0,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Check whether rotary code is relative: exit code 1 if not."""
    given = {
        "tables": tables, "axes": axes, "head_size": head_size or None, "heads": heads,
        "kv_heads": kv_heads, "window": window, "rope": rope, "changes": changes or None,
        "angles": angles, "table_dtype": table_dtype, "framework": framework, "device": device,
        "any_dtype": any_dtype, "max_position": max_position,
    }  # fmt: skip
    options = {name: value for name, value in given.items() if value is not None}
    always = {"dtype": dtype, "examples": examples, "seed": seed}
    checked = _model if _is_model(subject) else _function
    reports = checked(subject, options, always)
    if as_json:
        from ._report import print_json

        print_json([report.as_dict() for report in reports] if len(reports) > 1
                   else reports[0].as_dict())  # fmt: skip
    else:
        print("\n\n".join(report.explain() for report in reports))
    if not all(reports):
        raise typer.Exit(FAILED)


def _is_model(subject: str) -> bool:
    """Whether this is not ``module:name``: a file, a folder or a bundled model."""
    return ":" not in subject or os.path.exists(subject)


def _model(name: str, options: dict[str, Any], always: dict[str, Any]) -> tuple["Report", ...]:
    """Return the reports of a model's attention layers."""
    from ropeleak.catalog import open_model
    from ropeleak.check import check_stack

    _only(options, ("changes", "max_position"), "a model (a function is MODULE:FUNCTION)")
    stack = changed(open_model(name), options.pop("changes", ()))
    return check_stack(stack, **options, **always)


def _function(path: str, options: dict[str, Any], always: dict[str, Any]) -> tuple["Report", ...]:
    """Return the report of a rotary function or an attention function."""
    from ropeleak.check import adapters, check_attention, check_rope

    fn = _imported(path)
    if adapters.is_attention(fn):
        taken = ("axes", "head_size", "heads", "kv_heads", "window", *EVERY_FUNCTION)
        _only(options, taken, "attention")
        if "head_size" in options:
            options["head_size"], *more = options["head_size"]
            if more:
                raise RopeleakError("--head-size: attention is checked at one: give it once")
        return (check_attention(fn, **options, **always),)
    taken = ("tables", "axes", "head_size", "rope", "changes", *EVERY_FUNCTION)
    _only(options, taken, "a rotary function")
    tables, axes = options.pop("tables", None), options.pop("axes", None)
    adapted = adapters.adapted(fn, None if tables is None else _imported(tables), axes)
    rope = _rope(options.pop("rope", None), options.pop("changes", ()))
    return (check_rope(adapted, rope=rope, **options, **always),)


def _only(options: dict[str, Any], taken: tuple[str, ...], what: str) -> None:
    """Refuse options that mean nothing for what is checked."""
    for name in options:
        if name not in taken:
            flag = "--set" if name == "changes" else f"--{name.replace('_', '-')}"
            raise RopeleakError(f"{flag} does not apply to {what}: leave it out")


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


def _rope(kind: str | None, changes: Sequence[str]) -> Any:
    """Return the RoPE that ``--rope`` and ``--set`` describe, or None."""
    if kind is None:
        if changes:
            raise RopeleakError("--set changes a field of --rope: give --rope too, e.g. default")
        return None
    from ropeleak.spec import Stack

    # A type may need its fields, so they come before it.
    stack = Stack.build(context=2)
    stack = changed(stack, [f"attention.rope.{change.strip()}" for change in changes])
    return changed(stack, [f"attention.rope.type={kind}"], "--rope").attention[0].rope
