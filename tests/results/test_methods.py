"""`predict` by each of its methods: one interface, one dataset."""

from typing import get_args

import numpy as np
import pytest

from ropeleak import RopeleakError, Stack, predict
from ropeleak.cli._options import MethodChoice
from ropeleak.observables import HEADS, OBSERVABLES
from ropeleak.results import Method
from ropeleak.theory import methods

STACK = Stack.build(
    d_model=256, n_heads=4, n_blocks=3, context=48, mlp={"kind": "none"},
    init={"score_std": 1.0, "attention_gain": 1.0, "embedding_var": 1.0},
)  # fmt: skip


def test_every_method_is_offered_everywhere() -> None:
    assert get_args(Method) == get_args(methods.Method) == get_args(MethodChoice)
    assert tuple(methods.MODULES) == get_args(Method)


@pytest.mark.parametrize("method", get_args(Method))
def test_methods_return_the_same_variables(method: Method) -> None:
    found = predict(STACK, method=method)
    assert found.dataset.attrs["method"] == method
    assert {name for name in found.dataset if not str(name).endswith("_se")} == {
        name for name in OBSERVABLES if name not in ("K", "Q", "Q_common", *HEADS)
    }
    assert found.verdict()
    assert len(found.table()) == 3


def test_methods_agree_where_scores_are_small() -> None:
    small = STACK.set("init.score_std", 1e-5)
    closed, limit = predict(small), predict(small, method="uniform")
    for name in ("k_diag", "q_diag", "log_z", "sink", "leak_mask"):
        np.testing.assert_allclose(closed.dataset[name], limit.dataset[name], rtol=1e-3, atol=1e-6)


def test_the_closed_recursion_is_within_the_sampled_one() -> None:
    closed = predict(STACK).dataset
    sampled = predict(STACK, method="sampled", heads=256, seed=3).dataset
    for name in ("k_diag", "q_diag", "log_z", "sink", "leak_mask"):
        off = np.abs(closed[name] - sampled[name])
        errors = np.maximum(4 * sampled[f"{name}_se"], 0.03 * np.abs(closed[name]))
        z = off / np.maximum(errors, 1e-9)  # few chains: heavy tails
        assert float((z > 1).mean()) < 0.02, name
        assert float(z.max()) < 2, name


def test_a_seed_decides_what_is_sampled() -> None:
    first, again, other = (
        predict(STACK, method="sampled", heads=4, seed=seed).dataset for seed in (1, 1, 2)
    )
    assert first.k_diag.equals(again.k_diag)
    assert not first.k_diag.equals(other.k_diag)


def test_methods_refuse_what_they_do_not_know() -> None:
    with pytest.raises(RopeleakError, match="method='exact' is not known: give mean-field"):
        predict(STACK, method="exact")  # type: ignore[arg-type]
    with pytest.raises(RopeleakError, match="heads=4 needs method='sampled', not 'uniform'"):
        predict(STACK, method="uniform", heads=4)
