"""The values that a field goes through: read from text or Python, and named as coordinates."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from ropeleak.errors import RopeleakError
from ropeleak.spec.changes import is_whole, parse_change
from ropeleak.spec.explain import shorten

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
LIKE_RANGE = re.compile(rf"{NUMBER}\s*:")
RANGE = re.compile(rf"({NUMBER}):({NUMBER}):([a-z]+):(\d{{1,20}})")
SPACINGS: dict[str, Callable[..., NDArray[np.float64]]] = {"log": np.geomspace, "lin": np.linspace}
MOST = 1e300
MOST_VALUES = 10**6
"""Values of one field that are made from a range."""


def read_values(path: str, values: object) -> tuple[object, ...]:
    """Return the values of one field as plain Python objects, in order.

    Parameters
    ----------
    path
        The field, as in `Stack.set`.
    values
        A sequence or an array, or a text: values with commas between them, among which
        ``1e4:1e7:log:20`` stands for 20 numbers from 1e4 to 1e7 with equal ratios and
        ``0:1:lin:5`` for 5 with equal differences, rounded where the field takes whole numbers.

    Raises
    ------
    RopeleakError
        If the path does not exist, there is no value, or a range is not understood.
    """
    canonical, _ = parse_change(path, None)
    whole = is_whole(path)
    if isinstance(values, str):
        raw = [value for item in _items(values) for value in _expanded(path, item, whole)]
    elif isinstance(values, Iterable) and not isinstance(values, (bytes, dict, BaseModel)):
        raw = list(values)
    else:
        raise RopeleakError(
            f"{path}={shorten(values)} is not a list: give the values to go through"
        )
    if not raw:
        raise RopeleakError(f"{path} has no values: give one or more")
    parsed = (parse_change(canonical, _plain(value))[1] for value in raw)
    return tuple(_whole(value) if whole else value for value in parsed)


def as_text(value: object) -> str:
    """Return a value as it is written on a command line."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return next(text for n in (6, 17) if float(text := f"{value:.{n}g}") == value or n == 17)
    if isinstance(value, int) and not _fits(value):
        return shorten(value)
    return json.dumps(value, separators=(",", ":"), default=shorten)


def coordinate(values: Sequence[Any]) -> NDArray[np.generic]:
    """Return values as the labels of a dimension: numbers, switches, or texts if they are mixed.

    Examples
    --------
    >>> coordinate([64, 128]).dtype, coordinate([64, 0.5]).dtype
    (dtype('int64'), dtype('float64'))
    >>> coordinate([64, None]).tolist()
    ['64', 'none']
    """
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return np.array(values)
    if kinds == {int} and all(map(_fits, values)):
        return np.array(values, dtype=np.int64)
    if kinds and kinds <= {int, float} and all(abs(value) < 1e300 for value in values):
        return np.array(values, dtype=np.float64)
    return np.array([as_text(value) for value in values], dtype=str)


def _fits(value: int) -> bool:
    return abs(value) < 2**63


def _items(text: str) -> list[str]:
    """Split at commas that stand outside brackets and quotes."""
    items, depth, quoted, current = [], 0, False, ""
    for letter in text:
        quoted ^= letter == '"'
        if not quoted:
            depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth <= 0 and not quoted:
            items.append(current.strip())
            current = ""
        else:
            current += letter
    items.append(current.strip())
    return [] if items == [""] else items


def _expanded(path: str, item: str, whole: bool) -> Sequence[object]:
    """Return the numbers of a range, or the item itself."""
    if not item:
        raise RopeleakError(f"{path} has an empty value: put one between every two commas")
    if not LIKE_RANGE.match(item):
        return [item]
    match = RANGE.fullmatch(item)
    if match is None or match[3] not in SPACINGS:
        raise RopeleakError(
            f"{path}: the range {shorten(item)} is not understood: write it as first:last:log:count"
            " or first:last:lin:count, e.g. 1e4:1e7:log:20"
        )
    first, last, count = float(match[1]), float(match[2]), int(match[4])
    if not 1 <= count <= MOST_VALUES:
        raise RopeleakError(
            f"{path}: the range {shorten(item)} has {count:,} values: give 1 to {MOST_VALUES:,}"
        )
    least = 0.0 if match[3] == "log" else -MOST
    if not (least < first < MOST and least < last < MOST):
        raise RopeleakError(
            f"{path}: the range {shorten(item)} needs numbers above {least:g} and below {MOST:g}"
        )
    found = SPACINGS[match[3]](first, last, count).tolist()
    return list(dict.fromkeys(round(value) for value in found)) if whole else found


def _plain(value: object) -> object:
    """Return a value of NumPy or a spec as plain Python."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_defaults=True)
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def _whole(value: object) -> object:
    """Return ``64`` for ``64.0``; another value as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
