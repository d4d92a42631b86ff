"""The program as a whole: exit codes, what it imports, streams that fail."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ropeleak.results
from ropeleak import RopeleakError, catalog
from ropeleak.cli import main

HEAVY = (
    "numpy",
    "pydantic",
    "xarray",
    "pandas",
    "scipy",
    "matplotlib",
    "rich",
    "h5netcdf",
    "sympy",
)


def python(
    code: str, *, stdout: int = subprocess.PIPE, **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], stdout=stdout, stderr=subprocess.PIPE,
        text=True, env={**os.environ, **env}, check=False,
    )  # fmt: skip


def run(
    *arguments: str, stdout: int = subprocess.PIPE, **env: str
) -> subprocess.CompletedProcess[str]:
    code = f"import sys; from ropeleak.cli import main; sys.exit(main({list(arguments)!r}))"
    return python(code, stdout=stdout, **env)


def loaded(code: str) -> set[str]:
    done = python(f"import sys\n{code}\nprint('modules', *sys.modules)")
    assert done.returncode == 0, done.stderr
    names = done.stdout.splitlines()[-1].split()[1:]
    return {name for name in HEAVY if name in names}


def test_importing_ropeleak_is_light() -> None:
    assert loaded("import ropeleak") == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        [],
        ["predict", "--help"],
        ["models", "--help"],
        ["theorems", "--help"],
        ["claims", "--help"],
    ],
)
def test_help_is_light(arguments: list[str]) -> None:
    # pydantic is typer's own doing: recent versions parse options with it.
    assert loaded(f"from ropeleak.cli import main\nassert main({arguments}) == 0") <= {"pydantic"}


def test_models_does_not_load_the_theory() -> None:
    assert not loaded("from ropeleak.cli import main\nmain(['models'])") & {
        "xarray", "pandas", "scipy", "matplotlib",
    }  # fmt: skip


@pytest.mark.parametrize(("arguments", "rarely"), [("", True), ("['models']", False)])
def test_only_the_program_collects_rarely(arguments: str, rarely: bool) -> None:
    done = python(
        "import gc, sys\nfrom ropeleak.cli import COLLECT_AFTER, main\nsys.argv[1:] = ['models']\n"
        f"main({arguments})\nprint(gc.get_threshold()[0] == COLLECT_AFTER)"
    )
    assert done.stdout.splitlines()[-1] == str(rarely), done.stderr


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        assert main(arguments) == 0
        out = capsys.readouterr().out
        assert "predict" in out
        assert "models" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("ropeleak ")


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in catalog.names())
    assert max(map(len, out.splitlines())) <= 80
    assert main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(catalog.names())


def test_unknown_commands_are_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["predit"], ["--no-such-option"], ["models", "extra"]):
        assert main(arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert "--help" in err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, ""),
        (RopeleakError("two\nlines"), 2, "error: two lines\n"),
        (MemoryError(), 2, "error: this needs more memory than there is: lower --context\n"),
        (OSError(28, "No space left on device", "a.nc"), 2,
         "error: a.nc: No space left on device\n"),
    ],
)  # fmt: skip
def test_what_goes_wrong_becomes_an_exit_code(
    error: BaseException, code: int, words: str,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(ropeleak.results, "predict", fail)
    assert main(["predict", "--context", "8"]) == code
    assert capsys.readouterr().err == words


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ropeleak.results, "predict", fail)
    with pytest.raises(ZeroDivisionError):
        main(["predict", "--context", "8"])


def test_an_encoding_without_greek_is_no_error() -> None:
    done = run("predict", "pythia-160m", "--context", "8", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "score_std ?" in done.stdout


def test_a_reader_that_leaves_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = run("models", stdout=write)
    os.close(write)
    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output_is_one_sentence() -> None:
    with open("/dev/full", "w") as full:
        done = run("models", stdout=full.fileno())
    assert done.returncode == 2
    assert done.stderr == "error: standard output: No space left on device\n"


def test_help_says_what_every_command_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = subprocess.run(
        [sys.executable, "-m", "ropeleak", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "..." not in out.split("Commands:")[1]
