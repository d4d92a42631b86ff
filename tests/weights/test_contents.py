"""Contents for given weights: arrays, files, texts, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ropeleak import RopeleakError
from ropeleak.weights.contents import bos_token, read_contents


def test_random_tokens() -> None:
    tokens, words = read_contents(50, 20, 7, seed=3)
    assert tokens.shape == (50, 20) and words == "random tokens"
    assert set(np.unique(tokens)) == set(range(7))
    np.testing.assert_array_equal(tokens, read_contents(50, 20, 7, seed=3)[0])
    assert (tokens != read_contents(50, 20, 7, seed=4)[0]).any()


def test_given_ids_are_cut_to_length_and_bos_is_taken_off(tmp_path: Path) -> None:
    ids = np.arange(24).reshape(4, 6) % 10
    np.testing.assert_array_equal(read_contents(ids, 5, 10)[0], ids[:, :5])
    np.testing.assert_array_equal(read_contents(ids.tolist(), 6, 10)[0], ids)
    with_bos = np.column_stack([np.full(4, 9), ids])
    np.testing.assert_array_equal(read_contents(with_bos, 5, 10, bos=9)[0], ids[:, :5])
    np.testing.assert_array_equal(read_contents(ids, 5, 10, bos=0)[0], ids[:, :5])
    path = tmp_path / "ids.npy"
    np.save(path, ids.astype(np.int32))
    found, words = read_contents(path, 5, 10)
    assert found.dtype == np.int64 and words == "token ids of ids.npy"
    np.testing.assert_array_equal(found, ids[:, :5])


def test_a_text_of_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("déjà vu" * 5, encoding="utf-8")
    tokens, words = read_contents(str(path), 9, 257)
    assert words == "text of a.txt" and tokens.shape == (5, 9)
    assert tokens.astype(np.uint8).tobytes().decode() == "déjà vu" * 5


def test_a_text_by_the_models_tokenizer(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    words = {word: k for k, word in enumerate(["[UNK]", "to", "be", "or", "not"])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    path = tmp_path / "a.txt"
    path.write_text("to be or not to be yes " * 2, encoding="utf-8")
    tokens, _ = read_contents(path, 7, 5, folder=tmp_path)
    assert tokens.tolist() == [[1, 2, 3, 4, 1, 2, 0]] * 2
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(RopeleakError, match="is not a tokenizer"):
        read_contents(path, 7, 5, folder=tmp_path)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ([[0, 10]], "token 10 in the contents is not in the vocabulary of 10"),
        ([[0, -1]], "token -1"),
        ([[0, 1]], "contents of 2 tokens are too short: give 3"),
        ([0, 1, 2], "are not token ids"),
        ([[0.5, 1, 2]], "are not token ids"),
        ([["a", "b", "c"]], "are not token ids"),
        ("none.txt", "cannot read none.txt: No such file"),
        ("none.npy", "cannot read none.npy: No such file"),
    ],
)
def test_bad_contents_are_one_sentence(source: Any, words: str) -> None:
    with pytest.raises(RopeleakError, match=words) as caught:
        read_contents(source, 3, 10)
    assert "\n" not in str(caught.value)


def test_bad_files_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(b"text")
    with pytest.raises(RopeleakError, match=r"it is not a \.npy file"):
        read_contents(path, 3, 10)
    with open(path, "wb") as file:
        np.savez(file, a=np.arange(3), b=np.arange(3))
    with pytest.raises(RopeleakError, match="it holds several arrays"):
        read_contents(path, 3, 10)
    text = tmp_path / "a.txt"
    text.write_text("short")
    with pytest.raises(RopeleakError, match="less than two contents of 3"):
        read_contents(text, 3, 256)
    with pytest.raises(RopeleakError, match=r"no tokenizer\.json beside the weights"):
        read_contents(text, 3, 50_000, folder=tmp_path)


def test_which_token_is_bos(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    assert bos_token(None, None, 9) is None
    assert bos_token(tmp_path, None, 9) is None
    for content, wanted in (
        ({"bos_token_id": 4}, 4),
        ({"bos_token_id": None}, None),
        ({"text_config": {"bos_token_id": 2}}, 2),
        ([], None),
    ):
        config.write_text(json.dumps(content))
        assert bos_token(tmp_path, None, 9) == wanted
    assert bos_token(tmp_path, 5, 9) == 5
    with pytest.raises(RopeleakError, match="bos_token=9 is not in the vocabulary of 9"):
        bos_token(None, 9, 9)
    config.write_text('{"bos_token_id": "x"}')
    with pytest.raises(RopeleakError, match="bos_token='x' is not a token"):
        bos_token(tmp_path, None, 9)
