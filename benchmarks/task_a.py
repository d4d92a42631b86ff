"""Task A: score maps of a parameter-free causal stack, mean and variance over many sequences.

Sequences of 50 tokens in 64 dimensions through 4 layers ``x ← x + softmax(h hᵀ) h``, where ``h`` is
``x`` with rows of unit norm.

The programs in PyTorch are as fast as they could be made here. What was tried and took longer: one
fused attention (SDPA) besides the scores, which it does not return; ``max-autotune``; random
numbers drawn inside the compiled graph.
"""

import os
from collections.abc import Callable
from typing import Any

from .race import Program, Timing, race
from .tables import print_table
from .tuning import fastest, inferring, noted

CONTEXT, WIDTH, LAYERS, BASE = 50, 64, 4, 10000.0
SEQUENCES = 100_000


def ropeleak(sequences: int, rope: bool) -> Callable[[], object]:
    """Return the program of ropeleak."""
    from ropeleak import Stack
    from ropeleak.simulate import score_maps

    stack = Stack.build(
        context=CONTEXT, d_model=WIDTH, n_heads=1, n_blocks=LAYERS, mlp={"kind": "none"},
        bos={"kind": "random"}, init={"scheme": "fan_in"}, norm={"eps": 1e-12},
        attention={"rope": {"base": BASE} if rope else None, "scale": 1 / WIDTH},
        residual_multiplier=WIDTH**-0.5,  # a normalised row is √d long, and h is of unit length
    )  # fmt: skip
    return lambda: score_maps(stack, contents=sequences)


class Torch:
    """The same in PyTorch, on batches of sequences."""

    def __init__(self, rope: bool) -> None:
        import torch

        self.torch = torch
        self.hidden = ~torch.ones(CONTEXT, CONTEXT, dtype=torch.bool).tril()
        frequency = BASE ** (-torch.arange(0, WIDTH, 2) / WIDTH)
        angle = torch.outer(torch.arange(CONTEXT), frequency)
        self.cos, self.sin = (f(torch.cat([angle, angle], dim=1)) for f in (torch.cos, torch.sin))
        self.rope = rope

    def rotate(self, h: Any) -> Any:
        """Return rotated rows."""
        if not self.rope:
            return h
        first, second = h.chunk(2, dim=-1)
        return h * self.cos + self.torch.cat([-second, first], dim=-1) * self.sin

    def layer(self, x: Any) -> tuple[Any, Any]:
        """Return the scores of a layer and the residual stream after it."""
        h = self.torch.nn.functional.normalize(x, dim=-1)
        r = self.rotate(h)
        scores = r @ r.transpose(1, 2)
        weights = self.torch.softmax(scores.masked_fill(self.hidden, float("-inf")), dim=-1)
        return scores, x + weights @ h

    def sums(self, x: Any) -> tuple[Any, Any]:
        """Return the scores of every layer and their squares, summed over the batch."""
        total, square = [], []
        for _ in range(LAYERS):
            scores, x = self.layer(x)
            total.append(scores.sum(0))
            square.append((scores * scores).sum(0))
        return self.torch.stack(total), self.torch.stack(square)


def materialised(sequences: int, rope: bool) -> Callable[[], object]:
    """Return the program that keeps every score of every sequence, then averages."""
    program = Torch(rope)
    torch = program.torch

    def run() -> object:
        x = torch.randn(sequences, CONTEXT, WIDTH)
        maps = []
        for _ in range(LAYERS):
            scores, x = program.layer(x)
            maps.append(scores)
        every = torch.stack(maps)
        return every.mean(1), every.var(1)

    return inferring(run)


CHUNKS = (50, 100, 250, 500, 1000)


def tuned(sequences: int, rope: bool, compiled: bool) -> Callable[[], object]:
    """Return `chunked` with the chunk that is fastest here."""
    most = 4 * max(CHUNKS)
    best = fastest((chunk, chunked(most, rope, chunk, compiled)) for chunk in CHUNKS)
    return noted(chunked(sequences, rope, best, compiled), f"chunks of {best}")


def chunked(sequences: int, rope: bool, chunk: int, compiled: bool) -> Callable[[], object]:
    """Return the program that adds up batches of ``chunk`` sequences."""
    program = Torch(rope)
    torch = program.torch
    sums = torch.compile(program.sums) if compiled else program.sums

    def run() -> object:
        mean = torch.zeros(LAYERS, CONTEXT, CONTEXT, dtype=torch.float64)
        square = torch.zeros_like(mean)
        for _ in range(0, sequences, chunk):
            total, squares = sums(torch.randn(chunk, CONTEXT, WIDTH))
            mean += total
            square += squares
        mean /= sequences
        return mean, square / sequences - mean**2

    return inferring(run)


WHOLE = "ROPELEAK_BENCH_WHOLE"
"""Set to run the materialised program on all sequences, which takes 17 GB, not on a tenth."""


def run() -> None:
    """Print the table of task A, without and with RoPE."""
    few = SEQUENCES if os.environ.get(WHOLE) else SEQUENCES // 10
    for rope in (False, True):
        both = {"sequences": SEQUENCES, "rope": rope}
        programs = [
            Program("ropeleak", "task_a", "ropeleak", both),
            Program("PyTorch, compiled", "task_a", "tuned", {**both, "compiled": True}),
            Program("PyTorch, eager", "task_a", "tuned", {**both, "compiled": False}),
            Program(
                "PyTorch, materialised", "task_a", "materialised", {**both, "sequences": few},
                few / SEQUENCES,
            ),
        ]  # fmt: skip
        print_task(programs, race(programs), "with RoPE" if rope else "without RoPE", few)


def print_task(programs: list[Program], timings: dict[str, Timing], title: str, few: int) -> None:
    """Print one table: seconds for all sequences, memory, and ratios to ropeleak."""
    units = {program.name: program.units for program in programs}
    ours = timings["ropeleak"]
    rows = []
    for name, timing in timings.items():
        seconds = timing.typical / units[name]
        rows.append(
            (
                name, f"{seconds:.2f}", f"{seconds / ours.typical:.2f}", f"{timing.gigabytes:.2f}",
                f"{timing.gigabytes / ours.gigabytes:.1f}", timing.remark,
                timing.note or ("" if units[name] == 1 else f"{few:,} sequences"),
            )
        )  # fmt: skip
    print_table(
        f"Task A, {title}: {SEQUENCES:,} sequences",
        ("program", "seconds", "x ropeleak", "GB", "x ropeleak", "quiet runs", ""), rows,
    )  # fmt: skip
