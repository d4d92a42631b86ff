"""What a key of a config is when it is absent: the config classes of transformers 5.

Of ``hidden_size``, ``num_hidden_layers`` and ``num_attention_heads`` only the defaults that
published configs rely on are here: a config without them describes no model.
"""

Defaults = dict[str, object]

LLAMA: Defaults = {
    "vocab_size": 32000,
    "intermediate_size": 11008,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-6,
    "layer_norm_eps": 1e-5,
}
"""Defaults that hold wherever a family has no other."""

_MISTRAL: Defaults = {
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
}
_QWEN: Defaults = {
    "vocab_size": 151936,
    "intermediate_size": 22016,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32768,
    "sliding_window": 4096,
    "max_window_layers": 28,
}
_GEMMA: Defaults = {
    "vocab_size": 256000,
    "intermediate_size": 9216,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "max_position_embeddings": 8192,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
}
_OLMO: Defaults = {"vocab_size": 50304, "rms_norm_eps": 1e-5, "sliding_window": 4096}
_COHERE: Defaults = {
    "vocab_size": 256000,
    "intermediate_size": 22528,
    "max_position_embeddings": 8192,
    "sliding_window": 4096,
}
_GLM: Defaults = {
    "vocab_size": 151552,
    "intermediate_size": 13696,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1.5625e-7,
}
_DEEPSEEK: Defaults = {
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
}

DEFAULTS: dict[str, Defaults] = {
    "mistral": {**_MISTRAL, "sliding_window": 4096},
    "mixtral": {
        **_MISTRAL,
        "rms_norm_eps": 1e-5,
        "num_experts": 8,
        "num_experts_per_tok": 2,
    },
    "ministral3": {
        **_MISTRAL,
        "vocab_size": 131072,
        "head_dim": 128,
        "max_position_embeddings": 262144,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 1e6,
            "factor": 16.0,
            "original_max_position_embeddings": 16384,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
            "llama_4_scaling_beta": 0.1,
        },
    },
    "qwen2": _QWEN,
    "qwen3": {**_QWEN, "head_dim": 128},
    "qwen3_moe": {
        **_QWEN,
        "intermediate_size": 6144,
        "num_key_value_heads": 4,
        "moe_intermediate_size": 768,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "decoder_sparse_step": 1,
    },
    "gemma": {
        **_GEMMA,
        "intermediate_size": 24576,
        "num_key_value_heads": 16,
        "hidden_act": "gelu_pytorch_tanh",
    },
    "gemma2": {**_GEMMA, "attn_logit_softcapping": 50.0},
    "gemma3_text": {
        **_GEMMA,
        "vocab_size": 262208,
        "hidden_size": 2304,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "max_position_embeddings": 131072,
    },
    "olmo2": _OLMO,
    "olmo3": _OLMO,
    "phi": {"vocab_size": 51200, "intermediate_size": 8192, "hidden_act": "gelu_new"},
    "phi3": {
        "vocab_size": 32064,
        "intermediate_size": 8192,
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
    },
    "gpt_neox": {
        "vocab_size": 50432,
        "intermediate_size": 24576,
        "hidden_act": "gelu",
        "use_parallel_residual": True,
    },
    "falcon": {
        "vocab_size": 65024,
        "layer_norm_epsilon": 1e-5,
        "activation": "gelu",
        "multi_query": True,
        "parallel_attn": True,
    },
    "stablelm": {
        "vocab_size": 50304,
        "intermediate_size": 6912,
        "num_key_value_heads": 32,
        "max_position_embeddings": 4096,
    },
    "starcoder2": {
        "vocab_size": 49152,
        "intermediate_size": 12288,
        "num_key_value_heads": 2,
        "hidden_act": "gelu_pytorch_tanh",
        "max_position_embeddings": 4096,
        "initializer_range": 0.018042,
        "norm_epsilon": 1e-5,
    },
    "nemotron": {
        "vocab_size": 256000,
        "intermediate_size": 24576,
        "hidden_act": "relu2",
        "max_position_embeddings": 4096,
        "initializer_range": 0.0134,
        "norm_eps": 1e-5,
    },
    "cohere": _COHERE,
    "cohere2": _COHERE,
    "smollm3": {
        "vocab_size": 128256,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
    },
    "granite": {
        "embedding_multiplier": 1.0,
        "residual_multiplier": 1.0,
        "attention_multiplier": 1.0,
    },
    "glm": _GLM,
    "glm4": _GLM,
    "exaone4": {
        "vocab_size": 102400,
        "intermediate_size": 16384,
        "num_key_value_heads": 32,
        "rms_norm_eps": 1e-5,
        "sliding_window": 4096,
    },
    "gpt_oss": {
        "vocab_size": 201088,
        "intermediate_size": 2880,
        "head_dim": 64,
        "num_key_value_heads": 8,
        "sliding_window": 128,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "num_experts": 128,
        "num_experts_per_tok": 4,
        "swiglu_alpha": 1.702,
        "swiglu_limit": 7.0,
        "rope_parameters": {
            "rope_type": "yarn",
            "factor": 32.0,
            "truncate": False,
            "original_max_position_embeddings": 4096,
        },
    },
    "llama4_text": {
        "vocab_size": 202048,
        "hidden_size": 5120,
        "num_hidden_layers": 48,
        "num_attention_heads": 40,
        "intermediate_size": 8192,
        "intermediate_size_mlp": 16384,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "num_experts": 16,
        "num_experts_per_tok": 1,
        "interleave_moe_layer_step": 1,
        "use_qk_norm": True,
        "attention_chunk_size": 8192,
        "attn_temperature_tuning": True,
        "floor_scale": 8192,
        "attn_scale": 0.1,
    },
    "deepseek_v2": {
        **_DEEPSEEK,
        "vocab_size": 102400,
        "moe_intermediate_size": 1407,
        "num_experts": 64,
        "n_shared_experts": 2,
        "routed_scaling_factor": 1.0,
    },
    "deepseek_v3": {
        **_DEEPSEEK,
        "vocab_size": 129280,
        "intermediate_size": 18432,
        "max_position_embeddings": 4096,
        "moe_intermediate_size": 2048,
        "num_experts": 256,
        "n_shared_experts": 1,
        "num_experts_per_tok": 8,
        "n_group": 8,
        "routed_scaling_factor": 2.5,
        "first_k_dense_replace": 3,
    },
}
