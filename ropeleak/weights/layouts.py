"""How checkpoints name their tensors: Llama's names, and how every other family differs."""

from dataclasses import dataclass, field

from .parts import (
    Part,
    Parts,
    attention,
    gate_then_up,
    gated,
    joined,
    joined_by_group,
    plain,
    router,
    stacked,
)

NORMS: dict[str, dict[str, tuple[str, ...]]] = {
    "before attention": {
        "pre": ("input_layernorm",),
        "sandwich": ("input_layernorm",),
        "parallel": ("ln_attn", "input_layernorm"),
    },
    "after attention": {
        "sandwich": ("post_self_attn_layernorm", "post_attention_layernorm"),
        "res-post": ("post_attention_layernorm",),
        "post": ("post_attention_layernorm",),
    },
    "before mlp": {
        "pre": ("post_attention_layernorm",),
        "sandwich": ("pre_feedforward_layernorm", "post_attention_layernorm"),
        "parallel": ("ln_mlp", "post_attention_layernorm", "input_layernorm"),
    },
    "after mlp": {
        "sandwich": ("post_mlp_layernorm", "post_feedforward_layernorm"),
        "res-post": ("post_feedforward_layernorm",),
        "post": ("post_feedforward_layernorm",),
    },
}
"""Norms by their place and by where a stack's norms stand; the first name that exists counts."""


@dataclass(frozen=True)
class Layout:
    """How the checkpoints of a family differ from Llama's.

    Parameters
    ----------
    embedding, block
        Names of the embedding and of a block, below the root of the decoder.
    attention, mlp, experts, shared
        Matrices of the attention, of a dense MLP, of an expert, and of the shared expert.
    router
        Matrix of the router.
    query_gain, key_gain, null
        Gains of the QK-norm, and logits of the null keys, below the block.
    gain_offset
        Added to the gain of every norm.
    """

    embedding: str = "embed_tokens.weight"
    block: str = "layers.{block}."
    attention: Parts = field(default_factory=attention)
    mlp: Parts = field(default_factory=gated)
    experts: Parts = field(
        default_factory=lambda: gated(
            "mlp.experts.{expert}.up_proj",
            "mlp.experts.{expert}.gate_proj",
            "mlp.experts.{expert}.down_proj",
        )
    )
    shared: Parts = field(default_factory=dict)
    router: Part = field(default_factory=lambda: router("mlp.gate"))
    query_gain: str = "self_attn.q_norm.weight"
    key_gain: str = "self_attn.k_norm.weight"
    null: str = "self_attn.sinks"
    gain_offset: float = 0.0


LLAMA = Layout()
_GEMMA = Layout(gain_offset=1.0)
_NEOX_MLP = plain("mlp.dense_h_to_4h", "mlp.dense_4h_to_h")

LAYOUTS: dict[str, Layout] = {
    "mixtral": Layout(
        experts=gated(
            "block_sparse_moe.experts.{expert}.w3",
            "block_sparse_moe.experts.{expert}.w1",
            "block_sparse_moe.experts.{expert}.w2",
        ),
        router=router("block_sparse_moe.gate"),
    ),
    "gemma": _GEMMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "phi": Layout(attention=attention(output="self_attn.dense"), mlp=plain("mlp.fc1", "mlp.fc2")),
    "phi3": Layout(
        attention=joined("self_attn.qkv_proj", "self_attn.o_proj"),
        mlp=gate_then_up("mlp.gate_up_proj", "mlp.down_proj"),
    ),
    "gpt_neox": Layout(
        embedding="embed_in.weight",
        attention=joined_by_group("attention.query_key_value", "attention.dense"),
        mlp=_NEOX_MLP,
    ),
    "falcon": Layout(
        embedding="word_embeddings.weight",
        block="h.{block}.",
        attention=joined_by_group("self_attention.query_key_value", "self_attention.dense"),
        mlp=_NEOX_MLP,
    ),
    "starcoder2": Layout(mlp=plain("mlp.c_fc", "mlp.c_proj")),
    "nemotron": Layout(mlp=plain("mlp.up_proj", "mlp.down_proj"), gain_offset=1.0),
    "glm": Layout(mlp=gate_then_up("mlp.gate_up_proj", "mlp.down_proj")),
    "glm4": Layout(mlp=gate_then_up("mlp.gate_up_proj", "mlp.down_proj")),
    "gpt_oss": Layout(
        experts=stacked("mlp.experts.", interleaved=True), router=router("mlp.router")
    ),
    "llama4_text": Layout(
        mlp=gated("feed_forward.up_proj", "feed_forward.gate_proj", "feed_forward.down_proj"),
        experts=stacked("feed_forward.experts.", interleaved=False),
        shared=gated(
            "feed_forward.shared_expert.up_proj",
            "feed_forward.shared_expert.gate_proj",
            "feed_forward.shared_expert.down_proj",
        ),
        router=router("feed_forward.router"),
    ),
}
"""Families whose checkpoints are not written as Llama's, by ``model_type``."""


def layout_of(model_type: str | None) -> Layout:
    """Return the layout of a family; Llama's where nothing else is known."""
    return LAYOUTS.get(model_type or "", LLAMA)
