"""Figures on one's own axes and of one's own architecture; files that are the same twice."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from ropeleak import Result, RopeleakError, Stack, predict
from ropeleak.claims.interventions import TABLE
from ropeleak.figures import beacon, bos, denominator, leaks, load, names, plugs, ruler, training
from ropeleak.figures.bench import Bench
from ropeleak.figures.recipe import Recipe
from ropeleak.latex import escaped

STACK = Stack.build(
    name="my_model & co", context=104, d_model=32, n_heads=2, n_blocks=3,
    attention=[{"window": 16}, {}, {}], init={"scheme": "fan_in"},
)  # fmt: skip


@pytest.fixture(scope="module")
def result() -> Result:
    return predict(STACK)


@pytest.fixture
def bench() -> Bench:
    made = Bench("small", model=STACK)
    made.budget = made.budget._replace(draws=3, contents=3, every=15)
    return made


@pytest.mark.parametrize(
    ("module", "name", "where"),
    [
        (beacon, "beacon", {"depth": 3}),
        (denominator, "log_z", {"block": 1}),
        (leaks, "leak_residual", {}),
        (bos, "beacon", {"depth": 3}),
    ],
)
def test_results_can_be_drawn_on_own_axes(
    module: Any, name: str, where: dict[str, int], result: Result
) -> None:
    ax = Figure().subplots()
    module.draw(ax, result)
    np.testing.assert_array_equal(ax.lines[-1].get_ydata(), result.dataset[name].sel(where))
    assert ax.get_xlabel()
    assert ax.get_ylabel()


def test_a_ruler_can_be_drawn_on_own_axes(result: Result) -> None:
    ax = Figure().subplots()
    found = result.ruler(20, 80)
    ruler.draw(ax, found, ["combined"])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), found["combined"])
    assert ax.get_ylabel() == "d′(20, 80)\n(standard deviations)"


@pytest.mark.parametrize("name", [name for name in names() if load(name).takes_model])
def test_own_architectures_can_be_drawn(
    name: str, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugs, "TABLE", TABLE[:4])
    files = load(name).write(bench, tmp_path, ["svg"])
    assert [file.name for file in files] == [f"{name}.svg", f"{name}.tex"]
    if name not in ("architectures", "plugs"):
        assert r"\texttt{my\_model \& co}" in files[-1].read_text(encoding="utf-8")
    assert all("not measured" not in note for note in bench.notes)


def test_figures_of_no_one_architecture_say_so(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(RopeleakError, match="figure holes is of no one architecture"):
        load("holes").write(bench, tmp_path)
    assert not list(tmp_path.iterdir())


def test_files_are_the_same_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
        bench = Bench("small", folder=tmp_path / "cache")  # computed, then found
        bench.budget = bench.budget._replace(context=16, n_blocks=2, draws=3, contents=3)
        load("beacon").write(bench, folder, ["pdf", "png", "svg"])
    for suffix in ("pdf", "png", "svg", "tex"):
        first, second = (folder / f"beacon.{suffix}" for folder in folders)
        assert first.read_bytes() == second.read_bytes()


def test_nothing_is_computed_for_files_that_cannot_be_written(tmp_path: Path) -> None:
    def data(bench: Bench) -> None:
        raise AssertionError

    recipe = Recipe("x", "", 1, 1, data, lambda figure, found: None, "", lambda found: {})
    with pytest.raises(RopeleakError, match="there is no folder"):
        recipe.write(Bench(), tmp_path / "missing")
    with pytest.raises(RopeleakError, match="format 'gif' is not known: give some of pdf, png"):
        recipe.write(Bench(), tmp_path, ["gif"])


def test_plain_text_is_escaped() -> None:
    assert escaped("50% of a_b & σ") == r"50\% of a\_b \& $\sigma$"


def test_trained_models_are_asked_for_where_they_are(tmp_path: Path) -> None:
    with pytest.raises(RopeleakError, match="there are no trained decoders"):
        training.read(tmp_path / "trained.nc")


def test_unknown_figures_are_refused() -> None:
    with pytest.raises(RopeleakError, match="there is no figure 'beakon': did you mean beacon"):
        load("beakon")
