"""What the attention of some families has beyond masks, RoPE and QK-norm."""

from collections.abc import Callable
from math import log

from .fields import Fields
from .layers import Layer
from .rope import rope_table

AttentionFields = dict[str, object]
AttentionReader = Callable[[Fields, Layer], AttentionFields]


def gpt_oss_sink(fields: Fields, layer: Layer) -> AttentionFields:
    """One sink logit for each head, drawn like the weights."""
    std = fields.number("initializer_range", 0, 1) or 0.02
    return {"softmax": {"sink_logit": 0.0, "sink_logit_std": std}}


def llama4_tuning(fields: Fields, layer: Layer) -> AttentionFields:
    """QK-norm after RoPE in the layers with RoPE, growing queries in those without."""
    if layer.has_rope:
        return {"qk_norm": "l2" if fields.flag("use_qk_norm") else "none"}
    if not fields.flag("attn_temperature_tuning"):
        return {}
    return {"softmax": _llama4_softmax(fields, "floor_scale", "attn_scale")}


def ministral3_scale(fields: Fields, layer: Layer) -> AttentionFields:
    """Queries that grow with the number of original contexts passed, in every layer."""
    table, _ = rope_table(fields, layer.type)
    names = ("original_max_position_embeddings", "llama_4_scaling_beta")
    if any(table.get(name) is None for name in names):
        return {}
    return {"softmax": _llama4_softmax(table, *names)}


def _llama4_softmax(fields: Fields, reference: str, slope: str) -> AttentionFields:
    return {
        "length_scaling": "llama4",
        "length_reference": fields.integer(reference, 2, 10**9),
        "length_slope": fields.number(slope, 0, 10),
    }


def gemma2_softcap(fields: Fields, layer: Layer) -> AttentionFields:
    """Scores are capped."""
    return {"softmax": {"softcap": fields.maybe_number("attn_logit_softcapping", 1e-6, 1e9)}}


def deepseek_mla(fields: Fields, layer: Layer) -> AttentionFields:
    """Multi-head latent attention; YaRN multiplies the scores besides cos and sin."""
    d_nope, d_rope = fields.integer("qk_nope_head_dim"), fields.integer("qk_rope_head_dim")
    table, _ = rope_table(fields, layer.type)
    growth = 1.0
    coefficient = table.maybe_number("mscale_all_dim", 0, 1e3)
    factor = table.maybe_number("factor", 1e-6, 1e9)
    if coefficient and factor:
        growth = 0.1 * coefficient * log(max(factor, 1)) + 1
    return {
        "scale": growth**2 * (d_nope + d_rope) ** -0.5,
        "latent": {
            "q_rank": fields.maybe_integer("q_lora_rank"),
            "kv_rank": fields.integer("kv_lora_rank"),
            "d_nope": d_nope,
            "d_rope": d_rope,
            "d_value": fields.integer("v_head_dim"),
        },
    }
