"""Choosing what to show of a dataset: positions off the grid, some of many blocks."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr


def pair_of_positions(context: int) -> tuple[int, ...]:
    """Return the two positions that reports compare: 50 and 100 where both exist.

    In a shorter context ``T/4`` and ``T/2``; fewer than two where no pair after position 0
    exists.

    Examples
    --------
    >>> pair_of_positions(512), pair_of_positions(64), pair_of_positions(3), pair_of_positions(1)
    ((50, 100), (16, 32), (1, 2), ())
    """
    if context > 100:
        return 50, 100
    if context < 3:
        return (1,) if context == 2 else ()
    first = max(context // 4, 1)
    return first, max(context // 2, first + 1)


def at_position(values: "xr.DataArray", position: int) -> "xr.DataArray":
    """Return a quantity at one query position, interpolated in ``ln(1+i)`` between the grid's.

    Parameters
    ----------
    values
        Any array with the dimension ``query``, positions increasing.
    position
        ``0 .. T-1``.
    """
    query = np.asarray(values["query"].values)
    right = int(np.clip(np.searchsorted(query, position), 0, query.size - 1))
    if query[right] == position or right == 0:
        return values.isel(query=right, drop=True)
    left = right - 1
    low, high = np.log1p(query[left]), np.log1p(query[right])
    weight = min(float((np.log1p(position) - low) / (high - low)), 1.0)
    below, above = values.isel(query=left, drop=True), values.isel(query=right, drop=True)
    return (1 - weight) * below + weight * above


def representative_blocks(dataset: "xr.Dataset", max_rows: int | None = None) -> list[int]:
    """Return at most ``max_rows`` blocks: first, last, where the leak jumps, and evenly between.

    Parameters
    ----------
    dataset
        With ``leak_mask`` over ``block`` 1..L.
    max_rows
        All blocks unless given; at least 2.
    """
    blocks = [int(block) for block in dataset["block"].values]
    if max_rows is None or len(blocks) <= max_rows:
        return blocks
    max_rows = max(max_rows, 2)
    mask = np.nan_to_num(np.asarray(dataset["leak_mask"].values, dtype=float))
    kinds = [0, len(blocks) - 1]
    for extreme in (int(mask.argmin()), int(mask.argmax())):
        if extreme not in kinds and len(kinds) < max_rows and np.ptp(mask) > 0.05 * mask.max():
            kinds.append(extreme)
    for size in range(max_rows, 1, -1):
        even = np.linspace(0, len(blocks) - 1, size).round().astype(int).tolist()
        chosen = sorted({*kinds, *even})
        if len(chosen) <= max_rows:
            return [blocks[index] for index in chosen]
    return [blocks[index] for index in sorted(kinds)]
