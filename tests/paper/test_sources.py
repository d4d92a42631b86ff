"""The paper's sources: no number typed; what is cited, referred to and included is there."""

import re
from pathlib import Path

import pytest

from paper import build, numbers, sources, theorems
from ropeleak.figures import names as figure_names

BIBLIOGRAPHY = (sources.SOURCE / "references.bib").read_text(encoding="utf-8")
TEXT = sources.text()


def used(command: str) -> set[str]:
    """Return the names that a command takes, several in one argument too."""
    return {
        name.strip()
        for found in re.findall(rf"\\{command}(?:\[[^\]]*\])*\{{([^}}]*)\}}", TEXT)
        for name in found.split(",")
    }


def test_no_number_is_typed() -> None:
    assert not list(sources.typed())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a leak of 0.23 nats", ["0.23"]),
        ("in $40\\%$ of them", ["40"]),
        ("token~0 and position~0", []),
        ("$x_0 + \\frac{1}{2}y^2$", []),
        ("as 7 others \\citep{chi2023} % of 2023", ["7"]),
        ("\\val{mask-leak-96}, table~\\ref{tab:9}", []),
    ],
)
def test_typed_numbers_are_found(
    text: str, found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sections").mkdir()
    (tmp_path / "main.tex").write_text(r"\input{sections/one}", encoding="utf-8")
    (tmp_path / "sections" / "one.tex").write_text(text, encoding="utf-8")
    monkeypatch.setattr(sources, "SOURCE", tmp_path)
    assert [each.number for each in sources.typed()] == found


def test_every_number_is_known_and_used() -> None:
    assert used("val") == set(numbers.NUMBERS)


def test_every_reference_is_cited_and_every_citation_known() -> None:
    entries = set(re.findall(r"^@\w+\{(\w+),", BIBLIOGRAPHY, re.M))
    assert used("cite[tp]") == entries


def test_every_label_that_is_referred_to_exists() -> None:
    labels = used("label")
    labels |= {f"fig:{name}" for name in figure_names()}
    labels |= {f"thm:{name}" for name in theorems.stated()}
    assert used("ref") <= labels


def test_every_figure_is_in_the_paper() -> None:
    assert {f"figures/{name}" for name in figure_names()} <= used("input")


def test_everything_that_is_included_is_generated() -> None:
    included = {name for name in used("input") if name.startswith("generated/")}
    written = set(build.TABLES) | {f"{name}" for name in theorems.files()}
    assert {f"{name.removeprefix('generated/')}.tex" for name in included} <= written


def test_what_is_left_to_the_supplement_is_there() -> None:
    document = theorems.supplement()
    for name in theorems.supplementary():
        assert rf"\label{{thm:{name}}}" in document


def test_the_appendix_proves_what_the_text_states() -> None:
    proofs = theorems.files()["proofs.tex"]
    for name in theorems.stated():
        assert rf"theorem~\ref{{thm:{name}}}]" in proofs
    assert proofs.count(r"\begin{proof}") == len(theorems.stated())
