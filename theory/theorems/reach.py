"""How far a window lets a token be heard, and what is invariant beyond."""

from functools import cache

import sympy as sp

from .steps import Identity, Recurrence
from .theorem import Domain, Theorem

depth, i, shift, beyond = (
    sp.Symbol(name, integer=True, nonnegative=True) for name in ("L", "i", "s", "e")
)
w, other, c = (sp.Symbol(name, integer=True, positive=True) for name in ("w", "w'", "c"))
last = sp.Function("r")(depth)

DEPTH = Domain(depth, "the number of blocks", "integer from 0")
WINDOW = Domain(w, "the window in keys, the query's own included", "integer from 1")


def first_key(query: sp.Expr) -> sp.Expr:
    """Return the first key under a window."""
    return sp.Max(query + 1 - w, 0, evaluate=False)


@cache
def window_reach() -> Theorem:
    """``L(w-1)``."""
    return Theorem(
        name="window-reach",
        title="The reach of a window",
        statement="Through $L$ blocks with a window of $w$ keys a token is heard at most $L(w-1)$"
        " positions later: no trace of token 0 beyond position $L(w-1)$.",
        hypotheses=("every block has the same window",
                    "no token stays visible (no attention sinks)"),
        symbols=(DEPTH, WINDOW),
        steps=(
            Identity("A query beyond the window reads back to the key $w-1$ before it:",
                     (w - 1 + beyond) - first_key(w - 1 + beyond), w - 1, by="minmax"),
            Recurrence("Each block carries what was heard by so many positions:", last,
                       depth * (w - 1), index=depth, start=sp.S.Zero, first=sp.S.Zero,
                       update=last + w - 1),
        ),
        quantity=r"r_L",
        arguments=(depth, w),
    )  # fmt: skip


@cache
def alternating_reach() -> Theorem:
    """Any sequence of windows, alternating local and global layers included."""
    block = sp.Symbol("l", integer=True, nonnegative=True)
    windows = sp.IndexedBase("w", integer=True, positive=True)
    pairs = sp.Symbol("n", integer=True, nonnegative=True)
    reached = sp.Function("r")(pairs)
    each = sp.Sum(windows[block] - 1, (block, 0, depth - 1))
    return Theorem(
        name="alternating-reach",
        title="The reach of a sequence of windows",
        statement="Blocks add up whatever their order: with a window of $w_l$ keys in block $l$ a"
        " token is heard at most the following number of positions later. A block with a full"
        " causal mask is a window of the whole text, so that a single one, anywhere in the stack,"
        " reaches the end.",
        hypotheses=("no token stays visible (no attention sinks)",),
        symbols=(DEPTH, Domain(windows[block], "the window of a block, the query's own key"
                               " included", "integer from 1")),
        steps=(
            Identity("In a text of $w$ tokens a window of $w$ is a full causal mask, whose queries"
                     " all read token 0:",
                     sp.Max(w - 1 - beyond + 1 - w, 0, evaluate=False), sp.S.Zero, by="minmax"),
            Recurrence("Pairs of two windows that alternate add up to", reached,
                       pairs * (w + other - 2), index=pairs, start=sp.S.Zero, first=sp.S.Zero,
                       update=reached + (w - 1) + (other - 1)),
            Recurrence("and one block more carries what was heard by its own window:", last, each,
                       index=depth, start=sp.S.Zero, first=sp.S.Zero,
                       update=last + windows[depth] - 1, by="splitting"),
        ),
        quantity="r_L",
        arguments=(windows,),
    )  # fmt: skip


@cache
def shift_invariance() -> Theorem:
    """Beyond the reach, outputs are exactly shift-invariant."""
    return Theorem(
        name="shift-invariance",
        title="Exact shift-invariance beyond the reach",
        statement="From position $L(w-1)$ on the output of a windowed stack with RoPE is exactly"
        " the same function of the last $L(w-1)+1$ tokens at every position: neither mask nor"
        " residual stream carries absolute position there.",
        hypotheses=("windowed blocks with RoPE of fixed frequencies (Theorem rope-relative)",
                    "no attention sinks, exact arithmetic"),
        symbols=(DEPTH, WINDOW),
        steps=(
            Identity("From position $w-1$ on, the first key moves along with the query,",
                     first_key(w - 1 + beyond + shift), first_key(w - 1 + beyond) + shift,
                     by="minmax"),
            Identity("and the number of keys does not change.",
                     (w - 1 + beyond) + 1 - first_key(w - 1 + beyond), w, by="minmax"),
            Recurrence("If inputs of a block are invariant from some position on, its outputs are"
                       " from $w-1$ positions later: all keys, offsets and scores are then the"
                       " same. By induction, $L$ blocks are invariant from",
                       last, depth * (w - 1), index=depth, start=sp.S.Zero, first=sp.S.Zero,
                       update=last + (w - 1)),
        ),
        quantity=r"r_L",
        arguments=(depth, w),
    )  # fmt: skip


@cache
def chunk_keys() -> Theorem:
    """Chunked masks are periodic."""
    return Theorem(
        name="chunk-keys",
        title="Chunked attention is periodic",
        statement=r"Under a chunked mask the query at $i$ sees $(i\bmod c)+1$ keys: the mask leak"
        r" is a sawtooth that tells the place within the chunk and nothing else. Reach never leaves"
        r" the chunk, and shifts by whole chunks are exact symmetries.",
        hypotheses=("a query sees the keys of its own chunk up to itself",),
        symbols=(Domain(i, "the query's position", "integer from 0"),
                 Domain(c, "the chunk", "integer from 1")),
        steps=(
            Identity("A shift by one chunk moves the first key by one chunk,",
                     c * sp.floor((i + c) / c), c * sp.floor(i / c) + c),
            Identity("so the number of keys is periodic.",
                     (i + c) + 1 - c * sp.floor((i + c) / c), i + 1 - c * sp.floor(i / c)),
            Identity("It is the place within the chunk, and one:",
                     i - c * sp.floor(i / c) + 1, sp.Mod(i, c) + 1, by="floors"),
        ),
        quantity=r"n_i",
        arguments=(i, c),
    )  # fmt: skip
