"""The sampled mean field: against exact laws, the closed recursion and a naive Monte Carlo."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

from ropeleak import RopeleakError, Stack
from ropeleak.theory import mean_field, sampled
from ropeleak.theory.softmax import chi_square_nodes
from ropeleak.theory.theorems import load
from tests.support.naive import measure

INIT = {"score_std": 1.2, "attention_gain": 0.8, "embedding_var": 1.0, "std": 0.1}
BASE: dict[str, Any] = {
    "context": 24, "d_model": 512, "n_heads": 16, "n_blocks": 2, "mlp": {"kind": "none"},
    "init": INIT,
}  # fmt: skip
GELU = {"kind": "plain", "activation": "gelu", "d_ff": 2048}
VARIANTS: dict[str, dict[str, Any]] = {
    "causal": {},
    "window and sinks": {"attention": {"window": 6, "sinks": 2}},
    "chunks": {"attention": {"chunk": 8}},
    "prefix": {"attention": {"prefix": 8}},
    "bidirectional": {"attention": {"mask": "bidirectional"}},
    "no rope": {"attention": {"rope": None}},
    "partial rope": {"attention": {"rope": {"fraction": 0.5}}},
    "attention factor": {
        "attention": {"rope": {"type": "yarn", "factor": 4, "original_context": 8}},
    },
    "off by one": {"attention": {"softmax": {"kind": "off-by-one"}}},
    "sink logits": {"attention": {"softmax": {"sink_logit": 1.0, "sink_logit_std": 0.5}}},
    "soft cap": {"attention": {"softmax": {"softcap": 1.5}}},
    "log-n": {"attention": {"softmax": {"length_scaling": "log-n", "length_reference": 10}}},
    "sigmoid": {"attention": {"softmax": {"kind": "sigmoid"}}},
    "QK-norm": {"attention": {"qk_norm": "head"}, "init": {**INIT, "score_std": 1.0}},
    "aligned": {"attention": {"alignment": 1.5}},
    "GELU": {"mlp": GELU},
    "post-norm": {"norm": {"placement": "post"}},
    "parallel": {"norm": {"placement": "parallel"}, "mlp": GELU},
    "no norm": {"norm": {"placement": "none"}},
    "random BOS": {"bos": {"kind": "random"}, "alpha": 0.2},
    "shared component": {"alpha": 0.3},
}


def z_scores(found: xr.Dataset, name: str, mean: Any, se: Any = 0.0) -> Any:
    allowed = np.hypot(found[f"{name}_se"], se)
    off = np.abs(found[name] - mean).values
    return np.where(off < 1e-9, 0.0, off / np.maximum(allowed, 1e-300))


def chance(n: int) -> float:
    """Return what the largest of ``n`` z-scores of a few chains may be."""
    return float(4.0 + np.log10(n))


def test_one_block_of_fresh_tokens_follows_the_exact_laws() -> None:
    d_head = 32
    stack = Stack.build(**{**BASE, "n_blocks": 1, "norm": {"eps": 0.0}})
    found = sampled.predict(stack, heads=400, chains=16)
    n = np.arange(1, 25)
    w, p = chi_square_nodes(d_head)
    spread = 1.2 * np.sqrt(w)[:, None]
    log_z = p @ load("log-denominator")(n, spread)
    assert z_scores(found, "log_z", log_z).max() < chance(24)
    share = p @ load("participation-ratio")(n, spread)
    assert z_scores(found, "k_diag", np.stack([np.ones(24), 1 + 0.8 * share])).max() < chance(24)
    assert z_scores(found, "sink", 1 / n).max() < chance(24)
    # contents share only BOS, whose weights are independent between them
    q = np.stack([n == 1, (n == 1) + 0.8 / n**2])
    assert z_scores(found, "q_diag", q).max() < chance(24)


@pytest.mark.parametrize("name", VARIANTS)
def test_it_is_what_a_simulation_finds(name: str) -> None:
    stack = Stack.build(**{**BASE, **VARIANTS[name]})
    found = sampled.predict(stack, heads=64, chains=8, keep="full")
    naive = measure(stack, draws=24, contents=6, seed=5)
    for variable, estimate in (
        ("K", naive["K"]), ("Q", naive["Q"]), ("log_z", naive["log_z"]), ("sink", naive["sink"]),
    ):  # fmt: skip
        # finite width and few heads leave relative terms of order 1/n_heads, and overlaps of 1/d
        error = np.hypot(found[f"{variable}_se"].values, estimate.se)
        allowed = 4 * error + 0.03 * np.abs(found[variable].values)
        if variable == "Q":
            allowed = allowed + 2 * float(found["K"].max()) / stack.d_model
        off = np.abs(found[variable].values - estimate.mean)
        assert np.mean(off > allowed) < 0.02, (variable, float((off - allowed).max()))


@pytest.mark.parametrize("sigma", [0.3, 1.0, 1.6])
def test_the_closed_recursion_agrees(sigma: float) -> None:
    stack = Stack.build(**{**BASE, "n_blocks": 4, "init": {**INIT, "score_std": sigma}})
    found, closed = sampled.predict(stack, heads=128), mean_field.predict(stack)
    for name, drift in (("k_diag", 0.02), ("log_z", 0.01), ("leak_mask", 0.02)):
        off = np.abs(found[name].values - closed[name].values)
        allowed = 4 * found[f"{name}_se"].values + drift * np.abs(closed[name].values) + 1e-9
        assert np.all(off <= allowed), name


@pytest.mark.parametrize("alignment", [0.0, 1.0])
def test_means_over_contents_agree_with_pairs_of_contents(alignment: float) -> None:
    """A cap far above all scores changes nothing but how the leak is estimated."""
    plain = Stack.build(**BASE).set("attention.alignment", alignment)
    capped = plain.set("attention.softmax.softcap", 1e4)
    one = sampled.predict(plain, heads=200, replicas=4)
    two = sampled.predict(capped, heads=200, replicas=4)
    for name in ("leak_mask", "leak_residual", "leak_total"):
        error = np.hypot(one[f"{name}_se"], two[f"{name}_se"])
        assert np.all(np.abs(one[name] - two[name]) < 5 * error + 1e-3), name


def test_random_first_tokens_leave_no_residual_leak() -> None:
    stack = Stack.build(**BASE).set("bos", "random")
    found = sampled.predict(stack)
    np.testing.assert_allclose(found.q_diag, 0, atol=1e-12)
    np.testing.assert_allclose(found.leak_residual, 0, atol=1e-9)
    np.testing.assert_allclose(found.beacon, 0, atol=1e-12)


def test_a_ring_has_no_position() -> None:
    stack = Stack.build(**{**BASE, "bos": {"kind": "random"}, "attention": {"mask": "ring"}})
    found = sampled.predict(stack, heads=200)
    for name in ("k_diag", "log_z", "sink"):
        mean = found[name].mean("query")
        assert z_scores(found, name, mean).max() < chance(24), name


def test_standard_errors_shrink_with_the_samples_and_seeds_repeat() -> None:
    stack = Stack.build(**{**BASE, "n_blocks": 1})
    few, many = (sampled.predict(stack, heads=h, chains=24) for h in (8, 128))
    ratio = float((few.log_z_se[:, 1:] / many.log_z_se[:, 1:]).mean())
    assert 2.6 < ratio < 5.6
    again = sampled.predict(stack, heads=8, chains=24)
    xr.testing.assert_identical(few, again)
    other = sampled.predict(stack, heads=8, chains=24, seed=1)
    assert not np.array_equal(few.log_z, other.log_z)


def test_it_has_the_variables_of_the_recursion_and_their_errors() -> None:
    stack = Stack.build(**{**BASE, "context": 200, "n_blocks": 1})
    found = sampled.predict(stack, keep="full", heads=2, chains=2)
    closed = mean_field.predict(stack, keep="full", positions="grid")
    assert found.attrs["method"] == "sampled" and found.attrs["positions"] == "grid"
    for name in closed.data_vars:
        assert found[name].dims == closed[name].dims
        assert found[name].shape == closed[name].shape
        assert name == "reach" or found[f"{name}_se"].shape == closed[name].shape


@pytest.mark.parametrize(("name", "least"), [("heads", 1), ("chains", 2), ("replicas", 2)])
def test_too_few_samples_are_refused(name: str, least: int) -> None:
    samples: dict[str, Any] = {name: least - 1}
    with pytest.raises(RopeleakError, match=f"{name}={least - 1} is too few"):
        sampled.predict(Stack.build(**BASE), **samples)
