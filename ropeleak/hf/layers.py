"""Which layers see a window, a chunk or everything, and which have RoPE."""

from collections.abc import Callable
from typing import NamedTuple

from ropeleak.errors import RopeleakError
from ropeleak.spec.explain import shorten

from .fields import Fields
from .rope import LAYER_TYPES

FULL, SLIDING, CHUNKED = LAYER_TYPES
MAX_WINDOW = 10**9


class Layer(NamedTuple):
    """The position side of one layer: its type in config words, what it sees, RoPE or not."""

    type: str
    window: int | None = None
    chunk: int | None = None
    has_rope: bool = True


LayerReader = Callable[[Fields, int], list[Layer]]


def all_full(fields: Fields, n: int) -> list[Layer]:
    """Every layer sees all earlier tokens."""
    return [Layer(FULL)] * n


def all_sliding(fields: Fields, n: int) -> list[Layer]:
    """``sliding_window`` holds in every layer, unless it is null (Mistral, Phi-3)."""
    return _layers(fields, [SLIDING] * n)


def optional_sliding(fields: Fields, n: int) -> list[Layer]:
    """As `all_sliding`, if ``use_sliding_window`` (Qwen3-MoE)."""
    return _layers(fields, [SLIDING if fields.flag("use_sliding_window") else FULL] * n)


def upper_sliding(fields: Fields, n: int) -> list[Layer]:
    """Layers from ``max_window_layers`` slide, if ``use_sliding_window`` (Qwen2, Qwen3)."""
    if not fields.flag("use_sliding_window"):
        return [layer._replace(window=None) for layer in _typed(fields, [FULL] * n)]
    first = fields.integer("max_window_layers", 0)
    return _typed(fields, [SLIDING if layer >= first else FULL for layer in range(n)])


def every_nth_full(period: int, *keys: str) -> LayerReader:
    """Layers slide but every ``period``-th, which is full; ``keys`` name the period."""

    def read(fields: Fields, n: int) -> list[Layer]:
        return _typed(fields, _every_nth(fields, n, period, keys))

    return read


def rope_where_sliding(period: int, key: str) -> LayerReader:
    """As `every_nth_full`, with RoPE in the sliding layers only (Cohere-2)."""

    def read(fields: Fields, n: int) -> list[Layer]:
        layers = _typed(fields, _every_nth(fields, n, period, (key,)))
        return [layer._replace(has_rope=layer.window is not None) for layer in layers]

    return read


def exaone4(fields: Fields, n: int) -> list[Layer]:
    """As Cohere-2, but without a window all layers are full and have RoPE."""
    if fields.get("sliding_window") is None:
        return all_full(fields, n)
    return rope_where_sliding(4, "sliding_window_pattern")(fields, n)


def smollm3(fields: Fields, n: int) -> list[Layer]:
    """Every ``no_rope_layer_interval``-th layer has no RoPE; with windows, those layers slide."""
    has_rope = _has_rope(fields, n)
    slides = fields.flag("use_sliding_window")
    layers = _typed(fields, [SLIDING if slides and not rope else FULL for rope in has_rope])
    return [
        layer._replace(has_rope=rope, window=layer.window if slides else None)
        for layer, rope in zip(layers, has_rope, strict=True)
    ]


def llama4(fields: Fields, n: int) -> list[Layer]:
    """Layers with RoPE see a chunk, those without see everything."""
    has_rope = _has_rope(fields, n)
    layers = _typed(fields, [CHUNKED if rope else FULL for rope in has_rope])
    return [layer._replace(has_rope=rope) for layer, rope in zip(layers, has_rope, strict=True)]


def by_layer_types(fields: Fields, n: int) -> list[Layer]:
    """Whatever the config says: ``layer_types``, else ``sliding_window`` in every layer."""
    slides = "use_sliding_window" not in fields.values or fields.flag("use_sliding_window")
    return _typed(fields, [SLIDING if slides else FULL] * n)


def _typed(fields: Fields, default: list[str]) -> list[Layer]:
    """Layers by ``layer_types``, or by ``default`` where the config has none."""
    return _layers(fields, fields.items("layer_types", str, len(default)) or default)


def _layers(fields: Fields, kinds: list[str]) -> list[Layer]:
    readers = {FULL: _full, SLIDING: _sliding, CHUNKED: _chunked}
    for number, kind in enumerate(kinds):
        if kind not in readers:
            raise RopeleakError(
                f"layer_types[{number}]={shorten(kind)} in the config is not modelled: ropeleak"
                f" knows {', '.join(readers)}"
            )
    made = {kind: readers[kind](fields) for kind in dict.fromkeys(kinds)}
    return [made[kind] for kind in kinds]


def _full(fields: Fields) -> Layer:
    return Layer(FULL)


def _sliding(fields: Fields) -> Layer:
    return Layer(SLIDING, window=fields.maybe_integer("sliding_window", 1, MAX_WINDOW))


def _chunked(fields: Fields) -> Layer:
    return Layer(CHUNKED, chunk=fields.maybe_integer("attention_chunk_size", 1, MAX_WINDOW))


def _every_nth(fields: Fields, n: int, period: int, keys: tuple[str, ...]) -> list[str]:
    for key in keys:
        pattern = fields.get(key)
        if isinstance(pattern, str) and pattern and set(pattern) <= set("LG"):  # EXAONE-4's "LLLG"
            return [FULL if pattern[i % len(pattern)] == "G" else SLIDING for i in range(n)]
        period = fields.maybe_integer(key) or period
    return [SLIDING if (layer + 1) % period else FULL for layer in range(n)]


def _has_rope(fields: Fields, n: int) -> list[bool]:
    if fields.get("no_rope_layers"):  # 1 stands for RoPE, 0 for none
        return [bool(flag) for flag in fields.items("no_rope_layers", int, n) or ()]
    interval = fields.maybe_integer("no_rope_layer_interval") or 4
    return [(layer + 1) % interval != 0 for layer in range(n)]
