"""``ropeleak figures``: what it writes, and what it refuses."""

import json
from pathlib import Path

import pytest

from ropeleak.cli import main
from ropeleak.figures import names

CONFIG = {
    "model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 64, "vocab_size": 1000, "max_position_embeddings": 128,
    "initializer_range": 0.2, "rms_norm_eps": 1e-6,
}  # fmt: skip


def test_figures_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figures", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:] if line[0] != " "] == list(names())
    assert max(map(len, lines)) <= 80


def test_a_config_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, out = tmp_path / "config.json", tmp_path / "new" / "figures"
    config.write_text(json.dumps(CONFIG))
    arguments = ["figures", "beacon", "--model", str(config), "--context", "16", "--out", str(out)]
    assert main([*arguments, "--set", "bos=random"]) == 0
    assert {file.name for file in out.iterdir()} == {
        "beacon.pdf", "beacon.png", "beacon.tex", "cache",
    }  # fmt: skip
    assert "bos=random" in (out / "beacon.tex").read_text()
    printed = capsys.readouterr()
    assert printed.out.startswith(f"1 of 1: {out}/beacon.pdf, .png, .tex")
    assert printed.err == ""


def test_an_interruption_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ropeleak.figures.bench import Bench

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Bench, "measure", interrupted)
    assert main(["figures", "beacon", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "Stopped: the same command goes on from what is kept.\n"
    assert not list(tmp_path.glob("beacon*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["beakon"], "there is no figure 'beakon': did you mean beacon?"),
        (["holes", "--model", "pythia-160m"], "the figure holes is of no one architecture"),
        (["beacon", "--context", "3"], "--context changes a model: give --model too"),
        (["beacon", "--set", "bos=random"], "--set changes a model: give --model too"),
        (["beacon", "--model", "pythia-161m"], "did you mean pythia-160m"),
        (["beacon", "--format", "gif"], "format 'gif' is not known: give some of pdf, png, svg"),
        (["beacon", "--format", ","], "give some of pdf, png, svg"),
        (["beacon", "--seed", "-1"], "seed=-1 is not allowed"),
        (["beacon", "--budget", "huge"], "huge"),
    ],
)
def test_refusals(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["figures", *arguments, "--out", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1
    assert not list(tmp_path.rglob("*.pdf"))


def test_a_file_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").touch()
    assert main(["figures", "beacon", "--out", str(tmp_path / "out")]) == 2
    assert "cannot write" in capsys.readouterr().err
