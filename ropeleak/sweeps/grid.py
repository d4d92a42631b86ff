"""The grid of a sweep: models and fields, every combination of which is a point."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from ropeleak.errors import RopeleakError
from ropeleak.spec import Stack
from ropeleak.spec.changes import parse_change
from ropeleak.spec.explain import nearest

from .values import as_text, read_values

MOST_POINTS = 10**6
MODEL = "model"

Change = tuple[str, object]


@dataclass(frozen=True)
class Axis:
    """One dimension of a grid: a field, or several that change together.

    Attributes
    ----------
    paths
        The fields.
    rows
        Their values, a row for every place on the axis.
    """

    paths: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]

    @property
    def name(self) -> str:
        """Name of the dimension: the field's, or those of several with a plus between them."""
        return "+".join(self.paths)

    def column(self, path: str) -> list[object]:
        """Return the values of one of its fields."""
        return [row[self.paths.index(path)] for row in self.rows]


@dataclass(frozen=True)
class Point:
    """One combination: a model, and the changes made to it in turn.

    Attributes
    ----------
    index
        Place in the grid, the last axis fastest.
    identity
        Says what the point is, in whichever grid it lies.
    """

    index: int
    identity: str
    model: str
    changes: tuple[Change, ...]

    def stack(self, models: Mapping[str, Stack]) -> Stack:
        """Return the architecture.

        Raises
        ------
        RopeleakError
            If a field refuses its value.
        """
        stack = models[self.model]
        for path, value in self.changes:
            stack = stack.set(path, value)
        return stack


@dataclass(frozen=True)
class Grid:
    """Every combination of models and of the values of fields.

    Attributes
    ----------
    models
        The architectures, by label.
    axes
        What is changed, in the order in which it is.
    """

    models: dict[str, Stack]
    axes: tuple[Axis, ...]

    @property
    def dims(self) -> dict[str, int]:
        """Lengths of the dimensions; ``model`` is one of them where there are several."""
        several = {MODEL: len(self.models)} if len(self.models) > 1 else {}
        return several | {axis.name: len(axis.rows) for axis in self.axes}

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the dimensions."""
        return tuple(self.dims.values())

    @property
    def size(self) -> int:
        """Number of points."""
        return prod(self.shape)

    def point(self, index: int) -> Point:
        """Return a point by its place, the last axis fastest."""
        model, *places = (
            int(k) for k in np.unravel_index(index, (len(self.models), *map(len, self._rows)))
        )
        label = list(self.models)[model]
        changes = tuple(
            change
            for axis, place in zip(self.axes, places, strict=True)
            for change in zip(axis.paths, axis.rows[place], strict=True)
        )
        told = [self._model_identity[label], *([path, value] for path, value in changes)]
        identity = _digest(told)
        return Point(index, identity, label, changes)

    def points(self) -> Iterator[Point]:
        """Yield every point in turn."""
        return map(self.point, range(self.size))

    def values(self, path: str, model: str) -> list[Any]:
        """Return what a field of the stack itself goes through: one value where it is not swept."""
        for axis in self.axes:
            for swept in axis.paths:
                if parse_change(swept, None)[0] == path:
                    return axis.column(swept)
        return [getattr(self.models[model], path)]

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {
            "models": {k: stack.model_dump(mode="json") for k, stack in self.models.items()},
            "axes": [{"paths": axis.paths, "rows": axis.rows} for axis in self.axes],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Grid":
        """Return the grid that `as_json` wrote.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is something else.
        """
        models = {k: Stack.model_validate(stack) for k, stack in data["models"].items()}
        axes = (Axis(tuple(a["paths"]), tuple(map(tuple, a["rows"]))) for a in data["axes"])
        return cls(models, tuple(axes))

    @property
    def _rows(self) -> list[tuple[tuple[object, ...], ...]]:
        return [axis.rows for axis in self.axes]

    @cached_property
    def _model_identity(self) -> dict[str, str]:
        return {
            label: _digest(stack.replace(name="stack").model_dump(mode="json"))
            for label, stack in self.models.items()
        }


def make_grid(
    models: Mapping[str, Stack],
    over: Mapping[str, object],
    zipped: Iterable[str | Sequence[str]] = (),
) -> Grid:
    """Return the grid of models and fields.

    Parameters
    ----------
    models
        The architectures, by label.
    over
        The values of each field, by its path: see `ropeleak.sweeps.values.read_values`.
    zipped
        Fields whose values change together rather than in every combination: names, or one text
        with plus signs between them.

    Raises
    ------
    RopeleakError
        If there is nothing to sweep or too much, a path does not exist, a field is named twice, a
        value is listed twice, or fields that change together have different numbers of values.
    """
    if not over and len(models) < 2:
        raise RopeleakError(
            "there is nothing to sweep: give a field and its values, e.g."
            " attention.window=64,128,256, or several models"
        )
    columns = {str(path).strip(): read_values(str(path).strip(), over[path]) for path in over}
    fields: dict[str, str] = {}
    for path in columns:
        same = fields.setdefault(parse_change(path, None)[0], path)
        if same != path:
            raise RopeleakError(f"{same} and {path} are the same field: sweep one of them")
    together = _groups(columns, zipped)
    axes = []
    for path in columns:
        paths = next((group for group in together if path in group), (path,))
        if path == paths[0]:
            axes.append(_axis(paths, columns))
    grid = Grid(dict(models), tuple(axes))
    if grid.size > MOST_POINTS:
        lengths = " x ".join(f"{n:,} {name}" for name, n in grid.dims.items())
        raise RopeleakError(
            f"the grid has {grid.size:,} points ({lengths}) and may have {MOST_POINTS:,}:"
            " give fewer values"
        )
    return grid


def _groups(
    columns: Mapping[str, object], zipped: Iterable[str | Sequence[str]]
) -> list[tuple[str, ...]]:
    """Return the fields that change together, each group in the order of ``columns``."""
    found: list[tuple[str, ...]] = []
    for entry in zipped:
        named = [name.strip() for name in (entry.split("+") if isinstance(entry, str) else entry)]
        for name in named:
            if name not in columns:
                close = nearest(name, columns, cutoff=0.0)
                hint = f"did you mean {close}?" if close else "give its values too"
                raise RopeleakError(f"zip {'+'.join(named)}: {name!r} is not swept: {hint}")
            if named.count(name) > 1 or any(name in group for group in found):
                raise RopeleakError(f"zip {'+'.join(named)}: {name} is named twice: drop one")
        if len(named) < 2:
            raise RopeleakError(f"zip {'+'.join(named)} names one field: give two or more")
        found.append(tuple(path for path in columns if path in named))
    return found


def _axis(paths: tuple[str, ...], columns: Mapping[str, tuple[object, ...]]) -> Axis:
    lengths = {path: len(columns[path]) for path in paths}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{path} has {n}" for path, n in lengths.items())
        raise RopeleakError(f"zip {'+'.join(paths)} needs as many values of each: {told}")
    axis = Axis(paths, tuple(zip(*(columns[path] for path in paths), strict=True)))
    seen: set[tuple[str, ...]] = set()
    for row in axis.rows:
        texts = tuple(map(as_text, row))
        if texts in seen:
            raise RopeleakError(f"{axis.name} lists {', '.join(texts)} twice: drop one")
        seen.add(texts)
    return axis


def _digest(data: object) -> str:
    text = json.dumps(data, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
