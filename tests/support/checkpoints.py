"""Checkpoints for tests: safetensors files of arrays, and the weights of a random draw as one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ropeleak import Stack
from ropeleak.simulate import weights as drawn
from ropeleak.simulate.plan import Plan

Array = NDArray[Any]
KINDS = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "uint8": "U8"}


def save(path: Path, arrays: Mapping[str, Array], **metadata: str) -> Path:
    """Write arrays as a safetensors file, the plain way its description says."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    body = b""
    for name, array in arrays.items():
        held = np.ascontiguousarray(array)
        header[name] = {
            "dtype": KINDS[held.dtype.name], "shape": list(array.shape),
            "data_offsets": [len(body), len(body) + held.nbytes],
        }  # fmt: skip
        body += held.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def save_sharded(folder: Path, arrays: Mapping[str, Array], shards: int = 3) -> Path:
    """Write arrays as several files and their index, and return the index."""
    names = list(arrays)
    where = {name: f"model-{k % shards + 1:05}-of-{shards:05}.safetensors"
             for k, name in enumerate(names)}  # fmt: skip
    for file in set(where.values()):
        save(folder / file, {name: arrays[name] for name in names if where[name] == file})
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return index


NORMS = {
    "pre": ("input_layernorm", "post_attention_layernorm"),
    "parallel": ("input_layernorm", "post_attention_layernorm"),
    "post": ("post_attention_layernorm", "post_feedforward_layernorm"),
    "res-post": ("post_attention_layernorm", "post_feedforward_layernorm"),
    "sandwich": ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
                 "post_feedforward_layernorm"),
    "none": (),
}  # fmt: skip


def of_draw(stack: Stack, plan: Plan, draw: int) -> tuple[dict[str, Array], NDArray[np.int64]]:
    """Return the weights of a draw by Llama's names, and the tokens that stand for its contents.

    Every position of every content is a token of its own.
    """
    x = drawn.embeddings(plan, draw)
    arrays: dict[str, Array] = {
        "model.embed_tokens.weight": x.reshape(-1, x.shape[-1]) / stack.embedding_multiplier
    }
    for block in range(stack.n_blocks):
        arrays |= {
            f"model.layers.{block}.{name}": value
            for name, value in _block(stack, plan, block, draw).items()
        }
    return arrays, np.arange(x.shape[0] * x.shape[1]).reshape(x.shape[:2])


def _block(stack: Stack, plan: Plan, block: int, draw: int) -> dict[str, Array]:
    attention, mlp = stack.attention[block], stack.mlp[block]
    matrices = drawn.attention_weights(plan, block, draw)
    found = {f"self_attn.{name}_proj.weight": matrices[name] for name in "qkvo"}
    one = np.ones(stack.d_model, plan.dtype)
    norms = NORMS[stack.norm.placement]
    if mlp.kind == "none":
        norms = tuple(name for name in norms if name in _OF_ATTENTION[stack.norm.placement])
    found |= {f"{name}.weight": one for name in norms}
    if attention.softmax.sink_logit is not None:
        found["self_attn.sinks"] = matrices["null"]
    if attention.qk_norm in ("head", "projection"):
        whole = attention.qk_norm == "projection"
        sizes = {"q": stack.n_heads if whole else 1, "k": stack.n_kv_heads if whole else 1}
        found |= {
            f"self_attn.{name}_norm.weight": np.ones(n * stack.d_head, plan.dtype)
            for name, n in sizes.items()
        }
    if mlp.kind == "none":
        return found
    if mlp.experts is None:
        return found | _mlp(stack, plan, block, draw, 0, "mlp.")
    for expert in range(mlp.experts.count):
        found |= _mlp(stack, plan, block, draw, expert, f"mlp.experts.{expert}.")
    found["mlp.gate.weight"] = drawn.router_weights(plan, block, draw)
    return found


_OF_ATTENTION = {
    "pre": ("input_layernorm",), "parallel": ("input_layernorm",), "none": (),
    "post": ("post_attention_layernorm",), "res-post": ("post_attention_layernorm",),
    "sandwich": ("input_layernorm", "post_attention_layernorm"),
}  # fmt: skip


def _mlp(
    stack: Stack, plan: Plan, block: int, draw: int, expert: int, prefix: str
) -> dict[str, Array]:
    matrices = drawn.mlp_weights(plan, block, draw, expert)
    names = ("up", "gate", "down") if stack.mlp[block].kind == "gated" else ("up", "down")
    return {f"{prefix}{name}_proj.weight": matrices[name] for name in names}
