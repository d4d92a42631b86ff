"""Leaks by query, against their definition."""

from itertools import permutations

import numpy as np
import pytest

from paper.training.leaks import leaks

CONTENTS, HEADS, TOKENS, WIDEST = 4, 2, 11, 5


@pytest.mark.parametrize("queries", [slice(None), slice(0, 3), slice(8, None)])
def test_squares_are_those_of_the_definition(queries: slice) -> None:
    random = np.random.default_rng(0)
    s = random.normal(size=(CONTENTS, HEADS, TOKENS, TOKENS)) + np.arange(TOKENS)[:, None]
    z = random.normal(size=(CONTENTS, HEADS, TOKENS)) + np.log1p(np.arange(TOKENS))
    wanted: dict[str, list[float]] = {"mask": [], "residual": [], "total": []}
    for offset in range(1, WIDEST + 1):
        band = range(offset, TOKENS)
        for a, b in permutations(range(CONTENTS), 2):
            for head in range(HEADS):
                rows = []
                for content in (a, b):
                    x = np.array([s[content, head, i, i - offset] for i in band])
                    y = np.array([z[content, head, i] for i in band])
                    rows.append((y - y.mean(), x - x.mean(), (x - y) - (x - y).mean()))
                for name, (one, other) in zip(wanted, zip(*rows, strict=True), strict=True):
                    chosen = np.isin(band, np.arange(TOKENS)[queries])
                    wanted[name] += list((one * other)[chosen])
    found = leaks(s, z, WIDEST)
    for name, values in wanted.items():
        assert found.square(name, queries) == pytest.approx(np.mean(values), rel=1e-12)


def test_what_depends_on_the_offset_alone_does_not_leak() -> None:
    offset = np.arange(TOKENS)[:, None] - np.arange(TOKENS)
    scores = np.broadcast_to(np.sin(offset), (CONTENTS, HEADS, TOKENS, TOKENS)).copy()
    found = leaks(scores, np.ones((CONTENTS, HEADS, TOKENS)), WIDEST)
    for name in ("mask", "residual", "total"):
        assert abs(found.square(name)) < 1e-28


def test_contents_without_anything_in_common_leak_nothing_on_average() -> None:
    random = np.random.default_rng(1)
    squares = []
    for _ in range(200):
        s = random.normal(size=(CONTENTS, HEADS, TOKENS, TOKENS))
        found = leaks(s, s.mean(-1), WIDEST)
        squares.append([found.square("mask"), found.square("residual")])
    z = np.mean(squares, 0) / (np.std(squares, 0, ddof=1) / np.sqrt(len(squares)))
    assert np.abs(z).max() < 3
