"""``ropeleak sweep``: its report, files, figure, and what it refuses."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ropeleak.cli import main
from ropeleak.sweeps.api import Sweep
from ropeleak.sweeps.execution import Work

BASE = ["sweep", "pythia-160m", "--context", "8", "--set", "n_blocks=2", "--workers", "1"]
SMALL = [*BASE, "--over", "window=2,4,0,none"]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_report_shows_points_failures_and_approximations(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*SMALL, "--over", "rope.base=1e4:1e6:log:2"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines())) <= 80
    text = " ".join(out.split())
    assert "pythia-160m: 8 points (4 window x 2 rope.base)" in text
    assert "window base mask residual total at 4 at 4 at 4" in text
    assert "2 points failed 2 x attention.window=0 is not allowed" in text
    assert "Method: mean-field." in text
    assert "(6 of 6 points)" not in text


def test_files_and_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--out", "a.nc", "--plot", "a.png"]) == 0
    assert "Wrote a.nc." in capsys.readouterr().out
    assert sorted(os.listdir()) == ["a.nc", "a.png"]
    with xr.open_dataset("a.nc") as found:
        assert found["leak_mask"].dims == ("window", "block")
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")
    assert main([*SMALL, "--out", "a.zarr", "--variables", "leak_mask, beacon", "--at", "3,7"]) == 0
    with xr.open_zarr("a.zarr") as found:
        assert found["query"].values.tolist() == [3, 7]


def test_json_is_the_whole_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--json", "--at", "all"]) == 0
    data = json.loads(capsys.readouterr().out)
    found = xr.Dataset.from_dict(data)
    assert found["reason"].sel(window="0").item() != ""
    leak = found["leak_mask"].values.astype(float)
    assert np.isnan(leak[2]).all() and np.isfinite(leak[[0, 1, 3]]).all()
    assert data["attrs"]["sweep"]["experiment"]["method"] == "mean-field"


def test_models_zips_and_measurements(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sweep", "pythia-160m", "smollm3-3b", "--context", "8", "--workers", "1"]
    zipped = ["--over", "window=2,4", "--over", "n_blocks=1,2", "--zip", "window+n_blocks"]
    assert main([*arguments, *zipped, "--method", "uniform"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "pythia-160m, smollm3-3b: 4 points (2 model x 2 window+n_blocks)" in text
    measured = ["--method", "measure", "--width", "32", "--draws", "3", "--contents", "2",
                "--seed", "7", "--json"]  # fmt: skip
    assert main([*BASE, "--over", "window=2,4", *measured]) == 0
    data = json.loads(capsys.readouterr().out)
    assert "leak_mask_se" in data["data_vars"] and "seed" in data["data_vars"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "there is nothing to sweep"),
        (["--over", "window"], "--over window: write it as path=values"),
        (["--over", "=2"], "write it as path=values"),
        (["--over", "window=2", "--over", "window=4"], "--over window is given twice"),
        (["--over", "windwo=2"], "did you mean window?"),
        (["--over", "window="], "window has no values"),
        (["--over", "window=0"], "is not allowed: give a whole number"),
        (["--over", "window=2,2"], "window lists 2 twice"),
        (["--over", "context=1:1000:lin:1000", "--over", "rope.base=1:1e9:log:1000000"],
         "the grid has 1,000,000,000 points (1,000 context x 1,000,000 rope.base)"),
        (["--over", "window=2", "--zip", "window+bos"], "zip window+bos: 'bos' is not swept"),
        (["--over", "window=2", "--at", "x"], "--at x: give whole numbers"),
        (["--over", "window=2", "--at", "8"], "at=8 is not allowed"),
        (["--over", "window=2", "--variables", ","], "there are no variables"),
        (["--over", "window=2", "--draws", "3"], "draws=3 does not go with method=mean-field"),
        (["--over", "window=2", "--seed", "3"], "seed=3 needs a method that samples"),
        (["--over", "window=2", "--plot", "a.txt"], "a figure's name must end in"),
        (["--over", "window=2", "--out", "a.csv"], "ends in .nc or .zarr"),
        (["--over", "window=2", "--out", "no/a.nc"], "there is no folder"),
        (["--over", "window=2", "--out", "no/a.zarr"], "cannot write no/a.zarr"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*BASE, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and words in err and err.count("\n") == 1
    assert os.listdir() == []


def test_interrupted_without_a_file_it_writes_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Work.save

    def stop(self: Work, *finished: object) -> None:
        save(self, *finished)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(Work, "save", stop)
    for name in ("ropeleak-sweep.nc", "ropeleak-sweep-2.nc"):
        assert main(SMALL) == 130
        out, err = capsys.readouterr()
        assert out == ""
        assert err == f"Stopped after 1 of 4 points: the same command with --out {name} goes on.\n"
    assert sorted(os.listdir()) == ["ropeleak-sweep-2.nc.part", "ropeleak-sweep.nc.part"]


def test_a_kept_sweep_goes_on() -> None:
    with Sweep("pythia-160m", {"window": [2, 4]}, context=8) as running:
        running.run(workers=1)
        running.keep(Path("a.nc"))
    with Sweep("pythia-160m", {"window": [2, 4]}, context=8, out="a.nc") as again:
        assert again.done == 2
        again.run(workers=1)
        again.dataset()
    assert os.listdir() == ["a.nc"]


def test_a_terminal_shows_rate_and_remaining_time() -> None:
    controller, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "ropeleak", *SMALL, "--json"]
    with open("out", "w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=terminal, env=environment)
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(controller, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(controller)
    assert process.wait() == 0
    for words in (b"sweeping 4 points", b"4 of 4,", b"a second, 0 s left", b"1 failed"):
        assert words in shown
    assert Path("out").read_text().startswith("{")
