"""``ropeleak check``."""

import json
import sys
from pathlib import Path

import pytest

from ropeleak.cli import main

CODE = """
import numpy as np

def rope(x, positions):
    size = x.shape[-1] // 2
    w = 10000.0 ** (-np.arange(size) / size)
    angles = (positions.astype(np.float32)[..., None] * w.astype(np.float32))[:, None]
    cos, sin = np.cos(angles).astype(x.dtype), np.sin(angles).astype(x.dtype)
    a, b = x[..., :size], x[..., size:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

def one_way(q, k, positions):
    return rope(q, positions), rope(k, -positions)

def tables(positions):
    angles = positions[..., None].astype(np.float32) * np.float32(0.5) ** np.arange(4)
    return np.cos(angles), np.sin(angles)

def apply(q, k, cos, sin):
    def turn(x):
        a, b = x[..., :4], x[..., 4:]
        c, s = cos[:, None].astype(x.dtype), sin[:, None].astype(x.dtype)
        return np.concatenate([a * c - b * s, b * c + a * s], axis=-1)
    return turn(q), turn(k)

def nan(q, k, positions):
    return q * np.nan, k

def attend(q, k, v, positions):
    scores = rope(q, positions) @ rope(k, positions).swapaxes(-1, -2) / q.shape[-1] ** 0.5
    weights = np.tril(np.exp(scores))
    return weights / weights.sum(-1, keepdims=True) @ v

def future(q, k, v, positions):
    return np.broadcast_to(v.mean(2, keepdims=True), v.shape)
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_rope.py").write_text(CODE)
    (tmp_path / "ends.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_rope", raising=False)


FEW = ["--examples", "10"]


def test_a_good_function(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["check", "my_rope:rope", "--dtype", "bf16", "--max-position", "131072", *FEW]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "position-id offset: holds" in out
    assert "sequence index:     holds" in out
    assert max(map(len, out.splitlines())) <= 100


def test_a_bad_function(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "my_rope:one_way", *FEW]) == 1
    out = capsys.readouterr().out
    assert "position-id offset: broken" in out
    assert "sin-sign-differs: queries turn one way and keys the other" in out
    assert max(map(len, out.splitlines())) <= 100


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "my_rope:one_way", "--json", *FEW]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["passed"] is False
    assert report["findings"][0]["causes"][0]["name"] == "sin-sign-differs"
    assert report["findings"][0]["failure"]["error"] > report["findings"][0]["failure"]["tolerance"]


def test_tables_and_frequencies() -> None:
    tables = ["check", "my_rope:apply", "--tables", "my_rope:tables", "--head-size", "8", *FEW]
    assert main(tables) == 0
    assert main([*tables, "--rope", "default", "--set", "base=16"]) == 0
    assert main([*tables, "--rope", "default"]) == 1


def test_attention(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "my_rope:attend", "--heads", "4", "--head-size", "16", *FEW]) == 0
    assert (
        "attend: float32 in numpy, positions up to 4096, 4 heads of 16" in capsys.readouterr().out
    )
    assert main(["check", "my_rope:future", *FEW]) == 1
    assert "no-causal-mask: query 0 sees up to" in capsys.readouterr().out


def test_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "pythia-160m", *FEW]) == 0
    out = capsys.readouterr().out
    assert "all 12 blocks: full, RoPE default, base 10000, 25% of each head" in out
    assert (
        main(
            [
                "check",
                "pythia-160m",
                "--set",
                "rope.factor=2",
                "--set",
                "rope.original_context=2048",
                "--set",
                "rope.type=dynamic",
                "--json",
                *FEW,
            ]
        )
        == 1
    )
    assert json.loads(capsys.readouterr().out)["verdicts"]["position-id offset"][:6] == "broken"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no_such_module:rope"], "cannot be imported"),
        (["my_rope:missing"], "has no 'missing'"),
        (["my_rope"], "is neither a bundled model nor a path"),
        (["my_rope:"], "must be MODULE:NAME"),
        (["ends:rope"], "module 'ends' cannot be imported (SystemExit: 3)"),
        (["pythia-160m", "--window", "4"], "--window does not apply to a model"),
        (["my_rope:rope", "--kv-heads", "4"], "--kv-heads does not apply to a rotary function"),
        (["my_rope:attend", "--rope", "default"], "--rope does not apply to attention"),
        (["my_rope:nan"], "NaN"),
        (["my_rope:rope", "--set", "base=16"], "give --rope too"),
        (["my_rope:rope", "--rope", "wiggly"], "wiggly"),
        (["my_rope:rope", "--dtype", "int4"], "int4"),
        (["my_rope:apply"], "--tables"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err
