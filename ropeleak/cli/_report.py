"""The report of one architecture, for people and for programs."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from ropeleak.describe import numbers, percent, sig
from ropeleak.observables import dims
from ropeleak.selection import pair_of_positions

if TYPE_CHECKING:
    from ropeleak.results import Result

WIDEST = 100
"""Lines longer than this are hard to read, however wide the terminal."""

ROWS = 12
"""Blocks that the table shows of a deep stack."""

BLOCK_VARIABLES = ("leak_mask", "leak_residual", "leak_total")


def console() -> Console:
    """Return a console on standard output: no colour and 80 columns where it is not a terminal."""
    terminal = Console(file=sys.stdout)
    return Console(file=sys.stdout, highlight=False, width=min(terminal.width, WIDEST))


def show(pages: Sequence[RenderableType]) -> None:
    """Print parts of a report, an empty line between them and no spaces at the ends of lines."""
    out = console()
    with out.capture() as captured:
        for number, page in enumerate(pages):
            if number:
                out.print()
            out.print(page)
    print("\n".join(line.rstrip() for line in captured.get().split("\n")), end="")


def note(sentence: str) -> None:
    """Print a sentence that is not part of the numbers."""
    show([Text(sentence, style="dim")])


@contextmanager
def working(what: str, blocks: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show on standard error, where that is a terminal, what is being done and how far it is.

    Parameters
    ----------
    what
        A few words; nothing is left of them afterwards.
    blocks
        How many blocks there are to do, where that is known.

    Yields
    ------
    Callable
        To be called with the number of blocks done.
    """
    err = Console(file=sys.stderr)
    if not err.is_terminal:
        yield lambda done: None
        return
    with Progress(*_columns(blocks), console=err, transient=True) as bar:
        task = bar.add_task(escape(what), total=blocks)
        yield lambda done: bar.update(task, completed=done)


def _columns(blocks: int | None) -> list[ProgressColumn]:
    columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("{task.description}")]
    if blocks is not None:
        columns += [BarColumn(), TextColumn("{task.completed:.0f} of {task.total:.0f} blocks,")]
        columns += [TimeRemainingColumn(), TextColumn("left")]
    return columns


def heading(words: str) -> Text:
    """Return the title of a part of the report."""
    return Text(words, style="bold")


def report(label: str, result: "Result", all_blocks: bool = False) -> list[RenderableType]:
    """Return the report: verdict, leaks by block, what the architecture is, approximations."""
    stack = result.stack
    title = Text.assemble((label, "bold"), f": {stack.n_blocks} blocks, context {stack.context}")
    verdict = Text("\n".join(result.verdict().split("\n")), style="bold")
    parts: list[RenderableType] = [
        title,
        verdict,
        block_table(result, None if all_blocks else ROWS),
        number_table({"architecture": numbers(stack, at_init=not result.is_given)}),
        Group(heading("Approximations"), Text(approximation_words(result))),
    ]
    return parts


def block_table(result: "Result", max_rows: int | None) -> RenderableType:
    """Return the table of leaks by block, with the state at the position that reports name."""
    pair = pair_of_positions(result.stack.context)
    at = pair[-1:]
    columns = result.columns(max_rows, at)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1))
    for name in ("block", "keys"):
        table.add_column(name, justify="right" if name == "block" else "left", vertical="bottom")
    headers = ["mask", "residual", "total"]
    words = {"beacon": "BOS share", "k_diag": "variance", "sink_excess": "sink x n"}
    headers += [f"{words[c.split('[')[0]]}\nat {at[0]}" for c in columns if "[" in c]
    for header in headers:
        table.add_column(header, justify="right", vertical="bottom")
    blocks, keys, *values = columns.values()
    words_of = [percent if name.startswith("beacon") else sig for name in list(columns)[2:]]
    for block, seen, *row in zip(blocks, keys, *values, strict=True):
        cells = (words(float(value)) for words, value in zip(words_of, row, strict=True))
        table.add_row(str(block), seen, *cells)
    hidden = result.stack.n_blocks - len(blocks)
    words_below = "mask, residual, total: leak in nats RMS"
    if at:
        words_below += "; BOS share and variance after the block; sink x n: attention to token 0"
        words_below += " over uniform attention"
    if hidden:
        words_below += (
            f". {len(blocks)} of {result.stack.n_blocks} blocks: --all-blocks shows the rest"
        )
    return Group(heading("Leak by block"), table, Text(words_below + ".", style="dim"))


def number_table(columns: dict[str, dict[str, str]]) -> RenderableType:
    """Return a table of what architectures are, a column each."""
    table = Table(box=None, pad_edge=False, padding=(0, 1), show_header=len(columns) > 1)
    table.add_column("", no_wrap=True)
    for name in columns:
        table.add_column(name, header_style="bold", overflow="fold")
    for row in next(iter(columns.values())):
        table.add_row(row, *(column[row] for column in columns.values()))
    return Group(heading("Architecture"), table)


def approximation_words(result: "Result") -> str:
    """Return how the numbers came about and what they leave out, a line each."""
    attrs = result.numbers.attrs
    method = f"Method: {attrs.get('method', 'unknown')}, {attrs.get('positions', '?')} positions"
    if "draws" in attrs:
        method += f", {attrs['draws']} draws of weights with {attrs['contents']} contents each"
    if result.is_given:
        method += f", {attrs['contents']} contents ({attrs['content']}), standard errors"
        method += f" {attrs['standard_error']}"
    method += "."
    if not result.approximations:
        return f"{method} Nothing else is approximated."
    return "\n".join([method, *(f"- {line}" for line in result.approximations)])


# For programs


def as_data(label: str, result: "Result") -> dict[str, Any]:
    """Return everything that the report says, and more, for `print_json`."""
    numbers, stack = result.numbers, result.stack
    variables, attrs = numbers.variables, numbers.attrs
    pair = pair_of_positions(stack.context)
    blocks = {"block": list(range(1, numbers.n_blocks + 1))}
    blocks |= {name: variables[name].tolist() for name in _with_errors(variables, BLOCK_VARIABLES)}
    shown = sorted({0, *pair, stack.context - 1})
    names = [name for name in variables if "query" in dims(name) and "key" not in dims(name)]
    at = [{"position": i} | {name: numbers.at(name, i).tolist() for name in names} for i in shown]
    data: dict[str, Any] = {
        "label": label,
        "ropeleak": attrs.get("ropeleak"),
        "method": attrs.get("method"),
        "positions": attrs.get("positions"),
        "verdict": result.verdict().split("\n"),
        "stack": json.loads(attrs["stack"]),
        "score_std": [stack.score_std(b) for b in range(stack.n_blocks)],
        "attention_gain": [stack.attention_gain(b) for b in range(stack.n_blocks)],
        "embedding_var": stack.embedding_var,
        "blocks": blocks,
        "depth": list(range(numbers.n_blocks + 1)),
        "reach": variables["reach"].tolist() if "reach" in variables else None,
        "at_position": at,
        "ruler": None,
        "approximations": result.approximations,
    }
    if len(pair) == 2 and not result.is_given:
        cues = {name: values.tolist() for name, values in result.cues(*pair).items()}
        data["ruler"] = {"positions": list(pair)} | cues
    return data


def print_json(data: Any) -> None:
    """Print JSON and nothing else: no NaN, no infinity."""
    print(json.dumps(_finite(data), ensure_ascii=True, allow_nan=False, indent=2))


def _with_errors(variables: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return [name for base in names for name in (base, f"{base}_se") if name in variables]


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    if isinstance(data, float) and not abs(data) < float("inf"):
        return None
    return data
