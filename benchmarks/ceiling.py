"""The ceiling: a large single-precision matrix product by the BLAS that NumPy comes with."""

from collections.abc import Callable

SIZE = 2048
OPERATIONS = 2.0 * SIZE**3


def product(repeats: int = 4) -> Callable[[], object]:
    """Return a program of ``repeats`` products of ``SIZE`` x ``SIZE`` matrices."""
    import numpy as np

    a, b = np.random.default_rng(0).normal(size=(2, SIZE, SIZE)).astype(np.float32)

    def run() -> None:
        for _ in range(repeats):
            a @ b

    return run
