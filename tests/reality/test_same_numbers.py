"""The kernels on the weights of transformers' models: hidden states and attention are theirs.

Run where PyTorch and transformers are installed (extra ``validate``).
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ropeleak.simulate import trace
from tools.reality.families import FAMILIES, config_of, stack_of
from tools.reality.models import look_inside

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

SIZES: dict[str, Any] = {
    "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "intermediate_size": 40, "num_hidden_layers": 6, "vocab_size": 96, "initializer_range": 0.15,
}  # fmt: skip
OWN: dict[str, dict[str, Any]] = {
    "gpt_neox": {"num_key_value_heads": 4},
    "gpt_oss": {"num_local_experts": 4},
    "mixtral": {"num_local_experts": 4},
}
CONTEXT, CONTENTS = 50, 2
ACCURACY = 1e-5


def small_model(family: str) -> tuple[Any, Any]:
    """Return a small causal model whose gains and biases are not those of a fresh one."""
    config = config_of(family, **{**SIZES, **OWN.get(family, {})})
    torch.manual_seed(1)
    auto: Any = transformers.AutoModelForCausalLM
    model = auto.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 or name.endswith("bias"):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return config, model


def off(found: Any, wanted: Any) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_and_attention_are_the_same(family: str, tmp_path: Path) -> None:
    config, model = small_model(family)
    tokens = np.random.default_rng(2).integers(0, config.vocab_size, (CONTENTS, CONTEXT))
    wanted = look_inside(model.base_model, tokens)
    model.save_pretrained(tmp_path, max_shard_size="50KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    stack = stack_of(config, CONTEXT)
    found = trace(stack, tmp_path, tokens)
    for depth in range(stack.n_blocks + 1):
        assert off(found.states[depth], wanted.states[depth]) < ACCURACY, f"depth {depth}"
    assert np.abs(found.attention - wanted.attention).max() < ACCURACY
    precise = trace(stack, tmp_path, tokens, "float64")
    assert off(precise.states, found.states) < ACCURACY


def test_families_are_told_apart() -> None:
    """Windows, layers without RoPE and sinks are at work in what is compared."""
    stacks = {
        family: stack_of(config_of(family, **{**SIZES, **OWN.get(family, {})}), CONTEXT)
        for family in FAMILIES
    }
    windowed = {f for f, s in stacks.items() if any(a.is_local for a in s.attention)}
    assert {"mistral", "qwen2", "gemma2", "gemma3_text", "phi3", "cohere2", "gpt_oss"} == windowed
    assert all((a.window or 0) < CONTEXT / 2 for s in stacks.values() for a in s.attention)
    nope = {f for f, s in stacks.items() if any(a.rope is None for a in s.attention)}
    assert nope == {"smollm3", "cohere2"}
    assert stacks["gpt_oss"].attention[0].softmax.sink_logit == 0


def test_half_precision_weights_are_read_as_transformers_reads_them(tmp_path: Path) -> None:
    config, model = small_model("llama")
    tokens = np.random.default_rng(2).integers(0, config.vocab_size, (1, CONTEXT))
    model.bfloat16().save_pretrained(tmp_path)
    auto: Any = transformers.AutoModel
    read = auto.from_pretrained(tmp_path, dtype=torch.float32, attn_implementation="eager")
    wanted = look_inside(read, tokens)
    found = trace(stack_of(config, CONTEXT), tmp_path, tokens)
    assert off(found.states, wanted.states) < ACCURACY
