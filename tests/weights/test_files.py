"""Safetensors files: what is read equals what was written, and damage is told in one sentence."""

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from ropeleak import RopeleakError
from ropeleak.weights import Tensors
from tests.support.checkpoints import save, save_sharded

FINFO: Any = ml_dtypes.finfo
DTYPES = (np.float64, np.float32, np.float16, ml_dtypes.bfloat16)


@pytest.mark.parametrize("wanted", [np.float32, np.float64])
@pytest.mark.parametrize("stored", DTYPES)
@given(shape=array_shapes(max_dims=3, max_side=5), seed=st.integers(0, 99))
def test_numbers_come_back(
    stored: Any, wanted: Any, shape: tuple[int, ...], seed: int, tmp_path_factory: Any
) -> None:
    values = np.random.default_rng(seed).normal(size=shape).astype(stored)
    path = save(tmp_path_factory.mktemp("w") / "a.safetensors", {"x": values, "y": values[:1]})
    tensors = Tensors(path)
    assert list(tensors) == ["x", "y"]
    out = np.empty(shape, wanted)
    tensors["x"].fill(out)
    np.testing.assert_array_equal(out, values.astype(wanted))
    np.testing.assert_array_equal(tensors["y"].numbers(), values[:1].astype(np.float64))
    if len(shape) > 1:
        flipped = np.empty((*shape[:-2], shape[-1], shape[-2]), wanted)
        tensors["x"].transposed().fill(flipped)
        np.testing.assert_array_equal(flipped, values.astype(wanted).swapaxes(-1, -2))
    tensors.release()
    np.testing.assert_array_equal(tensors["x"].numbers(), values.astype(np.float64))


@pytest.mark.parametrize("stored", DTYPES)
def test_extreme_numbers_come_back(stored: Any) -> None:
    limits = FINFO(stored)
    values = np.array([0.0, -0.0, limits.max, limits.smallest_subnormal, np.inf, np.nan]).astype(
        stored
    )
    got = Tensors({"x": values})["x"].numbers()
    np.testing.assert_array_equal(got, values.astype(got.dtype))
    assert np.signbit(got[1])


def test_the_files_of_a_checkpoint(tmp_path: Path) -> None:
    arrays = {f"t{k}": np.full((2, k + 1), k, np.float32) for k in range(7)}
    index = save_sharded(tmp_path, arrays)
    for source in (tmp_path, index):
        found = Tensors(source)
        assert set(found) == set(arrays)
        for name, value in arrays.items():
            np.testing.assert_array_equal(found[name].values, value)
    one = tmp_path / "one"
    one.mkdir()
    save(one / "step-100.safetensors", arrays, format="pt")
    assert set(Tensors(one)) == set(arrays)
    save(one / "model.safetensors", {"t0": arrays["t0"]})
    assert set(Tensors(one)) == {"t0"}


def test_a_fingerprint_knows_numbers_and_names() -> None:
    values = np.arange(6.0)
    first = Tensors({"x": values}).fingerprint()
    assert first == Tensors({"x": values.copy()}).fingerprint()
    others = ({"y": values}, {"x": values + 1}, {"x": values.reshape(2, 3)})
    assert first not in [Tensors(other).fingerprint() for other in others]


def whole(tmp_path: Path) -> bytes:
    return save(tmp_path / "whole", {"x": np.ones((4, 5)), "y": np.ones(3)}).read_bytes()


@pytest.mark.parametrize("kept", [0, 5, 8, 40, 100, 200])
def test_a_file_cut_short_is_refused(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(whole(tmp_path)[:kept])
    with pytest.raises(RopeleakError, match="copy or download it again"):
        Tensors(path)


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04 and then nothing at all",
        b"\xff" * 64,
        (9).to_bytes(8, "little") + b"[1, 2, 3]",
        (13).to_bytes(8, "little") + b'{"x": [1, 2]}',
        (12).to_bytes(8, "little") + b'{"x": "none"',
    ],
)
def test_what_is_no_safetensors_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(RopeleakError, match="not a safetensors file") as caught:
        Tensors(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "row",
    [
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]},
        {"dtype": "F32", "shape": "two", "data_offsets": [0, 8]},
    ],
)
def test_a_header_that_does_not_fit_is_refused(row: dict[str, Any], tmp_path: Path) -> None:
    text = json.dumps({"x": row}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\0" * 8)
    with pytest.raises(RopeleakError, match="does not fit its bytes"):
        Tensors(path)


def test_files_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(RopeleakError, match="there is no file"):
        Tensors(tmp_path / "none.safetensors")
    with pytest.raises(RopeleakError, match=r"no \.safetensors"):
        Tensors(tmp_path)
    index = save_sharded(tmp_path, {f"t{k}": np.ones(2) for k in range(4)}, shards=2)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(RopeleakError, match=r"model-00002-of-00002\.safetensors, which"):
        Tensors(tmp_path)
    save(tmp_path / "model-00002-of-00002.safetensors", {"t1": np.ones(2)})
    with pytest.raises(RopeleakError, match="has no tensor t3"):
        Tensors(tmp_path)
    index.write_text('{"weight_map": 3}')
    with pytest.raises(RopeleakError, match="not the index"):
        Tensors(tmp_path)
    index.unlink()
    with pytest.raises(RopeleakError, match=r"several \.safetensors"):
        Tensors(tmp_path)


def test_arrays_of_other_types_are_refused() -> None:
    with pytest.raises(RopeleakError, match="'x' is an array of int64"):
        Tensors({"x": np.arange(3)})
