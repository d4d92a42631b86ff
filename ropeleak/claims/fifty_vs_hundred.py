"""Identical tokens at positions 50 and 100 can be told apart by their activations."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from ropeleak.simulate.activations import activations
from ropeleak.spec import Stack

from .claim import Claim, Evidence, Stacks
from .lab import Budget, Lab, load_arrays, save_arrays
from .number import Curve, Draws, Means, Row, curve, jackknife, mean_of, measured, predicted
from .rule import Condition, Rule
from .stacks import decoder

TOLD_APART = 0.6915
"""Least share of held-out activations that a probe must get right: that of d′ = 1."""
PAIR = (50, 100)
FLOOR = 1e-12
"""Variance of activations that are all the same, as those of the embedding are."""
TRAINED_ON = 2 / 3
"""Share of the contents that the probe is fitted on."""


def stacks(budget: Budget) -> Stacks:
    """Return the decoder, and the same with ordinary content at position 0."""
    base = decoder(budget, context=budget.watched)
    return {"decoder": base, "random BOS": base.set("bos", "random")}


def observe(lab: Lab, stack: Stack) -> Draws:
    """Return what observers get right in every draw, and what d′ is estimated from (draws, L+1)."""
    budget = lab.budget
    path = lab.path("probe", stack, draws=budget.probes, contents=budget.contents)
    kept = load_arrays(path)
    if kept:
        return kept
    token_at = [PAIR[content % 2] for content in range(budget.contents)]
    rows: list[dict[str, NDArray[Any]]] = []
    for acts in activations(stack, token_at, PAIR, draws=budget.probes, seed=lab.seed):
        depths = [_at_depth(x[::2, 0].astype(float), x[1::2, 1].astype(float)) for x in acts]
        rows.append({name: np.array([row[name] for row in depths]) for name in depths[0]})
        lab.advance(f"{stack.name}, probe", len(rows), budget.probes)
    found = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    save_arrays(path, found)
    return found


def _at_depth(first: NDArray[np.float64], second: NDArray[np.float64]) -> dict[str, float]:
    """Return signal and noise of the linear cue, and what fitted observers get right.

    Parameters
    ----------
    first, second
        Activations at the two positions (contents, d), all contents different.
    """
    n, d = first.shape
    means = [x.mean(axis=0) for x in (first, second)]
    spread = [x.var(axis=0, ddof=1).sum() for x in (first, second)]
    signal = ((means[0] - means[1]) ** 2).sum() - sum(spread) / n  # of distinct pairs
    fit = int(n * TRAINED_ON)
    train, test = [x[:fit] for x in (first, second)], [x[fit:] for x in (first, second)]
    centre = [x.mean(axis=0) for x in train]
    v = [x.var(axis=0, ddof=1).mean() + FLOOR for x in train]
    direction, middle = _probe(train, centre), (centre[0] + centre[1]) / 2
    sign = (1, -1)
    linear = [(s * ((x - middle) @ direction) > 0).mean() for s, x in zip(sign, test, strict=True)]
    likelihood = []
    for s, x in zip(sign, test, strict=True):
        logs = [
            -((x - c) ** 2).sum(axis=1) / (2 * u * (1 + 1 / fit)) - d / 2 * np.log(u)
            for c, u in zip(centre, v, strict=True)
        ]
        likelihood.append((s * (logs[0] - logs[1]) > 0).mean())
    return {
        "signal": float(signal), "noise": float(sum(spread) / (2 * d)),
        "linear": float(np.mean(linear)), "likelihood": float(np.mean(likelihood)),
    }  # fmt: skip


def _probe(
    train: list[NDArray[np.float64]], centre: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return Fisher's discriminant (d,), its covariance shrunk towards an isotropic one."""
    residual = np.concatenate([x - c for x, c in zip(train, centre, strict=True)])
    n, d = residual.shape
    covariance = residual.T @ residual / n
    share = d / (d + n)
    isotropic = (np.trace(covariance) / d + FLOOR) * np.eye(d)
    difference = centre[0] - centre[1]
    return np.asarray(np.linalg.solve((1 - share) * covariance + share * isotropic, difference))


def experiment(lab: Lab, compared: Stacks) -> Evidence:
    """Fit observers on some contents and let them tell positions apart in others."""
    rows: list[Row] = []
    curves: list[Curve] = []
    depth = np.arange(lab.budget.n_blocks + 1)
    fit = int(lab.budget.contents // 2 * TRAINED_ON)
    for name, stack in compared.items():
        draws = observe(lab, stack)
        ruler = lab.result(stack).ruler(*PAIR)
        ideal = {cue: float(ruler[cue].values[-1]) for cue in ("linear", "combined")}
        end = "" if name == "decoder" else f", {name}"
        rows += [
            Row(f"probe{end}", "share of held-out activations that a linear probe fitted on"
                f" {fit} of each gets right{end} (theory: an ideal one)",
                predicted(norm.cdf(ideal["linear"] / 2)),
                mean_of(draws["linear"][:, -1])),
            Row(f"likelihood ratio{end}", f"the same, Gaussian likelihood ratio{end} (theory: an"
                " ideal one)",
                predicted(norm.cdf(ideal["combined"] / 2)), mean_of(draws["likelihood"][:, -1])),
            Row(f"d′ linear{end}", f"linear cue after the last block{end} (standard deviations)",
                predicted(ideal["linear"]), measured(lambda m: _d_prime(m)[-1], draws)),
        ]  # fmt: skip
        value, error = jackknife(_d_prime, draws)
        curves += [curve(name, depth, value, error),
                   curve(f"{name}, theory", depth, ruler["linear"].values)]  # fmt: skip
    found = {row.name: row for row in rows}
    probe, cue = found["probe"].number, found["d′ linear"]
    assert cue.theory is not None
    return Evidence(
        tuple(rows),
        f"A held-out linear probe tells the same token at 50 and 100 apart in"
        f" {100 * probe.value:.0f}% of the cases; d′ = {cue.number.value:.2f}, predicted"
        f" {cue.theory.value:.2f}.",
        tuple(curves), "depth (blocks)", "linear d′(50, 100)",
    )  # fmt: skip


def _d_prime(means: Means) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.maximum(means["signal"], 0) / (means["noise"] + FLOOR)))


CLAIM = Claim(
    id="fifty-vs-hundred",
    says="identical tokens at positions 50 and 100 can be told apart",
    question="Can an observer of one activation tell at which of the two positions it was read?",
    observable="held-out probe, likelihood ratio, d′",
    rule=Rule((Condition("probe", "above", TOLD_APART),)),
    stacks=stacks,
    experiment=experiment,
)
