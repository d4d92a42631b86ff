"""The report of a sweep, for people and for programs."""

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ropeleak.describe import percent, sig
from ropeleak.selection import common_position, headline
from ropeleak.sweeps.dataset import ATTRIBUTE
from ropeleak.sweeps.grid import MODEL
from ropeleak.sweeps.values import as_text

from ._report import heading

if TYPE_CHECKING:
    import xarray as xr

    from ropeleak.sweeps.grid import Grid

ROWS = 24
"""Points that the table shows of many."""
REASONS = 5
"""Reasons that are told of many."""
COLUMNS = {
    "leak_mask": "mask", "leak_residual": "residual", "leak_total": "total",
    "beacon": "BOS share", "k_diag": "variance", "sink_excess": "sink x n",
}  # fmt: skip
"""Variables of the table, where they were kept, and what their columns are called."""


def report(dataset: "xr.Dataset", grid: "Grid") -> list[RenderableType]:
    """Return the report: what was swept, the points, what failed and what is approximated."""
    axes = " x ".join(f"{n} {name}" for name, n in grid.dims.items())
    models = ", ".join(grid.models)
    title = Text.assemble((models, "bold"), f": {grid.size:,} points ({axes})")
    parts: list[RenderableType] = [title, _table(dataset, grid)]
    failed = Counter(str(reason) for reason in dataset["reason"].values.ravel() if reason)
    if failed:
        lines = [f"{count:,} x {reason}" for reason, count in failed.most_common(REASONS)]
        if len(failed) > REASONS:
            lines.append(f"and {len(failed) - REASONS} more reasons")
        parts.append(Group(heading(f"{failed.total():,} points failed"), Text("\n".join(lines))))
    parts.append(Group(heading("Approximations"), Text(_approximations(dataset))))
    return parts


def _table(dataset: "xr.Dataset", grid: "Grid") -> RenderableType:
    """Return the numbers of the points, or of some of them evenly."""
    shown = np.unique(np.linspace(0, grid.size - 1, min(grid.size, ROWS)).round().astype(int))
    position = common_position(dataset)
    names = [name for name in COLUMNS if name in dataset]
    numbers = {name: headline(dataset, name, position).values.ravel() for name in names}
    fields = [path for axis in grid.axes for path in axis.paths]
    several = len(grid.models) > 1
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1))
    for field in [*([MODEL] if several else []), *fields]:
        table.add_column(field.replace(".", ".\n"), overflow="fold", vertical="bottom")
    for name in names:
        at = f"\nat {position}" if "query" in dataset[name].dims else ""
        table.add_column(COLUMNS[name] + at, justify="right", vertical="bottom")
    for index in shown.tolist():
        point = grid.point(index)
        cells = [*([point.model] if several else []), *(_cell(v) for _, v in point.changes)]
        for name, column in numbers.items():
            value = float(column[index])
            cells.append(percent(value) if name == "beacon" else sig(value))
        table.add_row(*cells)
    words = "Of the last block. mask, residual, total: leak in nats RMS"
    if position is not None:
        words += "; sink x n: attention to token 0 over uniform attention"
    if shown.size < grid.size:
        words += f". {shown.size} of {grid.size:,} points: --out, --json and --plot have all"
    return Group(heading("Leak by point"), table, Text(words + ".", style="dim"))


def _cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else as_text(value)


def _approximations(dataset: "xr.Dataset") -> str:
    """Return how the numbers came about and what they leave out, a line each."""
    told = Counter(
        line
        for text in dataset["approximations"].values.ravel()
        for line in str(text).split("\n")
        if line
    )
    total = int((dataset["status"] == 1).sum())
    method = f"Method: {dataset.attrs['method']}."
    if not told:
        return f"{method} Nothing else is approximated."
    some = [
        f"- {line}" + ("" if count == total else f" ({count:,} of {total:,} points)")
        for line, count in told.most_common()
    ]
    return "\n".join([method, *some[:REASONS]])


def as_data(dataset: "xr.Dataset") -> dict[str, Any]:
    """Return the whole dataset for `print_json`, as `xarray.Dataset.from_dict` reads it."""
    data: dict[str, Any] = dataset.to_dict()
    data["attrs"][ATTRIBUTE] = json.loads(data["attrs"][ATTRIBUTE])
    return data
