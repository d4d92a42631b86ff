"""What texts share without BOS where a zero vector or a mean embedding stands for it."""

import numpy as np
import pytest

from ropeleak import Stack, predict
from ropeleak.simulate import measure
from ropeleak.theory.methods import Method


def stack(kind: str, activation: str | None) -> Stack:
    mlp = {"kind": "none"} if activation is None else {
        "kind": "plain", "activation": activation, "d_ff": 512}  # fmt: skip
    return Stack.build(
        context=24, d_model=256, n_heads=4, n_blocks=2, bos={"kind": kind}, alpha=0.1, mlp=mlp
    )


@pytest.mark.parametrize("kind", ["zero", "mean"])
@pytest.mark.parametrize("activation", [None, "gelu"])
def test_it_is_that_of_content(kind: str, activation: str | None) -> None:
    """By definition ``Q∅`` is the recursion with ordinary content at position 0."""
    own = stack(kind, activation)
    found = predict(own, positions="dense", keep="full").dataset
    content = predict(own.set("bos", "random"), positions="dense", keep="full").dataset
    np.testing.assert_array_equal(found["q_common"], content["q_diag"])
    np.testing.assert_array_equal(found["Q_common"], content["Q"])
    assert np.isfinite(found["beacon"]).all()


@pytest.mark.parametrize("kind", ["zero", "mean"])
@pytest.mark.parametrize("method", ["mean-field", "sampled", "uniform"])
def test_theory_agrees_with_measurement(kind: str, method: Method) -> None:
    own = stack(kind, None).set("init.score_std", "0.2")
    found = predict(own, positions="dense", method=method).dataset
    measured = measure(own, draws=100, contents=8, seed=3)
    for name in ("q_common", "beacon"):
        error = (measured[f"{name}_se"] ** 2 + (0.01 * measured[name]) ** 2) ** 0.5
        z = ((found[name] - measured[name]) / error)[1:, 1:].values
        assert np.sqrt((z**2).mean()) < 2, (name, z)
