"""What is kept of the trainings: small, whole, and in agreement with what is written about it."""

import json
import subprocess
import sys
from functools import cache

import numpy as np
import pytest

from paper.training import ledger, pages
from paper.training.architectures import BASELINE, CHANGES, SEEDS, architecture
from paper.training.interventions import INTERVENTIONS
from paper.training.questions import QUESTIONS
from paper.training.recipe import Recipe
from paper.training.results import FOLDER, QUANTITIES, Results
from ropeleak.claims import names
from ropeleak.spec import Stack


@cache
def kept() -> Results:
    return Results.load()


def test_files_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("*.nc")) < 1e6


def test_nothing_is_missing() -> None:
    trained, afterwards = kept().trained, kept().afterwards
    assert kept().architectures == list(CHANGES)
    assert [str(name) for name in afterwards["intervention"].values] == list(INTERVENTIONS)
    assert trained["seed"].values.tolist() == list(SEEDS)
    assert trained["step"].values.tolist() == list(Recipe().saved)
    for name, quantity in QUANTITIES.items():
        assert trained[name].attrs["units"] == quantity.unit
        for architecture_name in CHANGES:
            blocks = architecture(architecture_name, 9).n_blocks
            found = kept().of(name, architecture_name)
            sizes = {None: (), "block": (blocks,), "depth": (blocks + 1,)}
            assert found.shape == (len(SEEDS), *sizes[quantity.dim])
            assert np.isfinite(found).all()


def test_architectures_are_those_of_the_table() -> None:
    stacks = [Stack.model_validate_json(text) for text in kept().trained["stack"].values]
    distinct = stacks[0].vocab_size
    assert distinct is not None
    assert stacks == [architecture(name, distinct) for name in CHANGES]


def test_where_the_numbers_are_from_is_known() -> None:
    for dataset in (kept().trained, kept().afterwards):
        attributes = dataset.attrs
        assert attributes["trainings"] == len(CHANGES) * len(SEEDS)
        assert len(attributes["text_sha256"]) == 64
        assert json.loads(attributes["recipe"])["steps"] == Recipe().steps
        assert 0 < attributes["training_cpu_seconds"] < 3 * 3600
        assert all(attributes[name] for name in ("python", "torch", "numpy", "ropeleak"))


def test_every_question_is_answered() -> None:
    for question in QUESTIONS:
        answer = question.answer(kept())
        assert np.isfinite(answer.number).all(), question.id
        assert answer.number.low <= answer.number.value <= answer.number.high
        assert answer.verdict in ("yes", "no", "undecided")


def test_training_made_a_model_of_the_text() -> None:
    first, last = (kept().of("loss_late", BASELINE, step) for step in (0, -1))
    np.testing.assert_allclose(first, np.log(256), rtol=1e-5)
    assert (last < 1.7).all()


@pytest.mark.parametrize("hole", ["mask", "residual"])
def test_before_training_the_leak_is_the_predicted_one(hole: str) -> None:
    """Text is no random content, and a network of width 64 is one draw: within a factor."""
    for name, prediction in kept().predictions.items():
        measured = kept().of(hole, name, 0).mean()
        expected = getattr(prediction, hole).mean()
        assert abs(measured - expected) < 0.35 * expected + 0.01, name


def test_the_page_says_what_the_results_say() -> None:
    text = pages.PAGE.read_text(encoding="utf-8")
    assert pages.page(text, kept()) == text


def test_the_ledger_says_what_the_results_say() -> None:
    said = json.loads(ledger.FILE.read_text(encoding="utf-8"))
    assert said == ledger.rounded(ledger.after_training(kept()))
    assert set(said) <= set(names())


def test_answers_need_no_pytorch() -> None:
    code = (
        "import sys\n"
        "from paper.training.__main__ import main; main(['answers'])\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=FOLDER.parents[2], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.count("\n") >= len(QUESTIONS)
