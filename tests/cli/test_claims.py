"""``ropeleak claims``: what it prints, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from ropeleak.claims import names
from ropeleak.claims.lab import Lab
from ropeleak.cli import main


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_claim_is_told_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "relative-scores", "--quick"]) == 0
    out = capsys.readouterr().out
    assert "relative-scores: RoPE scores depend on i - j alone: supported" in " ".join(out.split())
    assert "Rule: refuted unless change below 1e-18" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80


def test_json_holds_all_numbers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    figure = tmp_path / "claim.pdf"
    assert main(["claims", "closed-origin", "--quick", "--json", "--plot", str(figure)]) == 0
    data = json.loads(capsys.readouterr().out)
    (claim,) = data["claims"]
    assert claim["id"] in names()
    assert claim["verdict"] == "supported"
    assert all(row["measured"]["source"] == "exact" for row in claim["numbers"] if row["decides"])
    assert figure.stat().st_size > 1000


def test_what_is_measured_is_kept(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    for _ in range(2):
        assert main(["claims", "closed-origin", "--quick"]) == 0
    assert list((folder / "out" / "claims").glob("draws-*.npz"))
    first, second = capsys.readouterr().out.split("closed-origin: ")[1:]
    assert first == second


def test_an_interruption_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Lab, "gather", interrupted)
    assert main(["claims", "closed-origin", "--quick", "--resume", "kept"]) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "Stopped: the same command goes on from what is kept in kept.\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-claim"], "there is no claim 'no-such-claim': did you mean"),
        (["--plot", "a.png"], "draws one claim: name it"),
        (["plugs", "--plot", "a.txt"], "must end in one of"),
        (["plugs", "--plot", "no/such/folder/a.png"], "there is no folder"),
        (["plugs", "--seed", "-1"], "seed=-1 is not allowed"),
    ],
)
def test_refusals(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1
