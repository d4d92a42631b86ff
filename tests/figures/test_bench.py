"""Numbers are computed once, kept, taken up again after an interruption, and never outlive code."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ropeleak import RopeleakError, Stack
from ropeleak.figures import store as module
from ropeleak.figures.bench import Bench, Budget
from ropeleak.figures.store import Store

STACK = Stack.build(
    name="small", context=12, d_model=16, n_heads=2, n_blocks=2, init={"scheme": "fan_in"}
)
TINY = Budget("tiny", 12, 2, 6, 4, 16, 5, "quick")


def tiny(folder: Path | None = None, **options: object) -> Bench:
    bench = Bench("small", folder=folder, **options)  # type: ignore[arg-type]
    bench.budget = TINY
    return bench


def test_numbers_are_computed_once(tmp_path: Path) -> None:
    first = tiny(tmp_path).pair(STACK)
    assert first.measured is not None
    assert first.measured.attrs["draws"] == TINY.draws
    done: list[str] = []
    again = tiny(tmp_path, progress=lambda what, *_: done.append(what)).pair(STACK)
    assert done == []
    for one, other in zip(first.both, again.both, strict=True):
        xr.testing.assert_identical(one, other)


def test_names_do_not_tell_architectures_apart(tmp_path: Path) -> None:
    tiny(tmp_path).predict(STACK)
    done: list[str] = []
    bench = tiny(tmp_path, progress=lambda what, *_: done.append(what))
    found = bench.predict(STACK.replace(name="another"))
    assert done == []
    assert Stack.model_validate_json(found.attrs["stack"]).name == "another"
    bench.predict(STACK.replace(context=13))
    assert len(done) == 1


def test_a_measurement_is_taken_up_again(tmp_path: Path) -> None:
    def stop(what: str, done: int, wanted: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny(tmp_path, progress=stop).measure(STACK)
    counts: list[int] = []
    resumed = tiny(tmp_path, progress=lambda what, done, wanted: counts.append(done)).measure(STACK)
    assert min(counts) > 3
    xr.testing.assert_identical(resumed, tiny().measure(STACK))
    assert not list(tmp_path.rglob("draws-*"))


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    before = tiny(tmp_path).predict(STACK)
    (file,) = tmp_path.rglob("predict-*.nc")
    file.write_bytes(file.read_bytes()[:100])
    xr.testing.assert_identical(tiny(tmp_path).predict(STACK), before)


def test_other_code_and_other_inputs_are_other_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(value: float) -> xr.Dataset:
        return Store(tmp_path).keep("x", {"of": value}, lambda: xr.Dataset({"x": value}))

    assert [float(make(value)["x"]) for value in (1.0, 2.0, 1.0)] == [1, 2, 1]
    monkeypatch.setattr(module, "code_version", lambda _: "later")
    assert Store(tmp_path).folder == tmp_path / "later"
    assert not list((tmp_path / "later").iterdir())


def test_what_other_code_computes_is_kept_apart(tmp_path: Path) -> None:
    folders = {Store(tmp_path, sources).folder for sources in (["theory"], ["simulate"])}
    assert len(folders) == 2 and Store(tmp_path, ["theory"]).folder in folders


def test_a_model_that_cannot_be_measured_is_predicted_and_told() -> None:
    latent = {"q_rank": None, "kv_rank": 8, "d_nope": 4, "d_rope": 4, "d_value": 8}
    stack = STACK.replace(attention=[{"latent": latent, "alignment": 1.0}])
    bench = tiny(model=stack)
    assert bench.pair(stack).measured is None
    assert "small was not measured: attention[0].alignment=1 cannot be drawn" in bench.notes[0]
    with pytest.raises(RopeleakError, match="cannot be drawn"):
        tiny().pair(stack)


def test_wide_stacks_are_measured_as_stand_ins() -> None:
    wide = STACK.replace(d_model=64, n_heads=8, d_head=8)
    measured = tiny().measure(wide)
    narrow = Stack.model_validate_json(measured.attrs["stack"])
    assert narrow == wide.proxy(TINY.width)
    np.testing.assert_array_equal(measured["query"], np.arange(12))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": "huge"}, "budget='huge' is not known: give small or full"),
        ({"seed": -1}, "seed=-1 is not allowed"),
    ],
)
def test_refusals(options: dict[str, object], words: str) -> None:
    with pytest.raises(RopeleakError, match=words):
        Bench(**options)  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RopeleakError, match="cannot write"):
        Bench(folder=tmp_path / "file")
