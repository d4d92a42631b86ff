"""Files of a sweep: kept point by point, taken up again, extended, and never spoilt."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import ropeleak.sweeps.execution as execution
from ropeleak import RopeleakError, sweep
from ropeleak.catalog import load
from ropeleak.sweeps.api import Sweep, SweepProgress
from ropeleak.sweeps.journal import MAGIC, Journal
from ropeleak.sweeps.zarr_store import _run, chunk_shape
from tests.sweeps.support import OVER, STACK, assert_same

FILES = ["a.nc", "a.zarr"]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(execution, "LARGEST_BATCH", 1)


def stop_after(points: int) -> Callable[[SweepProgress], None]:
    def stop(state: SweepProgress) -> None:
        if state.done >= points:
            raise KeyboardInterrupt

    return stop


def interrupted(points: int, out: str, **options: Any) -> None:
    """Sweep and stop after some points."""
    with pytest.raises(KeyboardInterrupt):
        sweep(STACK, OVER, out=out, workers=1, progress=stop_after(points), **options)


def computed(over: dict[str, Any], out: str, **options: Any) -> tuple[xr.Dataset, int]:
    """Return the dataset of a sweep that goes on, and how many points it computed."""
    told: list[SweepProgress] = []
    with Sweep(STACK, over, out=out, **options) as running:
        before = running.done
        running.run(workers=1, progress=told.append)
        return running.dataset(), (told[-1].done if told else before) - before


@pytest.mark.parametrize("out", FILES)
def test_a_file_holds_what_memory_does(out: str) -> None:
    found = sweep(STACK, OVER, out=out, workers=1)
    assert_same(found, sweep(STACK, OVER, workers=1))
    opened = xr.open_zarr(out, chunks=None) if out == "a.zarr" else xr.open_dataset(out)
    with opened:
        assert_same(opened, found)
    assert os.listdir() == [out]


@pytest.mark.parametrize("out", FILES)
def test_a_stopped_sweep_goes_on(out: str) -> None:
    interrupted(4, out)
    found, count = computed(OVER, out)
    assert count == 8
    assert_same(found, sweep(STACK, OVER, workers=1))
    assert os.listdir() == [out]
    # only the points that failed are tried again
    again, count = computed(OVER, out)
    assert count == 3
    assert_same(again, found)


@pytest.mark.parametrize("out", FILES)
def test_more_values_and_models_are_added(out: str) -> None:
    small = {"window": [4, None], "rope.base": [1e5]}
    sweep(STACK, small, out=out, workers=1)
    found, count = computed(OVER, out)
    assert count == 10
    assert_same(found, sweep(STACK, OVER, workers=1))
    both = [STACK, STACK.set("alpha", 0.1)]
    told: list[SweepProgress] = []
    found = sweep(both, OVER, out=out, workers=1, progress=told.append)
    assert told[0].done == 9 + 1
    assert_same(found, sweep(both, OVER, workers=1))
    assert os.listdir() == [out]


@pytest.mark.parametrize("out", FILES)
def test_points_are_never_lost_to_a_smaller_grid(out: str) -> None:
    found = sweep(STACK, OVER, out=out, workers=1).load()
    with pytest.raises(RopeleakError, match="holds points that are not in this grid"):
        sweep(STACK, {"window": [2], "rope.base": [1e4]}, out=out, workers=1)
    assert_same(sweep(STACK, OVER, out=out, workers=1), found)
    assert os.listdir() == [out]


@pytest.mark.parametrize("out", FILES)
@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "uniform"}, r"other method \(mean-field, not uniform\)"),
        ({"positions": "dense"}, "other options"),
        ({"variables": ["leak_mask"]}, "other variables"),
        ({"at": [1, 2]}, "other positions"),
    ],
)
def test_a_file_of_another_sweep_is_refused(
    out: str, finished: bool, options: dict[str, Any], words: str
) -> None:
    if finished:
        sweep(STACK, OVER, out=out, workers=1)
    else:
        interrupted(4, out)
    before = sorted(os.listdir())
    with pytest.raises(RopeleakError, match=words):
        sweep(STACK, OVER, out=out, workers=1, **options)
    assert sorted(os.listdir()) == before
    computed(OVER, out)


def test_another_seed_is_refused_where_there_is_one() -> None:
    options: dict[str, Any] = {"method": "measure", "draws": 2, "contents": 2, "workers": 1}
    sweep(STACK, {"window": [2]}, out="a.nc", seed=1, **options)
    with pytest.raises(RopeleakError, match=r"other seed \(1, not 2\)"):
        sweep(STACK, {"window": [2]}, out="a.nc", seed=2, **options)


@pytest.mark.parametrize("name", ["a.nc", "a.nc.part"])
@pytest.mark.parametrize("content", [b"text", b"\x89HDF\r\n\x1a\n and then nothing"])
def test_a_file_that_is_no_sweep_is_left_alone(name: str, content: bytes) -> None:
    Path(name).write_bytes(content)
    with pytest.raises(RopeleakError, match=r"is not a sweep|is another file"):
        sweep(STACK, OVER, out="a.nc", workers=1)
    assert Path(name).read_bytes() == content
    assert os.listdir() == [name]


def test_a_prediction_or_a_folder_is_left_alone() -> None:
    from ropeleak import predict

    predict(STACK).save("a.nc")
    os.mkdir("a.zarr")
    Path("a.zarr", "mine").write_text("text")
    for out in FILES:
        with pytest.raises(RopeleakError, match=f"{out} is not a sweep"):
            sweep(STACK, OVER, out=out, workers=1)
    assert sorted(os.listdir()) == FILES
    assert os.listdir("a.zarr") == ["mine"]


@pytest.mark.parametrize("out", FILES)
def test_a_file_in_use_is_refused(out: str) -> None:
    with Sweep(STACK, OVER, out=out), pytest.raises(RopeleakError, match="another sweep is"):
        Sweep(STACK, OVER, out=out)


@pytest.mark.parametrize("cut", [1, 10, 400])
def test_a_record_cut_short_counts_as_not_written(cut: int) -> None:
    interrupted(5, "a.nc")
    part = Path("a.nc.part")
    part.write_bytes(part.read_bytes()[:-cut])
    found, count = computed(OVER, "a.nc")
    assert count == 8
    assert_same(found, sweep(STACK, OVER, workers=1))


def test_records_of_a_journal_come_back_whole() -> None:
    path = Path("j")
    records = [{"a": np.arange(n), "b": np.array(["x", "é" * n])} for n in range(1, 5)]
    journal = Journal(path)
    assert list(journal.records()) == []
    for record in records:
        journal.append(record)
    journal.close()
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        journal = Journal(path)
        found = list(journal.records())
        assert len(found) <= len(records)
        for one, other in zip(found, records, strict=False):
            assert {k: v.tolist() for k, v in one.items()} == {
                k: v.tolist() for k, v in other.items()
            }
        if length in (0, 7, len(MAGIC) + 20, len(whole) - 1):
            journal.append(records[0])
            journal.close()
            again = Journal(path)
            assert len(list(again.records())) == len(found) + 1
            again.close()
        else:
            journal.close()
    assert len(found) == len(records)


@pytest.mark.parametrize("shape", [(7,), (3, 100), (5, 40, 3), (2, 1, 65), (1, 1)])
def test_chunks_are_runs_of_points(shape: tuple[int, ...]) -> None:
    steps, start = chunk_shape(shape), 0
    size = int(np.prod(shape))
    while start < size:
        run = _run(start, shape, steps)
        assert run.start == start and 1 <= len(run) <= 64
        assert {_run(k, shape, steps) for k in run} == {run}
        chunk = {tuple(np.array(np.unravel_index(k, shape)) // steps) for k in run}
        assert len(chunk) == 1
        start = run.stop


FULL = """
import resource, signal, sys
from ropeleak.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.exit(main(["sweep", "pythia-160m", "--context", "8", "--set", "n_blocks=1", "--over",
               "rope.base=1e4:1e6:log:40", "--out", "a.nc", "--workers", "1"]))
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs limits of file sizes")
@pytest.mark.parametrize("when", ["meanwhile", "in the end"])
def test_a_full_disk_keeps_what_is_finished(when: str) -> None:
    limit = 60_000
    if when == "in the end":
        stack = load("pythia-160m", 8).set("n_blocks", 1)
        with Sweep(stack, {"rope.base": "1e4:1e6:log:40"}, out="a.nc") as running:
            running.run(workers=1)
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(limit)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: cannot write a.nc") and done.stderr.count("\n") == 1
    assert "File too large" in done.stderr
    assert "the same command goes on from a.nc.part" in done.stderr
    assert os.listdir() == ["a.nc.part"]
    journal = Journal(Path("a.nc.part"))
    kept = sum(len(record["status"]) for record in journal.records() if "status" in record)
    journal.close()
    assert f"Stopped after {kept} of 40 points" in done.stderr
    assert kept == 40 if when == "in the end" else 0 < kept < 40


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("out", FILES)
def test_a_read_only_folder_is_refused(out: str) -> None:
    os.mkdir("sealed", 0o500)
    with pytest.raises(RopeleakError, match="cannot write"):
        sweep(STACK, OVER, out=f"sealed/{out}", workers=1)
