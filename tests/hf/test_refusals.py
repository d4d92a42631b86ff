"""Where configs come from, and what is said of those that cannot be read."""

import json
from pathlib import Path
from typing import Any

import pytest

from ropeleak import RopeleakError, Stack, catalog
from ropeleak.hf import read_config

BASE: dict[str, Any] = {
    "hidden_size": 512,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 1024,
    "vocab_size": 1000,
    "max_position_embeddings": 4096,
}
LLAMA: dict[str, Any] = {**BASE, "model_type": "llama"}

# Sources


def test_files_and_folders(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    path = folder / "config.json"
    path.write_text("\ufeff" + json.dumps({**BASE, "model_type": "llama"}), encoding="utf-8")
    assert read_config(folder).name == read_config(str(path)).name == "my-model"
    assert Stack.from_hf(folder, 64).context == 64
    named = folder / "other.json"
    named.write_text(json.dumps({**BASE, "model_type": "llama", "_name_or_path": "a/b\nc"}))
    assert catalog.open_model(named).name == "a/b c"
    named.write_text(json.dumps({**BASE, "model_type": "llama"}))
    assert catalog.open_model(str(named)).name == "other"
    assert catalog.open_model("Llama-2-7B", 64) == catalog.load("llama-2-7b", 64)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b'{"a":', "not JSON"),
        (b"", "not JSON"),
        (b"[1]", "holds a list"),
        (b"NaN", "holds a float"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"model_type": "llama", "hidden_size": ' + b"9" * 5000 + b"}", "not JSON"),
        (b" " * (10**7 + 1), "too large"),
    ],
)
def test_files_that_are_no_config(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(RopeleakError, match=word) as error:
        read_config(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("source", ["/nowhere", "a\0b", "x" * 5000, "a\nb.json", 3, None])
def test_sources_that_are_no_file(source: Any, tmp_path: Path) -> None:
    with pytest.raises(RopeleakError) as error:
        read_config(source)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400
    with pytest.raises(RopeleakError):
        catalog.open_model(source)
    with pytest.raises(RopeleakError, match=r"config\.json"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("llama3.1", "llama-3.1-8b"),
        ("meta-llama/Llama-3.1-8B", "llama-3.1-8b"),
        ("", "did you mean"),
    ],
)
def test_unknown_models_get_the_nearest_name(name: str, near: str) -> None:
    with pytest.raises(RopeleakError, match=near):
        catalog.load(name)
    with pytest.raises(RopeleakError, match=near):
        catalog.open_model(name)


# Refusals


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "gpt2"}, ["'gpt2'", "rotary or no position embedding"]),
        ({"model_type": "bert"}, ["'bert'", "causal decoder"]),
        ({"model_type": "bloom"}, ["ALiBi"]),
        ({"model_type": "mamba"}, ["recurrent"]),
        ({"model_type": "falcon", "alibi": True}, ["alibi=True"]),
        ({"is_encoder_decoder": True}, ["is_encoder_decoder=True"]),
        ({"model_type": "gemma3_text", "use_bidirectional_attention": True}, ["encoder"]),
        ({"model_type": None}, ["model_type is missing"]),
        ({"model_type": ["llama"]}, ["model_type=a list"]),
        ({"model_type": "new"}, ["'new' is unknown", "rope_theta"]),
        ({"model_type": "new", "rope_theta": 3, "num_experts": 4}, ["'num_experts'"]),
        ({"model_type": "qwen3", "layer_types": ["linear_attention"] * 8}, ["layer_types[0]"]),
        ({"model_type": "qwen3", "layer_types": ["full_attention"]}, ["each of the 8 layers"]),
        ({"model_type": "mistral", "sliding_window": 0}, ["sliding_window=0"]),
        ({"model_type": "mixtral", "num_local_experts": 1}, ["num_experts_per_tok=2", "to 1"]),
        ({"hidden_size": "big"}, ["hidden_size='big'", "whole number"]),
        ({"hidden_size": 500}, ["hidden_size=500", "num_attention_heads=8"]),
        ({"num_key_value_heads": 3}, ["num_attention_heads=8", "num_key_value_heads=3"]),
        ({"num_hidden_layers": 10**9}, ["num_hidden_layers=1000000000", "to 1000"]),
        ({"num_hidden_layers": True}, ["num_hidden_layers=True"]),
        ({"rope_theta": -1}, ["rope_theta=-1"]),
        ({"rope_theta": 10**400}, ["rope_theta=an integer of 1329 bits"]),
        ({"rope_theta": float("nan")}, ["rope_theta=nan"]),
        ({"rope_scaling": 3}, ["rope_scaling=3", "table"]),
        ({"rope_scaling": {"type": "mrope"}}, ["rope type 'mrope'", "llama3"]),
        ({"rope_scaling": {"type": "linear"}}, ["rope_scaling.factor"]),
        ({"rope_scaling": {"type": "linear", "factor": "8"}}, ["rope_scaling.factor='8'"]),
        ({"rope_scaling": {"full_attention": 3}}, ["rope_scaling.full_attention=3"]),
        ({"rope_scaling": {"type": "longrope", "short_factor": [1], "long_factor": [1]}},
         ["short_factor has 1 entries for 32 pairs"]),
        ({"hidden_act": "mish"}, ["hidden_act='mish'", "did you mean"]),
        ({"initializer_range": -0.02}, ["initializer_range=-0.02"]),
        ({"head_dim": 63}, ["63 entries", "even"]),
        ({"vocab_size": None}, ["vocab_size=null"]),
    ],
)  # fmt: skip
def test_refusals_name_field_value_and_remedy(changes: dict[str, object], words: list[str]) -> None:
    with pytest.raises(RopeleakError) as error:
        read_config({**LLAMA, **changes})
    message = str(error.value)
    assert all(word in message for word in words), message
    assert "\n" not in message and len(message) < 400


@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "num_attention_heads"])
def test_shapes_must_be_there(key: str) -> None:
    config = {name: value for name, value in LLAMA.items() if name != key}
    with pytest.raises(RopeleakError, match=f"{key} is missing"):
        read_config(config)
