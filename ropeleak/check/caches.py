"""Decoding with a key cache gives what one call over the whole row gives."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ropeleak.errors import RopeleakError

from ._arrays import Floats
from ._search import EXAMPLES, Case, Outcome, cases, entries, search
from ._subject import Subject, called, examined, subject_of
from .operator import Operator
from .report import Cause, Finding
from .rotary import vectors_differ

Decoder = Callable[[Any, Any], tuple[Any, Any]]
TOKENS = 5


def check_cache_consistency(
    fn: Any,
    *,
    step: Any = None,
    decoder: Callable[[], Decoder] | None = None,
    rerotate: Callable[[Any, int], Any] | None = None,
    examples: int = EXAMPLES,
    seed: int = 0,
    **options: Any,
) -> Finding:
    """Check that incremental decoding rotates as one call over the whole row does.

    A row is rotated at once, and again in two parts: a prompt in one call, then token by token.

    Parameters
    ----------
    fn
        ``fn(q, k, positions)``, or another signature that `ropeleak.check.adapters.adapted` knows.
    step
        What rotates one token while decoding, of the same signature; ``fn`` itself unless given.
    decoder
        Makes a decoder with an empty cache: called with the query and the key of one token, both of
        shape ``(1, heads, 1, head_size)``, from position 0 on, it returns the rotated query and all
        rotated keys of its cache, ``(1, heads, tokens, head_size)``. In place of ``step``.
    rerotate
        ``rerotate(keys, shift)`` moves rotated keys by a number of positions; checked too if given.
    examples, seed, **options
        As `check_relative_invariance` takes them.

    Returns
    -------
    Finding
        True if no case failed.

    Raises
    ------
    RopeleakError
        If an option is not allowed, or a function fails outright.
    """
    if step is not None and decoder is not None:
        raise RopeleakError("give step or decoder to check_cache_consistency, not both")
    subject = subject_of(fn, **options)
    stepper = subject if step is None else subject_of(step, **options)

    def evaluate(case: Case) -> Outcome:
        q, k = case.vectors(subject)
        m = case.row()
        if decoder is not None:
            m = np.arange(m.shape[1])[None]
        once = subject.rotate(q, k, m)
        if decoder is not None:
            parts = _decoded(subject, decoder, q, k)
        else:
            prompt = 1 + case.seed % m.shape[1]
            parts = _stepwise(subject, stepper, q, k, m, prompt)
        outcome = _compare(subject, case, (q, k), once, parts, m)
        if rerotate is None or outcome.ratio > 1:
            return outcome
        moved = subject.rotate(q, k, m + case.shift)[1]
        given = subject.door.array(once[1]), case.shift
        answer = called(rerotate, given, "rerotate", f"keys {k.shape}, shift {case.shift}")
        keys = examined(answer, k.shape, subject.door, "rerotate", subject.any_dtype)
        places = np.stack([m[0], np.full_like(m[0], case.shift), m[0] + case.shift, m[0]], axis=-1)
        again = vectors_differ(
            subject, case, (q, k), (moved, moved), (keys, keys), places,
            f"rotated anew, and re-rotated by {case.shift},",
        )  # fmt: skip
        return max(outcome, again, key=lambda o: o.ratio)

    finding = search(
        subject, cases(subject, min_size=2, max_size=TOKENS, contiguous=True), evaluate,
        examples=examples, seed=seed, check="cache_consistency", kind="position-id offset",
        claim="decoding token by token rotates as one call over the row does",
    )  # fmt: skip
    if finding or (step is None and decoder is None):
        return finding
    offset = _decoder_offset(subject, decoder) if decoder else _step_offset(subject, stepper)
    return finding if offset is None else _off_by(finding, offset)


def _stepwise(
    subject: Subject, stepper: Subject, q: Floats, k: Floats, m: np.ndarray[Any, Any], prompt: int
) -> tuple[Floats, Floats]:
    pieces = [subject.rotate(q[:, :, :prompt], k[:, :, :prompt], m[:, :prompt])]
    for t in range(prompt, m.shape[1]):
        one = slice(t, t + 1)
        pieces.append(stepper.rotate(q[:, :, one], k[:, :, one], m[:, one]))
    queries, keys = zip(*pieces, strict=True)
    return np.concatenate(queries, axis=2), np.concatenate(keys, axis=2)


def _decoded(
    subject: Subject, decoder: Callable[[], Decoder], q: Floats, k: Floats
) -> tuple[Floats, Floats]:
    """Return the rotated queries of every step and the cache after the last."""
    decode = decoder()
    queries, keys = [], k
    for t in range(q.shape[2]):
        given = tuple(subject.door.array(x[:, :, t : t + 1]) for x in (q, k))
        answer = called(decode, given, "decoder", f"token {t}")
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            raise RopeleakError("decoder must return the rotated query and the cached keys")
        shapes = (1, 1, 1, q.shape[-1]), (1, 1, t + 1, q.shape[-1])
        names = "decoder's query", "decoder's keys"
        query, keys = (
            examined(x, shape, subject.door, name, subject.any_dtype)
            for x, shape, name in zip(answer, shapes, names, strict=True)
        )
        queries.append(query)
    return np.concatenate(queries, axis=2), keys


def _compare(
    subject: Subject,
    case: Case,
    given: tuple[Floats, Floats],
    once: tuple[Floats, Floats],
    parts: tuple[Floats, Floats],
    m: np.ndarray[Any, Any],
) -> Outcome:
    places = np.stack([m[0], m[0]], axis=-1)
    what = "rotated in one call, and while decoding"
    return vectors_differ(subject, case, given, once, parts, places, what)


def _step_offset(subject: Subject, stepper: Subject) -> int | None:
    """Return by how many positions a step is off, if that explains it."""
    size = subject.sizes[-1]
    right, wrong = Operator(subject, size), Operator(stepper, size)
    p = min(10, subject.max_position // 2)
    got = wrong.matrix(p)
    offsets = [s for s in (-2, -1, 1, 2) if p + s >= 0 and right.same(right.matrix(p + s), got, p)]
    return offsets[0] if offsets else None


def _decoder_offset(subject: Subject, decoder: Callable[[], Decoder]) -> int | None:
    size = subject.sizes[-1]
    q, k = (subject.rounded(x) for x in entries(0, (2, 1, 1, 8, size)))
    queries, keys = _decoded(subject, decoder, q, k)
    operator = Operator(subject, size)
    for offset in (-2, -1, 1, 2):
        # Compare away from the ends, where positions may be clamped at 0.
        m = np.arange(8)[None] + offset
        right = subject.rotate(q[:, :, 2:], k[:, :, 2:], m[:, 2:])
        if any(
            operator.same(a, b[:, :, 2:], 8) for a, b in zip(right, (queries, keys), strict=True)
        ):
            return offset
    return None


def _off_by(finding: Finding, offset: int) -> Finding:
    cause = Cause(
        "off-by-one-cache",
        f"while decoding, tokens are rotated {abs(offset)} position{'s' * (abs(offset) > 1)} too"
        f" {'high' if offset > 0 else 'low'}: take the position from the length of the cache before"
        " the token is appended",
    )
    return finding.with_cause(cause)
