"""Models that ropeleak cannot treat, and why."""

from collections.abc import Mapping
from typing import Any

from ropeleak.errors import RopeleakError
from ropeleak.spec.explain import nearest, shorten

ENCODER = "is an encoder or has one, and"
ABSOLUTE = "has learned or sinusoidal absolute positions, and"
ALIBI = "has ALiBi, and"
RECURRENT = "has recurrent or linear-attention layers, and"
VISION = "is not a text decoder, and"

REASONS = {
    ENCODER: (
        "bert roberta xlm-roberta camembert distilbert electra albert deberta deberta-v2 mpnet"
        " modernbert eurobert esm t5 mt5 umt5 longt5 t5gemma bart mbart pegasus marian m2m_100"
        " nllb-moe prophetnet led whisper encoder-decoder"
    ),
    ABSOLUTE: "gpt2 gpt_bigcode gpt_neo opt openai-gpt biogpt xglm ctrl imagegpt transfo-xl",
    ALIBI: "bloom mpt",
    RECURRENT: (
        "mamba mamba2 falcon_mamba falcon_h1 rwkv jamba bamba zamba zamba2 recurrent_gemma"
        " qwen3_next nemotron_h granitemoehybrid lfm2 minimax xlstm kimi_linear"
    ),
    VISION: "vit clip siglip siglip_vision_model dinov2 swin wav2vec2 hubert",
}
REFUSED = {name: reason for reason, names in REASONS.items() for name in names.split()}
SUSPECT = ("expert", "mamba", "ssm", "conv", "lora_rank", "linear_", "recurrent", "alibi", "hyper")
"""Parts of keys that no model shaped like Llama has."""

LLAMA_KEYS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
ROPE_KEYS = ("rope_theta", "rope_parameters", "rope_scaling")


def refuse_untreatable(config: Mapping[str, Any]) -> None:
    """Raise RopeleakError for what is not a causal decoder with RoPE or NoPE."""
    model_type = config.get("model_type")
    if isinstance(model_type, str) and model_type in REFUSED:
        raise RopeleakError(
            f"model_type={model_type!r} {REFUSED[model_type]} ropeleak needs a causal decoder with"
            " rotary or no position embedding: give the config of one"
        )
    switches = {
        "is_encoder_decoder": ENCODER,
        "alibi": ALIBI,
        "use_bidirectional_attention": ENCODER,
    }
    for key, reason in switches.items():
        if config.get(key) in (True, "all"):
            raise RopeleakError(
                f"{key}={shorten(config[key])}: the model {reason} ropeleak needs a causal decoder"
                " with rotary or no position embedding: give the config of one"
            )


def refuse_unlike_llama(config: Mapping[str, Any], model_type: str) -> None:
    """Raise RopeleakError for an unknown family whose keys are not those of Llama."""
    from .families import FAMILIES

    close = nearest(model_type, FAMILIES, cutoff=0.0)
    known = f"give a config of a known family ({close}, …) or one with the keys of llama"
    lacking = [key for key in LLAMA_KEYS if key not in config]
    lacking += [] if any(key in config for key in ROPE_KEYS) else [ROPE_KEYS[0]]
    if lacking:
        raise RopeleakError(
            f"model_type={shorten(model_type)} is unknown and its config has no"
            f" {', '.join(lacking)}: {known}"
        )
    odd = next((key for key in config if any(part in str(key) for part in SUSPECT)), None)
    if odd is not None:
        raise RopeleakError(
            f"model_type={shorten(model_type)} is unknown and {shorten(odd)} in its config is not"
            f" llama's: {known}"
        )
