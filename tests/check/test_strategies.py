"""Strategies draw what they say, the nasty values among it."""

import importlib
import sys

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from ropeleak import Rope, RopeleakError, Stack
from ropeleak import strategies as rst

FEW = settings(max_examples=50, deadline=None)


@pytest.mark.parametrize("nasty", [0, 1, 2047, 2049, 4095, 4097, 2**20, 257, 65_504, 65_520])
def test_nasty_positions_are_drawn(nasty: int) -> None:
    assert find(rst.positions(2**20), lambda p: p == nasty) == nasty


@FEW
@given(st.integers(0, 10_000).flatmap(lambda most: st.tuples(st.just(most), rst.positions(most))))
def test_positions_keep_their_limit(drawn: tuple[int, int]) -> None:
    assert 0 <= drawn[1] <= drawn[0]


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(RopeleakError, match="max_position=-1"):
        rst.positions(-1)


@FEW
@given(rst.rows(5000, min_size=2, max_size=5, contiguous=True))
def test_contiguous_rows(row: tuple[int, ...]) -> None:
    assert 2 <= len(row) <= 5
    assert set(np.diff(row)) == {1}
    assert min(row) >= 0
    assert max(row) <= 5000


@FEW
@given(rst.ropes(head_size=32))
def test_ropes_are_valid(rope: Rope) -> None:
    rope.check(32, 10_000)
    w = rope.inverse_frequencies(32, 10_000)
    assert w.size == rope.rotary_dim(32) // 2
    assert np.isfinite(w).all()


def test_every_type_is_drawn() -> None:
    for kind in ("default", "yarn", "longrope", "llama3", "dynamic"):
        assert find(rst.ropes(head_size=8).map(lambda rope: rope.type), kind.__eq__) == kind


@FEW
@given(rst.stacks(), rst.head_sizes(), rst.bases(), rst.rope_types())
def test_the_others(stack: Stack, size: int, base: float, kind: str) -> None:
    assert stack.context <= 64
    assert size in rst.HEAD_SIZES
    assert base >= 10
    assert kind in ("default", "linear", "dynamic", "ntk", "yarn", "longrope", "llama3",
                    "proportional")  # fmt: skip


def test_without_hypothesis_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.delitem(sys.modules, "ropeleak.strategies")
    with pytest.raises(RopeleakError, match=r"pip install 'ropeleak\[check\]'"):
        importlib.import_module("ropeleak.strategies")
    monkeypatch.undo()
