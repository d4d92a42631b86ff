"""Rows of a batch, and documents of a row, keep out of each other's positions."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ._arrays import Floats, Integers
from ._search import EXAMPLES, Case, Outcome, cases, gain, scores, search, worst
from ._subject import Subject, subject_of
from .report import Finding
from .tolerance import score_tolerance

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

SHORT = 3
"""Tokens of the padded row, and of each packed document."""


def check_padding(fn: Any, *, examples: int = EXAMPLES, seed: int = 0, **options: Any) -> Finding:
    """Check that a row's scores do not change when it is padded on the left beside a longer row.

    Twice: with ``position_ids`` that start at 0 where the padding ends, and with positions that
    count the padding as well. Parameters, returns and errors as `check_relative_invariance`.
    """
    subject = subject_of(fn, **options)

    def evaluate(case: Case) -> Outcome:
        # The longer row is the end of a text: its last token is at its last position.
        longer = np.array(case.positions)
        tokens, pads = longer.size, longer.size - SHORT
        q, k = case.vectors(subject)
        alone = np.arange(SHORT)[None]
        real = slice(pads, tokens)
        expected = subject.rotate(q[:, :, real], k[:, :, real], alone)
        ids = np.maximum(np.arange(tokens) - pads, 0)
        counted = np.arange(tokens)
        beside = subject.rotate(q, k, longer[None])
        outcomes = []
        for row, words in ((ids, "with position_ids"), (counted, "without position_ids")):
            # The padded row comes first: its positions do not fit the longer one.
            rotated = subject.rotate(
                np.concatenate([q, q]), np.concatenate([k, k]), np.stack([row, longer])
            )
            got = rotated[0][:1, :, real], rotated[1][:1, :, real]
            what = f"alone, and padded {words} beside a row that ends at position {longer[-1]}"
            outcomes.append(
                scores_differ(subject, expected, got, alone[0], row[real], what, longer)
            )
            got = rotated[0][1:], rotated[1][1:]
            what = f"of the longer row, alone, and beside a row that is padded {words}"
            outcomes.append(scores_differ(subject, beside, got, longer, longer, what, longer))
        return max(outcomes, key=lambda o: o.ratio)

    return search(
        subject, cases(subject, min_size=SHORT + 1, max_size=SHORT + 4, contiguous=True), evaluate,
        examples=examples, seed=seed, check="padding", kind="position-id offset",
        claim="scores stay the same under left padding, with and without position_ids",
    )  # fmt: skip


def check_packing(fn: Any, *, examples: int = EXAMPLES, seed: int = 0, **options: Any) -> Finding:
    """Check that a document's scores do not change when it is packed behind another one.

    Twice: with positions that start anew at each document, and with positions that run on, which a
    block-diagonal mask must make invisible. Parameters, returns and errors as
    `check_relative_invariance`.
    """
    subject = subject_of(fn, **options)

    def evaluate(case: Case) -> Outcome:
        q, k = case.vectors(subject)
        # One document, and a second one behind it.
        first = len(case.positions) - SHORT
        second = slice(first, None)
        alone = np.arange(SHORT)
        expected = subject.rotate(q[:, :, second], k[:, :, second], alone[None])
        anew = np.concatenate([np.arange(first), alone])
        # The row that runs on ends where the case says: what came before is left out.
        on = np.array(case.positions)
        outcomes = []
        for row, words in ((anew, "start anew"), (on, "run on")):
            rotated = subject.rotate(q, k, row[None])
            got = rotated[0][:, :, second], rotated[1][:, :, second]
            what = f"alone, and packed behind another document with positions that {words}"
            outcomes.append(scores_differ(subject, expected, got, alone, row[second], what, row))
        return max(outcomes, key=lambda o: o.ratio)

    return search(
        subject, _packed(subject), evaluate, examples=examples, seed=seed,
        check="packing", kind="position-id offset",
        claim="scores within a document stay the same when it is packed",
    )  # fmt: skip


def _packed(subject: Subject) -> "SearchStrategy[Case]":
    return cases(subject, min_size=SHORT + 1, max_size=2 * SHORT, contiguous=True)


def scores_differ(
    subject: Subject,
    expected: tuple[Floats, Floats],
    got: tuple[Floats, Floats],
    before: Integers,
    after: Integers,
    what: str,
    row: Integers,
) -> Outcome:
    """Compare the scores of the same tokens at two sets of positions.

    Parameters
    ----------
    subject
        What is checked.
    expected, got
        Rotated queries and keys of the tokens, shape ``(1, heads, tokens, head_size)``.
    before, after
        Their positions in each, shape ``(tokens,)``; shifted against each other.
    what
        The two ways, in words.
    row
        The positions of all tokens of the call, for the diagnosis.
    """
    size = expected[0].shape[-1]
    pairs = [np.stack(np.broadcast_arrays(p[:, None], p[None, :]), -1) for p in (before, after)]
    places = np.concatenate(pairs, axis=-1)
    factor = gain(np.ones_like(expected[0]), expected[0]) * gain(
        np.ones_like(expected[1]), expected[1]
    )
    bound = factor * score_tolerance(places, subject.frequencies(size), size, subject.precision)

    def where(at: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        i, j = at[-2:]
        words = f"score of token {i} and token {j} {what}"
        return words, (*(int(p) for p in places[i, j]), int(np.max(row)))

    return worst(scores(*expected)[0, 0], scores(*got)[0, 0], bound, where)
