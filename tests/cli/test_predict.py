"""``ropeleak predict``: reports, files, and one sentence for every bad input."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ropeleak.results
from ropeleak import Result
from ropeleak.cli import main

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64,
    "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
    "vocab_size": 1000, "max_position_embeddings": 256, "initializer_range": 0.1,
}  # fmt: skip
Write = Callable[..., str]


@pytest.fixture
def config(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Writes a config with some entries changed, and returns its path."""

    def write(**changes: Any) -> str:
        path = tmp_path_factory.mktemp("model") / "config.json"
        path.write_text(json.dumps({**CONFIG, **changes}))
        return str(path)

    return write


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must be refused in one line, and return the line."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


# Reports


def test_report_leads_with_the_verdict(config: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", config(), "--context", "128"]) == 0
    out, err = capsys.readouterr()
    text = " ".join(out.split())
    assert "At initialisation, the softmax denominator shifts log-attention by" in text
    order = ["At initialisation", "Leak by block", "Architecture", "Approximations"]
    assert sorted(order, key=out.index) == order
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80
    assert all(line == line.rstrip() for line in out.splitlines())
    assert err == ""


def test_no_model_is_the_bundled_llama(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--context", "8"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("llama-3.1-8b: 32 blocks, context 8\n")
    assert "No model was given" in out
    assert "12 of 32 blocks: --all-blocks" in " ".join(out.split())


def test_all_blocks_are_shown_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "llama-3.1-8b", "--context", "8", "--all-blocks"]) == 0
    out = capsys.readouterr().out
    assert "--all-blocks" not in out
    assert "No model was given" not in out
    table = out[out.index("Leak by block") : out.index("mask, residual, total")]
    assert [line.split()[0] for line in table.splitlines()[3:]] == [str(b) for b in range(1, 33)]


def test_changes_apply_in_order(config: Write, capsys: pytest.CaptureFixture[str]) -> None:
    changes = ["--set", "attention.window=4", "--set", "attention.window=8", "--set", "bos=random"]
    assert main(["predict", config(), "--context", "16", "--json", *changes]) == 0
    stack = json.loads(capsys.readouterr().out)["stack"]
    assert [attention["window"] for attention in stack["attention"]] == [8, 8]
    assert stack["bos"]["kind"] == "random"


def test_json_is_json_and_nothing_else(config: Write, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is not JSON")

    for context in ("1", "2", "128"):
        assert main(["predict", config(), "--context", context, "--json"]) == 0
        data = json.loads(capsys.readouterr().out, parse_constant=refuse)
        assert len(data["blocks"]["leak_mask"]) == 2
        assert data["blocks"]["block"] == [1, 2]
        assert data["depth"] == [0, 1, 2]
        assert data["verdict"]
        assert data["alternatives"] == []
        assert data["at_position"][0]["position"] == 0
        assert len(data["at_position"][-1]["beacon"]) == 3
    assert data["ruler"]["positions"] == [50, 100]
    assert [row["position"] for row in data["at_position"]] == [0, 50, 100, 127]


def test_alternatives_stand_side_by_side(config: Write, capsys: pytest.CaptureFixture[str]) -> None:
    alternatives = ["--vs", "pythia-160m", "--vs-set", "window=4", "--vs-set", "bos=random"]
    arguments = ["predict", config(), "--context", "128", *alternatives]
    assert main(arguments) == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in ("Side by side", "d′ between 50 and 100", "to pythia-160m:", "bos=random"):
        assert words in out
    assert main([*arguments, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    pythia, changed = data["alternatives"]
    assert pythia["stack"]["context"] == 128
    assert changed["stack"]["bos"]["kind"] == "random"
    assert changed["stack"]["attention"][0]["window"] == 4
    assert data["stack"]["attention"][0]["window"] is None


def test_the_same_model_twice_is_told_apart(
    config: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config()
    assert main(["predict", path, "--context", "8", "--vs", path, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert len(data["alternatives"]) == 1
    assert data["alternatives"][0]["label"] != data["label"]


# Files


def test_files_are_written(
    config: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, plot = tmp_path / "a.nc", tmp_path / "a.pdf"
    arguments = ["--out", str(out), "--plot", str(plot), "--keep", "full", "--vs-set", "window=4"]
    assert main(["predict", config(), "--context", "16", *arguments]) == 0
    assert sorted(os.listdir(tmp_path)) == ["a.nc", "a.pdf", "a.vs1.nc"]
    assert "K" in Result.load(out).dataset
    assert Result.load(tmp_path / "a.vs1.nc").stack.attention[0].window == 4
    assert "Wrote" in capsys.readouterr().out


def test_destinations_are_checked_before_computing(
    config: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def never(*_: object, **__: object) -> None:
        raise AssertionError("computed before the destination was checked")

    monkeypatch.setattr(ropeleak.results, "predict", never)
    model = config()
    both = str(tmp_path / "same.pdf")
    for words, *arguments in (
        ("folder", "--out", str(tmp_path)),
        ("no folder", "--out", str(tmp_path / "missing" / "a.nc")),
        ("not a regular file", "--out", os.devnull),
        ("must end in one of", "--plot", str(tmp_path / "a.gif")),
        ("no folder", "--plot", str(tmp_path / "missing" / "a.pdf")),
        ("give two files", "--out", both, "--plot", both),
        ("config that is read", "--out", model),
    ):
        assert words in refused(capsys, "predict", model, *arguments)
    assert os.listdir(tmp_path) == []


# Bad input


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "bert", "architectures": ["BertModel"]}, "decoder"),
        ({"rope_scaling": {"rope_type": "magic", "factor": 2.0}}, "'magic'"),
        ({"hidden_size": -64}, "hidden_size=-64"),
        ({"num_hidden_layers": 0}, "num_hidden_layers=0"),
        ({"hidden_size": 65}, "not divisible"),
        ({"num_hidden_layers": 10**9}, "1000000000"),
        ({"initializer_range": float("nan")}, "initializer_range=nan"),
        ({"initializer_range": 1e308}, "initializer_range=1e+308"),
        ({"rope_theta": float("inf")}, "rope_theta"),
        ({"hidden_size": "wide"}, "hidden_size"),
    ],
)
def test_a_bad_config_is_one_sentence(
    changes: dict[str, Any], words: str, config: Write, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    arguments = ["--out", str(tmp_path / "a.nc"), "--plot", str(tmp_path / "a.pdf")]
    assert words in refused(capsys, "predict", config(**changes), *arguments)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [b"not JSON", b"", b"[]", b"\xff\xfe\x00", b"null", b"{"])
def test_a_file_that_is_no_config_is_one_sentence(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    refused(capsys, "predict", str(path))
    assert os.listdir(tmp_path) == ["config.json"]


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("no file", ["missing.json"]),
        ("did you mean llama-3.1-8b", ["lama-3.1-8b"]),
        ("did you mean", ["--vs", "lama-3.1-8b"]),
        ("neither", [""]),
        ("did you mean attention.window", ["--set", "atention.window=4"]),
        ("attention.window", ["--set", "attention.window=wide"]),
        ("attention.window", ["--set", "attention.window=-1"]),
        ("init.std", ["--set", "init.std=nan"]),
        ("init.std", ["--set", "init.std=1e308"]),
        ("n_blocks", ["--set", "n_blocks=1000000000"]),
        ("path=value", ["--set", "attention.window"]),
        ("path=value", ["--set", "=4"]),
        ("--vs-set bos: write it as path=value", ["--vs-set", "bos"]),
        ("context=0", ["--context", "0"]),
        ("context=", ["--context", "99999999999999999999"]),
        ("--context", ["--context", "many"]),
        ("--positions", ["--positions", "some"]),
        ("no such option", ["--contxt", "4"]),
        ("unexpected extra argument", ["llama-2-7b", "mistral-7b-v0.1"]),
        ("largest context that fits", ["--context", "16777216", "--positions", "dense"]),
    ],
)
def test_a_bad_option_is_one_sentence(
    words: str, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(capsys, "predict", *arguments, "--out", str(tmp_path / "a.nc"))
    assert os.listdir(tmp_path) == []


def test_control_characters_are_not_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in refused(capsys, "predict", "\x1b[31mred\n")
    assert "\x1b" not in refused(capsys, "predict", "--out", "/nowhere\x1b[31m/\n/a.nc")
