"""The programs of a race compute the same: what they return agrees up to noise."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import task_a, task_b

torch = pytest.importorskip("torch")

SMALL = [64, 2, 2, 32]
DRAWS = 200


def array(x: Any) -> NDArray[np.float64]:
    return np.asarray(x.double())


@pytest.mark.parametrize("rope", [False, True])
def test_task_a(rope: bool) -> None:
    torch.manual_seed(0)
    ours: Any = task_a.ropeleak(8000, rope)()
    error = np.nanmax(ours["score_se"])
    seen = np.tril(np.ones((task_a.CONTEXT, task_a.CONTEXT), bool))
    for other in (task_a.chunked(8000, rope, 100, False), task_a.materialised(8000, rope)):
        mean, variance = (array(x)[:, seen] for x in other())  # type: ignore[attr-defined]
        assert np.abs(mean - ours["score"].values[:, seen]).max() < 7 * error
        assert np.abs(variance - ours["score_std"].values[:, seen] ** 2).max() < 0.003


@pytest.mark.parametrize("controls", [False, True])
def test_task_b(controls: bool) -> None:
    torch.manual_seed(0)
    ours: Any = task_b.ropeleak(SMALL, DRAWS, controls)()
    error = {name: ours[f"{name}_se"].values for name in ("log_z", "sink")}
    plain: Any = task_b.ropeleak(SMALL, DRAWS)()
    for other in (task_b.chunked(SMALL, DRAWS, 4, False), task_b.materialised(SMALL, DRAWS)):
        _, log_z, sink = (array(x) for x in other())  # type: ignore[attr-defined]
        for name, value in (("log_z", log_z), ("sink", sink)):
            spread = np.hypot(error[name], plain[f"{name}_se"].values)
            z = (value - ours[name].values)[:, 1:] / spread[:, 1:]
            assert np.abs(z).max() < 5 and np.sqrt(np.mean(z**2)) < 2, name
