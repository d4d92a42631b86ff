"""The experiments at their quick budget: verdicts, errors, agreement with theory, controls."""

import re
from pathlib import Path

import numpy as np
import pytest

from ropeleak import RopeleakError, claims
from ropeleak.claims import interventions, ledger
from ropeleak.claims.claim import Finding
from ropeleak.claims.lab import BUDGETS, Budget, Lab
from ropeleak.claims.number import EXACT, MEASURED, SOURCES
from ropeleak.claims.rule import VERDICTS
from ropeleak.simulate.activations import activations

QUICK = BUDGETS["quick"]
IDS = claims.names()
HARDLY = 5.0
"""Standard errors that theory and measurement may differ by, of the many that are compared."""


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab("quick", seed=1)


@pytest.fixture(scope="module")
def findings(lab: Lab) -> dict[str, Finding]:
    return {name: claims.load(name).run(lab) for name in IDS}


@pytest.mark.parametrize("name", IDS)
def test_experiments_reach_a_verdict(findings: dict[str, Finding], name: str) -> None:
    finding = findings[name]
    assert finding.verdict in VERDICTS
    assert finding.verdict == finding.claim.rule.decide_rows(finding.evidence.rows)
    assert ledger.deciding(finding)
    names = [row.name for row in finding.evidence.rows]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", IDS)
def test_every_number_has_an_error_or_says_why_not(findings: dict[str, Finding], name: str) -> None:
    for row in findings[name].evidence.rows:
        if row.theory is not None:
            assert row.theory.source in set(SOURCES) - {MEASURED}
            assert row.theory.se is None
        if row.measured is not None:
            assert (row.measured.se is None) == (row.measured.source == EXACT)
            assert row.measured.source in (EXACT, MEASURED)
            assert np.isfinite(row.measured.value)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("mask-denominator", "causal"), ("mask-denominator", "ring share"),
        ("mask-denominator", "change, causal"), ("mask-denominator", "window"),
        ("closed-origin", "variance"), ("fifty-vs-hundred", "d′ linear"),
        ("bos-anchor", "random, early"), ("bos-anchor", "zero, late"),
        ("bos-anchor", "mean, early"), ("bos-anchor", "total"), ("ntk-suppresses", "NTK"),
        ("ntk-suppresses", "NTK, aligned"), ("ntk-suppresses", "NTK, reads"),
        ("window-accumulates", "rise, window"), ("window-accumulates", "rise, full"),
        ("sinks-fingerprint", "sink"), ("sinks-fingerprint", "full"),
        ("sinks-fingerprint", "excess, full"), ("beyond-training", "ln Z beyond"),
        ("beyond-training", "growth, none"), ("beyond-training", "entropy, none"),
        ("score-maps", "nearby, block 1"),
        ("score-maps", "distortion, bidirectional"), ("variance-shrinkage", "exponent"),
        ("variance-shrinkage", "kept"), ("nearby-similarity", "bidirectional"),
        ("residual-rollout", "collapse"), ("residual-rollout", "kept"),
        ("mask-comparison", "full"), ("mask-comparison", "window"),
    ],
)  # fmt: skip
def test_theory_and_measurement_agree(findings: dict[str, Finding], name: str, row: str) -> None:
    found = next(r for r in findings[name].evidence.rows if r.name == row)
    assert found.theory is not None
    assert found.measured is not None and found.measured.se
    assert abs(found.theory.value - found.measured.value) < HARDLY * found.measured.se


VERDICT = {
    "beyond-training": "not at initialisation", "ntk-suppresses": "not at initialisation",
    "plugs": "refuted",
}  # fmt: skip
"""Where it is not ``supported``."""
SOON = (
    "relative-scores", "mask-denominator", "closed-origin", "window-accumulates",
    "sinks-fingerprint", "residual-rollout", "mask-comparison",
)  # fmt: skip
"""Experiments that take a few seconds, which other seeds are tried on."""


@pytest.mark.parametrize("name", IDS)
def test_verdicts(findings: dict[str, Finding], name: str) -> None:
    assert findings[name].verdict == VERDICT.get(name, "supported")


@pytest.mark.parametrize("seed", [2, 3])
def test_other_seeds_give_the_same_verdicts(seed: int, findings: dict[str, Finding]) -> None:
    other = Lab("quick", seed)
    found = {name: claims.load(name).run(other) for name in SOON}
    assert {n: f.verdict for n, f in found.items()} == {n: findings[n].verdict for n in SOON}
    for name in ("mask-denominator", "window-accumulates"):
        numbers = [[row.number.value for row in f[name].evidence.rows] for f in (found, findings)]
        assert numbers[0] != numbers[1]


def test_the_ledger_of_the_readme_does_not_contradict(findings: dict[str, Finding]) -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    found = dict(re.findall(r"\| `([a-z-]+)`: [^|]* \| \*\*([a-z ]+)\*\* \|", text))
    assert tuple(found) == IDS
    for name, verdict in found.items():
        assert verdict in VERDICTS
        assert "undecided" in (verdict, findings[name].verdict) or verdict == findings[name].verdict


# Negative controls


def test_a_ring_mask_refutes_the_mask_denominator(lab: Lab) -> None:
    claim = claims.load("mask-denominator")
    stacks = dict(claim.stacks(QUICK))
    assert claim.run(lab, {**stacks, "causal": stacks["ring"]}).verdict == "refuted"


def test_a_broken_rope_refutes_relative_scores(lab: Lab) -> None:
    claim = claims.load("relative-scores")
    stacks = dict(claim.stacks(QUICK))
    dynamic = {"type": "dynamic", "factor": 4.0, "original_context": 1024}
    broken = stacks["none"].replace(context=8192).set("rope", dynamic)
    finding = claim.run(lab, {**stacks, "dynamic": broken})
    assert finding.verdict == "refuted"


def test_random_bos_kills_the_beacon(lab: Lab) -> None:
    claim = claims.load("sinks-fingerprint")
    stacks = dict(claim.stacks(QUICK))
    assert claim.run(lab, {**stacks, "sink": stacks["random sink"]}).verdict == "refuted"


def test_random_bos_opens_the_origin(lab: Lab) -> None:
    claim = claims.load("closed-origin")
    stacks = {name: stack.set("bos", "random") for name, stack in claim.stacks(QUICK).items()}
    assert claim.run(lab, stacks).verdict == "refuted"


def test_beyond_the_reach_positions_are_alike(lab: Lab) -> None:
    claim = claims.load("fifty-vs-hundred")
    base = claim.stacks(QUICK)["decoder"].set("attention.window", interventions.BURN_IN)
    finding = claim.run(lab, {"decoder": base})
    assert finding.verdict == "refuted"
    d_prime = next(row.measured for row in finding.evidence.rows if row.name == "probe")
    assert d_prime is not None and d_prime.se
    assert abs(d_prime.value - 0.5) < HARDLY * d_prime.se


# Plugs


def test_exact_plugs_leave_nothing(lab: Lab) -> None:
    base = claims.load("plugs").stacks(QUICK)["decoder"].set("context", QUICK.watched)
    table = [interventions.plugged(lab, row, base) for row in interventions.TABLE]
    assert len(table) - 1 >= 14
    for found in table:
        for hole in ("mask", "residual"):
            if getattr(found.intervention, hole):
                assert getattr(found, hole) < 1e-9, found.intervention.name
        assert found.intervention.cost
    streaming = [row.intervention for row in table if row.intervention.streams]
    assert any(row.mask for row in streaming) and any(row.residual for row in streaming)


# What is kept, and refusals

TINY = Budget("quick", 16, 2, 6, 2, 16, 104, 32, 3, 64)


def tiny(folder: Path | None = None, seed: int = 0, draws: int = 6) -> Lab:
    lab = Lab("quick", seed, folder)
    lab.budget = TINY._replace(draws=draws)
    return lab


def test_measurements_are_taken_up(tmp_path: Path) -> None:
    claim = claims.load("window-accumulates")
    stack = claim.stacks(TINY)["window"]
    begun, whole = tiny(tmp_path, draws=3).measure(stack), tiny(tmp_path).measure(stack)
    fresh = tiny().measure(stack)
    for name, values in fresh.items():
        assert np.array_equal(values, whole[name])
        assert np.array_equal(values[:3], begun[name])
    calls: list[str] = []
    again = tiny(tmp_path)
    again._progress = lambda what, done, wanted: calls.append(what)
    again.measure(stack)
    assert calls == []


def test_long_contexts_are_predicted_on_a_grid() -> None:
    lab = tiny(draws=3)
    lab.budget = lab.budget._replace(long=320)
    rows = {row.name: row for row in claims.load("beyond-training").run(lab).evidence.rows}
    theory, found = rows["ln Z beyond"].theory, rows["ln Z beyond"].measured
    assert theory is not None and found is not None and found.se
    assert abs(theory.value - found.value) < HARDLY * found.se


def test_seeds_have_files_of_their_own(tmp_path: Path) -> None:
    stack = claims.load("window-accumulates").stacks(TINY)["window"]
    for count, seed in enumerate((0, 1), 1):
        tiny(tmp_path, seed).measure(stack)
        assert len(list(tmp_path.glob("*.npz"))) == count


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    stack = claims.load("window-accumulates").stacks(TINY)["window"]
    lab = tiny(tmp_path)
    lab.measure(stack)
    (file,) = tmp_path.glob("*.npz")
    file.write_bytes(b"not a checkpoint")
    with pytest.raises(RopeleakError, match="cannot resume from"):
        tiny(tmp_path).measure(stack)


@pytest.mark.parametrize(
    ("budget", "seed", "words"), [("huge", 0, "quick or full"), ("quick", -1, "seed=-1")]
)
def test_bad_labs_are_refused(budget: str, seed: int, words: str) -> None:
    with pytest.raises(RopeleakError, match=words):
        Lab(budget, seed)


def test_planted_tokens_are_where_they_should_be() -> None:
    stack = claims.load("fifty-vs-hundred").stacks(TINY)["decoder"]
    (first, second) = activations(stack, [50, 100, 50], (0, 50, 100), draws=2, threads=1)
    embedding = first[0]
    assert np.array_equal(embedding[0, 1], embedding[1, 2])
    assert np.array_equal(embedding[0, 1], embedding[2, 1])
    assert not np.array_equal(embedding[0, 1], embedding[1, 1])
    assert np.array_equal(embedding[0, 0], embedding[2, 0])
    assert not np.array_equal(first[0][0, 1], second[0][0, 1])
    for wrong, words in ((stack.set("bos", "zero"), "bos=zero"), (stack, "outside")):
        with pytest.raises(RopeleakError, match=words):
            activations(wrong, [50, 200], (50,), draws=1)


# Plots and the program


@pytest.mark.parametrize("name", IDS)
def test_every_claim_is_drawn(findings: dict[str, Finding], name: str, tmp_path: Path) -> None:
    path = tmp_path / "claim.png"
    figure = ledger.plot(findings[name], path)
    panels = findings[name].evidence.panels
    assert len(figure.axes) == len(panels)
    for ax, panel in zip(figure.axes, panels, strict=True):
        assert ax.get_xlabel() and ax.get_ylabel()
        legend = ax.get_legend()
        assert legend is not None
        shown = {text.get_text().replace("\n", " ") for text in legend.get_texts()}
        assert {curve.label.removesuffix(", theory") for curve in panel.curves} <= shown
    assert path.stat().st_size > 1000


# The ledger as text


def test_the_ledger_is_a_table(findings: dict[str, Finding]) -> None:
    ours, theirs = ([findings[n] for n in claims.names(part)]
                    for part in (claims.CLAIMS, claims.PREDECESSORS))  # fmt: skip
    for part, last in ((ours, "after training"), (theirs, "arXiv")):
        header, *rows = ledger.table(part)
        assert header[-1] == last
        assert len(rows) == sum(len(ledger.deciding(finding)) for finding in part)
        assert all(len(row) == len(header) for row in rows)
        markdown, latex = ledger.markdown(part), ledger.latex(part)
        assert markdown.count("\n") == len(rows) + 2
        assert latex.count(r"\\") == len(rows) + 1
        for finding in part:
            assert f"`{finding.claim.id}`: {finding.claim.says}" in markdown
            assert finding.claim.id in latex
    assert "2502.01951" in ledger.markdown(theirs)


def test_what_training_says_stands_beside(
    findings: dict[str, Finding], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    finding = findings["closed-origin"]
    said = tmp_path / "after.json"
    said.write_text('{"closed-origin": {"says": "50% of it", "numbers": []}}', encoding="utf-8")
    for path, cell in ((said, "50% of it"), (tmp_path / "missing.json", "-")):
        monkeypatch.setattr(ledger, "AFTER_TRAINING", path)
        ledger.after_training.cache_clear()
        assert ledger.table([finding])[1][-1] == cell
    ledger.after_training.cache_clear()


def test_variants_are_tables(findings: dict[str, Finding]) -> None:
    header, *rows = findings["plugs"].evidence.table
    assert "cost" in header
    assert len(rows) >= 14
    assert ledger.variants_markdown(findings["plugs"]).count("\n") == len(rows) + 2
    assert ledger.variants_latex(findings["plugs"]).count(r"\\") == len(rows) + 1
