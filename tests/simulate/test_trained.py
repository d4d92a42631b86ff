"""Measuring given weights: batches, standard errors, stopping and going on, what stands first."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

import ropeleak
from ropeleak import RopeleakError, Stack
from ropeleak.observables import HEADS, OBSERVABLES
from ropeleak.simulate import WeightsMeasurement, measure_weights
from ropeleak.simulate.forward import Forward
from ropeleak.simulate.given import Given
from ropeleak.simulate.inputs import read_inputs
from ropeleak.simulate.plan import make_plan
from ropeleak.weights import Weights
from tests.support.checkpoints import of_draw, save

VOCAB, BOS = 40, 39
STACK = Stack.build(
    context=20, d_model=24, n_heads=4, n_kv_heads=2, d_head=6, n_blocks=2, mlp={"d_ff": 20},
    init={"score_std": 1.2, "attention_gain": 1.0, "embedding_var": 1.0, "mlp_gain": 1.0,
          "std": 0.2},
)  # fmt: skip


def checkpoint() -> dict[str, NDArray[Any]]:
    arrays = of_draw(STACK, make_plan(STACK, 2, 0), 0)[0]
    arrays["model.embed_tokens.weight"] = arrays["model.embed_tokens.weight"][:VOCAB]
    return arrays


CHECKPOINT = checkpoint()


def measured(stack: Stack = STACK, contents: Any = 16, **options: Any) -> xr.Dataset:
    return measure_weights(stack, CHECKPOINT, contents=contents, bos_token=BOS, **options)


def assert_same(a: xr.Dataset, b: xr.Dataset) -> None:
    assert set(a) == set(b)
    for name in a:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=str(name))


def test_names_are_those_of_the_contract() -> None:
    found = measured(keep="full")
    assert set(found) == {
        *OBSERVABLES, *(f"{name}_se" for name in OBSERVABLES if name != "reach")
    }  # fmt: skip
    assert found["head_sink"].dims == ("block", "head", "query")
    assert found["head"].values.tolist() == [0, 1, 2, 3]
    assert "key" not in measured().dims
    assert "draws" not in found.attrs
    assert found.attrs["standard_error"] == "over 4 batches of 4 contents in the same weights"


def test_heads_add_up_to_all_of_them() -> None:
    found = measured()
    np.testing.assert_allclose(found["head_sink"].mean("head"), found["sink"], rtol=1e-12)
    for kind in ("mask", "total"):
        heads = (found[f"head_leak_{kind}"] ** 2).mean("head")
        np.testing.assert_allclose(heads, found[f"leak_{kind}"] ** 2, rtol=1e-9)
    assert {f"{name}_se" for name in HEADS} <= set(found)


def test_a_block_at_a_time_equals_a_batch_at_a_time() -> None:
    """And a mean over batches is what every observable is."""
    weights = Weights(STACK, CHECKPOINT)
    inputs = read_inputs(STACK, weights, 16, BOS, 0)
    plan = make_plan(STACK, inputs.contents, 0, drawn=False)
    forward = Forward(
        plan, source=lambda batch: Given(plan, weights, inputs.tokens[batch], inputs.first)
    )
    samples = [forward.run(batch) for batch in range(4)]
    found = measured()
    for name in ("k_diag", "q_diag", "q_common", "log_z", "sink"):
        values = np.array([getattr(sample, name) for sample in samples])
        np.testing.assert_allclose(found[name], values.mean(0), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(
            found[f"{name}_se"], values.std(0, ddof=1) / 2, rtol=1e-9, atol=1e-15
        )


def test_any_number_of_threads() -> None:
    assert_same(measured(threads=1), measured(threads=3))


@pytest.mark.parametrize("stop_after", [0, 1])
def test_stopped_and_resumed(stop_after: int, tmp_path: Path) -> None:
    path = tmp_path / "m.checkpoint"

    def stop(blocks: int) -> None:
        if blocks == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(checkpoint=path, progress=stop)
    seen: list[int] = []
    found = measured(checkpoint=path, progress=seen.append)
    assert seen == list(range(stop_after + 1, 3))
    assert_same(found, measured())
    assert_same(measured(checkpoint=path), found)


def test_stopped_within_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, calls, block = tmp_path / "m.checkpoint", [0], Forward.block

    def interrupted(self: Forward, *arguments: Any) -> None:
        calls[0] += 1
        if calls[0] == 6:
            raise KeyboardInterrupt
        block(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Forward, "block", interrupted)
        with pytest.raises(KeyboardInterrupt):
            measured(checkpoint=path, threads=1)
    assert_same(measured(checkpoint=path), measured())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 1}, "another contents"),
        ({"contents": 9}, "another contents"),
        ({"keep": "full"}, "another keep"),
        ({"stack": STACK.set("rope.base", 500)}, "another stack"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.checkpoint"
    measured(checkpoint=path)
    with pytest.raises(RopeleakError, match=words):
        measured(checkpoint=path, **changes)
    other = {name: value * 2 for name, value in CHECKPOINT.items()}
    with pytest.raises(RopeleakError, match="another weights"):
        measure_weights(STACK, other, contents=16, bos_token=BOS, checkpoint=path)


def test_standard_errors_are_those_of_new_contents() -> None:
    """Estimates from contents of their own differ by their standard errors, and have one mean."""
    runs = [measured(contents=36, seed=seed) for seed in range(40)]
    for name in ("k_diag", "q_diag", "sink", "log_z", "leak_mask"):
        values, errors = (np.array([run[n].values for run in runs]) for n in (name, f"{name}_se"))
        if name.startswith("leak"):  # squares are what is unbiased
            errors = (values + errors) ** 2 - values**2
            values = values**2
        moving = errors.mean(0) > 1e-9
        spread, claimed = values.std(0, ddof=1)[moving], np.sqrt((errors**2).mean(0))[moving]
        assert 0.8 < np.median(spread / claimed) < 1.25, name


def test_few_contents_are_unbiased() -> None:
    """Pairs of different contents alone: small batches estimate the same as large ones."""
    small = [measured(contents=4, seed=seed) for seed in range(60)]
    large = measured(contents=900, seed=1000)
    for name in ("k_diag", "q_diag", "q_common"):
        values = np.array([run[name].values for run in small])
        error = np.hypot(values.std(0, ddof=1) / np.sqrt(60), large[f"{name}_se"].values)
        z = (values.mean(0) - large[name].values)[error > 1e-12] / error[error > 1e-12]
        assert np.sqrt((z**2).mean()) < 1.6, name


# What stands at position 0


def first_states(kind: str, **options: Any) -> NDArray[np.float64]:
    stack = STACK.set("bos", kind)
    weights = Weights(stack, CHECKPOINT)
    inputs = read_inputs(stack, weights, options.pop("contents", 9), BOS, 0)
    plan = make_plan(stack, inputs.contents, 0, drawn=False)
    x = np.zeros((plan.inputs, 24, int(plan.sizes[0]["ld"])), np.float32)
    Given(plan, weights, inputs.tokens[0], inputs.first).embed(x)
    return x[: inputs.contents, :, :20].astype(float)


def test_what_stands_at_position_0() -> None:
    table = CHECKPOINT["model.embed_tokens.weight"]
    ids = np.random.default_rng(1).integers(0, BOS, (9, 20))
    body = table[ids[:3]].swapaxes(1, 2)
    for kind, first in (
        ("constant", table[BOS]), ("zero", np.zeros(24)), ("mean", table[ids[:, :19]].mean((0, 1))),
    ):  # fmt: skip
        x = first_states(kind, contents=ids)
        np.testing.assert_allclose(x[:, :, 0], np.tile(first, (3, 1)), atol=1e-6)
        np.testing.assert_array_equal(x[:, :, 1:], body[:, :, :-1])
    other = first_states("other", contents=ids)[:, :, 0]
    assert (other == other[0]).all() and (other[0] != table[BOS]).any()
    assert any((other[0] == row).all() for row in table)
    random = first_states("random", contents=ids)[:, :, 0]
    assert len(np.unique(random, axis=0)) > 1
    np.testing.assert_array_equal(first_states("absent", contents=ids), body)


@pytest.mark.parametrize("kind", ["random", "absent"])
def test_without_bos_there_is_no_beacon(kind: str) -> None:
    found = measured(STACK.set("bos", kind))
    assert (found["beacon"] == 0).all()
    np.testing.assert_array_equal(found["q_diag"], found["q_common"])


def test_a_constant_bos_is_a_closed_system() -> None:
    found = measured()
    assert (found["k_diag_se"][:, 0] < 1e-12).all()
    np.testing.assert_allclose(found["q_diag"][:, 0], found["k_diag"][:, 0], rtol=1e-6)


# The face


def test_measure_takes_weights(tmp_path: Path) -> None:
    path = save(tmp_path / "step.safetensors", CHECKPOINT)
    result = ropeleak.measure(STACK, weights=path, contents=16, bos_token=BOS)
    assert_same(result.dataset, measured())
    assert result.is_given and result.verdict().startswith("In these weights, the softmax")
    assert len(result.table()) == 2
    result.save(tmp_path / "a.nc")
    assert_same(ropeleak.Result.load(tmp_path / "a.nc").dataset, result.dataset)
    with pytest.raises(RopeleakError, match="predictions for random weights"):
        result.ruler(2, 4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weights": CHECKPOINT}, "no BOS is known"),
        ({"weights": CHECKPOINT, "draws": 5}, "draws=5 is for random weights"),
        ({"weights": CHECKPOINT, "width": 5}, "width=5 is for random weights"),
        ({"weights": CHECKPOINT, "target_se": 0.1}, "target_se=0.1 is for random weights"),
        ({"weights": CHECKPOINT, "bos_token": 40}, "bos_token=40 is not in the vocabulary"),
        ({"weights": CHECKPOINT, "bos_token": 1, "contents": 1}, "contents=1 is not allowed"),
        ({"weights": CHECKPOINT, "bos_token": 1, "threads": -1}, "threads=-1 is not allowed"),
        ({"weights": CHECKPOINT, "bos_token": 1, "seed": -1}, "seed=-1 is not allowed"),
        ({"contents": [[1, 2]]}, "contents of random weights are a number"),
        ({"source": None, "weights": CHECKPOINT}, "no architecture is given"),
        ({"source": None}, "no architecture is given"),
    ],
)
def test_bad_requests_are_one_sentence(options: dict[str, Any], words: str) -> None:
    with pytest.raises(RopeleakError, match=words) as caught:
        ropeleak.measure(**{"source": STACK, **options})
    assert "\n" not in str(caught.value)


def test_too_little_memory_is_refused_before_anything_is_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ROPELEAK_MEMORY_GB", "0.0001")
    with pytest.raises(RopeleakError, match="these contents need"):
        measured()


def test_an_unfinished_measurement_has_no_numbers() -> None:
    with pytest.raises(RopeleakError, match="0 of 2 blocks are measured"):
        WeightsMeasurement(STACK, CHECKPOINT, bos_token=BOS).dataset()
