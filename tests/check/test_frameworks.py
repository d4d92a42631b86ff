"""PyTorch, JAX and transformers' own functions; each runs where it is installed."""

from typing import Any

import pytest

from ropeleak import Rope, RopeleakError
from ropeleak.check import adapters, check_attention, check_rope
from tests.check.frameworks import FRAMEWORK_ZOO, needed, of_transformers, torch_half
from tests.check.zoo import HEAD


@pytest.mark.parametrize("name", FRAMEWORK_ZOO)
def test_frameworks_are_found_out(name: str) -> None:
    fn = adapters.adapted(FRAMEWORK_ZOO[name]().fn)
    assert fn.framework == ("jax" if name == "jax" else "torch")


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_a_bug_in_torch_is_caught_and_named(dtype: str) -> None:
    torch = needed("torch")
    rope = torch_half().fn

    def rounded(q: Any, k: Any, positions: Any) -> tuple[Any, Any]:
        turned: tuple[Any, Any] = rope(q, k, positions.to(torch.bfloat16))
        return turned

    report = check_rope(rounded, dtype=dtype, examples=15)
    assert report.causes[0].name == "bf16-positions", report


def test_transformers_dynamic_ntk_is_caught_and_named() -> None:
    fn = of_transformers("llama", rope_type="dynamic", factor=2.0)().fn
    report = check_rope(fn, max_position=500_000, examples=40)
    assert not report
    # after a longer text, the embedding keeps its base until a text is short again
    assert {cause.name for cause in report.causes} >= {"dynamic-ntk"}, report


def test_a_model_in_bf16_has_rounded_frequencies() -> None:
    torch, transformers = needed("torch"), needed("transformers")
    from transformers.models.llama import modeling_llama

    config = transformers.LlamaConfig(hidden_size=4 * HEAD, num_attention_heads=4)
    rotary = modeling_llama.LlamaRotaryEmbedding(config).to(torch.bfloat16)
    fn = adapters.cos_sin(modeling_llama.apply_rotary_pos_emb, rotary, head_size=HEAD)
    report = check_rope(fn, dtype="bf16", rope=Rope(), examples=40)
    assert [finding.check for finding in report if not finding] == ["frequencies"]
    assert report.causes[0].name == "rounded-frequencies", report


def test_attention_of_torch() -> None:
    torch = needed("torch")
    rope = torch_half().fn

    def attend(q: Any, k: Any, v: Any, positions: Any) -> Any:
        q, k = rope(q, k, positions)
        return torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, enable_gqa=True
        )

    report = check_attention(attend, dtype="bf16", heads=4, kv_heads=2, examples=15)
    assert report, report


def test_devices() -> None:
    needed("torch")
    rope = torch_half().fn
    assert check_rope(rope, device="cpu", head_size=8, examples=3)
    with pytest.raises(RopeleakError, match="device='nowhere' cannot be used"):
        check_rope(rope, device="nowhere")
