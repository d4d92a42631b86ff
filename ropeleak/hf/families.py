"""The families that ropeleak reads: one row each, keyed by ``model_type``."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import sqrt

from . import attention, layers, mlps, notes
from .attention import AttentionReader
from .fields import Fields
from .layers import LayerReader
from .mlps import MlpReader
from .rope import RopeKeys

StackFields = dict[str, object]


def _nothing(fields: Fields) -> StackFields:
    return {}


def _no_notes(fields: Fields) -> list[str]:
    return []


def _head_dim(fields: Fields) -> int | None:
    return fields.maybe_integer("head_dim")


def _latent_head(fields: Fields) -> int:
    """DeepSeek's ``head_dim`` is that of the rotary part alone."""
    return fields.integer("qk_nope_head_dim") + fields.integer("qk_rope_head_dim")


def _scaled_embedding(fields: Fields) -> StackFields:
    """Gemma multiplies embeddings by ``√hidden_size``."""
    return {"embedding_multiplier": sqrt(fields.integer("hidden_size"))}


def _granite(fields: Fields) -> StackFields:
    names = ("embedding_multiplier", "residual_multiplier")
    return {name: fields.number(name, 0, 1e6) for name in names}


def _falcon_heads(fields: Fields) -> StackFields:
    """One key-value head in the first design, ``num_kv_heads`` in the new one."""
    heads = fields.integer("num_attention_heads")
    if fields.flag("new_decoder_architecture"):
        return {"n_kv_heads": fields.maybe_integer("num_kv_heads") or heads}
    return {"n_kv_heads": 1 if fields.flag("multi_query") else heads}


def _attention_multiplier(fields: Fields) -> float:
    return fields.number("attention_multiplier", 1e-9, 1e6)


def _query_scalar(fields: Fields) -> float:
    return float(fields.number("query_pre_attn_scalar", 1e-9, 1e9) ** -0.5)


def _norm_if(flag: str) -> Callable[[Fields], str]:
    return lambda fields: "head" if fields.flag(flag) else "none"


def _parallel_if(*flags: str) -> Callable[[Fields], str]:
    return lambda fields: "parallel" if any(map(fields.flag, flags)) else "pre"


@dataclass(frozen=True)
class Family:
    """How one family differs from Llama.

    Parameters
    ----------
    norm, eps, placement
        Kind of the norm, the key of its eps, where it stands.
    layers, mlp
        Readers of what every layer sees and of its MLP.
    rope
        How the rotary embedding is written.
    head_size
        Size of a head, None for ``hidden_size / num_attention_heads``.
    qk_norm
        Kind of QK-norm.
    scale
        Factor on ``q·k``, where it is not ``1/√d_head``.
    attention
        What else the attention of a layer has, by layer.
    stack
        What else the stack has.
    notes
        What of the model is left out.
    """

    norm: str = "rms"
    eps: str = "rms_norm_eps"
    placement: str | Callable[[Fields], str] = "pre"
    layers: LayerReader = layers.all_full
    mlp: MlpReader = mlps.gated
    rope: RopeKeys = field(default_factory=RopeKeys)
    head_size: Callable[[Fields], int | None] = _head_dim
    qk_norm: str | Callable[[Fields], str] = "none"
    scale: Callable[[Fields], float] | None = None
    attention: AttentionReader | None = None
    stack: Callable[[Fields], StackFields] = _nothing
    notes: Callable[[Fields], list[str]] = _no_notes


FAMILIES: dict[str, Family] = {
    "llama": Family(),
    "mistral": Family(layers=layers.all_sliding),
    "mixtral": Family(layers=layers.all_sliding, mlp=mlps.mixtral, rope=RopeKeys(theta=1e6)),
    "ministral3": Family(
        layers=layers.all_sliding, attention=attention.ministral3_scale, notes=notes.ministral3
    ),
    "qwen2": Family(layers=layers.upper_sliding),
    "qwen3": Family(layers=layers.upper_sliding, qk_norm="head"),
    "qwen3_moe": Family(layers=layers.optional_sliding, mlp=mlps.qwen3_moe, qk_norm="head"),
    "gemma": Family(mlp=mlps.gemma, stack=_scaled_embedding),
    "gemma2": Family(
        placement="sandwich",
        layers=layers.every_nth_full(2),
        mlp=mlps.dense(act_key="hidden_activation"),
        scale=_query_scalar,
        attention=attention.gemma2_softcap,
        stack=_scaled_embedding,
    ),
    "gemma3_text": Family(
        placement="sandwich",
        layers=layers.every_nth_full(6, "_sliding_window_pattern", "sliding_window_pattern"),
        mlp=mlps.dense(act_key="hidden_activation"),
        rope=RopeKeys(theta=1e6, local_theta=1e4),
        qk_norm="head",
        scale=_query_scalar,
        stack=_scaled_embedding,
    ),
    "olmo2": Family(placement="res-post", qk_norm="projection"),
    "olmo3": Family(
        placement="res-post",
        layers=layers.every_nth_full(4),
        rope=RopeKeys(theta=5e5, local_theta=5e5, local_theta_key="rope_theta"),
        qk_norm="projection",
    ),
    "phi": Family(
        norm="layer",
        eps="layer_norm_eps",
        placement="parallel",
        mlp=mlps.plain,
        rope=RopeKeys(fraction=0.5),
        qk_norm=_norm_if("qk_layernorm"),
        notes=notes.layer_qk_norm("qk_layernorm"),
    ),
    "phi3": Family(
        layers=layers.all_sliding, rope=RopeKeys(fraction=1.0, renamed=(("yarn", "longrope"),))
    ),
    "gpt_neox": Family(
        norm="layer",
        eps="layer_norm_eps",
        placement=_parallel_if("use_parallel_residual"),
        mlp=mlps.plain,
        rope=RopeKeys(theta_key="rotary_emb_base", fraction=0.25, fraction_key="rotary_pct"),
        notes=notes.gpt_neox,
    ),
    "falcon": Family(
        norm="layer",
        eps="layer_norm_epsilon",
        placement=_parallel_if("parallel_attn", "new_decoder_architecture"),
        mlp=mlps.dense("plain", "activation", "ffn_hidden_size"),
        stack=_falcon_heads,
    ),
    "stablelm": Family(
        norm="layer",
        eps="layer_norm_eps",
        placement=_parallel_if("use_parallel_residual"),
        rope=RopeKeys(fraction=0.25),
        qk_norm=_norm_if("qk_layernorm"),
        notes=notes.layer_qk_norm("qk_layernorm"),
    ),
    "starcoder2": Family(
        norm="layer", eps="norm_epsilon", layers=layers.all_sliding, mlp=mlps.plain
    ),
    "nemotron": Family(norm="layer", eps="norm_eps", mlp=mlps.plain, rope=RopeKeys(fraction=0.5)),
    "cohere": Family(
        norm="layer",
        eps="layer_norm_eps",
        placement="parallel",
        rope=RopeKeys(theta=5e5, interleaved=True),
        qk_norm=_norm_if("use_qk_norm"),
        notes=notes.layer_qk_norm("use_qk_norm"),
    ),
    "cohere2": Family(
        norm="layer",
        eps="layer_norm_eps",
        placement="parallel",
        layers=layers.rope_where_sliding(4, "sliding_window_pattern"),
        rope=RopeKeys(interleaved=True),
    ),
    "smollm3": Family(layers=layers.smollm3, rope=RopeKeys(theta=2e6)),
    "granite": Family(scale=_attention_multiplier, stack=_granite),
    "glm": Family(rope=RopeKeys(fraction=0.5, interleaved=True)),
    "glm4": Family(placement="sandwich", rope=RopeKeys(fraction=0.5, interleaved=True)),
    "exaone4": Family(placement="res-post", layers=layers.exaone4, qk_norm="head"),
    "gpt_oss": Family(
        layers=layers.every_nth_full(2),
        mlp=mlps.gpt_oss,
        rope=RopeKeys(theta=150000.0),
        attention=attention.gpt_oss_sink,
    ),
    "llama4_text": Family(
        layers=layers.llama4,
        mlp=mlps.llama4,
        rope=RopeKeys(theta=5e5, interleaved=True),
        attention=attention.llama4_tuning,
    ),
    "deepseek_v2": Family(
        mlp=mlps.deepseek("softmax-all"),
        rope=RopeKeys(interleaved=True),
        head_size=_latent_head,
        attention=attention.deepseek_mla,
        notes=notes.expert_groups,
    ),
    "deepseek_v3": Family(
        mlp=mlps.deepseek("sigmoid"),
        rope=RopeKeys(interleaved=True),
        head_size=_latent_head,
        attention=attention.deepseek_mla,
        notes=notes.expert_groups,
    ),
}
"""How every family differs from Llama."""

LLAMA_SHAPED = Family(layers=layers.by_layer_types, rope=RopeKeys(fraction=1.0))
"""How an unknown family with the keys of Llama is read."""
