"""Changing one field of a stack by its dotted path."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ropeleak.errors import RopeleakError

from ._base import Spec, T
from .explain import allowed, explain, field_at, nearest, shorten, spec_type, takes

if TYPE_CHECKING:
    from .stack import Stack

__all__ = ["apply_change", "explain", "field_paths", "is_whole", "parse_change"]

ALIASES = {"bos": "bos.kind", "rope": "attention.rope", "window": "attention.window"}
BLOCK_FIELDS = ("attention", "mlp")
SELECTORS: dict[str, Callable[[Any], bool]] = {
    "all": lambda block: True,
    "local": lambda block: block.is_local,
    "global": lambda block: not block.is_local,
}
SEGMENT = re.compile(r"(?P<name>[^\[\]]*)(?:\[(?P<selector>[^\[\]]*)\])?")
NOT_SET = ("approximations",)
"""Fields that say what a stack leaves out: not there to be changed."""
NEEDS = {"sinks": "window"}
"""Fields that only make sense in blocks that have another."""


class Target(NamedTuple):
    """A parsed path: the names of the fields, which blocks (None: the default), the last field."""

    names: tuple[str, ...]
    selector: str | None
    field: FieldInfo


def field_paths() -> list[str]:
    """Return every path that `Stack.set` takes, without selectors, in the order of the fields."""
    from .stack import Stack

    return [path for path in _paths_below(Stack) if path not in NOT_SET]


def apply_change(stack: "Stack", path: str, value: object) -> "Stack":
    """Return a copy of ``stack`` with the field at ``path`` set to ``value``.

    A path without a selector reaches the blocks where the field makes sense: those with the
    spec that holds it (RoPE, an MLP, experts), and of a field that can be none those that have
    it, or all when none does.

    Parameters
    ----------
    path
        As in `Stack.set`.
    value
        A Python object, or a string from a command line: ``"1024"``, ``"1e6"``, ``"true"``,
        ``"none"``, ``"[1, 2]"``, ``'{"type": "linear", "factor": 8}'``.

    Raises
    ------
    RopeleakError
        If the path does not exist, reaches no block, or the value is not allowed.
    """
    target = _parse_path(str(path))
    parsed = _parse_value(target.field, str(path), value)
    head, *rest = target.names
    if head not in BLOCK_FIELDS:
        return _changed(stack, target.names, parsed, "")
    if rest or target.selector is not None or not isinstance(parsed, (list, tuple)):
        parsed = _changed_blocks(getattr(stack, head), target, str(path), parsed)
    return _changed(stack, [head], parsed, "")


def parse_change(path: str, value: object) -> tuple[str, object]:
    """Return a path with its alias written out, and the value as the field is given it.

    A text is read as JSON where the field takes no text: ``"128"`` becomes 128, ``"none"`` None.
    Whether the field allows the value is not looked at.

    Raises
    ------
    RopeleakError
        If the path does not exist.
    """
    target = _parse_path(str(path))
    head, *rest = target.names
    selected = head if target.selector is None else f"{head}[{target.selector}]"
    return ".".join([selected, *rest]), _parse_value(target.field, str(path), value)


def is_whole(path: str) -> bool:
    """Whether the field at a path takes whole numbers and no others."""
    field = _parse_path(path).field
    return takes(field, int) and not takes(field, float)


# Paths and values


def _paths_below(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        below = spec_type(field.annotation)
        if below is not None:
            yield from _paths_below(below, f"{prefix}{name}.")


def _parse_path(path: str) -> Target:
    from .stack import Stack

    first, *rest = path.strip().split(".")
    match = SEGMENT.fullmatch(first)
    name, selector = (match["name"], match["selector"]) if match else (first, None)
    if name in ALIASES and not (name == "bos" and rest):
        name, *aliased = ALIASES[name].split(".")
        rest = [*aliased, *rest]
    names = (name, *rest)
    field = field_at(Stack, names)
    if field is None or ".".join(names) in NOT_SET:
        close = nearest(".".join(names), [*field_paths(), *ALIASES], cutoff=0.0)
        raise RopeleakError(f"{shorten(path)} is not a field of a stack: did you mean {close}?")
    if selector is not None and name not in BLOCK_FIELDS:
        raise RopeleakError(f"{shorten(path)}: {name} is not per block, leave [{selector}] out")
    return Target(names, selector, field)


def _parse_value(field: FieldInfo, path: str, value: object) -> object:
    if isinstance(value, bool) and not takes(field, bool):
        raise RopeleakError(f"{path}={value} is not allowed: give {allowed(field)}")
    if not isinstance(value, str) or takes(field, str) or takes(field, value):
        return value
    text = value.strip()
    if text.lower() in ("none", "null"):
        return None
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(parsed, bool) and not takes(field, bool) else parsed


# Blocks


def _changed_blocks(
    blocks: tuple[Spec, ...], target: Target, path: str, value: object
) -> tuple[object, ...]:
    head, *names = target.names
    reached = _reached(blocks, target, path)
    changed: dict[Spec, object] = {
        block: _changed(block, names, value, head) if names else value
        for block in {blocks[b] for b in reached}
    }
    return tuple(changed[block] if b in reached else block for b, block in enumerate(blocks))


def _reached(blocks: tuple[Spec, ...], target: Target, path: str) -> frozenset[int]:
    """Return the blocks that a change reaches, by number."""
    names = target.names[1:]
    chosen = _selected(blocks, target, path)
    able = [b for b in chosen if _value_at(blocks[b], names[:-1]) is not None]
    if not able:
        lacking = ".".join(target.names[:-1]) if chosen else f"[{target.selector}]"
        raise RopeleakError(f"{shorten(path)} reaches no block: none has {lacking}")
    if target.selector is None:
        able = [b for b in able if getattr(blocks[b], "kind", "") != "none"] or able
        marker = [NEEDS.get(name, name) for name in names]
        able = [b for b in able if _value_at(blocks[b], marker) is not None] or able
    return frozenset(able)


def _value_at(spec: object, names: Sequence[str]) -> object:
    for name in names:
        spec = getattr(spec, name) if spec is not None else None
    return spec


def _selected(blocks: tuple[Spec, ...], target: Target, path: str) -> list[int]:
    head, selector, n = target.names[0], target.selector, len(blocks)
    if selector is None:
        return list(range(n))
    if re.fullmatch(r"-?[0-9]{1,9}", selector) and -n <= int(selector) < n:
        return [int(selector) % n]
    kinds = list(SELECTORS) if head == "attention" else ["all"]
    if selector in kinds:
        return [b for b, block in enumerate(blocks) if SELECTORS[selector](block)]
    raise RopeleakError(
        f"{shorten(path)} names no block: give a number from 0 to {n - 1}, or {', '.join(kinds)}"
    )


# Changing


def _changed(spec: T, names: Sequence[str], value: object, prefix: str) -> T:
    """Return ``spec`` with the field below it changed, and what goes with that field."""
    name, *rest = names
    if rest:
        below = f"{prefix}.{name}" if prefix else name
        changes: dict[str, object] = {name: _changed(getattr(spec, name), rest, value, below)}
    else:
        companions = COMPANIONS[name](spec, value) if name in COMPANIONS else {}
        changes = {**companions, name: value}
    try:
        return spec.replace(**changes)
    except ValidationError as error:
        raise RopeleakError(explain(error, type(spec), prefix)) from None


def _with_window(attention: Any, value: object) -> dict[str, object]:
    return {"sinks": 0} if value is None else {"chunk": None, "prefix": 0}


def _with_chunk(attention: Any, value: object) -> dict[str, object]:
    return {} if value is None else {"window": None, "sinks": 0, "prefix": 0}


def _with_prefix(attention: Any, value: object) -> dict[str, object]:
    return {"window": None, "sinks": 0, "chunk": None} if value else {}


def _with_d_model(stack: Any, value: object) -> dict[str, object]:
    return {"d_head": None} if stack.d_head * stack.n_heads == stack.d_model else {}


def _with_n_heads(stack: Any, value: object) -> dict[str, object]:
    every_head = {"n_kv_heads": None} if stack.n_kv_heads == stack.n_heads else {}
    return {**_with_d_model(stack, value), **every_head}


def _with_n_blocks(stack: Any, value: object) -> dict[str, object]:
    from .stack import MAX_BLOCKS

    if not isinstance(value, (int, float, np.integer)) or not 1 <= value <= MAX_BLOCKS:
        return {}
    return {field: _repeated(getattr(stack, field), int(value)) for field in BLOCK_FIELDS}


COMPANIONS: dict[str, Callable[[Any, object], dict[str, object]]] = {
    "window": _with_window,
    "chunk": _with_chunk,
    "prefix": _with_prefix,
    "d_model": _with_d_model,
    "n_heads": _with_n_heads,
    "n_blocks": _with_n_blocks,
}
"""What changes with a field so that the rest keeps its meaning."""


def _repeated(blocks: tuple[Spec, ...], n: int) -> tuple[Spec, ...]:
    """Return ``n`` blocks that go on as ``blocks`` do.

    The shortest lead-in and period that describe ``blocks`` are found first: ``SSSFSSSF`` goes on
    as ``SSSF``, three dense blocks and then mixtures of experts go on with those.
    """
    numbers: dict[Spec, int] = {}
    kinds = [numbers.setdefault(block, len(numbers)) for block in blocks]
    lead, period = min(
        ((_lead_in(kinds, period), period) for period in range(1, len(kinds) + 1)),
        key=lambda found: (sum(found), found[0]),
    )
    return tuple(blocks[b if b < lead else lead + (b - lead) % period] for b in range(n))


def _lead_in(kinds: list[int], period: int) -> int:
    """Return how many blocks come before the first from which ``kinds`` has the period."""
    first = len(kinds) - period
    while first > 0 and kinds[first - 1] == kinds[first - 1 + period]:
        first -= 1
    return first
