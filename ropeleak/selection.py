"""Choosing what to show of a dataset: positions off the grid, some of many blocks."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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


def between(
    nodes: NDArray[np.int64], positions: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the nodes around positions, and how far in ``ln(1+i)`` each is on the way.

    Parameters
    ----------
    nodes
        Increasing positions (G,).
    positions
        Any positions (N,); before the first node and after the last one they count as these.

    Returns
    -------
    left, right, share
        ``(1 - share) * f[left] + share * f[right]`` interpolates ``f`` (N,).
    """
    right = np.clip(np.searchsorted(nodes, positions), 0, nodes.size - 1)
    left = np.where(nodes[right] > positions, np.maximum(right - 1, 0), right)
    low, high = np.log1p(nodes[left]), np.log1p(nodes[right])
    share = (np.log1p(np.clip(positions, nodes[0], nodes[-1])) - low) / np.where(
        left < right, high - low, 1.0
    )
    return left, right, np.where(left < right, share, 0.0)


def interpolated(nodes: NDArray[np.int64], position: int, value: Callable[[int], Any]) -> Any:
    """Return a quantity at a position, interpolated in ``ln(1+i)``, from ``value`` of a node."""
    (left,), (right,), (share,) = between(nodes, np.array([position]))
    below, above = value(left), value(right)
    return below if left == right else (1 - share) * below + share * above


def at_position(values: "xr.DataArray", position: int) -> "xr.DataArray":
    """Return a quantity at one query position, interpolated in ``ln(1+i)`` between the grid's.

    Parameters
    ----------
    values
        Any array with the dimension ``query``, positions increasing.
    position
        ``0 .. T-1``.
    """
    found: xr.DataArray = interpolated(
        values["query"].values, position, lambda node: values.isel(query=node, drop=True)
    )
    return found


def common_position(dataset: "xr.Dataset") -> int | None:
    """Return the position that a sweep is told at: that of reports, or the nearest there is.

    Parameters
    ----------
    dataset
        Of `ropeleak.sweep`. The position was kept of every point that was computed; None where
        there is no such position.
    """
    points = dataset["status"].dims
    name = next((n for n, array in dataset.data_vars.items() if "query" in array.dims), None)
    if name is None:
        return None
    values = dataset[name]
    there = values.notnull().any([dim for dim in values.dims if dim not in (*points, "query")])
    query = dataset["query"].values[(there | (dataset["status"] != 1)).all(points).values]
    if not query.size:
        return None
    wanted = (pair_of_positions(int(query[-1]) + 1) or (0,))[-1]
    return int(query[np.abs(query - wanted).argmin()])


def headline(dataset: "xr.Dataset", name: str, position: int | None) -> "xr.DataArray":
    """Return one number for every point of a sweep: of its last block, at a position.

    Parameters
    ----------
    dataset
        Of `ropeleak.sweep`.
    name
        A variable over ``block`` or ``depth``, and over ``query`` perhaps.
    position
        `common_position`.
    """
    values = dataset[name]
    if "query" in values.dims:
        values = at_position(values, position or 0)
    dim = "block" if "block" in values.dims else "depth"
    last = np.maximum(values.notnull().sum(dim) - 1, 0)
    return values.isel({dim: last}).drop_vars(dim)


def representative_blocks(leak_mask: NDArray[np.float64], max_rows: int | None = None) -> list[int]:
    """Return at most ``max_rows`` blocks: first, last, where the leak jumps, and evenly between.

    Parameters
    ----------
    leak_mask
        The mask leak of blocks 1..L.
    max_rows
        All blocks unless given; at least 2.
    """
    blocks = list(range(1, len(leak_mask) + 1))
    if max_rows is None or len(blocks) <= max_rows:
        return blocks
    max_rows = max(max_rows, 2)
    mask = np.nan_to_num(np.asarray(leak_mask, dtype=float))
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
