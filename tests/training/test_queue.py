"""Working through runs: progress, errors, and sharing the work."""

import re
from pathlib import Path

import pytest

from paper.training.__main__ import main
from paper.training.architectures import CHANGES, SEEDS
from paper.training.queue import Progress, Report, Say, clock, locked, work_through
from paper.training.runs import Run, all_runs
from ropeleak.errors import RopeleakError


def note(run: Run, folder: Path, say: Say) -> None:
    """Do a job that leaves a note and fails for one seed."""
    if run.seed == 1:
        raise RopeleakError("it went wrong: try again")
    (folder / "note").write_text(str(run))
    say(1.0, "noted")


def test_all_runs_are_a_seed_at_a_time_and_have_folders_of_their_own(tmp_path: Path) -> None:
    runs = all_runs()
    assert [run.seed for run in runs] == sorted(SEEDS * len(CHANGES))
    assert len({run.folder(tmp_path) for run in runs}) == len(runs) == len(SEEDS) * len(CHANGES)
    assert {run.architecture for run in all_runs(["NTK"])} == {"NTK"}


def test_architectures_are_all_different() -> None:
    stacks = {run.stack.replace(name="") for run in all_runs() if run.seed == 0}
    assert len(stacks) == len(CHANGES)


def test_every_run_is_done_and_an_error_names_its_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    runs = [Run("baseline", seed) for seed in SEEDS]
    with pytest.raises(RopeleakError, match=re.escape("baseline (seed 1): it went wrong")):
        work_through(note, runs, tmp_path, jobs=2)
    assert [(run.folder(tmp_path) / "note").exists() for run in runs] == [True, False, True]
    assert "noted" in capsys.readouterr().out


def test_progress_tells_how_much_is_left() -> None:
    runs = [Run("baseline", 0), Run("2 blocks", 0)]
    progress = Progress(runs)
    found = progress.add(Report(runs[0], 0.5, "step 320"))
    assert found == "0/2 runs, 33.3%, ? left; baseline (seed 0): step 320"  # it was so before
    progress._start -= 100
    line = progress.add(Report(runs[0], 1.0, "step 640"))
    assert line == "1/2 runs, 66.7%, 0:01:40 left; baseline (seed 0): step 640"


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    with locked(tmp_path / "lock") as first, locked(tmp_path / "lock") as second:
        assert first and not second
    with locked(tmp_path / "lock") as again:
        assert again


def test_durations_are_told_in_hours() -> None:
    assert [clock(s) for s in (0, 59.6, 3661)] == ["0:00:00", "0:01:00", "1:01:01"]


def test_an_unknown_architecture_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["run", "--only", "nothing"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("error: there is no architecture 'nothing': give")


def test_what_was_not_trained_cannot_be_summarised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["summarise", "--out", str(tmp_path)])
    assert stopped.value.code == 2
    assert "python -m paper.training run" in capsys.readouterr().err
