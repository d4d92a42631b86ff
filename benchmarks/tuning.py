"""Programs as fast as they can be here, some of it by trying."""

from collections.abc import Callable, Iterable
from time import perf_counter

Run = Callable[[], object]


def fastest(trials: Iterable[tuple[int, Run]], repeats: int = 3) -> int:
    """Return the key of the program that takes least, once it is warm."""
    seconds = {}
    for key, run in trials:
        run()
        times = []
        for _ in range(repeats):
            start = perf_counter()
            run()
            times.append(perf_counter() - start)
        seconds[key] = min(times)
    return min(seconds, key=lambda key: seconds[key])


def noted(run: Run, note: str) -> Run:
    """Return the program with a remark for the table."""

    def again() -> object:
        return run()

    again.note = note  # type: ignore[attr-defined]
    return again


def inferring(run: Run) -> Run:
    """Return a program in PyTorch without the records that gradients need."""
    import torch

    def infer() -> object:
        with torch.inference_mode():
            return run()

    return infer
