"""The embeddings and weights of a draw as whole matrices; the kernels draw a part at a time."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _kernels as kernels
from .plan import Plan
from .source import Drawn

Array = NDArray[Any]


def embeddings(plan: Plan, draw: int) -> Array:
    """Return what enters the stack (contents, T, d); those without BOS come last."""
    sizes = plan.sizes[0]
    x = np.zeros((plan.inputs, int(sizes["d"]), int(sizes["ld"])), plan.dtype)
    Drawn(plan, draw).embed(x)
    return x[:, :, : int(sizes["context"])].transpose(0, 2, 1)


def attention_weights(plan: Plan, number: int, draw: int) -> dict[str, Array]:
    """Return the matrices of a block's attention, each (outputs, inputs) in the plan's precision.

    Returns
    -------
    dict
        ``q``, ``k``, ``v`` and ``o`` stacked over heads; ``null`` (heads,), the logits of the null
        keys; ``latent`` with the rows of query latents, key-value latents and rotary key.
    """
    sizes, block = plan.sizes[0], plan.blocks[number]
    layer = plan.layers[block["layer"]]
    names = ("size", "d_nope", "d_value", "q_rank", "kv_rank")
    size, d_nope, d_value, q_rank, kv_rank = (int(layer[name]) for name in names)
    d, heads = int(sizes["d"]), int(sizes["heads"] // layer["groups"])
    parts = []
    for group in range(int(layer["groups"])):
        shapes = (
            (heads * size, q_rank or d), (d_nope, kv_rank or d), (d_value, kv_rank or d),
            (d, heads * d_value),
        )  # fmt: skip
        weights = tuple(np.zeros(shape, plan.dtype) for shape in shapes)
        kernels.draw_attention_weights(sizes, block, number, draw, group, weights)
        parts.append(weights)
    found = {
        name: np.concatenate([part[k] for part in parts], axis=1 if name == "o" else 0)
        for k, name in enumerate("qkvo")
    }
    found["null"] = np.zeros(int(sizes["heads"]))
    kernels.draw_null_logits(sizes, layer, number, draw, found["null"])
    rows = q_rank + kv_rank + size - d_nope if kv_rank else 0
    found["latent"] = np.zeros((rows, d), plan.dtype)
    if rows:
        kernels.draw_latent_weights(sizes, block, layer, number, draw, found["latent"])
    return found


def mlp_weights(plan: Plan, number: int, draw: int, expert: int = 0) -> dict[str, Array]:
    """Return ``up``, ``gate`` and ``down`` of a block's MLP or expert, shared experts last."""
    sizes, block = plan.sizes[0], plan.blocks[number]
    d, d_ff = int(sizes["d"]), int(block["d_ff"])
    parts: dict[str, list[Array]] = {"up": [], "gate": [], "down": []}
    for chunk, start in enumerate(range(0, d_ff, kernels.MLP_ROWS)):
        n = min(kernels.MLP_ROWS, d_ff - start)
        up, gate, down = (np.zeros(s, plan.dtype) for s in ((n, d), (n, d), (d, n)))
        kernels.draw_mlp_weights(sizes, block, number, draw, expert, chunk, up, gate, down)
        for name, part in zip(parts, (up, gate, down), strict=True):
            parts[name].append(part)
    return {
        name: np.concatenate(part, axis=1 if name == "down" else 0) for name, part in parts.items()
    }


def router_weights(plan: Plan, number: int, draw: int) -> Array:
    """Return the router's matrix (experts, d)."""
    sizes, block = plan.sizes[0], plan.blocks[number]
    router = np.zeros((int(block["experts"]), int(sizes["d"])), plan.dtype)
    kernels.router_weights(sizes, block, number, draw, router)
    return router
