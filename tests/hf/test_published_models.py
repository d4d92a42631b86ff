"""Published configs against what is known of their architectures."""

import math
from collections import Counter
from typing import NamedTuple

import pytest

from ropeleak import RopeleakError, Stack, catalog
from ropeleak.spec import Attention


class Row(NamedTuple):
    """One row of the table of published models, at Hugging Face's initialisation."""

    n_blocks: int
    d_model: int
    heads: str
    ropes: dict[tuple[str, float] | None, int]
    reach: dict[int | None, int]
    norm: str
    eps: float
    qk_norm: str
    score_std: float
    embedding_std: float
    attention_std: float | None


S, F = 10_000.0, None
TABLE = {
    "gemma-2-9b": Row(42, 3584, "16/8x256", {("default", 1e4): 42}, {4096: 21, F: 21},
                      "rms sandwich", 1e-6, "none", 1.434, 1.197, None),
    "gemma-3-270m": Row(18, 640, "4/1x256", {("default", S): 15, ("default", 1e6): 3},
                        {512: 15, F: 3}, "rms sandwich", 1e-6, "head", 1.0, 0.506, None),
    "gemma-3-4b": Row(34, 2560, "8/4x256", {("default", S): 29, ("linear", 1e6): 5},
                      {1024: 29, F: 5}, "rms sandwich", 1e-6, "head", 1.0, 1.012, None),
    "gpt-oss-20b": Row(24, 2880, "64/8x64", {("yarn", 150000.0): 24}, {128: 12, F: 12},
                       "rms pre", 1e-5, "none", 2.089, 0.02, 1.37),
    "llama-2-7b": Row(32, 4096, "32/32x128", {("default", 1e4): 32}, {F: 32},
                      "rms pre", 1e-5, "none", 1.638, 0.02, 1.64),
    "llama-3.1-8b": Row(32, 4096, "32/8x128", {("llama3", 5e5): 32}, {F: 32},
                        "rms pre", 1e-5, "none", 1.638, 0.02, 1.64),
    "llama-4-scout-17b-16e": Row(48, 5120, "40/8x128", {("llama3", 5e5): 36, None: 12},
                                 {8192: 36, F: 12}, "rms pre", 1e-5, "l2", 1.0, 0.02, 2.05),
    "mistral-7b-v0.1": Row(32, 4096, "32/8x128", {("default", 1e4): 32}, {4096: 32},
                           "rms pre", 1e-5, "none", 1.638, 0.02, 1.64),
    "olmo-2-1124-7b": Row(32, 4096, "32/32x128", {("default", 5e5): 32}, {F: 32},
                          "rms res-post", 1e-6, "projection", 1.0, 0.02, None),
    "phi-3.5-mini-instruct": Row(32, 3072, "32/32x96", {("longrope", 1e4): 32}, {262144: 32},
                                 "rms pre", 1e-5, "none", 1.741, 0.02, 1.23),
    "pythia-160m": Row(12, 768, "12/12x64", {("default", 1e4): 12}, {F: 12},
                       "layer parallel", 1e-5, "none", 0.307, 0.02, 0.31),
    "pythia-6.9b-deduped": Row(32, 4096, "32/32x128", {("default", 1e4): 32}, {F: 32},
                               "layer parallel", 1e-5, "none", 1.638, 0.02, 1.64),
    "qwen3-8b": Row(36, 4096, "32/8x128", {("default", 1e6): 36}, {F: 36},
                    "rms pre", 1e-6, "head", 1.0, 0.02, 1.64),
    "smollm3-3b": Row(36, 2048, "16/4x128", {("default", 5e6): 27, None: 9}, {F: 36},
                      "rms pre", 1e-6, "none", 0.819, 0.02, 0.82),
}  # fmt: skip


def ropes(stack: Stack) -> dict[tuple[str, float] | None, int]:
    return dict(Counter((a.rope.type, a.rope.base) if a.rope else None for a in stack.attention))


def reach(attention: Attention) -> int | None:
    return attention.window or attention.chunk


@pytest.mark.parametrize("name", TABLE)
def test_published_models_match_the_table(name: str) -> None:
    stack, row = catalog.load(name), TABLE[name]
    assert stack.name == name
    assert (stack.n_blocks, stack.d_model) == (row.n_blocks, row.d_model)
    assert f"{stack.n_heads}/{stack.n_kv_heads}x{stack.d_head}" == row.heads
    assert ropes(stack) == row.ropes
    assert dict(Counter(map(reach, stack.attention))) == row.reach
    assert f"{stack.norm.kind} {stack.norm.placement}" == row.norm
    assert stack.norm.eps == row.eps
    assert stack.attention[0].qk_norm == row.qk_norm
    assert stack.score_std(0) == pytest.approx(row.score_std, abs=6e-4)
    assert math.sqrt(stack.embedding_var) == pytest.approx(row.embedding_std, abs=6e-4)
    if row.attention_std is not None:
        assert math.sqrt(stack.attention_gain(0)) == pytest.approx(row.attention_std, abs=6e-3)


def test_the_catalog_is_the_table_and_deepseek() -> None:
    assert set(catalog.names()) == {*TABLE, "deepseek-v3"}
    assert list(catalog.names()) == sorted(catalog.names())


def test_deepseek_has_latent_attention_and_dense_layers_first() -> None:
    stack = catalog.load("deepseek-v3")
    latent = stack.attention[0].latent
    assert latent is not None
    assert tuple(getattr(latent, f) for f in type(latent).model_fields) == (
        1536, 512, 128, 64, 128,
    )  # fmt: skip
    growth = 0.1 * math.log(40) + 1
    assert stack.score_scale(stack.attention[0]) == pytest.approx(growth**2 / math.sqrt(192))
    rope = stack.attention[0].rope
    assert rope is not None and rope.type == "yarn" and rope.attention_scale(512) == 1
    assert rope.layout == "interleaved" and rope.inverse_frequencies(64, 512).shape == (32,)
    assert [mlp.d_ff for mlp in stack.mlp] == [18432] * 3 + [2048] * 58
    experts = stack.mlp[3].experts
    assert stack.mlp[0].experts is None and experts is not None
    assert (experts.count, experts.active, experts.shared) == (256, 8, 1)
    assert (experts.router, experts.scale) == ("sigmoid", 2.5)
    assert any("latent" in line for line in stack.approximations)
    assert any("mixture of experts" in line for line in stack.approximations)


def test_sliding_patterns_stand_where_they_should() -> None:
    def full(name: str) -> list[int]:
        attention = catalog.load(name).attention
        return [block for block, layer in enumerate(attention) if reach(layer) is None]

    assert full("gemma-3-4b") == [5, 11, 17, 23, 29]
    assert full("gemma-2-9b") == list(range(1, 42, 2))
    assert full("gpt-oss-20b") == list(range(1, 24, 2))
    assert full("llama-4-scout-17b-16e") == list(range(3, 48, 4))


@pytest.mark.parametrize("name", ["llama-4-scout-17b-16e", "smollm3-3b"])
def test_every_fourth_layer_has_no_rope(name: str) -> None:
    attention = catalog.load(name).attention
    without = [block for block, layer in enumerate(attention) if layer.rope is None]
    assert without == list(range(3, len(attention), 4))


def test_llama4_tunes_the_temperature_of_layers_without_rope() -> None:
    stack = catalog.load("llama-4-scout-17b-16e")
    tuned = stack.attention[3]
    assert (tuned.qk_norm, tuned.chunk) == ("none", None)
    softmax = tuned.softmax
    assert (softmax.length_scaling, softmax.length_reference, softmax.length_slope) == (
        "llama4", 8192, 0.1,
    )  # fmt: skip
    assert stack.attention[0].softmax.length_scaling == "none"
    assert stack.score_std(3) == pytest.approx(2.048)
    experts = stack.mlp[0].experts
    assert experts is not None and (experts.router, experts.shared) == ("sigmoid-input", 1)


def test_gpt_oss_has_sinks_and_an_offset() -> None:
    stack = catalog.load("gpt-oss-20b")
    assert stack.attention[0].softmax.sink_logit == 0
    assert stack.attention[0].softmax.sink_logit_std == 0.02
    assert (stack.mlp[0].offset, stack.mlp[0].activation_scale) == (1, 1.702)
    rope = stack.attention[0].rope
    assert rope is not None and not rope.truncate
    assert rope.attention_scale(512) ** 2 == pytest.approx(1.813, abs=1e-3)


def test_gemma2_has_a_softcap_and_scaled_embeddings() -> None:
    stack = catalog.load("gemma-2-9b")
    assert stack.attention[0].softmax.softcap == 50
    assert stack.embedding_multiplier == pytest.approx(math.sqrt(3584))
    assert stack.mlp[0].activation == "gelu_tanh"


def test_partial_rotation_of_pythia() -> None:
    rope = catalog.load("pythia-160m").attention[0].rope
    assert rope is not None and rope.rotary_dim(64) == 16


def test_defaults_that_were_used_are_told() -> None:
    lines = catalog.load("gemma-3-4b").approximations
    assert any("num_attention_heads=8" in line and "gemma3_text" in line for line in lines)
    assert catalog.load("llama-2-7b").approximations == ()


@pytest.mark.parametrize("name", [*TABLE, "deepseek-v3"])
def test_any_context_up_to_the_longest_is_accepted(name: str) -> None:
    assert catalog.load(name).context == 512
    for context in (1, 131072, 2**24):
        assert catalog.load(name, context).context == context
    with pytest.raises(RopeleakError, match="context=16777217"):
        catalog.load(name, 2**24 + 1)
