"""From the position keys of a config, in any of its layouts, to a `Rope`."""

from dataclasses import dataclass

from ropeleak.errors import RopeleakError
from ropeleak.spec.explain import shorten

from .fields import Fields

LAYER_TYPES = ("full_attention", "sliding_attention", "chunked_attention")
MAX_POSITIONS = 10**9
KINDS = ("default", "linear", "dynamic", "yarn", "longrope", "llama3", "proportional")
OLD_NAMES = {"su": "longrope"}
REQUIRED = {
    "linear": ("factor",),
    "dynamic": ("factor",),
    "yarn": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "longrope": ("short_factor", "long_factor"),
}
"""Keys without which a type is refused."""

LEAST = {
    "factor": 1e-6,
    "attention_factor": 1e-6,
    "beta_fast": 1e-6,
    "beta_slow": 1e-6,
    "low_freq_factor": 1e-6,
    "high_freq_factor": 1e-6,
    "mscale": 0.0,
    "mscale_all_dim": 0.0,
}
"""Numbers that configs and `Rope` call alike, and the least that each may be."""


@dataclass(frozen=True)
class RopeKeys:
    """How a family writes its rotary embedding.

    Parameters
    ----------
    theta, theta_key
        Default base, and the top-level key of the base.
    fraction, fraction_key
        Default share of a head that is rotated, None where the unscaled type ignores the key;
        and the top-level key.
    local_theta, local_theta_key
        The same for sliding layers, which then take no scaling; None where all layers are alike.
    interleaved
        Whether neighbouring entries form a pair.
    renamed
        Types that mean another in this family.
    """

    theta: float = 10000.0
    theta_key: str = "rope_theta"
    fraction: float | None = None
    fraction_key: str = "partial_rotary_factor"
    local_theta: float | None = None
    local_theta_key: str = "rope_local_base_freq"
    interleaved: bool = False
    renamed: tuple[tuple[str, str], ...] = ()


def rope_table(fields: Fields, layer_type: str) -> tuple[Fields, bool]:
    """Return the rope table that holds for a layer type, and whether it is for that type alone.

    A non-empty ``rope_scaling`` replaces ``rope_parameters``; a table whose keys are layer types
    holds one table for each.
    """
    key = "rope_scaling" if fields.get("rope_scaling") else "rope_parameters"
    table = fields.table(key) or Fields(fields.defaults, {}).table(key)
    if not any(name in table for name in LAYER_TYPES):
        return Fields(table, {}, key), False
    nested = Fields(table, {}, key).table(layer_type)
    return Fields(nested, {}, f"{key}.{layer_type}"), True


def read_rope(fields: Fields, keys: RopeKeys, layer_type: str, maximum: int) -> dict[str, object]:
    """Return the fields of the `Rope` of one layer type.

    Parameters
    ----------
    layer_type
        ``full_attention``, ``sliding_attention`` or ``chunked_attention``.
    maximum
        ``max_position_embeddings`` in tokens.

    Raises
    ------
    RopeleakError
        If the type is unknown, lacks a key, or a value is out of its domain.
    """
    table, nested = rope_table(fields, layer_type)
    local = keys.local_theta is not None and layer_type == "sliding_attention"
    if local and not nested:
        table = Fields({}, {}, table.prefix.rstrip("."))
    kind = _kind(table, dict(keys.renamed))
    found: dict[str, object] = {
        "type": kind,
        "base": _theta(fields, table, keys, local),
        "fraction": _fraction(fields, table, keys, kind),
        "max_context": maximum,
        "layout": "interleaved" if keys.interleaved else "half",
    }
    for name in REQUIRED.get(kind, ()):
        if table.get(name) is None:
            raise RopeleakError(
                f"rope type {kind!r} in the config needs {table.prefix}{name}: add it"
            )
    if kind in ("yarn", "longrope", "llama3"):
        found["original_context"] = _original(fields, table, maximum, nested)
    if kind == "longrope":
        found |= {name: _divisors(table, name) for name in ("short_factor", "long_factor")}
    numbers = {name: table.maybe_number(name, least, 1e9) for name, least in LEAST.items()}
    found |= {name: value for name, value in numbers.items() if value is not None}
    if table.get("truncate") is not None:
        found["truncate"] = table.flag("truncate")
    if kind == "dynamic" and table.get("alpha"):  # HunYuan: the base grows once and for all
        found |= {"type": "ntk", "factor": table.number("alpha", 1e-6, 1e9)}
    return found


def _kind(table: Fields, renamed: dict[str, str]) -> str:
    key = "type" if table.get("rope_type") is None else "rope_type"
    name = "default" if table.get(key) is None else table.text(key)
    kind = renamed.get(name, OLD_NAMES.get(name, name))
    if kind not in KINDS:
        raise RopeleakError(
            f"rope type {shorten(name)} in the config is not modelled: use one of"
            f" {', '.join(KINDS)}"
        )
    return kind


def _theta(fields: Fields, table: Fields, keys: RopeKeys, local: bool) -> float:
    key, default = keys.theta_key, keys.theta
    if local and keys.local_theta is not None:
        key, default = keys.local_theta_key, keys.local_theta
    inner = table.maybe_number("rope_theta", 2, 1e15)
    outer = fields.maybe_number(key, 2, 1e15)
    return next((theta for theta in (inner, outer) if theta is not None), default)


def _fraction(fields: Fields, table: Fields, keys: RopeKeys, kind: str) -> float:
    if kind == "default" and keys.fraction is None:
        return 1.0
    inner = table.maybe_number("partial_rotary_factor", 1e-6, 1)
    outer = fields.maybe_number(keys.fraction_key, 1e-6, 1)
    return inner or outer or keys.fraction or 1.0


def _original(fields: Fields, table: Fields, maximum: int, nested: bool) -> int:
    name = "original_max_position_embeddings"
    outer = None if nested else fields.maybe_integer(name, 1, MAX_POSITIONS)
    return outer or table.maybe_integer(name, 1, MAX_POSITIONS) or maximum


def _divisors(table: Fields, name: str) -> tuple[float, ...]:
    values = table.items(name, (int, float)) or []
    if not all(1e-6 <= value <= 1e9 for value in values):
        raise table.fail(name, "numbers from 1e-06 to 1e+09")
    return tuple(float(value) for value in values)
