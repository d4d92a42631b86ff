"""Every question is answered as its rule says, on results that are made up."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

from paper.training.architectures import BASELINE, CHANGES, SEEDS
from paper.training.interventions import INTERVENTIONS
from paper.training.questions import PLUGS, QUESTIONS, Verdict
from paper.training.results import QUANTITIES, Prediction, Results

BLOCKS, STEPS = 4, (0, 640)
QUESTION = {question.id: question for question in QUESTIONS}
SIZES = {"block": BLOCKS, "depth": BLOCKS + 1}


def made_up(spread: float = 0.01) -> Results:
    """Return results in which everything is 1 but for a spread over seeds."""
    random = np.random.default_rng(0)

    def dataset(first: str, names: Any) -> xr.Dataset:
        shape = {first: len(names), "seed": len(SEEDS), "step": len(STEPS)}
        found = {}
        for name, quantity in QUANTITIES.items():
            sizes = shape | ({quantity.dim: SIZES[quantity.dim]} if quantity.dim else {})
            found[name] = (list(sizes), 1 + spread * random.normal(size=list(sizes.values())))
        return xr.Dataset(found, {first: list(names), "seed": list(SEEDS), "step": list(STEPS)})

    results = Results(dataset("architecture", CHANGES), dataset("intervention", INTERVENTIONS))
    results.__dict__["predictions"] = {
        name: Prediction(np.full(BLOCKS, rank), np.full(BLOCKS, rank), float(rank))
        for rank, name in enumerate(CHANGES)
    }
    return results


def multiply(results: Results, kind: str, name: str, label: str, factor: Any) -> None:
    data = {"architecture": results.trained, "intervention": results.afterwards}[kind]
    data[name].loc[{kind: label}] *= factor


def answer(results: Results, question: str) -> tuple[float, Verdict]:
    found = QUESTION[question].answer(results)
    return found.number.value, found.verdict


@pytest.mark.parametrize(
    ("factor", "spread", "verdict"),
    [(0.5, 0.01, "yes"), (1.0, 0.01, "no"), (0.9, 0.3, "undecided")],
)
def test_a_share_that_is_missing_suppresses(factor: float, spread: float, verdict: str) -> None:
    results = made_up(spread)
    for kind, question in (
        ("architecture", "ntk-suppresses"), ("intervention", "ntk-suppresses-afterwards")
    ):  # fmt: skip
        multiply(results, kind, "residual", "NTK", factor)
        value, found = answer(results, question)
        assert found == verdict
        assert abs(value - (1 - factor)) < max(3 * spread, 0.03)


def test_bos_is_asked_about_at_early_queries() -> None:
    results = made_up()
    multiply(results, "intervention", "residual", "random bytes", 0.1)
    assert answer(results, "bos-anchor: random bytes")[1] == "no"
    multiply(results, "intervention", "early", "random bytes", 0.6)
    value, verdict = answer(results, "bos-anchor: random bytes")
    assert verdict == "yes" and abs(value - 0.4) < 0.03


def test_a_window_must_grow_and_exceed() -> None:
    results = made_up()
    for question in ("window-accumulates", "window-exceeds"):
        assert answer(results, question)[1] in ("no", "undecided")
    multiply(results, "architecture", "residual", "window 16", np.array([0, 1, 2, 3.0]))
    assert answer(results, "window-accumulates")[1] == "yes"
    assert answer(results, "window-exceeds")[1] == "yes"
    assert answer(results, "window-accumulates")[0] == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize(("name", "hole"), PLUGS)
def test_a_plug_must_leave_almost_nothing(name: str, hole: str) -> None:
    results, question = made_up(), f"stays-plugged: {name}, {hole}"
    assert answer(results, question)[1] == "no"
    multiply(results, "architecture", hole, name, 0.001)
    value, verdict = answer(results, question)
    assert verdict == "yes" and value == pytest.approx(0.001, rel=0.1)


def test_a_cost_is_a_difference_of_late_losses() -> None:
    results = made_up(spread=0.0001)
    assert answer(results, "costs: random BOS")[1] == "no"
    results.trained["loss_late"].loc[{"architecture": "random BOS"}] += 0.05
    value, verdict = answer(results, "costs: random BOS")
    assert verdict == "yes" and value == pytest.approx(0.05, abs=0.001)


def test_predictions_rank_what_they_order() -> None:
    results = made_up()
    assert answer(results, "ranks-mask")[1] != "yes"
    for rank, name in enumerate(CHANGES):
        for quantity in ("mask", "d_prime"):
            multiply(results, "architecture", quantity, name, 1.0 + rank)
        multiply(results, "architecture", "residual", name, 1 / (1.0 + rank))
    for question in ("ranks-mask", "ranks-mask-open", "ranks-position"):
        value, verdict = answer(results, question)
        assert verdict == "yes" and value > 0.98
    value, verdict = answer(results, "ranks-residual")
    assert verdict == "no" and value < -0.98


def test_blocks_that_do_not_exist_do_not_count() -> None:
    results = made_up()
    results.trained["residual"][list(CHANGES).index("2 blocks"), ..., 2:] = np.nan
    assert results.of("residual", "2 blocks").shape == (len(SEEDS), 2)
    assert np.isfinite(answer(results, "ranks-residual")[0])


@pytest.mark.parametrize(
    ("question", "name", "quantity", "low"),
    [
        ("mask-denominator", BASELINE, "mask", 0.001),
        ("fifty-vs-hundred", BASELINE, "accuracy", 0.5),
        ("sinks-fingerprint", BASELINE, "beacon", 0.001),
    ],
)
def test_thresholds_decide(question: str, name: str, quantity: str, low: float) -> None:
    results = made_up()
    assert answer(results, question)[1] == "yes"
    multiply(results, "architecture", quantity, name, low)
    assert answer(results, question)[1] == "no"


def test_ids_are_unique() -> None:
    assert len(QUESTION) == len(QUESTIONS)
