"""Measuring: the same numbers however they are computed, checkpoints, errors, memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import ropeleak
from ropeleak import RopeleakError, Stack
from ropeleak.observables import HEADS, OBSERVABLES
from ropeleak.simulate import Measurement, Progress, measure
from ropeleak.simulate.plan import make_plan
from ropeleak.simulate.sampling import samples
from ropeleak.simulate.statistics import CONTROLS, Moments, root, statistics

STACK = Stack.build(
    context=24, d_model=32, n_heads=2, n_blocks=2, mlp={"d_ff": 40},
    init={"score_std": 1.0, "attention_gain": 1.0, "embedding_var": 1.0},
)  # fmt: skip


def assert_same(a: xr.Dataset, b: xr.Dataset) -> None:
    assert set(a) == set(b)
    for name in a:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=str(name))


def test_names_are_those_of_the_contract() -> None:
    known = [name for name in OBSERVABLES if name not in HEADS]
    names = {*known, *(f"{name}_se" for name in known if name != "reach")}
    result = measure(STACK, draws=3, contents=2, keep="full")
    assert set(result) == names
    assert result["K"].dims == ("depth", "query", "key")
    np.testing.assert_allclose(np.einsum("dii->di", result["Q"]), result["q_diag"], rtol=1e-3)
    summary = measure(STACK, draws=3, contents=2)
    assert set(summary) == {name for name in names if "key" not in result[name].dims}


def test_a_seed_decides_everything() -> None:
    one = measure(STACK, draws=9, threads=1, seed=4)
    assert_same(one, measure(STACK, draws=9, threads=2, seed=4))
    assert_same(one, measure(STACK, draws=9, threads=5, seed=4))
    other = measure(STACK, draws=9, seed=5)
    assert (other["k_diag"] != one["k_diag"]).all()


def test_in_one_go_or_resumed(tmp_path: Path) -> None:
    path = tmp_path / "m.checkpoint"
    for draws in (2, 5, 11):
        parts = measure(STACK, draws=draws, checkpoint=path, threads=2, keep="full")
    assert_same(parts, measure(STACK, draws=11, keep="full"))
    again = measure(STACK, draws=3, checkpoint=path, keep="full")
    assert again.attrs["draws"] == 11


def test_stopping_keeps_what_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "m.checkpoint"

    def stop(progress: Progress) -> None:
        if progress.draws == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(STACK, draws=10, checkpoint=path, threads=2, progress=stop)
    measurement = Measurement(STACK)
    measurement.resume(path)
    assert measurement.draws == 4
    measurement.run(10)
    assert_same(measurement.dataset(), measure(STACK, draws=10))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, r"another seed \(0, not 1\)"),
        ({"contents": 3}, r"another contents \(8, not 3\)"),
        ({"keep": "full"}, "another keep"),
        ({"stack": STACK.set("context", 25)}, "another stack"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.checkpoint"
    measure(STACK, draws=2, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(RopeleakError, match=words):
        measure(**{"stack": STACK, "draws": 4, "checkpoint": path, **change})
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 and then nothing"])
def test_a_damaged_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.checkpoint"
    path.write_bytes(content)
    with pytest.raises(RopeleakError, match="it is not a checkpoint"):
        measure(STACK, draws=2, checkpoint=path)
    assert path.read_bytes() == content


def test_a_checkpoint_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.checkpoint"
    measure(STACK, draws=2, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(RopeleakError, match="it is not a checkpoint"):
        measure(STACK, draws=4, checkpoint=path)


def test_a_target_is_reached_at_the_same_draw_by_any_threads(tmp_path: Path) -> None:
    target = 0.008
    results = [measure(STACK, target_se=target, threads=threads) for threads in (1, 2)]
    assert_same(*results)
    draws = results[0].attrs["draws"]
    watched = ("leak_mask", "leak_residual", "leak_total", "beacon")
    assert max(float(results[0][f"{name}_se"].max()) for name in watched) <= target
    path = tmp_path / "m.checkpoint"
    measure(STACK, draws=20, checkpoint=path)
    assert_same(measure(STACK, target_se=target, checkpoint=path), results[0])
    assert measure(STACK, target_se=1e-9, draws=18).attrs["draws"] == 18
    assert draws > 20


def test_progress_counts_every_draw() -> None:
    seen: list[Progress] = []
    measure(STACK, draws=20, progress=seen.append)
    assert [state.draws for state in seen] == list(range(1, 21))
    assert {state.wanted for state in seen} == {20}
    assert seen[-1].rate > 0 and seen[-1].error > 0
    measure(STACK, target_se=0.05, progress=seen.append)
    assert seen[-1].wanted == seen[-1].draws


def test_moments_are_those_of_the_samples() -> None:
    drawn = list(samples(make_plan(STACK, 4, 0), False, 0, 30, 2))
    moments = Moments()
    for sample in drawn:
        moments.add(sample)
    k, q, common = (
        np.array([getattr(s, name) for s in drawn]) for name in ("k_diag", "q_diag", "q_common")
    )
    np.testing.assert_allclose(moments.mean["k_diag"], k.mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.error("k_diag"), k.std(0, ddof=1) / np.sqrt(30), rtol=1e-9)
    found = moments.observables(controls=False)
    share = (q - common).mean(0) / k.mean(0)
    np.testing.assert_allclose(found["beacon"], share, atol=1e-12)
    linear = (q - common - share * k) / k.mean(0)
    np.testing.assert_allclose(
        found["beacon_se"], linear.std(0, ddof=1) / np.sqrt(30), atol=1e-12, rtol=1e-6
    )


def test_the_root_of_a_square_that_may_be_negative() -> None:
    value, error = root(np.array([4.0, 0.0, -1e-3]), np.array([0.04, 0.01, 0.01]))
    np.testing.assert_allclose(value, [2.0, 0.0, 0.0])
    np.testing.assert_allclose(error, [0.01, 0.1, 0.1], rtol=3e-3)


def test_controls_tell_the_same_with_smaller_errors() -> None:
    moments = Moments()
    for sample in samples(make_plan(STACK, 8, 0), True, 0, 400, 2):
        moments.add(sample)
    with_controls, without = moments.observables(), moments.observables(controls=False)
    gains = {"k_diag": 1.1, "q_diag": 1.1, "q_common": 1.1, "k_bos": 1.15, "beacon": 1.3,
             "log_z": 1.5, "sink": 1.5, "leak_mask": 1.7, "leak_residual": 2.5, "leak_total": 1.3,
             "K": 1.1, "Q": 1.1, "Q_common": 1.1}  # fmt: skip
    for name, gain in gains.items():
        error, larger = (found[f"{name}_se"][1:, ...] for found in (with_controls, without))
        used = larger > 0
        assert (error <= larger * 1.01).all(), name
        assert np.median(larger[used] / error[used]) > gain, name
        difference = np.abs(with_controls[name] - without[name])[1:, ...]
        assert (difference <= 5 * larger).all(), name
    # token 0 sees only itself: its denominator is its score, whose mean is 0 exactly
    assert np.abs(with_controls["log_z"][:, 0]).max() < 1e-9


CONTROLLED: dict[str, dict[str, Any]] = {
    "plain": {},
    "grouped, window, log-n": {
        "n_kv_heads": 1,
        "attention": {"window": 9, "softmax": {"length_scaling": "log-n", "length_reference": 9}},
    },
    "partial yarn": {
        "attention": {"rope": {"type": "yarn", "fraction": 0.5, "factor": 8, "original_context": 8}}
    },
    "parallel experts": {
        "norm": {"placement": "parallel", "kind": "layer"},
        "mlp": {"d_ff": 20, "experts": {"count": 4, "active": 2, "shared": 1}},
    },
    "post-norm, null key": {
        "norm": {"placement": "post"},
        "attention": {"softmax": {"kind": "off-by-one"}, "rope": None},
    },
    "sandwich, ring": {"norm": {"placement": "sandwich"}, "attention": {"mask": "ring"}},
    "no norm": {"norm": {"placement": "none"}, "mlp": {"kind": "none"}, "alpha": 0.3},
    "normed heads, soft cap": {"attention": {"qk_norm": "head", "softmax": {"softcap": 1.0}}},
    "latent": {
        "attention": {"latent": {"q_rank": 9, "kv_rank": 8, "d_nope": 8, "d_rope": 4, "d_value": 8}}
    },
}


@pytest.mark.parametrize("name", CONTROLLED)
def test_controls_have_mean_zero(name: str) -> None:
    stack = Stack.build(**{**STACK.model_dump(exclude={"d_head"}), **CONTROLLED[name]})
    draws, used = 400, set()
    drawn = [statistics(s) for s in samples(make_plan(stack, 4, 1), True, 0, draws, 2)]
    for control in CONTROLS.values():
        values = np.array([draw[control] for draw in drawn])
        error = values.std(0, ddof=1) / np.sqrt(draws)
        chance = error > 1e-6 * np.abs(values).max(initial=1e-300)
        z = np.abs(values.mean(0)[chance] / error[chance])
        assert (z < 5).all(), control
        used |= {control} if chance.any() else set()
    assert used == set(CONTROLS.values())


def test_an_aligned_stack_has_no_control_of_scores_and_a_parameter_free_one_none() -> None:
    aligned = samples(make_plan(STACK.set("attention.alignment", 1.0), 4, 0), False, 0, 1, 1)
    found = statistics(next(iter(aligned)))
    assert not any(found[name].any() for name in ("mean_score", "first_score", "leak_chance"))
    assert found["k_chance"].any()
    free = make_plan(STACK.set("mlp.kind", "none"), 4, 0, parameter_free=True)
    found = statistics(next(iter(samples(free, False, 0, 1, 1))))
    assert not any(found[name].any() for name in CONTROLS.values())


def test_without_controls_the_numbers_are_plain_means() -> None:
    drawn = list(samples(make_plan(STACK, 4, 0, controls=False), False, 0, 20, 1))
    assert not any(statistics(drawn[0])[name].any() for name in CONTROLS.values())
    result = measure(STACK, draws=20, contents=4, controls=False)
    for name in ("k_diag", "q_common"):
        mean = np.mean([getattr(sample, name) for sample in drawn], axis=0)
        np.testing.assert_allclose(result[name], mean, rtol=1e-12)
    measurement = Measurement(STACK, contents=4, controls=False)
    assert not measurement._plan.sizes[0]["controls"]
    assert (measure(STACK, draws=20, contents=4)["k_diag"] != result["k_diag"])[:, 1:].any()


def test_standard_errors_are_honest() -> None:
    """The spread of independent measurements is what each says of itself."""
    names = ("k_diag", "log_z", "sink", "q_diag", "beacon", "leak_mask", "leak_total")
    runs = [measure(STACK, draws=25, contents=4, seed=seed) for seed in range(160)]
    for name in names:
        value, claimed = (np.array([run[n].values for run in runs]) for n in (name, f"{name}_se"))
        if value.ndim == 3:
            value, claimed = (x[:, 1:, 1:].reshape(len(runs), -1) for x in (value, claimed))
        else:  # a root: its square has the symmetric error
            value, claimed = value**2, (value + claimed) ** 2 - value**2
        assert (claimed > 0).all(), name
        ratio = value.var(0, ddof=1) / (claimed**2).mean(0)
        assert abs(ratio.mean() - 1) < 0.15, name


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"draws": 1}, "draws=1 is not allowed: give 2 to"),
        ({"contents": 1}, "contents=1 is not allowed: give 2 to"),
        ({"seed": -1}, "seed=-1 is not allowed"),
        ({"threads": -1}, "threads=-1 is not allowed"),
        ({"target_se": 0.0}, "target_se=0 is not allowed: give a positive number"),
    ],
)
def test_numbers_out_of_range(options: dict[str, Any], words: str) -> None:
    with pytest.raises(RopeleakError, match=words):
        measure(STACK, **options)


def test_too_little_memory_is_refused_before_allocating(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = STACK.replace(context=20000, d_model=1024)
    with pytest.raises(RopeleakError, match="GB are allowed: use fewer threads, fewer contents"):
        measure(huge, draws=4, contents=64, threads=2)
    monkeypatch.setenv("ROPELEAK_MEMORY_GB", "1e-5")
    with pytest.raises(RopeleakError, match=r"needs 0\.0 GB and 0\.0 GB are allowed"):
        measure(STACK, draws=4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attention": {"alignment": 50.0}}, "alignment=50 cannot be drawn: with σ = 1"),
        (
            {"attention": {"alignment": 1.0, "latent": {"q_rank": None, "kv_rank": 4, "d_nope": 2,
                                                       "d_rope": 4, "d_value": 4}}},
            "cannot be drawn with latent",
        ),
        (
            {"attention": {"qk_norm": "head", "latent": {"q_rank": None, "kv_rank": 4, "d_nope": 2,
                                                         "d_rope": 4, "d_value": 4}}},
            "qk_norm=head is not measured with latent",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_measured(changes: dict[str, Any], words: str) -> None:
    fields = {name: getattr(STACK, name) for name in ("context", "d_model", "n_heads", "init")}
    with pytest.raises(RopeleakError, match=words):
        measure(Stack.build(**fields, **changes), draws=2)


def test_numbers_that_leave_the_range_are_refused() -> None:
    stack = Stack.build(
        context=8, d_model=16, n_heads=1, n_blocks=12, norm={"placement": "none"},
        mlp={"kind": "gated", "activation": "relu", "d_ff": 16},
        init={"mlp_gain": 1e6, "embedding_var": 1e6, "score_std": 0.0},
    )  # fmt: skip
    for threads in (1, 2):
        with pytest.raises(RopeleakError, match=r"leave the range of float32 (in|after) block"):
            measure(stack, draws=4, threads=threads)


def test_the_face(tmp_path: Path) -> None:
    result = ropeleak.measure("pythia-160m", context=12, width=64, draws=3, contents=2)
    assert result.stack.d_model == 64
    assert any("d_model 768 -> 64" in line for line in result.approximations)
    assert "mask" in result.verdict() or "denominator" in result.verdict()
    assert len(result.table()) == 12
    result.save(tmp_path / "a.nc")
    assert_same(ropeleak.Result.load(tmp_path / "a.nc").dataset, result.dataset)
    result.plot(tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size > 1000
