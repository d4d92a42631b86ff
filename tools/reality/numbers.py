"""Same weights, same numbers: the kernels on a checkpoint that transformers has written."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ropeleak import Stack
from ropeleak.simulate import trace

from .families import config_of, stack_of
from .models import look_inside

CONTEXT, CONTENTS = 50, 2
ACCURACY = 1e-5
"""Largest difference, as a share of the largest number, that float32 leaves."""

_SIZES: dict[str, Any] = {
    "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "intermediate_size": 40, "num_hidden_layers": 6, "vocab_size": 96, "initializer_range": 0.15,
}  # fmt: skip
_OWN: dict[str, dict[str, Any]] = {
    "gpt_neox": {"num_key_value_heads": 4},
    "gpt_oss": {"num_local_experts": 4},
    "mixtral": {"num_local_experts": 4},
}
_SHARDS = "50KB"


class Difference(NamedTuple):
    """Largest differences from transformers.

    Attributes
    ----------
    states, attention
        Of the residual stream at any depth, over its largest number there; of attention weights.
    precise
        Of the residual stream in float32 from that in float64.
    """

    states: float
    attention: float
    precise: float


def small_config(family: str) -> Any:
    """Return the config of a small model that has windows, sinks and layers without RoPE."""
    return config_of(family, **{**_SIZES, **_OWN.get(family, {})})


def small_stack(family: str) -> Stack:
    """Return the same as a stack."""
    return stack_of(small_config(family), CONTEXT)


def small_model(family: str) -> Any:
    """Return a causal model whose gains and biases are not those of a fresh one."""
    import torch
    import transformers

    torch.manual_seed(1)
    auto: Any = transformers.AutoModelForCausalLM
    model = auto.from_config(small_config(family), attn_implementation="eager").eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 or name.endswith("bias"):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def some_tokens(family: str) -> NDArray[np.int64]:
    """Return contents for a small model (contents, T)."""
    vocabulary = int(small_config(family).vocab_size)
    return np.random.default_rng(2).integers(0, vocabulary, (CONTENTS, CONTEXT))


def difference(family: str, folder: Path) -> Difference:
    """Return how far the kernels are from transformers, which writes a checkpoint to ``folder``."""
    model, tokens = small_model(family), some_tokens(family)
    wanted = look_inside(model.base_model, tokens)
    model.save_pretrained(folder, max_shard_size=_SHARDS)
    stack = small_stack(family)
    found, precise = (trace(stack, folder, tokens, kind) for kind in ("float32", "float64"))
    return Difference(
        states=off(found.states, wanted.states),
        attention=float(np.abs(found.attention - wanted.attention).max()),
        precise=off(found.states, precise.states),
    )


def off(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Return the largest difference at any depth over the largest number there."""
    axes = tuple(range(1, wanted.ndim))
    return float((np.abs(found - wanted).max(axes) / np.abs(wanted).max(axes)).max())
