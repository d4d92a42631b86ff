"""Matrix products in register tiles, for sizes that fit no tile."""

import numpy as np
import pytest
from numpy.typing import DTypeLike

from ropeleak.simulate import _kernels as kernels


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("rows", "inner", "width"), [(1, 1, 16), (4, 7, 48), (5, 300, 64), (67, 513, 176), (3, 2, 32)]
)
def test_gemm(rows: int, inner: int, width: int, dtype: DTypeLike) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(rows, inner)).astype(dtype)
    b, c = (rng.normal(size=(n, width + 16)).astype(dtype) for n in (inner, rows))
    wanted, beyond = a.astype(float) @ b[:, :width].astype(float), c[:, width:].copy()
    tolerance = np.finfo(dtype).eps * 10 * np.sqrt(inner)
    kernels.gemm(a, b, c, width, 0)
    np.testing.assert_allclose(c[:, :width], wanted, atol=tolerance * 4)
    kernels.gemm(a, b, c, width, 1)
    np.testing.assert_allclose(c[:, :width], 2 * wanted, atol=tolerance * 8)
    np.testing.assert_array_equal(c[:, width:], beyond)


def test_gram() -> None:
    x, y = np.random.default_rng(1).normal(size=(2, 300, 80))
    out = np.zeros((75, 80))
    kernels.gram(x, y, out, 80)
    np.testing.assert_allclose(out, (x.T @ y)[:75], atol=1e-11)
