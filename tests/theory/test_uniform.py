"""The limit of small scores: closed forms, matrix powers, and the recursion at tiny scores."""

from typing import Any

import numpy as np
import pytest

from ropeleak import RopeleakError, Stack, catalog
from ropeleak.theory import mean_field, uniform
from ropeleak.theory.theorems import load

INIT = {"score_std": 1e-6, "attention_gain": 0.7, "embedding_var": 1.1, "std": 0.1}
PLAIN: dict[str, Any] = {
    "context": 48, "d_model": 4096, "n_heads": 32, "n_blocks": 5, "mlp": {"kind": "none"},
    "init": INIT,
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "causal": {},
    "window": {"attention": {"window": 7}},
    "window and sinks": {"attention": {"window": 6, "sinks": 2}},
    "alternating": {"attention": [{"window": 6}, {}]},
    "chunks": {"attention": {"chunk": 9}},
    "prefix": {"attention": {"prefix": 9}},
    "bidirectional": {"attention": {"mask": "bidirectional"}},
    "ring": {"attention": {"mask": "ring"}},
    "off by one": {"attention": {"softmax": {"kind": "off-by-one"}}},
    "sink logit": {"attention": {"softmax": {"sink_logit": 1.0}}},
    "sigmoid": {"attention": {"softmax": {"kind": "sigmoid"}}},
    "post-norm": {"norm": {"placement": "post"}},
    "sandwich": {"norm": {"placement": "sandwich"}},
    "res-post": {"norm": {"placement": "res-post"}},
    "no norm": {"norm": {"placement": "none"}},
    "shared": {"alpha": 0.3},
    "random BOS": {"bos": {"kind": "random"}},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_it_is_the_recursion_at_vanishing_scores(name: str) -> None:
    stack = Stack.build(**{**PLAIN, **VARIANTS[name]})
    found, expected = uniform.predict(stack, keep="full"), mean_field.predict(stack, keep="full")
    assert set(found.data_vars) == set(expected.data_vars)
    for variable in expected.data_vars:
        assert found[variable].dims == expected[variable].dims
        np.testing.assert_allclose(  # the recursion interpolates tables where there is a null key
            found[variable], expected[variable], rtol=5e-5, atol=1e-6, err_msg=str(variable)
        )


def test_without_norms_it_is_the_closed_form() -> None:
    large = {**INIT, "score_std": 3.0}  # which the limit of small scores ignores
    stack = Stack.build(**{**PLAIN, "norm": {"placement": "none"}, "init": large})
    found = uniform.predict(stack, keep="full")
    n = np.arange(stack.context)
    first = (n == 0).astype(float)[:, None]
    powers = np.concatenate([first, load("averaging-power")(5, n, 0)], axis=1)
    q = load("uniform-kernels")(5, 0.7, 1.1 * powers[:, None] * powers[None, :])
    np.testing.assert_allclose(found["Q"][-1], q, rtol=1e-10)
    np.testing.assert_allclose(
        found.k_diag[1], load("variance-shrinkage")(n + 1.0, 0.7, 1.1), rtol=1e-12
    )
    np.testing.assert_allclose(found.log_z[0], np.log(n + 1))
    np.testing.assert_allclose(
        found.k_diag[:, 0], load("origin-without-norm")(np.arange(6), 1.1, 1, 0.7, 0), rtol=1e-12
    )


def test_matrix_powers_of_a_window() -> None:
    stack = Stack.build(**{**PLAIN, "norm": {"placement": "none"}, "attention": {"window": 5}})
    i, j = np.arange(48)[:, None], np.arange(48)
    seen = (j <= i) & (j > i - 5)
    u = seen / seen.sum(1, keepdims=True)
    k = 1.1 * np.eye(48)
    for _ in range(5):
        k = k + 0.7 * u @ k @ u.T
    np.testing.assert_allclose(uniform.predict(stack, keep="full")["K"][-1], k, atol=1e-13)


def test_the_leak_is_that_of_the_number_of_keys() -> None:
    found = uniform.predict(Stack.build(context=96, mlp={"kind": "none"}))
    assert float(found.leak_mask[0]) ** 2 == pytest.approx(0.2303, abs=5e-5)
    np.testing.assert_array_equal(found.leak_total, found.leak_mask)
    windowed = uniform.predict(Stack.build(context=96, attention={"window": 16}))
    assert float(windowed.leak_mask[0]) ** 2 == pytest.approx(0.0285, abs=5e-5)


@pytest.mark.parametrize("name", ["llama-3.1-8b", "gemma-2-9b", "gpt-oss-20b", "pythia-160m"])
def test_every_model_has_the_same_variables(name: str) -> None:
    stack = catalog.load(name, 64)
    found, expected = uniform.predict(stack), mean_field.predict(stack)
    assert found.attrs["method"] == "uniform"
    for variable in expected.data_vars:
        assert found[variable].shape == expected[variable].shape
        assert np.isfinite(found[variable]).all()


def test_long_contexts_report_a_grid_and_memory_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack.build(context=400, n_blocks=1, mlp={"kind": "none"})
    short = uniform.predict(stack)
    whole = uniform.predict(stack, positions="dense")
    assert short.sizes["query"] < 400 and short.attrs["positions"] == "grid"
    np.testing.assert_array_equal(short.k_diag, whole.k_diag.sel(query=short["query"]))
    monkeypatch.setenv("ROPELEAK_MEMORY_GB", "0.01")
    with pytest.raises(RopeleakError, match="GB"):
        uniform.predict(stack)
