"""Sink-reading heads: the closed recursion and the sampled one against Monte Carlo."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

from ropeleak import RopeleakError, Stack
from ropeleak.agreement import gaps
from ropeleak.simulate import measure
from ropeleak.simulate.activations import activations
from ropeleak.spec.sink import sink_band
from ropeleak.theory import mean_field, sampled
from ropeleak.theory.ruler import ruler
from tests.support import naive

BASE: dict[str, Any] = {
    "context": 48, "d_model": 256, "n_heads": 8, "n_blocks": 3, "mlp": {"kind": "none"},
    "init": {"score_std": 1.0, "attention_gain": 1.0, "embedding_var": 1.0, "std": 0.1},
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "weak": {"attention": {"sink_bias": 1.0}},
    "plain": {"attention": {"sink_bias": 2.0}},
    "strong, wide": {"attention": {"sink_bias": 4.0, "sink_band": 0.5}},
    "away from BOS": {"attention": {"sink_bias": -2.0}},
    "whole head": {"attention": {"sink_bias": 2.0, "sink_band": 1.0}},
    "fast rotations": {"attention": {"sink_bias": 2.0, "rope": {"base": 100.0}}},
    "no rope": {"attention": {"sink_bias": 2.0, "rope": None}},
    "QK-norm": {"attention": {"sink_bias": 2.0, "qk_norm": "head"}},
    "window": {"attention": {"sink_bias": 2.0, "window": 8, "sinks": 1}},
    "some blocks": {"attention": [{}, {"sink_bias": 2.0}, {}]},
    "grouped keys": {"attention": {"sink_bias": 2.0}, "n_kv_heads": 2},
    "off by one": {"attention": {"sink_bias": 2.0, "softmax": {"kind": "off-by-one"}}},
    "capped": {"attention": {"sink_bias": 3.0, "softmax": {"softcap": 2.5}}},
    "random BOS": {"attention": {"sink_bias": 2.0}, "bos": {"kind": "random"}},
    "gated MLP": {"attention": {"sink_bias": 2.0}, "mlp": {"d_ff": 512}},
}  # fmt: skip
CLAIMED = {"k_diag": 0.02, "q_diag": 0.06, "log_z": 0.02, "sink": 0.06, "leak_mask": 0.05,
           "leak_residual": 0.06}  # fmt: skip
"""What the closed recursion may be off by, as a share of the RMS value."""
NOISE = 2.5
"""RMS z-score of numbers that agree but for noise, which is common to many positions."""


def build(name: str, **changes: Any) -> Stack:
    return Stack.build(**{**BASE, **VARIANTS[name], **changes})


def rms_z(found: xr.Dataset, wanted: xr.Dataset, name: str) -> float:
    error = np.hypot(wanted[f"{name}_se"], found.get(f"{name}_se", 0.0))
    z = ((found[name] - wanted[name]) / np.maximum(error, 1e-12)).values
    return float(np.sqrt(np.mean(np.minimum(np.abs(z), 50.0) ** 2)))


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "capped"])
def test_the_recursion_is_what_is_measured(name: str) -> None:
    stack = build(name)
    measured, found = measure(stack, draws=48, contents=8, seed=3), mean_field.predict(stack)
    share = gaps(found, measured, tuple(CLAIMED))
    for variable, claimed in CLAIMED.items():
        agrees = share[variable] < claimed or rms_z(found, measured, variable) < NOISE
        assert agrees, f"{variable} is off by {share[variable]:.1%}"


@pytest.mark.parametrize("name", ["plain", "strong, wide", "QK-norm", "random BOS", "capped"])
def test_sampled_heads_are_what_is_measured(name: str) -> None:
    stack = build(name, n_blocks=2)
    measured = measure(stack, draws=48, contents=8, seed=3)
    found = sampled.predict(stack, heads=64, chains=6)
    for variable in ("k_diag", "log_z", "sink", "leak_mask"):
        assert rms_z(found, measured, variable) < NOISE, variable


def test_an_independent_simulation_agrees() -> None:
    stack = build("plain", n_blocks=2, context=24)
    found = naive.measure(stack, draws=60, contents=4, seed=8)
    measured = measure(stack, draws=60, contents=4, seed=8)
    for name in ("log_z", "sink"):
        error = np.hypot(found[name].se, measured[f"{name}_se"])
        z = (found[name].mean - measured[name]) / np.maximum(error, 1e-12)
        assert float(np.sqrt((z**2).mean())) < NOISE


def test_bos_scores_itself_by_the_bias() -> None:
    stack = build("plain", context=1)
    for found in (mean_field.predict(stack), measure(stack, draws=200, contents=2)):
        error = found.get("log_z_se", xr.zeros_like(found["log_z"]))
        assert (np.abs(found["log_z"] - 2.0) < 4 * error + 1e-9).all()


def test_a_tiny_bias_changes_nothing_but_that_token_0_is_set_apart() -> None:
    plain = Stack.build(**BASE)
    tiny = mean_field.predict(plain.set("attention.sink_bias", 1e-9))
    for name, values in mean_field.predict(plain).items():
        largest = float(np.abs(values).max())
        assert float(np.abs(tiny[name] - values).max()) <= 2e-3 * largest + 1e-12, name


def test_random_content_takes_the_sink_away() -> None:
    constant, random = build("plain"), build("random BOS")
    with_bos, without = (measure(s, draws=20, contents=8) for s in (constant, random))
    uniform = 1 / np.arange(1, 49)
    assert float(with_bos.sink_excess[-1, -1]) > 2
    assert np.all(np.abs(without.sink[-1] - uniform) < 5 * without.sink_se[-1] + 0.1 * uniform)
    assert float(without.beacon.max()) == 0


@pytest.mark.parametrize("kind", ["constant", "random"])
def test_positions_are_told_apart_as_measured(kind: str) -> None:
    stack = build("plain", bos={"kind": kind})
    predicted = float(ruler(stack, 12, 40)["linear"][-1]) ** 2
    squares = []
    token_at = [(12, 40)[content % 2] for content in range(96)]
    for found in activations(stack, token_at, (12, 40), draws=16, seed=4):
        first, second = found[-1][::2, 0].astype(float), found[-1][1::2, 1].astype(float)
        spread = first.var(0, ddof=1).sum() + second.var(0, ddof=1).sum()
        signal = ((first.mean(0) - second.mean(0)) ** 2).sum() - spread / 48
        squares.append(2 * 256 * signal / spread)
    error = np.std(squares, ddof=1) / 4
    assert abs(np.mean(squares) - predicted) < 4 * error + 0.1 * predicted


def test_a_band_is_the_slowest_part_of_a_head() -> None:
    stack = Stack.build(d_model=64, n_heads=2)
    attention = stack.attention[0]
    assert np.flatnonzero(sink_band(stack, attention).pairs).tolist() == [12, 13, 14, 15]
    half = attention.replace(rope={"fraction": 0.5}, sink_band=0.75)
    band = sink_band(stack, half)
    assert (band.still, np.flatnonzero(band.pairs).tolist(), band.size) == (16, [4, 5, 6, 7], 24)
    assert sink_band(stack, attention.replace(rope=None)).size == 8
    assert sink_band(stack, attention.replace(sink_band=1e-6)).size == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bos": {"kind": "zero"}}, "points at BOS's key, and bos='zero' has none"),
        ({"attention": {"sink_bias": 1.0, "softmax": {"kind": "sigmoid"}}}, "needs a denominator"),
        ({"attention": {"sink_bias": 1.0, "sink_band": 0.0}}, "sink_band=0 is not allowed"),
        ({"attention": {"sink_bias": 1e9}}, "sink_bias=1e"),
    ],
)
def test_what_has_no_sink_to_read(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RopeleakError, match=words):
        Stack.build(**{**BASE, "attention": {"sink_bias": 1.0}, **changes})
