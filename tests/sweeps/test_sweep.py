"""The dataset of a sweep is what `predict` and `measure` say of every point."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import ropeleak.sweeps.execution as execution
from ropeleak import RopeleakError, Stack, measure, predict, sweep
from ropeleak.results import Source
from ropeleak.selection import at_position, headline
from ropeleak.sweeps.api import SweepProgress
from ropeleak.sweeps.labels import SUMMARY
from tests.sweeps.support import OVER, STACK, assert_same


def test_every_point_is_its_prediction() -> None:
    found = sweep(STACK, OVER, workers=1)
    assert found["leak_mask"].dims == ("window", "rope.base", "block")
    assert found["window"].values.tolist() == ["2", "4", "none", "0"]
    assert found["rope.base"].values.tolist() == [1e4, 1e5, 1e6]
    assert found["model"].item() == "small"
    for window in OVER["window"][:-1]:
        for base in OVER["rope.base"]:
            here = found.sel({"window": "none" if window is None else str(window)})
            here = here.sel({"rope.base": base})
            expected = predict(STACK.set("window", window).set("rope.base", base)).dataset
            for name in SUMMARY:
                np.testing.assert_array_equal(here[name], expected[name], err_msg=name)
                assert here[name].attrs == expected[name].attrs
            assert here["approximations"].item() == expected.attrs["approximations"]
    assert found["status"].values.tolist() == [[1] * 3] * 3 + [[2] * 3]
    refused = found.isel(window=3)
    assert all("window=0 is not allowed" in text for text in refused["reason"].values.tolist())
    assert set(found["reason"].isel(window=slice(3)).values.ravel().tolist()) == {""}
    assert all(np.isnan(refused[name]).all() for name in SUMMARY)


def test_depths_and_contexts_are_aligned_by_label() -> None:
    found = sweep(STACK, {"n_blocks": [1, 3], "context": [8, 30]}, positions="auto", workers=1)
    assert found["query"].values.tolist() == [0, 1, 2, 5, 10, 20, 29]
    assert found["depth"].values.tolist() == [0, 1, 2, 3]
    for n in (1, 3):
        for context in (8, 30):
            here = found.sel(n_blocks=n, context=context)
            stack = STACK.set("n_blocks", n).set("context", context)
            expected = predict(stack).dataset.reindex(
                depth=found["depth"], block=found["block"], query=found["query"]
            )
            for name in SUMMARY:
                np.testing.assert_allclose(here[name], expected[name], rtol=1e-12, err_msg=name)
    last = headline(found, "leak_mask", None)
    assert last.sel(n_blocks=1, context=30) == found["leak_mask"].sel(
        n_blocks=1, context=30, block=1
    )
    assert last.sel(n_blocks=3, context=8) == found["leak_mask"].sel(n_blocks=3, context=8, block=3)


def test_positions_off_the_grid_are_interpolated() -> None:
    stack = STACK.set("context", 700)
    found = sweep(stack, {"window": [8]}, at=[50, 333, 699], variables=["log_z", "leak_mask"])
    expected = predict(stack.set("window", 8)).dataset
    assert 333 not in expected["query"]
    assert set(found.data_vars) == {"log_z", "leak_mask", "status", "reason", "approximations"}
    for position in (50, 333, 699):
        np.testing.assert_allclose(
            found["log_z"].isel(window=0).sel(query=position),
            at_position(expected["log_z"], position), rtol=1e-14,
        )  # fmt: skip
    assert "query" not in sweep(stack, {"window": [8]}, variables=["leak_mask"]).dims
    everywhere = sweep(STACK.set("context", 200), {"window": [8]}, at="all", variables=["sink"])
    assert everywhere.sizes["query"] == 200


def test_several_models() -> None:
    models: list[Source] = [STACK, STACK.set("alpha", 0.2), "pythia-160m"]
    found = sweep(models, {"window": [2, 4]}, context=12, at=[3], workers=1)
    assert found["model"].values.tolist() == ["small", "small (2)", "pythia-160m"]
    assert found["leak_mask"].dims == ("model", "window", "block")
    expected = predict("pythia-160m", context=12).stack.set("window", 4)
    here = found["leak_mask"].sel(model="pythia-160m", window=4)
    np.testing.assert_array_equal(here, predict(expected).dataset["leak_mask"])
    assert np.isnan(found["leak_mask"].sel(model="small", block=3)).all()
    alone = sweep([STACK, "pythia-160m"], context=12, workers=1)
    assert alone["leak_mask"].dims == ("model", "block")


def test_zipped_fields_share_a_dimension() -> None:
    over = {"window": [2, 4], "bos": ["constant", "random"], "n_blocks": [1, 2]}
    found = sweep(STACK, over, zipped=["n_blocks+window"], workers=1)
    assert found["leak_mask"].dims == ("window+n_blocks", "bos", "block")
    assert found["window"].dims == found["n_blocks"].dims == ("window+n_blocks",)
    expected = predict(STACK.set("window", 4).set("bos", "random")).dataset["leak_residual"]
    here = found["leak_residual"].isel({"window+n_blocks": 1}).sel(bos="random")
    np.testing.assert_array_equal(here, expected)


@pytest.fixture
def _processes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "HEAD_START", 0.0)


@pytest.mark.usefixtures("_processes_at_once")
@pytest.mark.parametrize("method", ["predict", "sampled", "measure"])
def test_any_executor_gives_the_same_numbers(method: str) -> None:
    options: dict[str, Any] = {
        "measure": {"draws": 3, "contents": 2, "seed": 5},
        "predict": {},
    }.get(method, {"heads": 2, "seed": 5})
    over = {"window": [2, 4, 0], "alpha": [0.0, 0.2]}
    here = sweep(STACK, over, method=method, workers=1, **options)
    with ThreadPoolExecutor(3) as threads:
        assert_same(here, sweep(STACK, over, method=method, executor=threads, **options))
    assert_same(here, sweep(STACK, over, method=method, workers=2, **options))
    if method == "predict":
        with ProcessPoolExecutor(2, get_context("spawn")) as pool:
            assert_same(here, sweep(STACK, over, method=method, executor=pool, **options))


def test_a_point_of_a_measured_sweep_is_a_measurement() -> None:
    over = {"window": [2, 4], "alpha": [0.0, 0.2]}
    options: dict[str, Any] = {"draws": 4, "contents": 3}
    found = sweep(STACK, over, method="measure", seed=1, workers=1, **options)
    assert "reach_se" not in found
    for window in (2, 4):
        here = found.sel(window=window, alpha=0.2)
        stack = STACK.set("window", window).set("alpha", 0.2)
        expected = measure(stack, seed=int(here["seed"]), **options).dataset
        for name in expected.data_vars:
            np.testing.assert_array_equal(here[name], expected[name], err_msg=str(name))
    assert np.unique(found["seed"]).size == 4
    assert (found["leak_mask_se"] > 0).all()
    # the seed belongs to the point, not to its place
    other = sweep(STACK, {"window": [8, 4], "alpha": [0.2]}, method="measure", seed=1, workers=1,
                  **options)  # fmt: skip
    np.testing.assert_array_equal(
        other["k_diag"].sel(window=4, alpha=0.2), found["k_diag"].sel(window=4, alpha=0.2)
    )
    again = sweep(STACK, {"window": [4], "alpha": [0.2]}, method="measure", seed=2, workers=1,
                  **options)  # fmt: skip
    assert (
        again["k_diag"].isel(window=0, alpha=0) != found["k_diag"].isel(window=1, alpha=1)
    ).any()


def test_a_narrow_stand_in_is_measured() -> None:
    options: dict[str, Any] = {"draws": 2, "contents": 2, "width": 16}
    found = sweep(STACK, {"window": [2]}, method="measure", workers=1, **options)
    assert "stand-in" in found["approximations"].item()


def test_progress_tells_what_failed_and_how_fast() -> None:
    told: list[SweepProgress] = []
    sweep(STACK, OVER, workers=1, progress=told.append)
    assert told[-1][:3] == (12, 3, 12)
    assert [state.done for state in told] == sorted(state.done for state in told)
    assert all(state.rate > 0 for state in told)
    assert told[-1].left == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"over": {"attentoin.window": [1]}}, "did you mean attention.window"),
        ({"over": {"window": [0, -1]}}, "window=0 is not allowed: give a whole number"),
        ({"over": {}}, "there is nothing to sweep"),
        ({"method": "guess"}, "method='guess' is not known: give predict, mean-field"),
        ({"seed": 1}, "seed=1 needs a method that samples"),
        ({"method": "measure", "seed": -1}, "seed=-1 is not allowed"),
        ({"heads": 3}, "heads=3 does not go with method=mean-field: it is one of method=sampled"),
        ({"positons": "grid"}, "positons='grid' does not go with .* did you mean positions"),
        ({"variables": ["leak_msak"]}, "did you mean leak_mask"),
        ({"variables": ["K"]}, "'K' is not kept in sweeps"),
        ({"variables": []}, "there are no variables to keep"),
        ({"at": [12]}, "at=12 is not allowed: give positions from 0 to 11"),
        ({"at": []}, "at=nothing is not allowed"),
        ({"workers": 0}, "workers=0 is not allowed"),
        ({"workers": 2, "dask": "tcp://x:1"}, "exclude each other"),
        ({"out": "a.txt"}, "ends in .nc or .zarr"),
        ({"out": "no/such/folder/a.nc"}, "there is no folder"),
        ({"source": []}, "there are no models"),
        ({"source": "pythia"}, "did you mean pythia-160m"),
        ({"method": "measure", "draws": 1}, "none of the 1 points could be computed: draws=1"),
        (
            {"positions": "some", "workers": 1},
            "positions='some' is not known: give auto, dense, grid",
        ),
    ],
)
def test_bad_input(
    options: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RopeleakError, match=words):
        sweep(**{"source": STACK, "over": {"window": [2]}, **options})
    assert list(tmp_path.iterdir()) == []


def test_too_many_numbers_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROPELEAK_MEMORY_GB", "0.001")
    over = {"rope.base": np.geomspace(1e4, 1e6, 1000)}
    with pytest.raises(RopeleakError, match=r"1,000 points of 261 numbers each need 0\.0 GB"):
        sweep(STACK, over)


def test_one_value_is_a_dimension_too() -> None:
    found = sweep(Stack.build(context=1, n_blocks=1), {"window": [2]}, workers=1)
    assert found["leak_mask"].shape == (1, 1)
    assert isinstance(found, xr.Dataset)
