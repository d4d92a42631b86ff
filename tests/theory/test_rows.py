"""Rows of the first block, whose inputs are independent: the moments of one layer, exactly."""

import numpy as np
import pytest
from scipy.special import expit, roots_hermitenorm

from ropeleak import Stack, predict
from ropeleak.theory.scores import capped, uncapped
from ropeleak.theory.softmax import chi_square_nodes, softmax_moments

N = np.arange(1.0, 33.0)


def first_block(variance: float, placement: str, **softmax: object) -> Stack:
    """Return a stack whose first block sees tokens of a variance, with queries of one length."""
    attention = {"softmax": softmax, "qk_norm": "head" if placement == "pre" else "none"}
    return Stack.build(
        context=32, d_model=512, n_heads=1, n_blocks=1, bos={"kind": "random"},
        attention=attention, norm={"placement": placement, "eps": 0.0}, mlp={"kind": "none"},
        init={"score_std": 1.4, "embedding_var": variance, "attention_gain": 1.0},
    )  # fmt: skip


@pytest.mark.parametrize("variance", [0.3, 1.0, 2.0])
def test_sigmoid_weights_are_those_of_scores_of_their_own_size(variance: float) -> None:
    """A score has the variance ``σ² K_ii K_jj``."""
    found = predict(first_block(variance, "res-post", kind="sigmoid"), positions="dense").dataset
    x, w = roots_hermitenorm(60)
    weight = expit(1.4 * variance * x - np.log(N)[:, None]) @ (w / w.sum())
    np.testing.assert_allclose(found["sink"].values[0], weight, rtol=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 1.6])
def test_a_soft_cap_shapes_the_scores(temperature: float) -> None:
    """Scores of normalised queries and keys are cosines, in ``d_h`` dimensions."""
    stack = first_block(1.0, "pre", softcap=2.0, temperature=temperature)
    found = predict(stack, positions="dense").dataset
    std, cap = np.array([1.4 / temperature]), 2.0 / temperature
    wanted = softmax_moments(N, std, softcap=cap, unit=stack.d_model)
    np.testing.assert_allclose(found["log_z"].values[0], wanted.log_z[:, 0, 0], atol=5e-5)


def test_the_soft_cap_caps_the_score_that_a_key_has() -> None:
    """Not that of a unit key: unnormalised tokens of variance 2 have scores of ``2 σ``."""
    stack = first_block(2.0, "res-post", softcap=1.5)
    found = predict(stack, positions="dense").dataset["log_z"].values[0]
    wanted = softmax_moments(N, np.array([1.4 * 2.0]), softcap=1.5).log_z[:, 0, 0]
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_uncapping_undoes_capping() -> None:
    sigma = np.array([0.0, 0.1, 1.0, 3.0])
    np.testing.assert_allclose(uncapped(capped(sigma, 2.0), 2.0), sigma, atol=1e-3)
    np.testing.assert_array_equal(capped(sigma, None), sigma)


@pytest.mark.parametrize("dof", [1, 2, 64, 512, 10**6])
def test_chi_square_nodes_have_its_moments(dof: int) -> None:
    x, w = chi_square_nodes(dof)
    wanted = np.cumprod(1 + 2 * np.arange(6) / dof)
    np.testing.assert_allclose([w @ x**k for k in range(1, 7)], wanted, rtol=1e-9)
