"""Score maps in the wide limit: exact cases, and Monte Carlo that approaches them with width."""

from typing import Any

import numpy as np
import pytest

from ropeleak import RopeleakError, Stack
from ropeleak.simulate import score_maps as measured_maps
from ropeleak.theory.score_maps import score_maps

FIELDS: dict[str, Any] = {
    "context": 24, "n_heads": 1, "n_blocks": 3, "mlp": {"kind": "none"}, "bos": {"kind": "random"},
    "init": {"scheme": "fan_in"}, "norm": {"eps": 0.0},
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {"attention": {"rope": None}},
    "rope": {},
    "shared component": {"attention": {"rope": None}, "alpha": 0.4},
    "shared component, rope": {"alpha": 0.4},
    "bidirectional": {"attention": {"mask": "bidirectional"}, "alpha": 0.2},
    "window": {"attention": {"window": 5}, "alpha": 0.2},
    "prefix": {"attention": {"prefix": 6}, "alpha": 0.2},
    "partial rope": {"attention": {"rope": {"fraction": 0.5}}, "alpha": 0.2},
    "two heads": {"n_heads": 2, "alpha": 0.2},
    "zero": {"bos": {"kind": "zero"}, "alpha": 0.2},
    "mean": {"bos": {"kind": "mean"}, "alpha": 0.2},
    "post-norm": {"norm": {"eps": 0.0, "placement": "post"}, "alpha": 0.2},
    "after the branch": {"norm": {"eps": 0.0, "placement": "res-post"}, "alpha": 0.2},
    "sandwich": {"norm": {"eps": 0.0, "placement": "sandwich", "kind": "layer"}, "alpha": 0.2},
    "temperature": {"attention": {"softmax": {"temperature": 0.5}}, "alpha": 0.2},
    "small embedding": {"init": {"scheme": "fan_in", "embedding_var": 0.05}, "alpha": 0.2},
    "attention factor": {
        "attention": {"rope": {"type": "yarn", "factor": 4, "original_context": 8}}, "alpha": 0.2,
    },
}  # fmt: skip


def build(name: str, width: int) -> Stack:
    """Return a stack whose scores are cosines, so that width alone changes."""
    fields = {**FIELDS, **VARIANTS[name], "d_model": width}
    head = width // fields["n_heads"]
    return Stack.build(**fields).set("attention.scale", 1 / head)


def gap(name: str, width: int, contents: int) -> tuple[float, float]:
    """Return the RMS difference of Monte Carlo from the limit, noise taken off, and the noise."""
    stack = build(name, width)
    found, limit = measured_maps(stack, contents=contents), score_maps(stack)
    difference = (found["score"] - limit["score"]).values
    noise = found["score_se"].values
    square = np.nanmean(difference**2) - np.nanmean(noise**2)
    return float(np.sqrt(max(square, 0.0))), float(np.sqrt(np.nanmean(noise**2)))


@pytest.mark.parametrize("name", VARIANTS)
def test_monte_carlo_approaches_the_limit(name: str) -> None:
    near, _ = gap(name, 32, 4000)
    far, noise = gap(name, 128, 2000)
    assert far < near / 2 + noise
    assert far < 1.5 / 128 + noise


def test_fresh_tokens_score_themselves_alone() -> None:
    score = score_maps(build("plain", 64))["score"].values[0]
    np.testing.assert_allclose(score[np.tri(24, dtype=bool)], np.eye(24)[np.tri(24, dtype=bool)])


def test_two_tokens_follow_by_hand() -> None:
    """Token 1 attends to itself with weight ``e/(e+1)`` in block 1."""
    score = score_maps(build("plain", 64))["score"].values[1]
    own = np.exp(1) / (np.exp(1) + 1)
    first, second = np.array([2.0, 0.0]), np.array([1 - own, 1 + own])
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert score[1, 0] == pytest.approx(cosine)
    assert np.isnan(score[0, 1])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vocab_size": 50}, "vocab_size=none"),
        ({"attention": {"qk_norm": "head"}}, "qk_norm=none"),
        ({"attention": {"mask": "ring"}}, "mask=causal"),
        ({"mlp": {"kind": "plain"}}, "mlp.kind=none"),
    ],
)
def test_what_has_no_limit(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RopeleakError, match=words):
        score_maps(Stack.build(**{**FIELDS, "d_model": 32, **changes}))
