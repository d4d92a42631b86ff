"""Every theorem: it is proven, a wrong step is not, its LaTeX is sound, its twin exists."""

import re
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from ropeleak.errors import RopeleakError
from ropeleak.theory.theorems import TABLE, load, names
from ropeleak.theory.theorems.latex import document, plain
from ropeleak.theory.theorems.steps import Step
from ropeleak.theory.theorems.theorem import Theorem


def wrong(step: Step) -> Step:
    """Return the step with a wrong right side: an added one, inside where there is an inside."""
    right = step.rhs
    if isinstance(right, sp.MatrixBase):
        return replace(step, rhs=right + sp.ones(*right.shape))
    if isinstance(right, (sp.Sum, sp.Integral)):
        return replace(step, rhs=type(right)(2 * right.function + 1, *right.limits))
    return replace(step, rhs=right + 1)


@pytest.fixture(params=TABLE, scope="module")
def theorem(request: pytest.FixtureRequest) -> Theorem:
    return load(request.param)


def test_it_is_proven(theorem: Theorem) -> None:
    result = theorem.verify()
    assert result.holds, result.failed
    assert result.outcomes
    assert theorem.name == result.name


def test_a_wrong_step_fails(theorem: Theorem) -> None:
    for step in theorem.proof:
        assert not wrong(step).prove(), step.text


def test_no_step_is_vacuous(theorem: Theorem) -> None:
    for step in theorem.proof:
        assert step.lhs != step.rhs, step.text
        for limit in step.lhs.atoms(sp.Limit):
            assert limit.args[0].has(limit.args[1]), step.text


def test_it_says_what_it_needs(theorem: Theorem) -> None:
    assert theorem.statement and theorem.title
    assert theorem.name in names()
    known = {row.symbol for row in theorem.symbols}
    for argument in theorem.arguments:
        base = {s.base if isinstance(s, sp.Indexed) else s for s in known}
        assert argument in base | known or str(argument) in str(theorem.steps), argument


def test_its_latex_is_balanced(theorem: Theorem) -> None:
    text = theorem.latex()
    begun = re.findall(r"\\begin\{(\w+\*?)\}", text)
    assert sorted(begun) == sorted(re.findall(r"\\end\{(\w+\*?)\}", text))
    assert text.count("{") == text.count("}")
    assert text.count("$") % 2 == 0
    assert text.isascii(), sorted({letter for letter in text if not letter.isascii()})
    assert begun[0] == "theorem"
    assert "proof" in begun
    outside = re.sub(
        r"\$[^$]*\$|\\\[.*?\\\]|\\label\{[^}]*\}|\\(begin|end)\{[^}]*\}", "", text, flags=re.S
    )
    assert not re.search(r"[_^&#%]", outside), outside


def test_its_greek_is_greek(theorem: Theorem) -> None:
    letters = "alpha|beta|gamma|delta|theta|kappa|lambda|mu|nu|rho|sigma|varphi|psi|omega|ell"
    text = theorem.latex()
    shown = " ".join(re.findall(r"\\\[.*?\\\]|\$[^$]*\$", text, flags=re.S))
    assert not re.search(rf"(?<![\\A-Za-z])({letters})(?![a-z])", shown)
    assert not re.search(r"(?<!\\)\\\\[A-Za-z]", shown)  # a command after a line break is none
    assert "polygamma" not in shown


def test_its_words_are_plain(theorem: Theorem) -> None:
    for words in (theorem.statement, theorem.validity, *theorem.hypotheses):
        assert "\\" not in plain(words), plain(words)
        assert "$" not in plain(words)


def test_the_document_holds_all() -> None:
    text = document([load(name) for name in TABLE])
    assert text.count(r"\begin{theorem}") == len(TABLE)
    assert text.rstrip().endswith(r"\end{document}")


def test_an_unknown_name_is_one_sentence() -> None:
    with pytest.raises(RopeleakError, match="did you mean log-denominator"):
        load("log-denominater")


def test_the_twin_comes_from_the_formula() -> None:
    theorem = load("denominator-moments")
    assert theorem(2.0, 1.0) == pytest.approx((np.exp(1) - 1) / 2)
    altered = replace(theorem, steps=(*theorem.steps[:-1], replace(theorem.claim, rhs=sp.S(7))))
    assert altered(2.0, 1.0) == 7
