"""Past the trained length the anchors break predictability."""

import numpy as np
from numpy.typing import NDArray

from ropeleak.simulate.attention import Attention
from ropeleak.spec import Stack
from ropeleak.theory.influence import entropy

from .claim import Claim, Evidence, Panel, Stacks
from .lab import Budget, Lab, Statistics
from .number import Curve, Means, Row, curve, exact, measured, predicted
from .rule import Condition, Rule
from .stacks import FACTOR, decoder, predicted_at, predicted_square, ropes, total_square

UNSEEN = 0.01
"""Least share of the circle, averaged over pairs, that only the longer context shows."""
BEYOND = 0.5
"""Least growth of ``E ln Z`` past the trained length that counts (nats)."""
GROWS = 1.1
"""Least growth of the total leak (nats²) from the trained length on that counts."""
TIMES = (1, 2, 4, 8, 16)
SCALINGS = ("none", "linear", "NTK", "YaRN")
"""Contexts in trained lengths, and the scalings that reach them."""
MEASURED = ("none", "NTK")
"""The scalings that are measured at `FACTOR` times the trained length."""
BLOCKS = 2
"""Depth of the stacks: the leak that decides is the same in every block."""
DRAWS = 80
"""Most draws of a stack: contexts are long."""
CONTENTS = 2
"""Contents of a draw whose entropy is watched: it differs little between them."""


def stacks(budget: Budget) -> Stacks:
    """Return the decoder at its trained length, and at four times that with each scaling."""
    base = decoder(budget, context=budget.long, n_blocks=BLOCKS)
    trained = base.replace(context=int(budget.long / FACTOR), name="trained length")
    longer = {name: base.set("rope", rope) for name, rope in ropes(budget.long).items()}
    return {"trained": trained, **{n: stack.replace(name=n) for n, stack in longer.items()}}


def extended(trained: Stack, scaling: str, times: int) -> Stack:
    """Return the stack at so many trained lengths, reached by a scaling."""
    context = times * trained.context
    rope = ropes(context, trained.context)[scaling]
    return trained.replace(context=context).set("rope", rope)


def new_angles(stack: Stack, trained: int) -> float:
    """Return the share of the circle that a context shows and the trained one did not.

    Averaged over pairs; angles in the trained context are those of the unscaled rotation.
    """
    rope = stack.attention[0].rope
    if rope is None:
        return 0.0
    turns = 2 * np.pi
    frequency = rope.inverse_frequencies(stack.d_head, stack.context)
    before = rope.replace(type="default").inverse_frequencies(stack.d_head, trained)
    seen = np.minimum((trained - 1) * before / turns, 1)
    shown = np.minimum((stack.context - 1) * frequency / turns, 1)
    return float(np.maximum(shown - seen, 0).mean())


def kernel(stack: Stack, first: int, stop: int) -> NDArray[np.float64]:
    """Return ``κ`` at some offsets; 1 without RoPE."""
    rope, offsets = stack.attention[0].rope, np.arange(first, stop)
    if rope is None:
        return np.ones(offsets.size)
    return rope.kernel(offsets, stack.d_head, stack.context)


def entropy_by_query(attention: Attention) -> Statistics:
    """Return the entropy of one draw's attention (L, query), nats."""
    return {"entropy": attention.entropy}


def experiment(lab: Lab, compared: Stacks) -> Evidence:
    """Grow the context past the trained length."""
    trained = compared["trained"].context
    watched = {name: compared[name] for name in ("trained", *MEASURED)}
    wanted = min(lab.budget.draws, DRAWS)
    draws = {name: lab.measure(stack, wanted) for name, stack in watched.items()}
    heads = {
        n: lab.watch(stack, entropy_by_query, CONTENTS, wanted) for n, stack in watched.items()
    }
    expected = {n: predicted_square(lab.predict(stack), "total") for n, stack in watched.items()}
    spread = {name: float(entropy(stack)[-1, -1]) for name, stack in watched.items()}

    def growth(long: Means, short: Means) -> float:
        return total_square(long) / total_square(short)

    def beyond(means: Means) -> float:
        return float(means["log_z"][0, -1] - means["log_z"][0, trained - 1])

    def at_end(means: Means) -> float:
        return float(means["entropy"][-1, -1])

    def wider(long: Means, short: Means) -> float:
        return at_end(long) - at_end(short)

    log_z = [
        predicted_at(lab.predict(compared["none"]), "log_z", position, 0).value
        for position in (trained - 1, compared["none"].context - 1)
    ]
    times = f"{FACTOR:g} times the trained length"
    rows = [
        Row("new angles", "share of the circle that only the longer context shows, unscaled",
            exact(new_angles(compared["none"], trained))),
        Row("ln Z beyond", f"E ln Z at {times} less at its end, block 1 (nats)",
            predicted(log_z[1] - log_z[0]), measured(beyond, draws["none"])),
        *(Row(f"growth, {name}", f"total leak² at {times} over at it, scaling {name}, last block",
              predicted(expected[name].value / expected["trained"].value),
              measured(growth, draws[name], draws["trained"])) for name in MEASURED),
        *(Row(f"entropy, {name}", f"entropy of the last query's attention at {times} less at it,"
              f" scaling {name}, last block (nats)", predicted(spread[name] - spread["trained"]),
              measured(wider, heads[name], heads["trained"])) for name in MEASURED),
        *(Row(f"new angles, {name}", f"share of the circle that {times} adds, scaling {name}",
              exact(new_angles(stack, trained)))
          for name, stack in compared.items() if name not in ("trained", "none")),
        *(Row(f"kappa {words}, {name}", f"least κ at offsets {words} the trained length, scaling"
              f" {name}", exact(kernel(compared[name], *offsets).min()))
          for name in MEASURED
          for words, offsets in (("within", (1, trained)), ("beyond", (trained, lab.budget.long)))),
    ]  # fmt: skip
    leaks, entropies = _by_length(lab, compared["trained"])
    ends = ("trained", "none"), (1, FACTOR)
    for lines, found, statistic in (
        (leaks, draws, total_square), (entropies, heads, at_end),
    ):  # fmt: skip
        numbers = [measured(statistic, found[name]) for name in ends[0]]
        lines.append(curve("none", ends[1], [n.value for n in numbers], [n.se for n in numbers]))
    found_rows = {row.name: row.number for row in rows}
    return Evidence(
        tuple(rows),
        f"At {times} {100 * found_rows['new angles'].value:.0f}% of the circle and"
        f" {found_rows['ln Z beyond'].value:.2f} nats of ln Z are new and attention is"
        f" {found_rows['entropy, none'].value:.2f} nats wider, but the total leak² is"
        f" {found_rows['growth, none'].value:.3f} times as large: it knows no length.",
        (
            Panel(tuple(leaks), "context over trained length", "total leak²,\nlast block (nats²)",
                  log=True),
            Panel(tuple(entropies), "context over trained length",
                  "entropy of the last query,\nlast block (nats)", log=True),
        ),
        _table(compared["trained"], leaks, entropies),
    )  # fmt: skip


def _by_length(lab: Lab, trained: Stack) -> tuple[list[Curve], list[Curve]]:
    """Return the predicted total leak² and entropy by context, a curve per scaling."""
    leaks, entropies = [], []
    for done, name in enumerate(SCALINGS):
        longer = [extended(trained, name, times) for times in TIMES]
        squares = [predicted_square(lab.predict(stack), "total").value for stack in longer]
        ends = [float(entropy(stack)[-1, -1]) for stack in longer]
        leaks.append(curve(f"{name}, theory", TIMES, squares))
        entropies.append(curve(f"{name}, theory", TIMES, ends))
        lab.advance("longer contexts", done + 1, len(SCALINGS))
    return leaks, entropies


def _table(
    trained: Stack, leaks: list[Curve], entropies: list[Curve]
) -> tuple[tuple[str, ...], ...]:
    """Return what a longer context shows by scaling and length, as predicted."""
    header = ("scaling", "context", "new angles", "least new κ", "total leak²", "entropy")
    rows = [header]
    for name, leak, spread in zip(SCALINGS, leaks, entropies, strict=False):
        for index, times in enumerate(TIMES):
            stack = extended(trained, name, times)
            new = kernel(stack, trained.context, stack.context)
            rows.append((
                name, f"{times}x", f"{100 * new_angles(stack, trained.context):.0f}%",
                f"{new.min():.2f}" if new.size else "-", f"{leak.y[index]:.3f}",
                f"{spread.y[index]:.2f}",
            ))  # fmt: skip
    return tuple(rows)


CLAIM = Claim(
    id="beyond-training",
    says="past the trained length the anchors break predictability",
    question="What does a longer context show that was never seen, and does the leak grow?",
    observable="angles, κ, E ln Z, total leak and entropy of attention by context",
    rule=Rule((
        Condition("new angles", "above", UNSEEN),
        Condition("ln Z beyond", "above", BEYOND),
        Condition("growth, none", "above", GROWS, "not at initialisation"),
    )),
    stacks=stacks,
    experiment=experiment,
)  # fmt: skip
