"""``ropeleak measure`` and ``ropeleak compare``: reports, files, stopping and going on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ropeleak import Result
from ropeleak.cli import main
from ropeleak.simulate import Measurement

SMALL = ["pythia-160m", "--context", "16", "--width", "64", "--set", "n_blocks=2",
         "--contents", "2"]  # fmt: skip
COMMAND = [sys.executable, "-m", "ropeleak", "measure", *SMALL]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_measure_reports(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", *SMALL, "--draws", "4", "--out", "a.nc", "--plot", "a.png"]) == 0
    out = capsys.readouterr().out
    assert "monte-carlo, dense positions, 4 draws of weights with 2 contents each" in out
    assert "a narrow stand-in was measured: d_model 768 -> 64" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80
    assert Result.load("a.nc").dataset.attrs["draws"] == 4
    assert Path("a.png").stat().st_size > 1000


def test_measure_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", *SMALL, "--draws", "4", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["method"] == "monte-carlo"
    assert len(data["blocks"]["leak_mask_se"]) == len(data["blocks"]["leak_mask"]) == 2


def test_compare_reports(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *SMALL, "--draws", "8", "--plot", "a.pdf"]) == 0
    out = capsys.readouterr().out
    for word in ("Theory against measurement", "leak_residual", "Leak by block", "At position 8"):
        assert word in out
    assert max(map(len, out.splitlines())) <= 80
    assert Path("a.pdf").read_bytes().startswith(b"%PDF")
    assert main(["compare", *SMALL, "--draws", "8", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert len(data["z"]["leak_mask"]) == 2
    assert data["agreement"]["k_diag"][0] > 0
    assert data["predicted"]["method"] == "mean-field"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--draws", "1"], "draws=1 is not allowed"),
        (["--contents", "1"], "contents=1 is not allowed"),
        (["--target-se", "0"], "target_se=0 is not allowed"),
        (["--width", "0"], "width=0 is not allowed"),
        (["--checkpoint", "no/such/file"], "cannot write no/such/file"),
        (["--plot", "a.txt"], "a figure's name must end in"),
    ],
)
@pytest.mark.parametrize("command", ["measure", "compare"])
def test_bad_input_is_one_sentence(
    command: str, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = [
        a for a in SMALL if not (arguments[0] in ("--contents", "--width") and a == arguments[0])
    ]
    assert main([command, *rest[:1], "--context", "16", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and words in err and err.count("\n") == 1
    assert os.listdir() == []


def test_a_target_for_the_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", *SMALL, "--target-se", "0.1", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert max(data["blocks"]["leak_residual_se"]) <= 0.1


def start(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path} was not written"
        time.sleep(0.05)


def test_interrupted_it_keeps_what_was_measured_and_says_how_to_go_on() -> None:
    process = start("--draws", "1000000", "--checkpoint", "m.checkpoint", "--out", "a.nc")
    wait_for(Path("m.checkpoint"))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from m.checkpoint" in " ".join(err.split())
    assert "Leak by block" in out
    first = Result.load("a.nc").dataset.attrs["draws"]
    assert f"Stopped after {first} draws" in err
    assert main(["measure", *SMALL, "--draws", str(first + 5), "--checkpoint", "m.checkpoint",
                 "--out", "b.nc"]) == 0  # fmt: skip
    assert main(["measure", *SMALL, "--draws", str(first + 5), "--out", "c.nc"]) == 0
    resumed, unbroken = (Result.load(name).dataset for name in ("b.nc", "c.nc"))
    for name in unbroken:
        assert resumed[name].equals(unbroken[name])


def test_interrupted_without_a_checkpoint_it_writes_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = Measurement.run

    def run(self: Measurement, *_: object, **__: object) -> None:
        unbroken(self, 3)
        raise KeyboardInterrupt

    monkeypatch.setattr(Measurement, "run", run)
    for name in ("ropeleak-measure.checkpoint", "ropeleak-measure-2.checkpoint"):
        assert main(["measure", *SMALL, "--draws", "9"]) == 130
        out, err = capsys.readouterr()
        assert "3 draws of weights" in out
        assert err == f"Stopped after 3 draws: the same command with --checkpoint {name} goes on.\n"
    monkeypatch.setattr(Measurement, "run", unbroken)
    assert main(["measure", *SMALL, "--draws", "9", "--checkpoint", name]) == 0
    assert "9 draws of weights" in capsys.readouterr().out


def test_killed_at_any_moment_it_resumes_to_the_same_numbers() -> None:
    checkpoint = Path("m.checkpoint")
    for pause in (0.0, 0.41):
        process = start("--draws", "1000000", "--checkpoint", "m.checkpoint")
        wait_for(checkpoint)
        time.sleep(1.2 + pause)
        process.kill()
        process.communicate(timeout=60)
    with np.load(checkpoint) as arrays:
        draws = int(arrays["count"]) + 3
    assert main(["measure", *SMALL, "--draws", str(draws), "--checkpoint", "m.checkpoint",
                 "--out", "b.nc"]) == 0  # fmt: skip
    assert main(["measure", *SMALL, "--draws", str(draws), "--out", "c.nc"]) == 0
    resumed, unbroken = (Result.load(name).dataset for name in ("b.nc", "c.nc"))
    for name in unbroken:
        assert resumed[name].equals(unbroken[name])
