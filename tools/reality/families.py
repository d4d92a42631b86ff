"""Small models of published families, as transformers configures them."""

from typing import Any

from ropeleak import Stack

WINDOW = 16
"""Sliding window of the families that have one: contexts reach far beyond it."""

_SIZES: dict[str, Any] = {
    "hidden_size": 512, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 64,
    "intermediate_size": 1408, "num_hidden_layers": 6, "vocab_size": 4096,
    "max_position_embeddings": 2048, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_EXPERTS = {"num_local_experts": 8, "num_experts_per_tok": 2, "intermediate_size": 512}

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": WINDOW},
    "qwen2": {"use_sliding_window": True, "max_window_layers": 3, "sliding_window": WINDOW},
    "qwen3": {},
    "gemma2": {"sliding_window": WINDOW, "query_pre_attn_scalar": 64},
    "gemma3_text": {"sliding_window": WINDOW, "query_pre_attn_scalar": 64},
    "olmo2": {},
    "gpt_neox": {"num_key_value_heads": 8, "intermediate_size": 2048},
    "phi3": {"sliding_window": WINDOW},
    "smollm3": {},
    "cohere2": {"sliding_window": WINDOW},
    "gpt_oss": {**_EXPERTS, "sliding_window": WINDOW},
    "mixtral": {**_EXPERTS, "sliding_window": None},
}
"""By ``model_type``, what each differs in from the common sizes."""


def config_of(family: str, **changes: Any) -> Any:
    """Return the transformers config of a family.

    Parameters
    ----------
    changes
        Config keys, in place of the table's.
    """
    from transformers import AutoConfig

    return AutoConfig.for_model(family, **{**_SIZES, **FAMILIES[family], **changes})


def stack_of(config: Any, context: int) -> Stack:
    """Return what ropeleak reads in a transformers config."""
    return Stack.from_hf(config.to_dict(), context=context)
