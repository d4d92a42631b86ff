"""MLP kernels against a two-dimensional integral."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import roots_hermitenorm

from ropeleak import Stack
from ropeleak.theory.activations import ACTIVATIONS
from ropeleak.theory.mean_field import predict
from ropeleak.theory.mlp import evaluate, horner, mlp_kernel
from ropeleak.theory.routing import routing_overlap

Array = NDArray[np.float64]


def kernel_by_integral(stack: Stack, variance: float, c: float) -> float:
    z, w = roots_hermitenorm(120)
    w = w / w.sum()
    p = stack.preactivation_var() * variance
    a = np.sqrt(p) * z[:, None]
    b = np.sqrt(p) * (c * z[:, None] + np.sqrt(1 - c**2) * z)
    mlp = stack.mlp[0]
    phi = ACTIVATIONS[mlp.activation]
    first, second = (phi(x, mlp.activation_scale) for x in (a, b))
    product = float(w @ (first * second) @ w)
    if mlp.kind == "gated":
        product *= p * c + mlp.offset**2
    return stack.mlp_gain(0) * product


@pytest.mark.parametrize("std", [0.005, 0.05, 0.1])
@pytest.mark.parametrize(
    "activation", ["silu", "gelu", "gelu_tanh", "quick_gelu", "tanh", "linear"]
)
@pytest.mark.parametrize("kind", ["plain", "gated"])
def test_kernel_is_the_integral(kind: str, activation: str, std: float) -> None:
    mlp = {"kind": kind, "activation": activation, "offset": 0.5 * (kind == "gated")}
    stack = Stack.build(d_model=128, n_heads=4, mlp=mlp, init={"std": std})
    kernel = mlp_kernel(stack, 0, np.full(3, 0.9))
    polynomial = kernel.between(slice(None), slice(None))
    for c in (-0.4, 0.0, 0.2, 0.7, 1.0):
        found = horner(polynomial, np.array([[c]])).item()
        wanted = kernel_by_integral(stack, 0.9, c)
        assert found == pytest.approx(wanted, rel=2e-4, abs=2e-5 * kernel.variance().item())


@pytest.mark.parametrize("placement", ["sandwich", "res-post"])
def test_a_norm_of_the_branch_undoes_the_size_of_what_is_written(placement: str) -> None:
    found = [
        predict(
            Stack.build(
                d_model=128, n_heads=4, n_blocks=3, context=12,
                norm={"placement": placement, "eps": 0.0},
                init={"std": 0.1, "embedding_var": 1.0, "mlp_gain": gain},
            ),
            keep="full",
        )
        for gain in (1e-6, 1.0)
    ]  # fmt: skip
    for name in ("K", "Q", "Q_common"):
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-9)


@pytest.mark.parametrize("activation", ["relu", "relu2"])
def test_kinks_are_resolved_to_a_thousandth(activation: str) -> None:
    stack = Stack.build(d_model=128, n_heads=4, mlp={"kind": "plain", "activation": activation})
    kernel = mlp_kernel(stack, 0, np.ones(2))
    polynomial = kernel.between(slice(None), slice(None))
    power, norm = (1, 2.0) if activation == "relu" else (2, 1.5)
    p = stack.preactivation_var()
    scale = stack.mlp_gain(0) * p**power * norm
    for c in (0.0, 0.3, 0.8, 1.0):
        angle = np.arccos(c)
        if activation == "relu":  # arc-cosine kernels of order 1 and 2
            wanted = (np.sin(angle) + (np.pi - angle) * c) / (2 * np.pi) / norm
        else:
            three = 3 * np.sin(angle) * c + (np.pi - angle) * (1 + 2 * c**2)
            wanted = three / (2 * np.pi) / norm
        assert horner(polynomial, np.array([[c]])).item() / scale == pytest.approx(wanted, abs=2e-3)


def test_tokens_of_different_size_have_kernels_of_their_own() -> None:
    stack = Stack.build(d_model=128, n_heads=4, init={"std": 0.1})
    size = np.array([0.5, 1.0, 2.0])
    kernel = mlp_kernel(stack, 0, size)
    diagonal = np.diag(horner(kernel.between(slice(None), slice(None)), np.ones((3, 3))))
    np.testing.assert_allclose(diagonal, kernel.variance(), rtol=1e-9)
    alone = [mlp_kernel(stack, 0, np.array([x])).variance().item() for x in size]
    np.testing.assert_allclose(kernel.variance(), alone, rtol=1e-9)


def test_derivatives_are_those_of_the_polynomial() -> None:
    rng = np.random.default_rng(0)
    coefficients = rng.normal(size=6)
    c = np.linspace(-1, 1, 7)[:, None]
    found = evaluate(coefficients[:, None, None], c)
    exact = np.polynomial.Polynomial(coefficients)
    for part, derivative in zip(found, (exact, exact.deriv(), exact.deriv(2)), strict=True):
        np.testing.assert_allclose(part, derivative(c), atol=1e-12)


def test_routing_is_exact_for_the_same_and_for_unrelated_tokens() -> None:
    stack = Stack.build(mlp={"experts": {"count": 8, "active": 2}})
    experts = stack.mlp[0].experts
    assert experts is not None
    overlap = np.polynomial.Polynomial(routing_overlap(experts, 1.0))
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(2, 40_000, 8))
    chosen = logits >= np.sort(logits, axis=-1)[..., -2, None]
    weight = np.where(chosen, np.exp(logits), 0.0)
    weight /= weight.sum(-1, keepdims=True)
    for c, product in ((0.0, weight[0] * weight[1]), (1.0, weight[0] ** 2)):
        sample = product.sum(-1)
        error = sample.std(ddof=1) / np.sqrt(sample.size)
        assert abs(float(overlap(c)) - sample.mean()) < 4 * error + 0.003
