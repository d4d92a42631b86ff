"""`predict` and `Result`: files, tables, words."""

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ropeleak import Result, RopeleakError, Stack, predict
from ropeleak.results import load_stack

CONFIG = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 128, "vocab_size": 1000, "max_position_embeddings": 256,
}  # fmt: skip


def small(**fields: object) -> Stack:
    return Stack.build(
        **{"name": "small", "context": 48, "d_model": 64, "n_heads": 4, "n_blocks": 3,
           "init": {"scheme": "fan_in"}, **fields}
    )  # fmt: skip


@pytest.fixture(scope="module")
def result() -> Result:
    return predict(small())


def test_source_may_be_a_stack_a_name_a_path_or_a_dict(tmp_path: Path) -> None:
    import json

    file = tmp_path / "config.json"
    file.write_text(json.dumps(CONFIG))
    stack = small()
    assert load_stack(stack) is stack
    assert load_stack(stack, 32).context == 32
    assert load_stack("llama-3.1-8b", 64).n_blocks == 32
    from_dict = load_stack(CONFIG, 64)
    assert from_dict.d_model == 64
    for path in (file, str(file), tmp_path):
        loaded = load_stack(path, 64)
        assert loaded.replace(name="same") == from_dict.replace(name="same")


def test_dataset_and_stack_belong_together(result: Result) -> None:
    assert result.stack == small()
    assert dict(result.dataset.sizes) == {"depth": 4, "block": 3, "query": 48}
    assert "K" not in result.dataset
    assert {"K", "Q"} <= set(predict(small(n_blocks=1, context=8), keep="full").dataset)


def test_an_overflow_is_one_sentence(monkeypatch: pytest.MonkeyPatch, result: Result) -> None:
    def overflow(*_: object, **__: object) -> object:
        return np.exp(np.array([1000.0]))

    monkeypatch.setattr("ropeleak.theory.mean_field.predict", overflow)
    monkeypatch.setattr("ropeleak.theory.ruler.cues", overflow)
    with pytest.raises(RopeleakError, match=r"overflow.*score_std=1 and embedding_var=1:"):
        predict(small())
    with pytest.raises(RopeleakError, match="leave the range of floating point"):
        result.ruler(3, 5)


def test_progress_counts_the_blocks() -> None:
    done: list[int] = []
    predict(small(n_blocks=3), progress=done.append)
    assert done == [1, 2, 3]


@pytest.mark.parametrize("keep", ["summary", "full"])
def test_what_is_saved_is_loaded(tmp_path: Path, keep: str) -> None:
    result = predict(small(n_blocks=2, context=16), keep=keep)  # type: ignore[arg-type]
    path = tmp_path / "result.nc"
    assert result.save(path) == path
    again = Result.load(path)
    xr.testing.assert_identical(again.dataset, result.dataset)
    assert again.stack == result.stack
    assert again.verdict() == result.verdict()
    assert os.listdir(tmp_path) == ["result.nc"]


def test_a_deep_stack_fits_in_the_metadata(tmp_path: Path, result: Result) -> None:
    deep = small(n_blocks=1000)
    dataset = result.dataset.assign_attrs(stack=deep.model_dump_json())
    Result(dataset).save(tmp_path / "deep.nc")
    assert Result.load(tmp_path / "deep.nc").stack == deep


def test_a_failed_save_leaves_the_old_file(
    tmp_path: Path, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "result.nc"
    path.write_text("precious")

    def full(_: object, target: Path, **__: object) -> None:
        Path(target).write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full)
    with pytest.raises(RopeleakError, match="No space left"):
        result.save(path)
    assert path.read_text() == "precious"
    assert os.listdir(tmp_path) == ["result.nc"]


def test_loading_something_else_is_refused(tmp_path: Path) -> None:
    text, foreign, cut = (tmp_path / name for name in ("a.txt", "foreign.nc", "cut.nc"))
    text.write_text("not netCDF")
    xr.Dataset({"t": ("x", np.arange(3.0))}).to_netcdf(foreign, engine="h5netcdf")
    cut.write_bytes(foreign.read_bytes()[:700])
    for path, words in (
        (text, "not a netCDF file"), (cut, "not a netCDF file"), (foreign, "not a ropeleak result"),
        (tmp_path / "missing.nc", "No such file"), (tmp_path, "directory"), ("nul\0", "null"),
    ):  # fmt: skip
        with pytest.raises(RopeleakError, match=words) as caught:
            Result.load(path)
        assert "\n" not in str(caught.value)


def test_a_result_of_another_version_is_refused(result: Result) -> None:
    dataset = result.dataset.assign_attrs(stack='{"from_the_future": 1}', ropeleak="99.0")
    with pytest.raises(RopeleakError, match=r"another version of ropeleak \(99\.0\)"):
        Result(dataset)


def test_table_has_a_row_per_block_and_a_column_per_position(result: Result) -> None:
    table = result.table(positions=[0, 47])
    assert table.index.tolist() == [1, 2, 3]
    assert table.index.name == "block"
    assert table.columns.tolist() == [
        "keys", "leak_mask", "leak_residual", "leak_total",
        "beacon[0]", "k_diag[0]", "sink_excess[0]", "beacon[47]", "k_diag[47]", "sink_excess[47]",
    ]  # fmt: skip
    np.testing.assert_array_equal(table["leak_mask"], result.dataset["leak_mask"])
    np.testing.assert_array_equal(table["beacon[47]"], result.dataset["beacon"][1:, 47])
    np.testing.assert_array_equal(table["sink_excess[47]"], result.dataset["sink_excess"][:, 47])


def test_table_of_a_deep_stack_keeps_first_and_last() -> None:
    deep = predict(small(n_blocks=20, context=12))
    assert deep.table().index.tolist() == list(range(1, 21))
    few = deep.table(max_rows=5).index.tolist()
    assert len(few) <= 5
    assert few[0] == 1
    assert few[-1] == 20


def test_ruler_is_asked_once(result: Result) -> None:
    ruler = result.ruler(12, 24)
    assert set(ruler.data_vars) == {"linear", "norm", "combined"}
    assert ruler.sizes["depth"] == 4
    assert result.ruler(12, 24) is ruler
    with pytest.raises(RopeleakError, match="position 48 is outside"):
        result.ruler(12, 48)


def test_notebook_shows_verdict_and_table(result: Result) -> None:
    page = result._repr_html_()
    assert "softmax denominator" in page
    assert page.count("<tr") == 4 + 1  # the blocks, the columns and the index's name
    assert repr(result) == "<ropeleak.Result 'small': 3 blocks, context 48, mean-field>"
    named = Result(result.dataset.assign_attrs(stack=small(name="<b>").model_dump_json()))
    assert "<b>" not in named._repr_html_().split("<table")[0]


def test_plot_writes_what_its_name_says(tmp_path: Path, result: Result) -> None:
    for suffix, start in (("pdf", b"%PDF"), ("png", b"\x89PNG"), ("svg", b"<?xml")):
        result.plot(tmp_path / f"leak.{suffix}")
        assert (tmp_path / f"leak.{suffix}").read_bytes().startswith(start)
    with pytest.raises(RopeleakError, match=r"must end in one of \.pdf, \.png, \.svg"):
        result.plot(tmp_path / "leak.gif")
    assert sorted(os.listdir(tmp_path)) == ["leak.pdf", "leak.png", "leak.svg"]
