"""Nothing plugs the leaks."""

from functools import partial
from math import sqrt

from .claim import Claim, Evidence, Panel, Stacks
from .interventions import HEADER, NAMED, TABLE, plugged, search
from .lab import Budget, Lab
from .number import Row, curve, exact, in_wide_limit, measured, predicted, quotient
from .rule import Condition, Rule
from .stacks import decoder, predicted_square, square

REMAINS = 0.02
"""A hole is plugged where less than this share of its leak (nats²) is left."""
PLUGS = {"mask": "sigmoid attention", "residual": "random BOS"}
"""The streaming intervention that is exact in each hole and is measured."""
CONTENTS = 192
"""Contents of a draw without BOS: what is left is told from noise by pairs of them."""


def stacks(budget: Budget) -> Stacks:
    """Return the decoder, and the decoder with the plug of each hole."""
    base = decoder(budget)
    return {"decoder": base, **{hole: NAMED[name].apply(base) for hole, name in PLUGS.items()}}


def experiment(lab: Lab, compared: Stacks) -> Evidence:
    """Predict every intervention; measure the exact plugs."""
    base, watched = compared["decoder"], compared["decoder"].set("context", lab.budget.watched)
    whole = lab.measure(base)
    rows = []
    for hole, name in PLUGS.items():
        theory = [predicted_square(lab.predict(s), hole).value for s in (compared[hole], base)]
        certain = exact if hole == "mask" else in_wide_limit
        many = (lab.budget.draws // 2, CONTENTS) if hole == "residual" else ()
        draws = lab.measure(compared[hole], *many)
        left, whole_leak = (measured(partial(square, hole=hole), d) for d in (draws, whole))
        rows.append(Row(
            f"{hole} left", f"share of the {hole} leak² that {name} leaves, last block, width"
            f" {base.d_model}",
            predicted(theory[0] / theory[1]) if theory[0] else certain(0),
            quotient(left, whole_leak),
        ))  # fmt: skip

    table = []
    for done, row in enumerate(TABLE):
        table.append(plugged(lab, row, watched))
        lab.advance("interventions", done + 1, len(TABLE))
    ranked = search(lab, watched)
    best = ranked[0]
    far = next(row for row in ranked if "window" not in row.intervention.name)
    before, opened = (next(r for r in table if r.intervention.name == name)
                      for name in ("none", PLUGS["mask"]))  # fmt: skip
    rows += [
        *(Row(f"exact, {hole}", f"interventions, of {len(TABLE) - 1}, that leave nothing of the"
              f" {hole} leak by a theorem{end}", exact(sum(bool(getattr(r, hole)) for r in TABLE)))
          for hole, end in (("mask", ""), ("residual", ", some in the wide limit"))),
        Row("d′", "d′(50, 100) of the decoder", predicted(before.d_prime)),
        Row("best d′", f"least d′(50, 100) of {len(ranked)} streaming combinations:"
            f" {best.intervention.name}",
            predicted(best.d_prime) if best.d_prime else exact(0)),
        Row("best d′, far", f"the same with full attention: {far.intervention.name}",
            predicted(far.d_prime)),
        Row("mask leak², far", "mask leak² that it leaves (nats²)", predicted(far.mask)),
        Row("residual leak², far", "residual leak² that it leaves (nats²)",
            predicted(far.residual)),
    ]  # fmt: skip
    names, x = tuple(row.intervention.name for row in table), range(len(table))
    none = table[0]

    def left_of(hole: str) -> list[float]:
        return [sqrt(getattr(row, hole) / getattr(none, hole)) for row in table]

    return Evidence(
        tuple(rows),
        f"{PLUGS['mask'].capitalize()} leaves {100 * rows[0].number.value:.1f}% of the mask leak²"
        f" and {PLUGS['residual']} {100 * max(rows[1].number.value, 0):.1f}% of the residual leak²"
        f" at width {base.d_model}, none in the wide limit."
        f" Of {len(ranked)} streaming combinations {best.intervention.name} tells 50 from 100"
        f" least, d′ = {best.d_prime:.2g} instead of {before.d_prime:.2g}, at this cost:"
        f" {best.intervention.cost}. With full attention it is {far.intervention.name}, d′ ="
        f" {far.d_prime:.2g} ({far.intervention.cost}). {PLUGS['mask'].capitalize()} alone raises"
        f" d′ to {opened.d_prime:.2g}: variance that grows with the number of keys is a ruler too.",
        (
            Panel(
                tuple(curve(f"{hole}, theory", x, left_of(hole)) for hole in PLUGS),
                "intervention", "leak over the decoder's, last block (RMS)", names,
            ),
            Panel((curve("d′, theory", x, [row.d_prime for row in table]),), "intervention",
                  "d′(50, 100) (standard deviations)", names),
        ),
        (HEADER, *(row.cells for row in (*table, best, far))),
    )  # fmt: skip


CLAIM = Claim(
    id="plugs",
    says="nothing plugs the leaks",
    question="Does every change of the architecture leave some of each leak?",
    observable="both leaks, beacon and d′ by intervention",
    rule=Rule(
        (Condition("mask left", "above", REMAINS), Condition("residual left", "above", REMAINS))
    ),
    stacks=stacks,
    experiment=experiment,
)
