"""What TeX's log complains about, and what is said where TeX is missing."""

import os
import shutil

import pytest

from paper import tex
from ropeleak import RopeleakError


@pytest.mark.parametrize(
    "line",
    [
        "Overfull \\hbox (12.3pt too wide) in paragraph at lines 3--9",
        "LaTeX Warning: Reference `fig:none' on page 3 undefined on input line 7.",
        "LaTeX Warning: Citation `nobody2020' on page 1 undefined on input line 12.",
        "Package natbib Warning: Citation `nobody2020' on page 1 undefined on input line 12.",
        "LaTeX Warning: Label `sec:a' multiply defined.",
        "! Undefined control sequence.",
    ],
)
def test_a_log_with_a_fault_complains(line: str) -> None:
    broken = "\n".join(line[i : i + tex.LINE] for i in range(0, len(line), tex.LINE))
    assert list(tex.complaints(f"This is pdfTeX\n{broken}\nmore\n")) == [line]


def test_small_faults_are_let_pass() -> None:
    log = "Overfull \\hbox (4.9pt too wide) in paragraph\nLaTeX Font Warning: Font shape\n"
    assert not list(tex.complaints(log))


def test_lines_that_tex_has_broken_are_read_whole() -> None:
    line = "LaTeX Warning: Citation `a-very-long-name-of-somebody-or-other2020' on page 1 undefined"
    broken = f"{line[:79]}\n{line[79:]}\n"
    assert list(tex.complaints(broken)) == [line]


def test_missing_tex_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(
        RopeleakError, match=r"latexmk is missing.*sudo apt install latexmk"
    ) as told:
        tex.require()
    assert "\n" not in str(told.value)
