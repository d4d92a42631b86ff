"""Changes of an architecture that may plug a leak: what they leave, and what they cost."""

import re
from collections.abc import Iterable
from itertools import product
from typing import Any, NamedTuple

from ropeleak.describe import sig
from ropeleak.selection import at_position
from ropeleak.spec import Stack
from ropeleak.theory.reach import reaches

from .fifty_vs_hundred import PAIR
from .lab import Lab
from .stacks import FACTOR, READS, WINDOW

BURN_IN = 6
"""Keys of a window so narrow that token 0 does not reach the first of the two positions."""
PREFIX = 32
"""Tokens of the prefix that see each other."""
EVERY_SECOND = re.compile(r"\[every second\]")
"""Selector of an intervention's path: the blocks 0, 2, 4, …"""


class Intervention(NamedTuple):
    """One change of an architecture.

    Attributes
    ----------
    name
        A few words.
    changes
        Fields by their dotted paths, as in `Stack.set` and ``--set``.
    cost
        What is given up, in words.
    mask, residual
        Why nothing is left in a hole; empty where it is only reduced.
    streams
        Whether it is still a causal decoder that generates token by token.
    burn_in
        Whether only positions past the reach of token 0 count.
    """

    name: str
    changes: tuple[tuple[str, Any], ...]
    cost: str
    mask: str = ""
    residual: str = ""
    streams: bool = True
    burn_in: bool = False

    def apply(self, stack: Stack) -> Stack:
        """Return the changed stack."""
        for path, value in self.changes:
            if EVERY_SECOND.search(path):
                for block in range(0, stack.n_blocks, 2):
                    stack = stack.set(EVERY_SECOND.sub(f"[{block}]", path), value)
            else:
                stack = stack.set(path, value)
        return stack.replace(name=self.name)


SIGMOID = (("attention.softmax.kind", "sigmoid"), ("attention.softmax.bias", -4.0))
NO_DENOMINATOR = "there is no denominator"
NOTHING_SHARED = "texts share nothing but what is of order one over the width"
SHIFT_INVARIANT = "shift-invariance past the reach of token 0"
TABLE = (
    Intervention("none", (), "nothing"),
    Intervention("random BOS", (("bos", "random"),), "no attention sink that means nothing",
                 residual=NOTHING_SHARED),
    Intervention("no BOS", (("bos", "absent"),), "the first word is the sink",
                 residual=NOTHING_SHARED),
    Intervention("zero BOS", (("bos", "zero"),), "a token without an embedding",
                 residual=NOTHING_SHARED),
    Intervention("window", (("attention.window", WINDOW),), "no long-range attention"),
    Intervention("window, burn-in", (("attention.window", BURN_IN),),
                 "no long-range attention, L(w-1) tokens before the text", mask=SHIFT_INVARIANT,
                 residual=SHIFT_INVARIANT, burn_in=True),
    Intervention("window and sink", (("attention.window", WINDOW), ("attention.sinks", 1)),
                 "no long-range attention"),
    Intervention("alternating windows", (("attention[every second].window", WINDOW),),
                 "long-range attention in half of the blocks"),
    Intervention("chunks", (("attention.chunk", WINDOW),), "nothing crosses a chunk's border"),
    Intervention("sigmoid attention", SIGMOID, "weights do not sum to one, variance grows with n",
                 mask=NO_DENOMINATOR),
    Intervention("off-by-one softmax", (("attention.softmax.kind", "off-by-one"),),
                 "weights sum to less than one"),
    Intervention("sink logit", (("attention.softmax.sink_logit", 2.0),),
                 "weights sum to less than one"),
    Intervention("log-n scaling", (("attention.softmax.length_scaling", "log-n"),
                                   ("attention.softmax.length_reference", 100)),
                 "scores depend on the length"),
    Intervention("soft cap", (("attention.softmax.softcap", 1.0),), "no sharp attention"),
    Intervention("temperature 2", (("attention.softmax.temperature", 2.0),), "flatter attention"),
    Intervention("QK-norm", (("attention.qk_norm", "head"),), "norms do not weigh in scores"),
    Intervention("post-norm", (("norm.placement", "post"),), "harder to train deep"),
    Intervention("sandwich norm", (("norm.placement", "sandwich"),), "twice as many norms"),
    Intervention("norm after branches", (("norm.placement", "res-post"),),
                 "scores grow with the residual stream"),
    Intervention("NTK scaling", (("rope.factor", FACTOR), ("rope.type", "ntk")),
                 "nearby tokens are told apart less well"),
    Intervention("NoPE", (("attention.rope", None),), "no order but what leaks"),
    Intervention("heads that read sinks", (("attention.sink_bias", READS),),
                 "less attention for the rest"),
    Intervention("prefix LM", (("attention.prefix", PREFIX),), "the prefix is read at once",
                 streams=False),
    Intervention("bidirectional", (("attention.mask", "bidirectional"),), "not a decoder",
                 streams=False),
    Intervention("ring mask", (("attention.mask", "ring"), ("bos", "random")),
                 "not a decoder, and the length is fixed", mask="ring shift-equivariance",
                 residual=NOTHING_SHARED, streams=False),
)  # fmt: skip
NAMED = {row.name: row for row in TABLE}

CHOICES: tuple[tuple[str, ...], ...] = (
    ("none", "window", "window, burn-in"),
    ("none", "sigmoid attention"),
    ("none", "random BOS"),
    ("none", "post-norm", "sandwich norm"),
)
"""Streaming interventions that are combined in every way: window, softmax, BOS, norm."""


def combined(names: Iterable[str]) -> Intervention:
    """Return several interventions of the table as one, with their costs."""
    parts = [NAMED[name] for name in names if name != "none"]
    return Intervention(
        " + ".join(part.name for part in parts) or "none",
        tuple(change for part in parts for change in part.changes),
        "; ".join(part.cost for part in parts) or "nothing",
        mask=next((part.mask for part in parts if part.mask), ""),
        residual=next((part.residual for part in parts if part.residual), ""),
        burn_in=any(part.burn_in for part in parts),
    )


class Plugged(NamedTuple):
    """What an intervention leaves: leaks of the last block (nats²), beacon, and d′(50, 100)."""

    intervention: Intervention
    mask: float
    residual: float
    beacon: float
    d_prime: float

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of a table."""
        row = self.intervention
        exact = [f"{hole}: {why}" for hole, why in (("mask", row.mask), ("residual", row.residual))
                 if why]  # fmt: skip
        return (row.name, sig(self.mask), sig(self.residual), sig(self.beacon), sig(self.d_prime),
                "; ".join(exact) or "-", row.cost)  # fmt: skip


HEADER = ("intervention", "mask leak²", "residual leak²", "beacon at 100", "d′(50,100)",
          "exact, because", "cost")  # fmt: skip
"""Columns of the table; all numbers are mean-field predictions."""


def plugged(lab: Lab, intervention: Intervention, base: Stack) -> Plugged:
    """Return what the theory says an intervention leaves.

    Where token 0 does not reach the first position of the ruler, d′ is that of the theorem on
    shift-invariance: none. So are the leaks, where only positions past the reach count.
    """
    stack = intervention.apply(base)
    data, ruler = lab.predict(stack), lab.result(stack).ruler(*PAIR)
    mask, residual = (float(data[f"leak_{h}"].values[-1]) ** 2 for h in ("mask", "residual"))
    d_prime = float(ruler["combined"].values[-1])
    if all(a.window is not None for a in stack.attention) and reaches(stack)[-1] < PAIR[0]:
        d_prime = 0.0
        mask, residual = (0.0, 0.0) if intervention.burn_in else (mask, residual)
    beacon = float(at_position(data["beacon"], PAIR[1]).values[-1])
    return Plugged(intervention, mask, residual, beacon, d_prime)


def search(lab: Lab, base: Stack) -> list[Plugged]:
    """Return every combination of `CHOICES`, the one that tells positions apart least first.

    Among equals the one that changes least comes first.
    """
    tried = list(product(*CHOICES))
    found = []
    for done, names in enumerate(tried):
        found.append(plugged(lab, combined(names), base))
        lab.advance("combinations", done + 1, len(tried))
    return sorted(found, key=lambda row: (round(row.d_prime, 6), len(row.intervention.changes)))
