"""Stacks that run together get what each gets alone."""

import numpy as np
import pytest

from ropeleak import Stack
from ropeleak.numbers import Numbers
from ropeleak.theory.axes import by_value
from ropeleak.theory.grid import log_grid
from ropeleak.theory.methods import predict_many, predictor
from ropeleak.theory.together import Stacks, kind, together
from tests.theory.test_grid import STACKS, build


def variants(stack: Stack) -> list[Stack]:
    """Return stacks that differ in their weights and in how fast RoPE turns."""
    return [
        stack.set("rope.base", base).set("init.score_std", std).set("init.embedding_var", size)
        for base, std, size in (
            (1e4, 0.1, 1.0), (1e6, 0.9, 0.01), (500.0, 1.7, 2.0), (1e4, 3.5, 1e-4), (2e5, 0.9, 1.0),
        )
    ]  # fmt: skip


@pytest.mark.parametrize("name", [*STACKS, "experts"])
def test_each_stack_gets_what_it_gets_alone(name: str) -> None:
    if name == "experts":
        stack = build("causal", 40).set("mlp.experts", {"count": 4, "active": 2})
    else:
        stack = build(name, 40)
    stacks = variants(stack)
    alone = predictor("mean-field")
    for stack, found in zip(stacks, predict_many(stacks, "grid"), strict=True):
        expected = alone(stack, positions="grid")
        assert found.attrs == expected.attrs
        for variable in expected.data_vars:
            scale = np.abs(expected[variable].values).max()
            np.testing.assert_allclose(
                found.variables[str(variable)], expected[variable], rtol=1e-9, atol=1e-12 * scale,
                err_msg=str(variable),
            )  # fmt: skip


@pytest.mark.parametrize("name", ["causal", "parallel GELU", "post-norm", "sigmoid", "sink logits"])
def test_it_does_not_depend_on_the_others_to_the_last_bit(name: str) -> None:
    stacks = variants(build(name, 70))
    whole = predict_many(stacks, "coarse")
    parts = [*predict_many(stacks[:1], "coarse"), *predict_many(stacks[1:], "coarse")]
    for one, other in zip(whole, parts, strict=True):
        for variable, values in one.variables.items():
            np.testing.assert_array_equal(values, other.variables[variable], err_msg=variable)


def test_what_runs_together() -> None:
    stack = build("causal", 60)
    stacks = [
        stack, stack.set("window", 8), stack.set("rope.base", 7.0),
        stack.set("attention.mask", "ring"), stack.set("rope", None),
        stack.set("window", 8).set("init.score_std", 2.0),
        stack.set("d_model", 512), stack.set("name", "other"),
    ]  # fmt: skip
    grids = [log_grid(stack) for stack in stacks]
    found = sorted(together(stacks, grids))
    assert found == [([0, 2, 7], True), ([1, 5], True), ([3], False), ([4], True), ([6], True)]
    assert kind(stacks[3], grids[3]) is None


def test_numbers_of_several_stacks() -> None:
    stacks = variants(build("causal", 20))
    some = Stacks(stacks)
    assert some.embedding_var.tolist() == [1.0, 0.01, 2.0, 1e-4, 1.0]
    assert some.score_std(0).tolist() == [stack.score_std(0) for stack in stacks]
    assert some.context == 20
    assert isinstance(predict_many([], "grid"), list)


def test_parts_come_back_in_their_order() -> None:
    values, rows = np.array([3, 1, 3, 2]), np.arange(8.0).reshape(4, 2)
    found = by_value(values, lambda value, which: rows[which] * value)
    np.testing.assert_array_equal(found, rows * values[:, None])
    same = by_value(np.array(2), lambda value, which: rows[which] * value)
    np.testing.assert_array_equal(same, 2 * rows)


def test_labels_come_off_and_on() -> None:
    expected = predictor("mean-field")(build("causal", 20))
    found = Numbers.of(expected).dataset()
    assert found.identical(expected)
