"""A small sweep, and how two are compared."""

from typing import Any

import numpy as np
import xarray as xr

from ropeleak import Stack

STACK = Stack.build(
    name="small", context=12, d_model=32, n_heads=2, n_blocks=2, mlp={"kind": "none"},
    init={"score_std": 1.0, "attention_gain": 1.0, "embedding_var": 1.0},
)  # fmt: skip
OVER: dict[str, list[Any]] = {"window": [2, 4, None, 0], "rope.base": [1e4, 1e5, 1e6]}
"""12 points, of which those with a window of 0 fail."""


def assert_same(a: xr.Dataset, b: xr.Dataset) -> None:
    """Assert that two datasets hold the same numbers, texts and labels."""
    assert set(a.variables) == set(b.variables)
    for name in a.variables:
        assert a[name].dims == b[name].dims
        one, other = a[name].values, b[name].values
        if one.dtype.kind == "f":
            np.testing.assert_array_equal(one, other, err_msg=str(name))
        else:
            assert one.tolist() == other.tolist(), name
