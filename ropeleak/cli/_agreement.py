"""The report of theory beside measurement."""

from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ropeleak.agreement import gaps, z_scores
from ropeleak.describe import percent, sig
from ropeleak.selection import at_position, pair_of_positions, representative_blocks

from ._report import ROWS, approximation_words, heading

if TYPE_CHECKING:
    from ropeleak.results import Result

OUTSIDE = 3.0
"""Standard errors beyond which a number is called outside."""
WORDS = {"leak_mask": "mask", "leak_residual": "residual"}


def report(label: str, predicted: "Result", measured: "Result") -> list[RenderableType]:
    """Return the report: how well the two agree, leaks by block, numbers at one position."""
    stack = measured.stack
    title = Text.assemble((label, "bold"), f": {stack.n_blocks} blocks, context {stack.context}")
    words = measured.dataset.attrs
    summary = f"{words['draws']} draws of weights, {words['contents']} contents each."
    return [
        Group(title, Text(summary)),
        _overall(predicted, measured),
        _by_block(predicted, measured),
        _at_one_position(predicted, measured),
        Group(
            heading("Approximations"),
            Text(approximation_words(predicted)),
            Text(approximation_words(measured)),
        ),
    ]


def as_data(label: str, predicted: "Result", measured: "Result") -> dict[str, Any]:
    """Return what the report says, for `print_json`."""
    from ._report import as_data as one

    scores = z_scores(predicted.dataset, measured.dataset)
    return {
        "label": label,
        "draws": measured.dataset.attrs["draws"],
        "contents": measured.dataset.attrs["contents"],
        "agreement": {name: row for name, *row in _rows(predicted, measured)},
        "agreement_columns": ["rms_z", "share_outside_3_se", "relative_difference"],
        "z": {str(name): scores[name].values.tolist() for name in scores},
        "predicted": one(label, predicted),
        "measured": one(label, measured),
    }


def _rows(predicted: "Result", measured: "Result") -> list[tuple[str, float, float, float]]:
    scores = z_scores(predicted.dataset, measured.dataset)
    shares = gaps(predicted.dataset, measured.dataset)
    rows = []
    for name in map(str, scores):
        z = np.minimum(np.abs(scores[name].values), 1e6)
        rms, outside = float(np.sqrt((z**2).mean())), float((z > OUTSIDE).mean())
        rows.append((name, rms, outside, shares[name]))
    return rows


def _overall(predicted: "Result", measured: "Result") -> RenderableType:
    table = _table("", "z, RMS", f"beyond {OUTSIDE:g} se", "difference")
    for name, rms, outside, gap in _rows(predicted, measured):
        table.add_row(name, sig(rms), percent(outside), percent(gap))
    below = (
        "z: (theory - measurement) / standard error (se), about 1 where they agree; difference: RMS"
        " over RMS of the measurement, noise included."
    )
    return Group(heading("Theory against measurement"), table, Text(below, style="dim"))


def _by_block(predicted: "Result", measured: "Result") -> RenderableType:
    theory, data = predicted.dataset, measured.dataset
    scores = z_scores(theory, data)
    shown = ("leak_mask", "leak_residual")
    headers = [
        header for name in shown for header in (f"{WORDS[name]}:\ntheory", "\nmeasured", "\nz")
    ]
    table = _table("block", *headers)
    for block in representative_blocks(data["leak_mask"].values, ROWS):
        cells = [str(block)]
        for name in shown:
            at = {"block": block}
            value, error = float(data[name].sel(at)), float(data[f"{name}_se"].sel(at))
            cells += [sig(float(theory[name].sel(at)), 3), f"{sig(value, 3)} ± {sig(error)}"]
            cells.append(f"{float(scores[name].sel(at)):.1f}")
        table.add_row(*cells)
    return Group(heading("Leak by block (nats RMS)"), table)


def _at_one_position(predicted: "Result", measured: "Result") -> RenderableType:
    theory, data = predicted.dataset, measured.dataset
    scores = z_scores(theory, data)
    pair = pair_of_positions(measured.stack.context)
    position = pair[-1] if pair else 0
    table = _table("", "theory", "measured", "z")
    for name in ("k_diag", "q_diag", "beacon", "log_z", "sink"):
        values = [
            float(at_position(dataset[key].isel({dataset[key].dims[0]: -1}), position))
            for dataset, key in (
                (theory, name), (data, name), (data, f"{name}_se"), (scores, name),
            )
        ]  # fmt: skip
        table.add_row(
            name, sig(values[0], 3), f"{sig(values[1], 3)} ± {sig(values[2])}", f"{values[3]:.1f}"
        )
    return Group(heading(f"At position {position}, last block"), table)


def _table(first: str, *headers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1))
    table.add_column(first, no_wrap=True, vertical="bottom")
    for header in headers:
        table.add_column(header, justify="right", vertical="bottom", no_wrap=True)
    return table
