"""Every family and every layout of a config, on small configs."""

from collections import Counter
from typing import Any

import pytest

from ropeleak import Stack
from ropeleak.hf import read_config
from ropeleak.hf.families import FAMILIES
from ropeleak.spec import Attention

BASE: dict[str, Any] = {
    "hidden_size": 512,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 1024,
    "vocab_size": 1000,
    "max_position_embeddings": 4096,
}


def ropes(stack: Stack) -> dict[tuple[str, float] | None, int]:
    return dict(Counter((a.rope.type, a.rope.base) if a.rope else None for a in stack.attention))


def reach(attention: Attention) -> int | None:
    return attention.window or attention.chunk


def small(model_type: str, **changes: object) -> Stack:
    return read_config({**BASE, "model_type": model_type, **changes})


def first_rope(stack: Stack) -> tuple[str, float, float, str]:
    rope = next(a.rope for a in stack.attention if a.rope is not None)
    return rope.type, rope.base, rope.fraction, rope.layout


@pytest.mark.parametrize("model_type", FAMILIES)
def test_every_family_reads_a_small_config(model_type: str) -> None:
    experts = {"num_experts_per_tok": 2} if model_type == "deepseek_v2" else {}
    stack = small(model_type, **experts)
    assert (stack.name, stack.n_blocks, stack.d_model) == (model_type, 8, 512)
    assert stack.score_std(0) > 0 and stack.attention_gain(0) > 0


@pytest.mark.parametrize(
    ("model_type", "changes", "expected"),
    [
        ("llama", {}, ("default", 1e4, 1.0, "half")),
        ("llama", {"partial_rotary_factor": 0.5}, ("default", 1e4, 1.0, "half")),
        ("phi", {}, ("default", 1e4, 0.5, "half")),
        ("phi", {"partial_rotary_factor": 0.25}, ("default", 1e4, 0.25, "half")),
        ("glm4", {}, ("default", 1e4, 0.5, "interleaved")),
        ("cohere", {}, ("default", 5e5, 1.0, "interleaved")),
        ("mixtral", {}, ("default", 1e6, 1.0, "half")),
        ("smollm3", {}, ("default", 2e6, 1.0, "half")),
        ("gpt_neox", {"rotary_pct": 1.0, "rotary_emb_base": 500}, ("default", 500, 1.0, "half")),
        ("gpt_oss", {}, ("yarn", 150000.0, 1.0, "half")),
        ("gpt_oss", {"rope_parameters": None}, ("yarn", 150000.0, 1.0, "half")),
        ("olmo3", {}, ("default", 5e5, 1.0, "half")),
        ("ministral3", {}, ("yarn", 1e6, 1.0, "half")),
    ],
)
def test_defaults_of_the_rotary_embedding(
    model_type: str, changes: dict[str, object], expected: tuple[str, float, float, str]
) -> None:
    assert first_rope(small(model_type, **changes)) == expected


LINEAR = {"type": "linear", "factor": 4.0}


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_theta": 7e4, "rope_scaling": LINEAR},
        {"rope_theta": 7e4, "rope_scaling": {"rope_type": "linear", "factor": 4}},
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 7e4}},
        {"rope_theta": 7e4, "rope_parameters": {"rope_type": "linear", "factor": 4.0}},
        {"rope_theta": 3e4, "rope_parameters": {**LINEAR, "rope_theta": 7e4}},
        {"rope_theta": 7e4, "rope_scaling": LINEAR, "rope_parameters": {"rope_theta": 5}},
        {"rope_parameters": {"full_attention": {**LINEAR, "rope_theta": 7e4}}},
    ],
)
def test_all_layouts_of_the_rope_keys_say_the_same(changes: dict[str, object]) -> None:
    rope = small("llama", **changes).attention[0].rope
    assert rope is not None
    assert (rope.type, rope.base, rope.factor) == ("linear", 7e4, 4)


def test_nested_parameters_hold_for_their_layers() -> None:
    table = {
        "full_attention": {"rope_type": "yarn", "factor": 8, "rope_theta": 1e6,
                           "original_max_position_embeddings": 1024, "truncate": False},
        "sliding_attention": {"rope_type": "default", "rope_theta": 5e3},
    }  # fmt: skip
    stack = small("gemma3_text", rope_parameters=table)
    assert ropes(stack) == {("default", 5e3): 7, ("yarn", 1e6): 1}
    rope = stack.attention[5].rope
    assert rope is not None and (rope.original_context, rope.truncate) == (1024, False)


@pytest.mark.parametrize("model_type", ["gemma3_text", "olmo3"])
def test_scaling_is_for_the_full_layers_only(model_type: str) -> None:
    stack = small(model_type, rope_scaling=LINEAR, rope_theta=9e5)
    kinds = {reach(a) is None: a.rope.type for a in stack.attention if a.rope is not None}
    assert kinds == {True: "linear", False: "default"}


def test_the_original_context_is_found() -> None:
    yarn = {"type": "yarn", "factor": 4.0}
    own = {**yarn, "original_max_position_embeddings": 1024}

    def original(**changes: object) -> int | None:
        rope = small("llama", **changes).attention[0].rope
        assert rope is not None
        return rope.original_context

    assert original(rope_scaling=own) == 1024
    assert original(rope_scaling=own, original_max_position_embeddings=512) == 512
    assert original(rope_scaling=yarn) == 4096


def test_old_names_of_longrope() -> None:
    factors = {"short_factor": [1.0] * 32, "long_factor": [2.0] * 32}
    for name in ("su", "yarn", "longrope"):
        stack = small(
            "phi3", rope_scaling={"type": name, **factors}, max_position_embeddings=131072
        )
        rope = stack.attention[0].rope
        assert rope is not None and (rope.type, rope.original_context) == ("longrope", 4096)
        assert any("LongRoPE" in line for line in stack.approximations)


def test_ntk_alpha_of_hunyuan() -> None:
    rope = small("llama", rope_scaling={"type": "dynamic", "factor": 1.0, "alpha": 1000.0})
    assert first_rope(rope)[0] == "ntk"


@pytest.mark.parametrize(
    ("model_type", "changes", "expected"),
    [
        ("mistral", {}, [4096] * 8),
        ("mistral", {"sliding_window": None}, [None] * 8),
        ("mixtral", {}, [None] * 8),
        ("qwen2", {}, [None] * 8),
        ("qwen2", {"sliding_window": 64}, [None] * 8),
        ("qwen2", {"use_sliding_window": True, "max_window_layers": 6}, [None] * 6 + [4096] * 2),
        ("qwen3", {"use_sliding_window": True, "max_window_layers": 28}, [None] * 8),
        ("qwen3", {"layer_types": ["sliding_attention", "full_attention"] * 4}, [None] * 8),
        ("qwen3_moe", {"use_sliding_window": True, "sliding_window": 7}, [7] * 8),
        ("gemma2", {}, [4096, None] * 4),
        ("gemma3_text", {"sliding_window_pattern": 2, "sliding_window": 9}, [9, None] * 4),
        ("olmo3", {}, [4096, 4096, 4096, None] * 2),
        ("cohere2", {}, [4096, 4096, 4096, None] * 2),
        ("exaone4", {"sliding_window_pattern": "LLLG"}, [4096, 4096, 4096, None] * 2),
        ("exaone4", {"sliding_window": None}, [None] * 8),
        ("starcoder2", {"sliding_window": 16}, [16] * 8),
        ("falcon", {}, [None] * 8),
        ("whatever", {"rope_theta": 1e4, "sliding_window": 16}, [16] * 8),
        ("whatever", {"rope_theta": 1e4, "sliding_window": 16, "use_sliding_window": False},
         [None] * 8),
    ],
)  # fmt: skip
def test_windows(model_type: str, changes: dict[str, object], expected: list[int | None]) -> None:
    assert [a.window for a in small(model_type, **changes).attention] == expected


def test_rope_only_where_layers_slide() -> None:
    for model_type in ("cohere2", "exaone4"):
        has_rope = [a.rope is not None for a in small(model_type).attention]
        assert has_rope == [True, True, True, False] * 2
    everywhere = small("exaone4", sliding_window=None)
    assert all(a.rope is not None for a in everywhere.attention)


@pytest.mark.parametrize(
    ("model_type", "changes", "placement"),
    [
        ("gpt_neox", {}, "parallel"),
        ("gpt_neox", {"use_parallel_residual": False}, "pre"),
        ("falcon", {}, "parallel"),
        ("falcon", {"parallel_attn": False}, "pre"),
        ("stablelm", {}, "pre"),
        ("stablelm", {"use_parallel_residual": True}, "parallel"),
        ("phi", {}, "parallel"),
        ("glm4", {}, "sandwich"),
        ("exaone4", {}, "res-post"),
    ],
)
def test_placements(model_type: str, changes: dict[str, object], placement: str) -> None:
    assert small(model_type, **changes).norm.placement == placement


def test_falcon_heads() -> None:
    assert small("falcon", num_kv_heads=8).n_kv_heads == 1
    assert small("falcon", num_kv_heads=4, new_decoder_architecture=True).n_kv_heads == 4
    assert small("falcon", multi_query=False).n_kv_heads == 8
    assert small("falcon").mlp[0].d_ff == 2048


def test_granite_multipliers() -> None:
    stack = small(
        "granite", attention_multiplier=0.01, residual_multiplier=0.2, embedding_multiplier=12
    )
    assert stack.score_scale(stack.attention[0]) == 0.01
    assert (stack.residual_multiplier, stack.embedding_multiplier) == (0.2, 12)
    assert small("granite").score_scale(stack.attention[0].replace(scale=1)) == 1


def test_sparse_layers_of_qwen3_moe() -> None:
    stack = small("qwen3_moe", decoder_sparse_step=2, mlp_only_layers=[3], norm_topk_prob=True)
    sparse = [mlp.experts is not None for mlp in stack.mlp]
    assert sparse == [False, True, False, False, False, True, False, True]
    experts = stack.mlp[1].experts
    assert experts is not None and experts.router == "softmax"
    assert [mlp.d_ff for mlp in stack.mlp[:2]] == [1024, 768]


def test_dense_layers_of_llama4() -> None:
    stack = small("llama4_text", interleave_moe_layer_step=2, intermediate_size_mlp=99)
    assert [mlp.d_ff for mlp in stack.mlp] == [99, 1024] * 4


def test_ministral3_scales_its_queries() -> None:
    softmax = small("ministral3").attention[0].softmax
    assert (softmax.length_scaling, softmax.length_reference) == ("llama4", 16384)


def test_an_initializer_range_of_zero_is_the_default() -> None:
    assert small("llama", initializer_range=0).init.std == 0.02
    assert small("starcoder2").init.std == 0.018042


def test_an_unknown_family_shaped_like_llama_is_read_with_a_warning() -> None:
    stack = small("brand_new", rope_theta=1e5, partial_rotary_factor=0.5)
    assert first_rope(stack) == ("default", 1e5, 0.5, "half")
    assert any("'brand_new' is unknown" in line for line in stack.approximations)


def test_the_text_part_of_a_multimodal_config_is_read() -> None:
    stack = read_config({"model_type": "llava", "text_config": {**BASE, "model_type": "llama"}})
    assert stack.n_blocks == 8 and "text decoder" in stack.approximations[0]
