"""Rotary functions: relative, rotations, a group, and functions of the position alone."""

from dataclasses import replace
from typing import Any

import numpy as np

from ropeleak.errors import RopeleakError

from ._arrays import Floats
from ._search import EXAMPLES, Case, Outcome, cases, gain, scores, search, worst
from ._subject import Subject, subject_of
from .operator import Operator, angle_error
from .report import Cause, Failure, Finding
from .tolerance import ANGLE_ROUNDINGS, norm_tolerance, quantile, score_tolerance

INDEX_NOTE = (
    "this is about the rotation alone: a causal mask lets the index through whatever the rotation,"
    " and ropeleak predict says how much"
)

IDLE_NOTE = "positions have no effect: scores do not depend on the distance either"


def check_relative_invariance(
    fn: Any, *, examples: int = EXAMPLES, seed: int = 0, **options: Any
) -> Finding:
    """Check that scores stay the same when all positions are shifted.

    Parameters
    ----------
    fn
        ``fn(q, k, positions)``, or another signature that `ropeleak.check.adapters.adapted` knows.
    examples
        How many cases to try.
    seed
        Another one gives other cases.
    **options
        dtype
            Format of queries and keys: fp64, fp32, bf16 or fp16.
        max_position
            The largest position to try, 4096 unless given.
        head_size
            Head sizes to try, one or several; those of the usual ones that work unless given.
        rope
            A `ropeleak.Rope` that the function should compute: its frequencies are not checked
            without it.
        angles, table_dtype
            Formats in which it may compute angles (fp64 for fp64, else fp32, unless given) and keep
            cos and sin (the coarser one of both).
        framework, device
            ``numpy``, ``torch`` or ``jax``, found out unless given, and where PyTorch puts its
            arrays.
        any_dtype
            Whether answers may have another dtype than ``dtype``.

    Returns
    -------
    Finding
        True if no case failed.

    Raises
    ------
    RopeleakError
        If an option is not allowed, or the function fails outright.
    """
    subject = subject_of(fn, **options)

    def evaluate(case: Case) -> Outcome:
        q, k = case.vectors(subject)
        m = case.row()
        before = subject.rotate(q, k, m)
        after = subject.rotate(q, k, m + case.shift)
        factor = gain(q, before[0]) * gain(k, before[1])
        p = m[0]
        both = np.stack(np.broadcast_arrays(p[:, None], p[None, :]), axis=-1)
        places = np.concatenate([both, both + case.shift], axis=-1)
        frequencies = subject.frequencies(case.head_size)
        bound = factor * score_tolerance(places, frequencies, case.head_size, subject.precision)

        def where(at: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
            i, j = at[-2:]
            a, b, s = int(p[i]), int(p[j]), case.shift
            words = f"score of query {a} and key {b}, against {a + s} and {b + s}"
            return words, (a, b, a + s, b + s)

        return worst(scores(*before)[0, 0], scores(*after)[0, 0], bound, where)

    finding = search(
        subject, cases(subject), evaluate, examples=examples, seed=seed,
        check="relative_invariance", kind="position-id offset",
        claim="scores depend on the distance between positions alone",
    )  # fmt: skip
    idle = finding and Operator(subject, subject.sizes[-1]).stands_still()
    return finding.with_notes(IDLE_NOTE) if idle else finding


def check_norm_preserved(
    fn: Any, *, examples: int = EXAMPLES, seed: int = 0, **options: Any
) -> Finding:
    """Check that norms are the same at every position, and changed alike for queries and keys.

    A factor common to both is allowed (the attention factor of YaRN and LongRoPE) and noted; with
    ``rope`` it must be the one of that RoPE. Parameters, returns and errors as
    `check_relative_invariance`.
    """
    subject = subject_of(fn, **options)

    def evaluate(case: Case) -> Outcome:
        (x,) = case.vectors(subject, count=1)
        origin = subject.rotate(x, x, np.zeros_like(case.row()))
        turned = subject.rotate(x, x, case.row())
        norms = [_norms(y) for y in (*origin, *turned)]
        expected = np.stack([norms[0], norms[1], norms[0]])
        got = np.stack([norms[2], norms[3], norms[1]])
        # Where nothing is left of a vector, its own norm is the measure.
        size = np.maximum(expected, _norms(x))
        bound = size * norm_tolerance(case.head_size, subject.precision, expected.size)

        def where(at: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
            row, t = at
            p = case.positions[t]
            words = (
                f"norm of the query at {p}, against position 0",
                f"norm of the key at {p}, against position 0",
                "norm of a rotated key, against the same vector as a query, at position 0",
            )
            return words[row], (0,) if row == 2 else (0, p)

        return worst(expected, got, bound, where)

    finding = search(
        subject, cases(subject), evaluate, examples=examples, seed=seed,
        check="norm_preserved", kind="rotation",
        claim="queries and keys keep their norms at every position",
        source="closed form for norms: rounded tables and products alone, as angles keep norms",
    )  # fmt: skip
    if not finding:
        return finding
    factor = Operator(subject, subject.sizes[-1]).attention_factor()
    expected = factor if subject.rope is None else subject.rope.attention_scale(1)
    tolerance = 4 * subject.precision.eps
    if factor <= tolerance:
        return _other_factor(finding, subject.sizes[-1], 1.0, factor, tolerance)
    if abs(factor - expected) > tolerance:
        return _other_factor(finding, subject.sizes[-1], expected, factor, tolerance)
    if abs(factor - 1) > tolerance:
        return finding.with_notes(
            f"rotated entries are multiplied by {factor:.4g}, scores by {factor**2:.4g}, as by the"
            " attention factor of YaRN and LongRoPE"
        )
    return finding


def _other_factor(
    finding: Finding, size: int, expected: float, got: float, tolerance: float
) -> Finding:
    failure = Failure(
        {"head_size": size, "positions": (0,)}, expected, got, abs(got - expected), tolerance,
        "four roundings of the activations", "factor on the first entry at position 0",
    )  # fmt: skip
    cause = Cause(
        "attention-factor",
        f"cos and sin are multiplied by {got:.4g} where the RoPE has the attention factor"
        f" {expected:.4g}: scores are {(got / expected) ** 2:.3g} times what they should be",
    )
    return replace(
        finding, failure=failure, causes=(cause,), margin=abs(got - expected) / tolerance
    )


def check_composition(
    fn: Any, *, examples: int = EXAMPLES, seed: int = 0, **options: Any
) -> Finding:
    """Check that rotating twice, by ``m`` and by ``s``, is rotating once by ``m + s``.

    It is what makes moving cached keys by re-rotation lossless. Parameters, returns and errors as
    `check_relative_invariance`.
    """
    subject = subject_of(fn, **options)

    def evaluate(case: Case) -> Outcome:
        q, k = case.vectors(subject)
        m, s = case.row(), np.full_like(case.row(), case.shift)
        # Rotating by 0 applies an attention factor a second time, as the second rotation does.
        once = subject.rotate(*_again(subject, subject.rotate(q, k, m + s)), 0 * m)
        twice = subject.rotate(*_again(subject, subject.rotate(q, k, m)), s)
        places = np.stack([m[0], s[0], m[0] + s[0], 0 * m[0]], axis=-1)
        return vectors_differ(subject, case, (q, k), once, twice, places, "rotated once, and twice")

    return search(
        subject, cases(subject), evaluate, examples=examples, seed=seed,
        check="composition", kind="rotation",
        claim="rotating by m and then by s is rotating by m + s",
    )  # fmt: skip


def check_position_ids(
    fn: Any, *, examples: int = EXAMPLES, seed: int = 0, **options: Any
) -> Finding:
    """Check that a token is rotated by its position id, wherever in the row it stands.

    Parameters, returns and errors as `check_relative_invariance`.
    """
    subject = subject_of(fn, **options)

    def evaluate(case: Case) -> Outcome:
        q, k = case.vectors(subject)
        m = case.row()
        order = np.random.default_rng(case.seed).permutation(m.shape[1])
        straight = subject.rotate(q, k, m)
        mixed = subject.rotate(q[:, :, order], k[:, :, order], m[:, order])
        expected = straight[0][:, :, order], straight[1][:, :, order]
        p = m[0, order]
        places = np.stack([p, p], axis=-1)
        return vectors_differ(
            subject, case, (q, k), expected, mixed, places, "in one order of tokens, and in another"
        )

    finding = search(
        subject, cases(subject, min_size=2), evaluate, examples=examples, seed=seed,
        check="position_ids", kind="sequence index",
        claim="a token is rotated by its position id, not by its index",
    )  # fmt: skip
    return finding.with_notes(INDEX_NOTE) if finding else finding


def check_repeatable(
    fn: Any, *, examples: int = EXAMPLES, seed: int = 0, **options: Any
) -> Finding:
    """Check that the same call gives the same answer after a call at other positions.

    The second time the function is called twice with one array of positions, as by two layers of a
    model. Parameters, returns and errors as `check_relative_invariance`.
    """
    subject = subject_of(fn, **options)

    def evaluate(case: Case) -> Outcome:
        q, k = case.vectors(subject)
        m = case.row()
        first = subject.rotate(q, k, m)
        subject.rotate(q, k, m + case.shift)
        second = subject.rotate(q, k, m, layers=2)
        places = np.stack([m[0], m[0]], axis=-1)
        return vectors_differ(
            subject, case, (q, k), first, second, places,
            f"before and after a call at positions {case.shift} higher,",
        )  # fmt: skip

    return search(
        subject, cases(subject), evaluate, examples=examples, seed=seed,
        check="repeatable", kind="sequence index",
        claim="the same call always gives the same answer",
    )  # fmt: skip


def check_frequencies(
    fn: Any, *, examples: int = EXAMPLES, seed: int = 0, **options: Any
) -> Finding:
    """Check that each pair turns by its frequency: angles are those of ``rope``.

    A wrong frequency keeps scores relative and is invisible to every other check. Parameters,
    returns and errors as `check_relative_invariance`; ``rope`` is needed.
    """
    subject = subject_of(fn, **options)
    rope = subject.rope
    if rope is None:
        raise RopeleakError(
            "check_frequencies needs rope=ropeleak.Rope(...): it says which frequencies are right"
        )
    operators = {size: Operator(subject, size) for size in subject.sizes}

    def evaluate(case: Case) -> Outcome:
        operator = operators[case.head_size]
        p = max(case.positions)
        frequencies = rope.inverse_frequencies(case.head_size, p + 1)
        got, expected = operator.rotations(p), np.exp(1j * p * frequencies)
        error = angle_error(got, expected)
        bits, eps = subject.precision.angles.bits, subject.precision.eps
        rounding = _frequency_rounding(p, frequencies, bits)
        bound = quantile(error.size) * np.hypot(rounding, eps)

        def where(at: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
            return f"angle of pair {at[0]} of {error.size} at position {p}, in radians", (p,)

        return worst(np.angle(expected), np.angle(got), bound, where, error=error)

    return search(
        subject, cases(subject, max_size=1), evaluate, examples=examples, seed=seed,
        check="frequencies", kind="frequencies",
        claim=f"pairs turn by the frequencies of {rope.type} RoPE",
        source="closed form for angles: rounded frequencies, products and tables",
    )  # fmt: skip


def vectors_differ(
    subject: Subject,
    case: Case,
    given: tuple[Floats, Floats],
    expected: tuple[Floats, Floats],
    got: tuple[Floats, Floats],
    places: np.ndarray[Any, Any],
    what: str,
) -> Outcome:
    """Compare two answers token by token.

    The RMS over a vector's entries of its error obeys the law of a score's: each rotated vector
    that went in adds the same variance.

    Parameters
    ----------
    subject, case
        What is checked, and on what.
    given
        Queries and keys before any rotation, for their size.
    expected, got
        Rotated queries and keys, shape ``(1, heads, tokens, head_size)``.
    places
        Positions of the rotated vectors that each token's comparison has, ``(tokens, vectors)``.
    what
        The two ways, in words.
    """
    factor = gain(given[0], expected[0]) * gain(given[1], expected[1])
    frequencies = subject.frequencies(case.head_size)
    bound = factor * score_tolerance(places, frequencies, case.head_size, subject.precision)
    with np.errstate(invalid="ignore", over="ignore"):
        errors = [_norms(a - b) for a, b in zip(got, expected, strict=True)]
        error = np.stack(errors) / np.sqrt(case.head_size)
        sizes = [np.stack([_norms(a) for a in pair]) for pair in (expected, got)]
    sizes = [size / np.sqrt(case.head_size) for size in sizes]

    def where(at: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        side, t = ("query", "key")[at[0]], at[1]
        words = f"{side} {t} of the row {what} (RMS of its entries; the error: of the difference)"
        return words, tuple(int(p) for p in places[t])

    return worst(sizes[0], sizes[1], np.broadcast_to(bound, error.shape), where, error=error)


def _norms(x: Floats) -> Floats:
    """Norms of the vectors of the first row and head, shape ``(tokens,)``."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(np.sqrt(np.sum(x[0, 0] ** 2, axis=-1)))


def _again(subject: Subject, pair: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    return subject.rounded(pair[0]), subject.rounded(pair[1])


def _frequency_rounding(p: int, frequencies: Floats, bits: int) -> Floats:
    """RMS error of the angles: each frequency and each product is rounded, to within ``2^-bits``.

    Frequencies come from a power, an exponential or a few products, so several roundings of the
    relative size ``2^(1 - bits)/√12`` each; a power rounds its exponent, times ``ln base``.
    """
    relative = 2.0 ** (1 - bits) / 12**0.5
    roundings = ANGLE_ROUNDINGS + 2 + np.log(1 / frequencies.clip(1e-12, 1)) ** 2
    return np.asarray(p * frequencies * relative * np.sqrt(roundings))
