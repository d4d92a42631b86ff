"""From a file, a folder or a parsed config to a `Stack`."""

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from ropeleak.errors import RopeleakError
from ropeleak.spec import Stack
from ropeleak.spec.explain import shorten
from ropeleak.spec.stack import MAX_BLOCKS

from . import notes
from .defaults import DEFAULTS, LLAMA
from .families import FAMILIES, LLAMA_SHAPED, Family
from .fields import Fields
from .layers import Layer
from .refused import refuse_unlike_llama, refuse_untreatable
from .rope import MAX_POSITIONS, read_rope

MAX_BYTES = 10**7
DEFAULT_CONTEXT = 512
TEXT_PART = {"gemma3": "gemma3_text", "llama4": "llama4_text", "mistral3": "mistral"}
"""Multimodal models and the family of their text part where the config does not name it."""


def read_config(
    source: "str | PathLike[str] | Mapping[str, Any]", context: int | None = None
) -> Stack:
    """Return the stack that a Hugging Face config describes, at random initialisation.

    Parameters
    ----------
    source
        Path of a ``config.json`` or of the folder that holds it, or the parsed dictionary.
    context
        Number of tokens ``T``; the config's maximum, but at most 512, unless given.

    Raises
    ------
    RopeleakError
        If the config cannot be read, is not that of a causal decoder with rotary or no
        position embedding, or holds a value that is not allowed.
    """
    config, name = _loaded(source)
    refuse_untreatable(config)
    decoder, said = _decoder(config)
    refuse_untreatable(decoder)
    model_type = _model_type(decoder)
    if model_type not in FAMILIES:
        refuse_unlike_llama(decoder, model_type)
        said.append(f"model_type={shorten(model_type)} is unknown: read as llama, by its keys")
    family = FAMILIES.get(model_type, LLAMA_SHAPED)
    fields = Fields(decoder, {**LLAMA, **DEFAULTS.get(model_type, {})})
    stack = Stack.build(name=name or model_type[:200], **_stack_fields(fields, family, context))
    said += family.notes(fields) + notes.of_stack(stack) + notes.of_defaults(fields, model_type)
    return stack.replace(approximations=tuple(said))


def model_type_of(source: "str | PathLike[str] | Mapping[str, Any]") -> str:
    """Return the family of a config's text decoder.

    Raises
    ------
    RopeleakError
        If the config cannot be read or names no family.
    """
    return _model_type(_decoder(_loaded(source)[0])[0])


# Reading the file


def _loaded(source: "str | PathLike[str] | Mapping[str, Any]") -> tuple[Mapping[str, Any], str]:
    """Return the parsed config and a name for it, which may be empty."""
    if isinstance(source, Mapping):
        return source, _plain(source.get("_name_or_path"))
    if not isinstance(source, (str, PathLike)):
        raise RopeleakError(
            f"a config of type {type(source).__name__} is not allowed: give a path or a dictionary"
        )
    path = Path(source)
    shown = shorten(str(path), 200)
    try:
        if path.is_dir():
            path = path / "config.json"
            shown = shorten(str(path), 200)
        if not path.is_file():
            raise RopeleakError(f"there is no file {shown}: give a config.json or its folder")
        if path.stat().st_size > MAX_BYTES:
            raise RopeleakError(f"{shown} is too large for a config: give a config.json")
        config = json.loads(path.read_text(encoding="utf-8-sig"))
    except RopeleakError:
        raise
    except OSError as error:
        raise RopeleakError(f"{shown} cannot be read ({error.strerror}): check the path") from None
    except (ValueError, RecursionError):
        raise RopeleakError(f"{shown} is not JSON: give a config.json") from None
    if not isinstance(config, dict):
        raise RopeleakError(
            f"{shown} holds a {type(config).__name__} and not an object: give a config.json"
        )
    stem = path.parent.resolve().name if path.name == "config.json" else path.stem
    return config, _plain(config.get("_name_or_path")) or _plain(stem)


def _plain(name: object) -> str:
    printable = name if isinstance(name, str) else ""
    return " ".join("".join(c if c.isprintable() else " " for c in printable).split())[:200]


def _decoder(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
    """Return the part of a config that describes the text decoder, and what is left out."""
    part = config.get("text_config")
    if not isinstance(part, Mapping):
        return config, []
    whole = config.get("model_type")
    default = TEXT_PART.get(whole, whole) if isinstance(whole, str) else None
    text = {"model_type": default, **part}
    return text, ["only the text decoder is described: inputs are text tokens, not images"]


def _model_type(config: Mapping[str, Any]) -> str:
    model_type = config.get("model_type")
    if isinstance(model_type, str):
        return TEXT_PART.get(model_type, model_type)
    if model_type is None:
        raise RopeleakError(
            "model_type is missing from the config: give the config.json of a causal decoder"
        )
    raise RopeleakError(
        f"model_type={shorten(model_type)} in the config is not allowed: give a text"
    )


# Assembling the stack


def _stack_fields(fields: Fields, family: Family, context: int | None) -> dict[str, object]:
    n = fields.integer("num_hidden_layers", 1, MAX_BLOCKS)
    maximum = fields.integer("max_position_embeddings", 1, MAX_POSITIONS)
    layers = family.layers(fields, n)
    made = {layer: _attention(fields, family, layer, maximum) for layer in dict.fromkeys(layers)}
    return {
        "context": min(DEFAULT_CONTEXT, maximum) if context is None else context,
        "n_blocks": n,
        **_sizes(fields, family),
        "vocab_size": fields.integer("vocab_size"),
        "attention": [made[layer] for layer in layers],
        "mlp": family.mlp(fields, n),
        "norm": _norm(fields, family),
        "init": {"std": fields.number("initializer_range", 0, 1) or 0.02},
        **family.stack(fields),
    }


def _sizes(fields: Fields, family: Family) -> dict[str, object]:
    width = fields.integer("hidden_size")
    heads = fields.integer("num_attention_heads")
    shared = fields.maybe_integer("num_key_value_heads") or heads
    size = family.head_size(fields)
    if size is None and width % heads:
        raise RopeleakError(
            f"hidden_size={width} is not divisible by num_attention_heads={heads}: correct one of"
            " them or give head_dim"
        )
    if heads % shared:
        raise RopeleakError(
            f"num_attention_heads={heads} is not a multiple of num_key_value_heads={shared}:"
            " correct one of them"
        )
    return {
        "d_model": width,
        "n_heads": heads,
        "n_kv_heads": shared,
        "d_head": size or width // heads,
    }


def _attention(fields: Fields, family: Family, layer: Layer, maximum: int) -> dict[str, object]:
    qk_norm = family.qk_norm if isinstance(family.qk_norm, str) else family.qk_norm(fields)
    rope = read_rope(fields, family.rope, layer.type, maximum) if layer.has_rope else None
    scale = family.scale(fields) if family.scale is not None else None
    more = family.attention(fields, layer) if family.attention is not None else {}
    return {
        "window": layer.window,
        "chunk": layer.chunk,
        "rope": rope,
        "qk_norm": qk_norm,
        "scale": scale,
        **more,
    }


def _norm(fields: Fields, family: Family) -> dict[str, object]:
    placement = family.placement
    return {
        "kind": family.norm,
        "placement": placement if isinstance(placement, str) else placement(fields),
        "eps": fields.number(family.eps, 0, 1),
    }
