"""Every bundled model runs, at a common context and at its own maximum."""

import numpy as np
import pytest

from ropeleak.catalog import load, names
from ropeleak.theory.mean_field import predict


def longest_context(name: str) -> int:
    rope = next(a.rope for a in load(name).attention if a.rope is not None)
    return rope.max_context or 2048


@pytest.mark.parametrize("longest", [False, True], ids=["512", "longest"])
@pytest.mark.parametrize("name", names())
def test_published_model(name: str, longest: bool) -> None:
    found = predict(load(name, longest_context(name) if longest else 512))
    for variable in found:
        assert np.isfinite(found[variable].values).all(), variable
    assert np.all(found.k_diag.values > 0)
    assert np.all((found.beacon.values >= 0) & (found.beacon.values <= 1))
    assert np.all((found.sink.values >= 0) & (found.sink.values <= 1))
    assert np.all(found.leak_mask.values > 0.01)
