"""The report of several architectures side by side."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ropeleak.describe import numbers, percent, sig
from ropeleak.selection import at_position, pair_of_positions
from ropeleak.verdict import leak_range

from ._report import approximation_words, heading, number_table

if TYPE_CHECKING:
    from ropeleak.results import Result


@dataclass(frozen=True)
class Row:
    """One line of the comparison: a number of each architecture, and how it is written."""

    name: str
    value: Callable[["Result"], float]
    text: Callable[["Result"], str]
    brief: str = ""
    """What one sentence calls it, if it says it at all."""
    write: Callable[[float], str] = sig


SAME = 0.02
"""Numbers that differ by less than this share are called unchanged."""


def rows(pair: tuple[int, ...]) -> list[Row]:
    """Return what is compared, at two positions that every context has."""
    table = [
        Row("mask leak, nats RMS", _rms("leak_mask"), _range("leak_mask"), "mask leak"),
        Row("residual leak, nats RMS", _rms("leak_residual"), _range("leak_residual"),
            "residual leak"),
        Row("total leak, nats RMS", _rms("leak_total"), _range("leak_total"), "total leak"),
    ]  # fmt: skip
    if pair:
        i = pair[-1]
        share = f"BOS share at {i}"
        table.append(_number(share, lambda r: _last(r, "beacon", i), share, percent))
        table.append(_number(f"variance at {i}", lambda r: _last(r, "k_diag", i)))
    if len(pair) == 2:
        name = f"d′ between {pair[0]} and {pair[1]}"
        table.append(_number(name, _ruler(pair), name))
    table.append(_number("reach of position 0", _reach, write=lambda value: sig(value, 7)))
    return table


def comparison(results: Mapping[str, "Result"]) -> list[RenderableType]:
    """Return the report: what changes, the verdicts, the same numbers side by side."""
    context = min(result.stack.context for result in results.values())
    chosen = rows(pair_of_positions(context))
    first, *others = results
    parts: list[RenderableType] = [
        Group(*(Text(_change(results, first, other, chosen), style="bold") for other in others))
    ]
    for label, result in results.items():
        parts.append(Group(heading(label), Text(result.verdict())))
    parts.append(_side_by_side(results, chosen))
    parts.append(_differences(results))
    told: dict[str, list[str]] = {}
    for label, result in results.items():
        told.setdefault(approximation_words(result), []).append(label)
    parts.append(heading("Approximations"))
    for words, labels in told.items():
        whose = "" if len(told) == 1 else "; ".join(labels) + "\n"
        parts.append(Text(whose + words))
    return parts


def _change(results: Mapping[str, "Result"], first: str, other: str, chosen: list[Row]) -> str:
    """Return one sentence: what differs between two architectures, and what does not."""
    changed, same = [], []
    for row in (row for row in chosen if row.brief):
        before, after = row.value(results[first]), row.value(results[other])
        if not (np.isfinite(before) and np.isfinite(after)):
            continue
        if abs(after - before) <= SAME * max(abs(before), 1e-9):
            same.append(row.brief)
        else:
            changed.append(f"{row.brief} {row.write(before)} to {row.write(after)}")
    parts = [", ".join(changed)] if changed else []
    if same:
        parts.append(f"unchanged within {percent(SAME)}: {', '.join(same)}")
    return f"From {first} to {other}: {'; '.join(parts) or 'nothing can be compared'}."


def _side_by_side(results: Mapping[str, "Result"], chosen: list[Row]) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1))
    table.add_column("", no_wrap=True)
    for label in results:
        table.add_column(label, justify="right", overflow="fold", vertical="bottom")
    for row in chosen:
        cells, before = [], row.value(next(iter(results.values())))
        for number, result in enumerate(results.values()):
            factor = _factor(before, row.value(result)) if number else ""
            cells.append(f"{row.text(result)} ({factor})" if factor else row.text(result))
        table.add_row(row.name, *cells)
    below = "Leaks over the blocks, the rest after the last block; x: factor on the first column."
    return Group(heading("Side by side"), table, Text(below, style="dim"))


def _differences(results: Mapping[str, "Result"]) -> RenderableType:
    columns = {label: numbers(result.stack) for label, result in results.items()}
    names = list(next(iter(columns.values())))
    differing = [name for name in names if len({column[name] for column in columns.values()}) > 1]
    if not differing:
        return Text("The architectures are the same in every number that the theory uses.")
    return number_table(
        {label: {name: column[name] for name in differing} for label, column in columns.items()}
    )


def _factor(before: float, after: float) -> str:
    if not (np.isfinite(before) and np.isfinite(after)) or abs(before) < 1e-9:
        return ""
    return f"x{sig(after / before)}"


def _rms(name: str) -> Callable[["Result"], float]:
    return lambda result: float(np.sqrt(np.mean(np.square(result.dataset[name].values))))


def _range(name: str) -> Callable[["Result"], str]:
    return lambda result: leak_range(result.numbers, name)


def _last(result: "Result", name: str, position: int) -> float:
    return float(at_position(result.dataset[name].isel(depth=-1), position))


def _ruler(pair: tuple[int, ...]) -> Callable[["Result"], float]:
    return lambda result: float(result.ruler(*pair)["combined"].isel(depth=-1))


def _reach(result: "Result") -> float:
    dataset = result.dataset
    return float(dataset["reach"].isel(depth=-1)) if "reach" in dataset else float("nan")


def _number(
    name: str,
    value: Callable[["Result"], float],
    brief: str = "",
    write: Callable[[float], str] = sig,
) -> Row:
    return Row(name, value, lambda result: write(value(result)), brief, write)
