"""The kernels on the weights of transformers' models: hidden states and attention are theirs.

Run where PyTorch and transformers are installed (extra ``validate``).
"""

from pathlib import Path
from typing import Any

import pytest

from ropeleak.simulate import trace
from tools.reality.families import FAMILIES
from tools.reality.models import look_inside
from tools.reality.numbers import (
    ACCURACY,
    CONTEXT,
    difference,
    off,
    small_model,
    small_stack,
    some_tokens,
)

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_and_attention_are_the_same(family: str, tmp_path: Path) -> None:
    found = difference(family, tmp_path)
    assert (tmp_path / "model.safetensors.index.json").exists()
    assert max(found) < ACCURACY, found


def test_families_are_told_apart() -> None:
    """Windows, layers without RoPE and sinks are at work in what is compared."""
    stacks = {family: small_stack(family) for family in FAMILIES}
    windowed = {f for f, s in stacks.items() if any(a.is_local for a in s.attention)}
    assert {"mistral", "qwen2", "gemma2", "gemma3_text", "phi3", "cohere2", "gpt_oss"} == windowed
    assert all((a.window or 0) < CONTEXT / 2 for s in stacks.values() for a in s.attention)
    nope = {f for f, s in stacks.items() if any(a.rope is None for a in s.attention)}
    assert nope == {"smollm3", "cohere2"}
    assert stacks["gpt_oss"].attention[0].softmax.sink_logit == 0


def test_half_precision_weights_are_read_as_transformers_reads_them(tmp_path: Path) -> None:
    small_model("llama").bfloat16().save_pretrained(tmp_path)
    tokens = some_tokens("llama")
    auto: Any = transformers.AutoModel
    model = auto.from_pretrained(tmp_path, dtype=torch.float32, attn_implementation="eager")
    found = trace(small_stack("llama"), tmp_path, tokens)
    assert off(found.states, look_inside(model, tokens).states) < ACCURACY
