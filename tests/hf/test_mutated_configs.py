"""Whatever is done to a real config, reading it gives a stack or one sentence."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ropeleak import RopeleakError, Stack
from ropeleak.hf import read_config
from tests.hf.mutations import CONFIGS, mutated


def read_or_refuse(source: Any, context: Any = None) -> Stack | None:
    """Read a config; what is refused must be refused in one printable sentence."""
    try:
        return read_config(source, context)
    except RopeleakError as error:
        message = str(error)
        assert message.isprintable() and 10 < len(message) < 600, message
        return None


def check_numbers(stack: Stack) -> None:
    """A stack that was read has finite numbers."""
    for block, attention in enumerate(stack.attention):
        assert np.isfinite(stack.score_std(block))
        assert np.isfinite(stack.attention_gain(block))
        if attention.rope is not None and stack.rotary_size(attention) < 10**4:
            frequencies = attention.rope.inverse_frequencies(
                stack.rotary_size(attention), stack.context
            )
            assert np.all(np.isfinite(frequencies)) and np.all(frequencies >= 0)
            assert 0 < attention.rope.attention_scale(stack.context) < 1e10


@given(config=mutated())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.data_too_large])
def test_mutated_configs_are_read_or_refused(config: dict[str, Any]) -> None:
    stack = read_or_refuse(config)
    if stack is not None:
        check_numbers(stack)


@given(name=st.sampled_from(sorted(CONFIGS)), model_type=st.sampled_from(sorted(CONFIGS)))
@settings(max_examples=30, deadline=None)
def test_configs_under_the_name_of_another_family(name: str, model_type: str) -> None:
    swapped = {**CONFIGS[name], "model_type": CONFIGS[model_type]["model_type"]}
    read_or_refuse(swapped)


@pytest.mark.parametrize("context", [0, -1, 1.5, "x", [], 10**30, float("nan"), 1e308])
def test_contexts_that_make_no_sense(context: object) -> None:
    assert read_or_refuse(CONFIGS["llama-2-7b"], context) is None


@given(cut=st.integers(0, 900), noise=st.binary(max_size=4))
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_files(tmp_path: Path, cut: int, noise: bytes) -> None:
    path = tmp_path / "config.json"
    whole = json.dumps(CONFIGS["llama-3.1-8b"]).encode()
    path.write_bytes(whole[:cut] + noise + whole[cut + len(noise) :])
    read_or_refuse(path)
