"""RoPE scores depend on the offset between query and key alone."""

import numpy as np
from numpy.typing import NDArray

from ropeleak.spec import Rope, Stack

from .claim import Claim, Evidence, Stacks
from .lab import Budget, Lab
from .number import Row, curve, exact, mean_of
from .rule import Condition, Rule
from .stacks import decoder, ropes

TOLERANCE = 1e-18
"""Mean square change of a score, over its variance: a billionth of the score."""
SAMPLES = 4000
FURTHEST = 4096
"""Positions and shifts are below it."""


def stacks(budget: Budget) -> Stacks:
    """Return the decoder with each RoPE scaling."""
    return {name: decoder(budget, attention={"rope": r}) for name, r in ropes(FURTHEST).items()}


def changes(stack: Stack, seed: int, dtype: type[np.floating]) -> NDArray[np.float64]:
    """Return by how much a shift of both positions changes the score of random q and k.

    A scaling that looks at the running length sees that of the query.

    Returns
    -------
    numpy.ndarray
        (S,), in standard deviations of a score.
    """
    random = np.random.default_rng([seed, 1])
    size = stack.d_head
    q, k = random.normal(0, size**-0.25, (2, SAMPLES, size))
    i, shift = random.integers(0, FURTHEST, (2, SAMPLES))
    j = (i * random.random(SAMPLES)).astype(np.int64)
    rope = stack.attention[0].rope or Rope(type="proportional", fraction=1e-9)
    before = scores(rope, q, k, i, j, dtype)
    return np.asarray(scores(rope, q, k, i + shift, j + shift, dtype) - before, dtype=float)


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
    turned = [_rotate(x, p[:, None] * frequency, dtype) for x, p in ((q, i), (k, j))]
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
        name: mean_of(changes(stack, lab.seed, np.float64) ** 2) for name, stack in compared.items()
    }
    single = {
        name: mean_of(changes(stack, lab.seed, np.float32) ** 2) for name, stack in compared.items()
    }
    worst = max(found, key=lambda name: found[name].value)
    rows = [Row("change", f"mean square change of a score over its variance, float64, the worst"
                f" of {len(found)} ({worst})", exact(0), found[worst])]  # fmt: skip
    rows += [
        Row(f"{name}, float32", f"the same, {name}, float32", exact(0), number)
        for name, number in single.items()
    ]
    x = range(len(found))
    return Evidence(
        tuple(rows),
        f"A common shift changes no score of {', '.join(found)} beyond rounding: by a root mean"
        f" square of {found[worst].value ** 0.5:.1g} standard deviations in float64.",
        tuple(
            curve(label, x, [n.value**0.5 for n in numbers.values()])
            for label, numbers in (("float64", found), ("float32", single))
        ),
        "RoPE scaling", "RMS change of a score (σ)", tuple(found),
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
