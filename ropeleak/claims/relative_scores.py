"""RoPE scores depend on the offset between query and key alone."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ropeleak.check.tolerance import Precision, angle_rms, rotation_rms
from ropeleak.spec import Rope, Stack

from .claim import Claim, Evidence, Panel, Stacks
from .lab import Budget, Lab
from .number import Row, curve, exact, in_closed_form, mean_of
from .rule import Condition, Rule
from .stacks import decoder, ropes

TOLERANCE = 1e-18
"""Mean square change of a score, over its variance: a billionth of the score."""
SAMPLES = 4000
FURTHEST = 4096
"""Positions and shifts are below it."""
DTYPES: dict[str, type[np.floating]] = {"fp64": np.float64, "fp32": np.float32}


class Shifted(NamedTuple):
    """Random queries and keys (S, d), their positions ``i ≥ j`` (S,), and a shift of both (S,)."""

    q: NDArray[np.float64]
    k: NDArray[np.float64]
    i: NDArray[np.int64]
    j: NDArray[np.int64]
    shift: NDArray[np.int64]

    @classmethod
    def draw(cls, size: int, seed: int) -> "Shifted":
        """Return samples whose scores have unit variance."""
        random = np.random.default_rng([seed, 1])
        q, k = random.normal(0, size**-0.25, (2, SAMPLES, size))
        i, shift = random.integers(0, FURTHEST, (2, SAMPLES))
        return cls(q, k, i, (i * random.random(SAMPLES)).astype(np.int64), shift)


def stacks(budget: Budget) -> Stacks:
    """Return the decoder with each RoPE scaling."""
    return {name: decoder(budget, attention={"rope": r}) for name, r in ropes(FURTHEST).items()}


def rotation(stack: Stack) -> Rope:
    """Return the RoPE of a stack; one that does not rotate where it has none."""
    return stack.attention[0].rope or Rope(type="proportional", fraction=1e-9)


def changes(stack: Stack, seed: int, dtype: type[np.floating]) -> NDArray[np.float64]:
    """Return by how much a shift of both positions changes scores (S,), in standard deviations.

    A scaling that looks at the running length sees that of the query.
    """
    at = Shifted.draw(stack.d_head, seed)
    rope = rotation(stack)
    before = scores(rope, at.q, at.k, at.i, at.j, dtype)
    after = scores(rope, at.q, at.k, at.i + at.shift, at.j + at.shift, dtype)
    return np.asarray(after - before, dtype=float) / rope.attention_scale(stack.context) ** 2


def rounding(stack: Stack, seed: int, dtype: str) -> float:
    """Return the mean square change of a score that rounding leaves, over its variance."""
    at, precision = Shifted.draw(stack.d_head, seed), Precision.of(dtype)
    positions = np.stack([at.i, at.j, at.i + at.shift, at.j + at.shift], axis=1)
    frequencies = rotation(stack).inverse_frequencies(stack.d_head, FURTHEST)
    angles = angle_rms(positions, frequencies, stack.d_head, precision.angles.bits)
    return float((angles**2).mean() + rotation_rms(precision) ** 2)


def scores(
    rope: Rope,
    q: NDArray[np.float64],
    k: NDArray[np.float64],
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    dtype: type[np.floating],
) -> NDArray[np.floating]:
    """Return the score of each query (S, d) at ``i`` with its key at ``j`` (S,)."""
    size = q.shape[1]
    lengths, which = np.unique(i + 1, return_inverse=True)
    if rope.breaks_relativity is None:
        lengths, which = lengths[:1], np.zeros_like(which)
    frequency = np.stack([rope.inverse_frequencies(size, int(n)) for n in lengths])[which]
    scale = rope.attention_scale(FURTHEST)
    turned = [scale * _rotate(x, p[:, None] * frequency, dtype) for x, p in ((q, i), (k, j))]
    return np.asarray((turned[0] * turned[1]).sum(axis=1, dtype=dtype))


def _rotate(
    x: NDArray[np.float64], angle: NDArray[np.float64], dtype: type[np.floating]
) -> NDArray[np.floating]:
    cos, sin = np.cos(angle.astype(dtype)), np.sin(angle.astype(dtype))
    pairs = angle.shape[1]
    a, b = x[:, :pairs].astype(dtype), x[:, pairs : 2 * pairs].astype(dtype)
    rest = x[:, 2 * pairs :].astype(dtype)
    return np.concatenate([a * cos - b * sin, a * sin + b * cos, rest], axis=1)


def experiment(lab: Lab, compared: Stacks) -> Evidence:
    """Shift random queries and keys under every scaling, in two precisions."""
    found = {
        dtype: {n: mean_of(changes(s, lab.seed, kind) ** 2) for n, s in compared.items()}
        for dtype, kind in DTYPES.items()
    }
    left = {
        dtype: {n: in_closed_form(rounding(s, lab.seed, dtype)) for n, s in compared.items()}
        for dtype in DTYPES
    }
    double = found["fp64"]
    worst = max(double, key=lambda name: double[name].value)
    words = "mean square change of a score over its variance"
    rows = [Row("change", f"{words}, fp64, the worst of {len(compared)} ({worst})", exact(0),
                double[worst])]  # fmt: skip
    rows += [
        Row(f"{name}, {dtype}", f"the same, {name}, {dtype} (theory: rounding)",
            left[dtype][name], found[dtype][name])
        for dtype in DTYPES for name in compared
    ]  # fmt: skip
    x = range(len(compared))
    curves = []
    for dtype in DTYPES:
        rms, expected = ([n.value**0.5 for n in part[dtype].values()] for part in (found, left))
        curves += [curve(dtype, x, rms), curve(f"{dtype}, theory", x, expected)]
    return Evidence(
        tuple(rows),
        f"A common shift changes no score of {', '.join(compared)} beyond rounding: by a root mean"
        f" square of {double[worst].value ** 0.5:.1g} standard deviations in fp64.",
        (Panel(tuple(curves), "RoPE scaling", "RMS change of a score\n(standard deviations)",
               tuple(compared), log_y=True),),
    )  # fmt: skip


CLAIM = Claim(
    id="relative-scores",
    says="RoPE scores depend on i - j alone",
    question="Does a common shift of query and key change their score?",
    observable="score before and after the shift",
    rule=Rule((Condition("change", "below", TOLERANCE),)),
    stacks=stacks,
    experiment=experiment,
)
