"""``ropeleak theorems``: listing, printing and verifying."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import sympy as sp

from ropeleak.cli import main
from ropeleak.theory.theorems import TABLE, load, mask_leak


def test_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theorems"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in TABLE)
    assert max(map(len, out.splitlines())) <= 80
    assert main(["theorems", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(TABLE)
    assert {row["family"] for row in rows} == {
        "rope", "softmax", "uniform", "origin", "reach", "ruler", "precision", "residual",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["log-denominator", "rope-relative", "averaging-power"])
def test_one_is_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theorems", name]) == 0
    out = capsys.readouterr().out
    theorem = load(name)
    assert theorem.title in out and "assumed: " in out and "1. [" in out
    assert "\\" not in out and "$" not in out
    assert main(["theorems", name, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["name"] == name
    assert len(data["proven"]) == len(theorem.proof)
    assert data["claim"]["rhs"] == sp.sstr(theorem.formula)


def test_one_is_printed_in_latex(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theorems", "log-denominator", "--latex"]) == 0
    out = capsys.readouterr().out
    assert out == load("log-denominator").latex()
    assert r"\label{thm:log-denominator}" in out


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_the_whole_document_compiles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theorems", "--latex"]) == 0
    (tmp_path / "theorems.tex").write_text(capsys.readouterr().out)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "theorems.tex"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]


def test_one_is_verified(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theorems", "denominator-heat", "--verify"]) == 0
    assert "proven" in capsys.readouterr().out
    assert main(["theorems", "denominator-heat", "--verify", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (
        row["holds"] and row["failed"] == [] and row["steps"] == len(load("denominator-heat").proof)
    )


def test_a_wrong_theorem_is_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = load("mask-gradient-series")
    wrong = replace(right, steps=(replace(right.claim, rhs=right.formula + 1),))
    monkeypatch.setattr(mask_leak, "mask_gradient_series", lambda: wrong)
    assert main(["theorems", "mask-gradient-series", "--verify"]) == 2
    out, err = capsys.readouterr()
    assert "NOT PROVEN" in out
    assert err == "error: SymPy does not prove mask-gradient-series\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["theorems", "log-denominater"], "did you mean log-denominator?"),
        (["theorems", "--latex", "--json"], "leave --verify and --json out"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and words in err
