"""The text is the same for everyone who has this Python, and tells no position."""

import numpy as np
import pytest

from paper.training.text import BOS_ID, HELD_OUT, standard_library
from ropeleak.spec import Bos

TEXT = standard_library()
KINDS = ("constant", "random", "absent", "zero")


def test_the_text_is_large_and_held_out_files_are_a_tenth() -> None:
    assert TEXT.train.size > 5e6
    share = TEXT.held_out.size / (TEXT.train.size + TEXT.held_out.size)
    assert 0.5 / HELD_OUT < share < 2 / HELD_OUT
    assert TEXT.train[:200].tobytes() not in TEXT.held_out.tobytes()


def test_two_bytes_are_the_same_as_often_as_promised() -> None:
    a, b = np.random.default_rng(0).choice(TEXT.train, (2, 100_000))
    share = (a == b).mean()
    assert abs(share - 1 / TEXT.distinct) < 0.5 / TEXT.distinct**2 + 4 * np.sqrt(share / 1e5)


@pytest.mark.parametrize("kind", KINDS)
def test_only_position_0_depends_on_what_stands_there(kind: str) -> None:
    plain = TEXT.batch(Bos(kind="absent"), seed=3, step=7, rows=5, tokens=20)
    batch = TEXT.batch(Bos.model_validate({"kind": kind}), seed=3, step=7, rows=5, tokens=20)
    np.testing.assert_array_equal(batch.inputs[:, 1:], plain.inputs[:, 1:])
    np.testing.assert_array_equal(batch.following, plain.following)
    np.testing.assert_array_equal(batch.inputs[:, 1:], batch.following[:, :-1])
    assert (batch.inputs[:, 0] == BOS_ID).all() == (kind in ("constant", "zero"))


def test_batches_differ_by_seed_and_step_and_are_drawn_alike_again() -> None:
    def batch(seed: int, step: int) -> list[int]:
        found = TEXT.batch(Bos(), seed, step, rows=4, tokens=32).inputs
        return [int(x) for x in found.ravel()]

    assert batch(0, 0) == batch(0, 0)
    assert len({tuple(batch(seed, step)) for seed in range(3) for step in range(3)}) == 9


def test_held_out_contents_are_held_out() -> None:
    contents = TEXT.contents(Bos(kind="absent"), rows=20, tokens=100, seed=0).inputs
    held_out = TEXT.held_out.tobytes()
    assert all(row.astype(np.uint8).tobytes() in held_out for row in contents)


def test_planted_bytes_are_where_they_are_asked_for() -> None:
    for position in (50, 100):
        found = TEXT.planted(Bos(), ord("e"), position, rows=30, tokens=128, seed=1).inputs
        assert (found[:, position] == ord("e")).all()
        assert (found[:, 0] == BOS_ID).all()
        assert len({tuple(row) for row in found}) == 30
