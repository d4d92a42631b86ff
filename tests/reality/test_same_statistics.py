"""Predictions against random-init models of transformers, in small; ``make validate`` in full."""

import numpy as np
import pytest

from tools.reality.families import config_of, stack_of
from tools.reality.statistics import Measured, compare, measured, predicted

pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

SMALL = {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 704,
         "num_hidden_layers": 4, "vocab_size": 1024, "initializer_range": 0.06}  # fmt: skip
"""Scores of σ = 0.92, as wide models have them."""
KEY_VALUE_HEADS = {"gpt_neox": 4}
CONTEXT, DRAWS, CONTENTS = 48, 16, 8


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2", "cohere2", "gpt_neox"])
def test_predictions_are_those_of_random_init_models(family: str) -> None:
    heads = {"num_key_value_heads": KEY_VALUE_HEADS.get(family, 2)}
    config = config_of(family, **SMALL, **heads)
    wanted = measured(config, CONTEXT, DRAWS, CONTENTS, seed=2)
    found = compare(predicted(stack_of(config, CONTEXT)), wanted)
    for name, row in found.items():
        assert row.z < 2, f"{name}: {row}"
    assert found["k_diag"].off < 0.02


def test_a_wrong_prediction_is_noticed() -> None:
    """Another σ and another BOS are not what these models show."""
    config = config_of("llama", **SMALL, num_key_value_heads=2)
    wanted = measured(config, CONTEXT, 4, CONTENTS, seed=1)
    stack = stack_of(config, CONTEXT)
    colder = compare(predicted(stack.set("attention.scale", 0.09)), wanted)
    assert colder["participation"].z > 2
    without = compare(predicted(stack.set("bos", "random")), wanted)
    assert without["bos_part"].off > 0.9


def test_a_comparison_leaves_out_what_is_small_or_certain() -> None:
    wanted = {"k_diag": np.ones((2, 3)), "bos_part": np.array([[0.5, 0.005, 0], [0.2, 0.2, 0]]),
              "sink": np.ones((1, 3)), "participation": np.ones((1, 3))}  # fmt: skip
    error = {name: np.full_like(value, 0.1) for name, value in wanted.items()}
    theory = {name: value * 1.1 for name, value in wanted.items()}
    found = compare(theory, Measured(wanted, error))
    assert found["bos_part"].off == pytest.approx(0.1)
    assert found["bos_part"].z == pytest.approx(np.sqrt((0.5**2 + 2 * 0.2**2) / 3))
    assert tuple(found["k_diag"]) == pytest.approx((0.1, 0.1, 0.1, 1.0))
