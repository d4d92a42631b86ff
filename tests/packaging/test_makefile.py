"""The Makefile on a machine that lacks something: one clear sentence."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(tree: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    program = shutil.which("make")
    assert program is not None
    return subprocess.run(
        [program, *arguments], cwd=tree, capture_output=True, text=True, check=False,
        env=None if path is None else {"PATH": path},
    )  # fmt: skip


def python_that_says(folder: Path, name: str, script: str) -> Path:
    """Put a stand-in for a Python on its own path."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def test_help_lists_the_targets(tree: Path) -> None:
    out = make(tree).stdout
    for target in (
        "predict", "test", "lint", "bench", "formulas", "ladder", "validate", "validate-quick",
        "pages", "docs", "training", "figures", "pictures", "lock", "package", "clean",
    ):  # fmt: skip
        assert f"make {target}" in out


def test_no_python_is_told(tree: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sh").symlink_to("/bin/sh")
    for old in ("python3", "python3.12"):
        python_that_says(tools, old, "exit 1")
    done = make(tree, "predict", path=str(tools))
    assert done.returncode != 0
    assert "ropeleak needs Python 3.11 or newer and found none" in done.stderr
    assert not (tree / ".venv").exists()


def test_a_python_without_venv_is_told(tree: Path) -> None:
    program = python_that_says(tree / "bin", "python3", 'case "$2" in *ensurepip*) exit 1;; esac')
    done = make(tree, "predict", f"PYTHON={program}")
    assert done.returncode != 0
    assert "apt install python3-venv" in done.stderr
    assert not (tree / ".venv").exists()


def test_the_newest_known_python_is_taken(tree: Path) -> None:
    tools = tree / "bin"
    for name, script in (
        ("python3.13", "exit 127"),
        ("python3.12", f'exec "{sys.executable}" "$@"'),
        ("python3", "exit 1"),
    ):
        python_that_says(tools, name, script)
    (tools / "sh").symlink_to("/bin/sh")
    done = make(tree, "-n", ".venv/.locked", path=str(tools))
    assert "python3.12 -m venv" in done.stdout
