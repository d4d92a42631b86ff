"""The grid: its points, their order and identity, what is refused before anything is computed."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ropeleak import RopeleakError, Stack
from ropeleak.sweeps.grid import Grid, make_grid

STACK = Stack.build(context=16, d_model=32, n_heads=2, n_blocks=2)
MODELS = {"a": STACK, "b": STACK.set("n_blocks", 3)}


def test_the_last_axis_is_the_fastest() -> None:
    grid = make_grid(MODELS, {"window": [2, 4], "rope.base": [1e4, 1e5, 1e6]})
    assert grid.dims == {"model": 2, "window": 2, "rope.base": 3}
    told = [(p.index, p.model, *(value for _, value in p.changes)) for p in grid.points()]
    assert told == [
        (6 * m + 3 * w + b, model, window, base)
        for m, model in enumerate("ab")
        for w, window in enumerate((2, 4))
        for b, base in enumerate((1e4, 1e5, 1e6))
    ]
    stack = grid.point(10).stack(MODELS)
    expected = MODELS["b"].set("window", 4).set("rope.base", 1e5)
    assert stack == expected


def test_fields_that_change_together() -> None:
    over = {"n_heads": [1, 2, 2], "bos": ["random"], "d_head": [8, 8, 16]}
    for zipped in (["n_heads+d_head"], [("d_head", "n_heads")]):
        grid = make_grid({"a": STACK}, over, zipped)
        assert grid.dims == {"n_heads+d_head": 3, "bos": 1}
        stacks = [point.stack(grid.models) for point in grid.points()]
        assert [(s.n_heads, s.d_head) for s in stacks] == [(1, 8), (2, 8), (2, 16)]


def test_identities_do_not_depend_on_the_grid() -> None:
    small = make_grid({"a": STACK}, {"window": [4], "rope.base": [1e5]})
    large = make_grid(MODELS, {"window": [2, 4], "rope.base": [1e4, 1e5]})
    identities = [point.identity for point in large.points()]
    assert len(set(identities)) == large.size
    assert small.point(0).identity == identities[3]
    renamed = make_grid({"c": STACK.replace(name="c")}, {"window": [4], "rope.base": [1e5]})
    assert renamed.point(0).identity == identities[3]


def test_a_grid_survives_json() -> None:
    over = {"window": [4, None], "rope": [None, {"type": "linear", "factor": 2}]}
    grid = make_grid(MODELS, over)
    again = Grid.from_json(json.loads(json.dumps(grid.as_json())))
    assert again == grid
    assert [p.identity for p in again.points()] == [p.identity for p in grid.points()]


MANY = np.arange(1, 1001)


@pytest.mark.parametrize(
    ("over", "zipped", "words"),
    [
        ({}, (), "there is nothing to sweep"),
        ({"window": [1, 1]}, (), "window lists 1 twice"),
        ({"window": [1, 1.0]}, (), "window lists 1 twice"),
        ({"window": [1], "attention.window": [2]}, (), "are the same field"),
        ({"window": MANY, "context": MANY, "n_blocks": MANY}, (),
         "has 1,000,000,000 points .1,000 window x 1,000 context x 1,000 n_blocks."),
        ({"window": [1], "bos": ["random"]}, ["window+bso"], "did you mean bos"),
        ({"window": [1], "bos": ["random"]}, ["window"], "names one field"),
        ({"window": [1], "bos": ["random"]}, ["window+window"], "window is named twice"),
        ({"window": [1], "bos": ["random"], "alpha": [0]}, ["window+bos", "bos+alpha"],
         "bos is named twice"),
        ({"window": [1, 2], "bos": ["random"]}, ["window+bos"], "window has 2, bos has 1"),
        ({"window": [1, 1], "alpha": [0, 0]}, ["window+alpha"], "lists 1, 0 twice"),
    ],
)  # fmt: skip
def test_refusals(over: dict[str, Any], zipped: Sequence[str | Sequence[str]], words: str) -> None:
    with pytest.raises(RopeleakError, match=words.replace("+", r"\+")):
        make_grid({"a": STACK}, over, zipped)


def test_a_huge_grid_is_refused_at_once() -> None:
    over = {f"attention[{b}].window": range(1, 1001) for b in range(10)}
    with pytest.raises(RopeleakError, match="and may have 1,000,000"):
        make_grid({"a": STACK.set("n_blocks", 10)}, over)
