"""The recursion against a naive Monte Carlo of finite width, over what a stack can be."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ropeleak import Stack
from ropeleak.theory.mean_field import predict
from tests.support.naive import Estimate, measure

Array = NDArray[np.float64]

INIT = {"score_std": 1.0, "attention_gain": 1.0, "embedding_var": 1.0, "std": 0.1}
GATED = {"kind": "gated", "activation": "silu", "d_ff": 384}
GELU = {"kind": "plain", "activation": "gelu", "d_ff": 384}
BASE: dict[str, Any] = {
    "d_model": 128,
    "n_heads": 4,
    "n_blocks": 4,
    "context": 40,
    "mlp": {"kind": "none"},
    "init": INIT,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "causal": {},
    "small scores": {"init": {**INIT, "score_std": 0.3}},
    "large scores": {"init": {**INIT, "score_std": 1.6}},
    "no rope": {"attention": {"rope": None}},
    "grouped keys": {"n_kv_heads": 2},
    "window": {"attention": {"window": 6}},
    "window and sinks": {"attention": {"window": 6, "sinks": 2}},
    "alternating windows": {"attention": [{"window": 6}, {}]},
    "chunks": {"attention": {"chunk": 8}},
    "prefix": {"attention": {"prefix": 12}},
    "bidirectional": {"attention": {"mask": "bidirectional"}},
    "ring": {"attention": {"mask": "ring"}},
    "off by one": {"attention": {"softmax": {"kind": "off-by-one"}}},
    "sink logits": {"attention": {"softmax": {"sink_logit": 1.0, "sink_logit_std": 0.5}}},
    "soft cap": {"attention": {"softmax": {"softcap": 1.5}}},
    "log-n": {"attention": {"softmax": {"length_scaling": "log-n", "length_reference": 10}}},
    "sigmoid": {"attention": {"softmax": {"kind": "sigmoid"}}},
    "QK-norm": {"attention": {"qk_norm": "head"}},
    "aligned": {"attention": {"alignment": 0.5}},
    "gated MLP": {"mlp": GATED},
    "GELU": {"mlp": GELU},
    "squared ReLU": {"mlp": {"kind": "plain", "activation": "relu2", "d_ff": 384}},
    "LayerNorm": {"norm": {"kind": "layer"}, "mlp": GELU},
    "post-norm": {"norm": {"placement": "post"}, "mlp": GATED},
    "sandwich norm": {"norm": {"placement": "sandwich"}, "mlp": GATED},
    "norm of the branch": {
        "norm": {"placement": "res-post"},
        "mlp": GATED,
        "attention": {"qk_norm": "projection"},
    },
    "parallel": {"norm": {"placement": "parallel"}, "mlp": GELU},
    "no norm": {"norm": {"placement": "none"}, "init": {**INIT, "score_std": 0.1}},
    "small residuals": {"residual_multiplier": 0.3, "mlp": GATED},
    "random BOS": {"bos": {"kind": "random"}},
    "zero BOS": {"bos": {"kind": "zero"}, "mlp": GATED},
    "mean BOS": {"bos": {"kind": "mean"}, "alpha": 0.3},
    "shared component": {"alpha": 0.3},
}

MOST_OUTSIDE = 0.05
"""Share of the correlated entries that three standard errors may miss by chance."""
FARTHEST = 1.6
NOISE = 2.0
"""RMS z-score that chance reaches where all positions of a draw go up and down together."""


def excess(predicted: Array, measured: Estimate) -> Array:
    """Return the deviation over three standard errors or 5%, whichever is larger."""
    allowed = np.maximum(3 * measured.se, 0.05 * np.abs(predicted))
    return np.abs(predicted - measured.mean) / np.maximum(allowed, 1e-9)


def entries(estimate: Estimate, index: Any) -> Estimate:
    return Estimate(estimate.mean[index], estimate.se[index])


@pytest.mark.parametrize("name", VARIANTS)
def test_prediction_is_what_a_simulation_finds(name: str) -> None:
    stack = Stack.build(**{**BASE, **VARIANTS[name]})
    found = measure(stack, draws=64, contents=8, seed=20240607)
    predicted = predict(stack)
    own = (slice(None), *2 * [np.arange(stack.context)])
    measured = {
        "k_diag": entries(found["K"], own),
        "q_diag": entries(found["Q"], own),
        "k_bos": entries(found["K"], np.s_[:, 0]),
        "log_z": found["log_z"],
        "sink": found["sink"],
    }
    for variable, estimate in measured.items():
        off = excess(predicted[variable].values, estimate)
        assert np.mean(off > 1) <= MOST_OUTSIDE, f"{variable}: {np.mean(off > 1):.1%} outside"
        assert off.max() < FARTHEST, f"{variable}: {off.max():.2f} of what is allowed"


@pytest.mark.parametrize("bos", ["constant", "random"])
@pytest.mark.parametrize("placement", ["sandwich", "res-post"])
def test_a_norm_makes_an_mlp_of_small_preactivations_as_large_as_any(
    placement: str, bos: str
) -> None:
    """There ``κ(c)`` is nearly ``c²``: what contents share by chance decides ``Q∅``."""
    norm = {"placement": placement, "eps": 1e-12}
    small = {"norm": norm, "mlp": GATED, "init": {**INIT, "std": 0.02}, "bos": {"kind": bos}}
    stack = Stack.build(**{**BASE, **small})
    own = (slice(None), *2 * [np.arange(stack.context)])
    found = entries(measure(stack, draws=48, contents=8, seed=5)["Q"], own)
    known = found.se > 0
    z = ((predict(stack).q_diag.values - found.mean) / np.where(known, found.se, 1))[known]
    assert np.sqrt(np.mean(z**2)) < NOISE


LEAKS = ("causal", "large scores", "no rope", "window", "gated MLP", "GELU", "random BOS")


@pytest.mark.parametrize("name", LEAKS)
def test_leaks_are_what_a_simulation_finds(name: str) -> None:
    stack = Stack.build(**{**BASE, **VARIANTS[name]})
    found = measure(stack, draws=64, contents=16, seed=11)["leak"]
    predicted = predict(stack)
    names = ("leak_mask", "leak_residual", "leak_total")
    squares = np.stack([predicted[leak].values ** 2 for leak in names], axis=-1)
    allowed = np.maximum(3.5 * found.se, 0.1 * squares)
    off = np.abs(squares - found.mean) / allowed
    assert off.max() < 1, off
