"""Whole attention functions: blind to an offset, to the future, to other documents."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np

from ropeleak.errors import RopeleakError

from ._arrays import Door, Floats, Integers, framework_of
from ._search import EXAMPLES, Outcome, entries, look, worst
from ._subject import USUAL_BASE, called, examined
from .adapters import Axes, name_of
from .report import Cause, Failure, Finding, Kind, Report
from .tolerance import (
    Precision,
    attention_tolerance,
    explained,
    score_tolerance,
)


@dataclass(frozen=True)
class AttentionCase:
    """What one example of a check of attention is made from."""

    tokens: int
    at: int
    shift: int
    seed: int


@dataclass(frozen=True)
class Attend:
    """An attention function ``fn(q, k, v, positions)`` under check.

    Parameters
    ----------
    fn
        Returns an array of the shape of ``q``, ``(batch, heads, tokens, head_size)``.
    dtype
        Format of its arguments: fp64, fp32, bf16 or fp16.
    max_position
        The largest position to try.
    head_size, heads, kv_heads
        Shape of its arguments; as many heads of keys and values as of queries unless given.
    axes
        ``bhtd``, or ``bthd`` if heads come after tokens.
    angles, table_dtype, framework, device
        As `ropeleak.check.check_relative_invariance` takes them.
    any_dtype
        Whether the answer may have another dtype.
    limits
        Positions next to which shifts are tried, such as the ends of chunks.
    """

    fn: Callable[..., Any]
    dtype: str = "fp32"
    max_position: int = 4096
    head_size: int = 64
    heads: int = 2
    kv_heads: int | None = None
    axes: Axes = "bhtd"
    angles: str | None = None
    table_dtype: str | None = None
    framework: str | None = None
    device: str | None = None
    any_dtype: bool = False
    limits: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.axes not in ("bhtd", "bthd"):
            raise RopeleakError(f"axes={self.axes!r} of attention must be 'bhtd' or 'bthd'")
        kv_heads = self.heads if self.kv_heads is None else self.kv_heads
        if self.heads < 1 or kv_heads < 1 or self.heads % kv_heads:
            raise RopeleakError(
                f"heads={self.heads} of attention must be a multiple of kv_heads={kv_heads}, both"
                " at least 1"
            )
        if self.head_size < 2:
            raise RopeleakError(f"head_size={self.head_size} of attention must be at least 2")
        if self.max_position < 64:
            raise RopeleakError(
                f"max_position={self.max_position} of attention must be at least 64"
            )

    @property
    def door(self) -> Door:
        """To and from the function's arrays."""
        return Door(self.framework or framework_of(self.fn), self.dtype, self.device)

    @property
    def precision(self) -> Precision:
        """Where the function may round."""
        return Precision.of(self.dtype, self.angles, self.table_dtype)

    def draw(self, tokens: int, seed: int) -> list[Floats]:
        """Return queries, keys and values, shape ``(1, heads, tokens, head_size)``."""
        shape = (3, 1, self.heads, tokens, self.head_size)
        q, k, v = (self.door.rounded(x) for x in entries(seed, shape))
        return [q, k[:, : self.kv_heads], v[:, : self.kv_heads]]

    def __call__(self, qkv: list[Floats], positions: Integers, *more: Integers) -> Floats:
        """Return the answer in float64; ``more`` are further integer arrays."""
        door = self.door
        swap = self.axes == "bthd"
        arrays = [door.array(x.swapaxes(1, 2) if swap else x) for x in qkv]
        given = (*arrays, door.integers(positions), *(door.integers(x) for x in more))
        name, say = self.name, f"q {tuple(arrays[0].shape)}, positions {positions.shape}"
        with np.errstate(all="ignore"):
            answer = called(self.fn, given, name, say)
            out = examined(answer, tuple(arrays[0].shape), door, name, self.any_dtype)
        return out.swapaxes(1, 2) if swap else out

    def tolerance(self, last: int, comparisons: int) -> float:
        """Return how far outputs may differ if positions go up to ``last``."""
        places = np.broadcast_to([last] * 4, (comparisons, 4))
        score = score_tolerance(places, self._frequencies, self.head_size, self.precision)
        return float(attention_tolerance(score[0], self.head_size, self.precision, comparisons))

    def source(self, last: int) -> str:
        """Say where the tolerance comes from."""
        return explained([last] * 4, self._frequencies, self.head_size, self.precision)

    @property
    def name(self) -> str:
        """What reports call the function."""
        return name_of(self.fn)

    @property
    def words(self) -> str:
        """What is checked, in words."""
        return (
            f"{self.name}: {self.door.dtype.name} in {self.door.framework}, positions up to"
            f" {self.max_position}, {self.heads} heads of {self.head_size}"
        )

    @property
    def _frequencies(self) -> Floats:
        return np.asarray(USUAL_BASE ** (-np.arange(0, self.head_size, 2) / self.head_size))


def check_shift_equivariance(
    fn: Callable[..., Any], *, window: int | None = None, examples: int = EXAMPLES,
    seed: int = 0, **options: Any,
) -> Report:  # fmt: skip
    """Check attention against both kinds of shift.

    *Position-id offset*: all positions grow by a constant, the tokens stay. *Sequence index*: the
    same tokens come later in the row, behind others, and keep their positions' distances. A causal
    mask lets the second one through whatever the position encoding: a query that sees more keys has
    a larger softmax denominator. Under a window, outputs
    whose window lies within the same tokens must be equal.

    Parameters
    ----------
    fn
        ``fn(q, k, v, positions)``, arrays of shape ``(batch, heads, tokens, head_size)``.
    window
        Keys that a query sees, itself included, if there is a window.
    examples, seed
        As for `check_relative_invariance`.
    **options
        Fields of `Attend`.

    Returns
    -------
    Report
        The finding about the offset, and that about the index. Without a window the second never
        fails; its note says how much of the index is seen.

    Raises
    ------
    RopeleakError
        If an option is not allowed, or the function fails outright.
    """
    attend = _attend(fn, options)
    if window is not None and window < 1:
        raise RopeleakError(f"window={window} must be at least 1")

    def offset(case: AttentionCase) -> Outcome:
        qkv = attend.draw(case.tokens, case.seed)
        m = np.arange(case.tokens)[None]
        return _differ(
            attend, attend(qkv, m), attend(qkv, m + case.shift), case.tokens + case.shift, 0,
            f"at positions from 0 on, and from {case.shift} on",
        )  # fmt: skip

    def index(case: AttentionCase) -> Outcome:
        qkv = attend.draw(case.tokens, case.seed)
        m = np.arange(case.tokens)[None]
        cut = case.at
        late = attend(qkv, m)[:, :, cut:]
        early = attend([x[:, :, cut:] for x in qkv], m[:, cut:])
        start = 0 if window is None else min(window - 1, late.shape[2] - 1)
        words = f"with and without {cut} tokens before it"
        return _differ(attend, early[:, :, start:], late[:, :, start:], case.tokens, start, words)

    strategy = _cases(attend, longer_than=window or 0)
    first = _search(
        attend, strategy, offset, "shift_equivariance", "position-id offset",
        "outputs stay the same when all positions are shifted", examples, seed,
        Cause(
            "absolute-position",
            "outputs depend on where positions start: check the rotary function by itself"
            " (check_rope), and for a factor on queries or a mask that depends on positions",
        ),
    )  # fmt: skip
    if window is not None:
        cause = Cause(
            "window",
            f"tokens outside of a window of {window} keys are seen: the mask is wider, or absolute"
            " positions are used",
        )
        claim = f"outputs do not change with what lies outside of a window of {window} keys"
        args = ("index_equivariance", "sequence index", claim, examples, seed, cause)
        second = _search(attend, strategy, index, *args)  # type: ignore[arg-type]
        return Report(attend.words, (first, second))
    seen = index(AttentionCase(32, 16, 0, seed))
    second = Finding(
        "index_equivariance", "sequence index", "nothing is demanded without a window", 0, 0.0,
        notes=(
            f"16 more tokens before a query change its output by up to {seen.error:.2g} standard"
            " deviations of the values: any causal mask lets the index through (ropeleak predict"
            " says how much)" if seen.ratio > 1
            else "outputs do not change with the tokens before them",
        ),
    )  # fmt: skip
    return Report(attend.words, (first, second))


def check_causality(
    fn: Callable[..., Any], *, examples: int = EXAMPLES, seed: int = 0, **options: Any
) -> Finding:
    """Check that outputs do not change with later tokens.

    Parameters and errors as `check_shift_equivariance`; returns one finding.
    """
    attend = _attend(fn, options)

    def evaluate(case: AttentionCase) -> Outcome:
        qkv = attend.draw(case.tokens, case.seed)
        other = attend.draw(case.tokens, case.seed + 1)
        m = np.arange(case.tokens)[None]
        mixed = [
            np.concatenate([a[:, :, : case.at], b[:, :, case.at :]], axis=2)
            for a, b in zip(qkv, other, strict=True)
        ]
        expected, got = (attend(x, m)[:, :, : case.at] for x in (qkv, mixed))
        words = f"before and after a change of the tokens from {case.at} on"
        return _differ(attend, expected, got, case.tokens, 0, words)

    finding = _search(
        attend, _cases(attend), evaluate, "causality", "sequence index",
        "outputs do not change with later tokens", examples, seed,
    )  # fmt: skip
    return finding if finding else finding.with_cause(_ahead(attend, seed))


def check_attention_packing(
    fn: Callable[..., Any], *, examples: int = EXAMPLES, seed: int = 0, **options: Any
) -> Finding:
    """Check that documents packed in a row do not see each other.

    Parameters, returns and errors as `check_causality`, but for
    ``fn(q, k, v, positions, documents)`` with the number of each token's document, shape
    ``(batch, tokens)``. Positions run on in half of the examples and start anew in the others.
    """
    attend = _attend(fn, options)

    def evaluate(case: AttentionCase) -> Outcome:
        qkv = attend.draw(case.tokens, case.seed)
        documents = (np.arange(case.tokens) >= case.at).astype(np.int64)[None]
        m = np.arange(case.tokens)[None]
        if case.seed % 2:
            m = m - documents * case.at
        packed = attend(qkv, m, documents)[:, :, case.at :]
        rest = [x[:, :, case.at :] for x in qkv]
        count = case.tokens - case.at
        alone = attend(rest, np.arange(count)[None], np.zeros((1, count), dtype=np.int64))
        words = f"alone, and packed behind a document of {case.at} tokens"
        return _differ(attend, alone, packed, case.tokens, 0, words)

    return _search(
        attend, _cases(attend), evaluate, "attention_packing", "sequence index",
        "documents packed in a row do not see each other", examples, seed,
        Cause(
            "documents-mix",
            "a document's outputs change with the one before it: the mask is not block-diagonal, or"
            " positions count twice",
        ),
    )  # fmt: skip


def in_one_document(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``fn(q, k, v, positions, documents)`` as a function of the first four."""

    @wraps(fn)
    def alone(q: Any, k: Any, v: Any, positions: Any) -> Any:
        return fn(q, k, v, positions, 0 * positions)

    return alone


def _attend(fn: Any, options: dict[str, Any]) -> Attend:
    if not callable(fn):
        raise RopeleakError(f"{fn!r} is not a function: give a function of (q, k, v, positions)")
    try:
        return Attend(fn, **options)
    except TypeError as error:
        raise RopeleakError(f"{error}: give fields of ropeleak.check.Attend") from None


def _cases(attend: Attend, longer_than: int = 0) -> Any:
    """Cases; imported late, as Hypothesis may be missing."""
    from hypothesis import strategies as st

    from ropeleak import strategies

    @st.composite
    def build(draw: Any) -> AttentionCase:
        tokens = draw(st.integers(longer_than + 2, longer_than + 16))
        shift = draw(strategies.positions(attend.max_position - tokens, near=attend.limits))
        at = draw(st.integers(1, max(tokens - longer_than - 1, 1)))
        return AttentionCase(tokens, at, shift, draw(st.integers(0, 2**16)))

    return build()


def _differ(
    attend: Attend, expected: Floats, got: Floats, last: int, first: int, what: str
) -> Outcome:
    bound = np.full(expected.shape, attend.tolerance(last, expected.size))

    def where(at: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        _, head, token, entry = at
        return f"output of token {first + token}, head {head}, entry {entry}, {what}", (last,)

    return worst(expected, got, bound, where)


def _search(
    attend: Attend, strategy: Any, evaluate: Callable[[AttentionCase], Outcome], check: str,
    kind: Kind, claim: str, examples: int, seed: int, cause: Cause | None = None,
) -> Finding:  # fmt: skip
    margin, tried, failing = look(strategy, evaluate, examples, seed)
    if failing is None:
        return Finding(check, kind, claim, tried, margin)
    case, outcome = failing
    failure = Failure(
        vars(case), outcome.expected, outcome.got, outcome.error, outcome.tolerance,
        attend.source(outcome.positions[0]), outcome.where,
    )  # fmt: skip
    causes = () if cause is None else (cause,)
    return Finding(check, kind, claim, tried, margin, failure, causes)


def _ahead(attend: Attend, seed: int) -> Cause:
    """Say how far ahead queries see."""
    tokens = 12
    qkv, other = attend.draw(tokens, seed), attend.draw(tokens, seed + 1)
    m = np.arange(tokens)[None]
    before = attend(qkv, m)
    seen = 0
    for ahead in range(1, tokens):
        changed = [x.copy() for x in qkv]
        for x, y in zip(changed, other, strict=True):
            x[:, :, ahead] = y[:, :, ahead]
        moved = np.abs(attend(changed, m)[:, :, 0] - before[:, :, 0]).max()
        if moved > attend.tolerance(tokens, before.size):
            seen = ahead
    if seen == 1:
        return Cause(
            "mask-off-by-one", "queries see one key ahead: the mask's diagonal is off by one"
        )
    return Cause("no-causal-mask", f"query 0 sees up to {seen} keys ahead: the mask is not causal")
