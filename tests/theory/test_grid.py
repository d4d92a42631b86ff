"""The grid and the refinement against the recursion on all positions."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
import xarray as xr

from ropeleak import RopeleakError, Stack
from ropeleak.theory import mean_field
from ropeleak.theory.grid import Grid, dense_grid, log_grid
from ropeleak.theory.mean_field import predict
from ropeleak.theory.memory import _ENTRY, _MATRICES
from ropeleak.theory.methods import predictor

INIT = {"score_std": 1.0, "attention_gain": 1.0, "embedding_var": 1.0, "std": 0.05}
STACKS: dict[str, dict[str, Any]] = {
    "causal": {},
    "no norm": {
        "norm": {"placement": "none"}, "mlp": {"kind": "none"}, "init": {**INIT, "score_std": 0.1},
    },
    "post-norm": {"norm": {"placement": "post"}},
    "sandwich": {"norm": {"placement": "sandwich"}},
    "norm of the branch": {"norm": {"placement": "res-post"}, "attention": {"qk_norm": "head"}},
    "parallel GELU": {
        "norm": {"placement": "parallel"}, "mlp": {"kind": "plain", "activation": "gelu"},
    },
    "window": {"attention": {"window": 24}},
    "short window": {"attention": [{"window": 8}, {}]},
    "window and sinks": {"attention": {"window": 24, "sinks": 3}},
    "chunks": {"attention": [{"chunk": 50}, {}]},
    "prefix": {"attention": {"prefix": 130}},
    "sink logits": {"attention": {"softmax": {"sink_logit": 1.0, "sink_logit_std": 0.3}}},
    "sigmoid": {"attention": {"softmax": {"kind": "sigmoid"}}},
    "aligned": {"attention": {"alignment": 0.5}},
    "random BOS": {"bos": {"kind": "random"}},
    "zero BOS": {"bos": {"kind": "zero"}},
    "collisions": {"vocab_size": 200, "alpha": 0.1},
}  # fmt: skip
VARIABLES = ("k_diag", "q_diag", "k_bos", "log_z", "sink", "leak_mask", "leak_total")


def build(name: str, context: int) -> Stack:
    options = {"d_model": 256, "n_heads": 4, "n_blocks": 4, "init": INIT, **STACKS[name]}
    return Stack.build(**options, context=context)


def assert_close(
    found: xr.Dataset, wanted: xr.Dataset, tolerance: float, names: tuple[str, ...] = VARIABLES
) -> None:
    if "query" in found.dims:
        wanted = wanted.sel(query=found["query"])
    for name in names:
        scale = np.abs(wanted[name].values)
        allowed = tolerance * np.maximum(scale, 1e-3 * scale.max())
        off = np.abs(found[name].values - wanted[name].values)
        assert np.all(off <= allowed), f"{name}: {np.max(off / np.maximum(scale, 1e-12)):.2%}"


@pytest.mark.parametrize("name", STACKS)
def test_grid_and_refinement_are_the_recursion_on_all_positions(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = build(name, 360)
    everywhere = predict(stack, positions="dense")
    assert_close(predict(stack, positions="grid"), everywhere, 0.01)
    coarse = predict(stack, positions="coarse")
    assert coarse.attrs["positions"] == "coarse"
    assert_close(coarse, everywhere, 0.01)
    assert_close(coarse, everywhere, 0.02, ("leak_residual", "q_common", "beacon"))
    monkeypatch.setattr(mean_field, "DIRECT_DENSE", 100)
    refined = predict(stack, positions="dense")
    assert refined.sizes["query"] == 360
    assert_close(refined, everywhere, 0.01)


@pytest.mark.parametrize("name", ["causal", "window", "short window"])
def test_grid_is_the_refinement_of_a_long_context(name: str) -> None:
    stack = build(name, 1500)
    assert_close(predict(stack, positions="grid"), predict(stack, positions="dense"), 0.012)


def test_refinement_keeps_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = build("causal", 200)
    wanted = predict(stack, keep="full", positions="dense")
    monkeypatch.setattr(mean_field, "DIRECT_DENSE", 100)
    found = predict(stack, keep="full", positions="dense")
    for name in ("K", "Q", "Q_common"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=0.01, atol=1e-4)


def test_sums_over_nodes_are_sums_over_positions() -> None:
    grid = log_grid(build("window", 3000))
    stop = np.array([0, 1, 63, 64, 65, 1000, 2345, 3000])
    weights = grid.prefix_weights(stop)
    line = 2.0 + 3.0 * grid.nodes
    wanted = [sum(2.0 + 3.0 * j for j in range(x)) for x in stop.tolist()]
    np.testing.assert_allclose(weights @ line, wanted, rtol=1e-12)


def test_first_positions_are_nodes_and_so_is_the_last() -> None:
    for context in (65, 512, 2**20):
        grid = log_grid(build("causal", context))
        assert grid.nodes[:64].tolist() == list(range(64))
        assert grid.nodes[-1] == context - 1
        assert np.all(np.diff(grid.nodes) > 0)
    assert dense_grid(10).is_dense
    assert not Grid(np.array([0, 4]), 5).is_dense


def test_wanted_positions_are_nodes() -> None:
    grid = log_grid(build("short window", 5000), extra=(777, 140, 4321))
    assert np.isin([776, 777, 778, 140, 4321], grid.nodes).all()


def test_too_much_memory_is_refused_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROPELEAK_MEMORY_GB", "0.01")
    with pytest.raises(RopeleakError, match=r"the largest context that fits densely is \d+;"):
        predict(build("causal", 5000), positions="dense")
    monkeypatch.setenv("ROPELEAK_MEMORY_GB", "none")
    with pytest.raises(RopeleakError, match="ROPELEAK_MEMORY_GB='none' is not a positive number"):
        predict(build("causal", 100))


def test_the_largest_context_named_does_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROPELEAK_MEMORY_GB", "0.02")
    with pytest.raises(RopeleakError) as refusal:
        predict(build("causal", 4000), positions="dense")
    largest = int(str(refusal.value).split("densely is ")[1].split(";")[0])
    assert predict(build("causal", largest), positions="dense").sizes["query"] == largest


@pytest.mark.parametrize("name", ["causal", "no norm", "post-norm", "collisions"])
def test_memory_is_what_the_refusal_reckons_with(name: str) -> None:
    stack = build(name, 300)
    predict(stack, positions="dense")  # tables are made once
    tracemalloc.start()
    predict(stack, positions="dense")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    reckoned = _ENTRY * _MATRICES * stack.context**2
    assert 0.3 * reckoned < peak < reckoned


def test_unknown_positions_are_refused() -> None:
    with pytest.raises(RopeleakError, match="positions='fine' is not known: give auto, dense"):
        predictor("mean-field")(build("causal", 10), positions="fine")
