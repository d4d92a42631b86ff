"""Telling what is wrong with a spec: the field, the value and what is allowed, in one sentence."""

import difflib
import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ._base import Spec

KINDS = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}
BOUNDS = {"ge": "at least {:.12g}", "gt": "above {:.12g}", "le": "at most {:.12g}"}


def shorten(value: object, longest: int = 40) -> str:
    """Return a value as one short printable line, whatever its size."""
    if isinstance(value, int) and abs(value) >= 10**18:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, (dict, list, tuple, set)) and len(value) > 0:
        return f"a {type(value).__name__} of {len(value)} entries"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = repr(value[:longest]) if isinstance(value, (str, bytes)) else repr(value)
    if isinstance(value, (str, bytes)) and len(value) > longest:
        return text + "…"
    return text if len(text) <= longest else f"a {type(value).__name__}"


def nearest(name: str, names: Iterable[str], cutoff: float = 0.5) -> str | None:
    """Return the one of ``names`` that is closest to ``name``, or None if none is close."""
    found = difflib.get_close_matches(name[:100], list(names), n=1, cutoff=cutoff)
    return found[0] if found else None


def spec_type(annotation: object) -> type[BaseModel] | None:
    """Return the model that an annotation holds (itself, optional or in a tuple), or None."""
    found = (a for a in _unwrapped(annotation) if isinstance(a, type) and issubclass(a, BaseModel))
    return next(found, None)


def field_at(model: type[BaseModel], names: Iterable[str]) -> FieldInfo | None:
    """Return the field at a chain of names below ``model``, or None if there is none."""
    field: FieldInfo | None = None
    here: type[BaseModel] | None = model
    for name in names:
        field = here.model_fields.get(name) if here is not None else None
        if field is None:
            return None
        here = spec_type(field.annotation)
    return field


def takes(field: FieldInfo, kind: object) -> bool:
    """Whether a type (``bool``, ``type(None)``) or a literal is allowed in a field."""
    return any(
        part is kind or (isinstance(kind, str) and part == kind)
        for part in _unwrapped(field.annotation)
    )


def allowed(field: FieldInfo, element: bool = False) -> str:
    """Return what a field, or an element of it, takes: ``a whole number, at least 1``."""
    parts = list(_unwrapped(field.annotation))
    nested = (m for part in parts if isinstance(part, FieldInfo) for m in part.metadata)
    metadata = [*field.metadata, *nested]
    bounds = [
        text.format(getattr(m, name))
        for m in metadata
        for name, text in BOUNDS.items()
        if getattr(m, name, None) is not None
    ]
    model = spec_type(field.annotation)
    words = [repr(p) for p in parts if isinstance(p, str)]
    words += [KINDS[p] for p in parts if isinstance(p, type) and p in KINDS]
    words += [f"the fields of {model.__name__} as a table"] if model else []
    described = " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    many = "a list, each " if tuple in parts and not element else ""
    empty = ["or none"] if type(None) in parts and not element else []
    return many + ", ".join([described, *bounds, *empty])


def _unwrapped(annotation: object) -> Iterator[object]:
    """Yield the types, literals and constraints that an annotation is made of."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType, Annotated, Literal):
        for part in get_args(annotation):
            yield from _unwrapped(part)
    elif origin is tuple:
        yield tuple
        yield from _unwrapped(get_args(annotation)[0])
    else:
        yield annotation


def dotted(location: Iterable[object]) -> str:
    """Return a location as a path: ``("attention", 0, "window")`` is ``attention[0].window``."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            name = str(part)
            path += ("." if path else "") + (name if name.isidentifier() else shorten(name))
    return path


def explain(error: ValidationError, model: type[BaseModel] | None = None, prefix: str = "") -> str:
    """Return the first fault of a pydantic error as one sentence.

    Parameters
    ----------
    model
        The class that was validated, found by its name among the specs unless given.
    prefix
        Path of the validated object in a larger one, put before the field.
    """
    fault: Any = error.errors(include_url=False)[0]
    location = fault["loc"]
    path = prefix + ("." if prefix and location else "") + dotted(location)
    if fault["type"] in ("value_error", "assertion_error"):
        message = str(fault["ctx"]["error"])
        return f"{path}: {message}" if path else message
    names = [part for part in location if isinstance(part, str)]
    root = model or _model_named(error.title)
    if fault["type"] == "extra_forbidden" and root is not None:
        return _unknown_field(path, names, root)
    field = field_at(root, names) if root is not None else None
    if field is not None:
        expected = allowed(field, element=isinstance(location[-1], int))
    else:
        expected = fault["msg"].removeprefix("Input should be ")
    return f"{path or 'the value'}={shorten(fault['input'])} is not allowed: give {expected}"


def _unknown_field(path: str, names: list[str], root: type[BaseModel]) -> str:
    parent = field_at(root, names[:-1])
    owner = spec_type(parent.annotation) if parent is not None else root
    fields = list(owner.model_fields) if owner is not None else []
    close = nearest(names[-1], fields)
    remedy = f"did you mean {close}?" if close else f"the fields are {', '.join(fields)}"
    return f"{path} is not a field: {remedy}"


def _model_named(name: str) -> type[BaseModel] | None:
    return next((model for model in Spec.__subclasses__() if model.__name__ == name), None)
