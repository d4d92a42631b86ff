"""Task B: a random-weight stack, fresh weights for every draw, 8 contents a draw.

Pre-norm (RMS), RoPE, causal, no MLP. All programs gather, over contents and draws, the mean score
of every head and entry, the mean log-denominator and the mean attention to token 0; `measure`
gathers more of them. Its control variates are no part of this task: they make every draw tell more
(see ``variance``), and cost the time that the row with them shows.

What was tried in PyTorch and took longer: ``max-autotune``, and several draws at once (``vmap``).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from .ceiling import OPERATIONS
from .race import Program, Timing, race
from .tables import print_table
from .tuning import fastest, inferring, noted

BASE, CONTENTS = 10000.0, 8


class Shape(NamedTuple):
    """Sizes of a stack."""

    d_model: int = 256
    heads: int = 4
    blocks: int = 6
    context: int = 256

    @property
    def operations(self) -> float:
        """Floating-point operations of the products of one content, of the visible keys only."""
        d, t = self.d_model, self.context
        return self.blocks * (8.0 * d * d * t + 2.0 * d * t * (t + 1))


def ropeleak(sizes: list[int], draws: int, controls: bool = False) -> Callable[[], object]:
    """Return the program of ropeleak."""
    from ropeleak import Stack
    from ropeleak.simulate import measure

    shape = Shape(*sizes)
    stack = Stack.build(
        context=shape.context, d_model=shape.d_model, n_heads=shape.heads, n_blocks=shape.blocks,
        mlp={"kind": "none"}, bos={"kind": "random"}, init={"scheme": "fan_in"},
    )  # fmt: skip
    return lambda: measure(stack, draws=draws, contents=CONTENTS, controls=controls)


class Torch:
    """The same in PyTorch, one draw at a time, some contents in one batch."""

    def __init__(self, shape: Shape) -> None:
        import torch

        self.torch, self.shape = torch, shape
        size, t = shape.d_model // shape.heads, shape.context
        angle = torch.outer(torch.arange(t), BASE ** (-torch.arange(0, size, 2) / size))
        self.cos, self.sin = (f(torch.cat([angle, angle], dim=1)) for f in (torch.cos, torch.sin))
        self.hidden = ~torch.ones(t, t, dtype=torch.bool).tril()

    def rotate(self, x: Any) -> Any:
        """Return rotated heads."""
        first, second = x.chunk(2, dim=-1)
        return x * self.cos + self.torch.cat([-second, first], dim=-1) * self.sin

    def layer(self, x: Any, weights: Any) -> tuple[Any, Any, Any, Any]:
        """Return the residual stream after a layer, its scores, denominators and attention."""
        torch, shape = self.torch, self.shape
        c, t, d = x.shape
        size = d // shape.heads
        u = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5)
        projected = u.reshape(c * t, d) @ weights[:3].reshape(3 * d, d).T
        q, k, v = projected.view(c, t, 3, shape.heads, size).permute(2, 0, 3, 1, 4)
        s = self.rotate(q) @ self.rotate(k).transpose(-1, -2) * size**-0.5
        seen = s.masked_fill(self.hidden, float("-inf"))
        log_z, a = torch.logsumexp(seen, dim=-1), torch.softmax(seen, dim=-1)
        o = (a @ v).transpose(1, 2).reshape(c, t, d)
        return x + o @ weights[3].T, s, log_z, a

    def draw(self, x: Any, weights: Any) -> list[Any]:
        """Return the sums of every layer over contents."""
        found = []
        for layer in weights:
            x, s, log_z, a = self.layer(x, layer)
            found.append((s.sum(0), log_z.sum((0, 1)), a[..., 0].sum((0, 1))))
        return found

    def inputs(self) -> tuple[Any, Any]:
        """Return the contents and weights of one draw."""
        blocks, t, d = self.shape.blocks, self.shape.context, self.shape.d_model
        weights = self.torch.randn(blocks, 4, d, d) * d**-0.5
        return self.torch.randn(CONTENTS, t, d), weights


CHUNKS = (2, 4, 8)


def tuned(sizes: list[int], draws: int, compiled: bool) -> Callable[[], object]:
    """Return `chunked` with the number of contents in a batch that is fastest here."""
    best = fastest((chunk, chunked(sizes, 1, chunk, compiled)) for chunk in CHUNKS)
    return noted(chunked(sizes, draws, best, compiled), f"batches of {best}")


def chunked(sizes: list[int], draws: int, chunk: int, compiled: bool) -> Callable[[], object]:
    """Return the program in PyTorch that adds up batches of ``chunk`` contents."""
    shape = Shape(*sizes)
    program = Torch(shape)
    torch = program.torch
    one = torch.compile(program.draw) if compiled else program.draw
    t = shape.context

    def run() -> object:
        score = torch.zeros(shape.blocks, shape.heads, t, t, dtype=torch.float64)
        log_z, sink = torch.zeros(2, shape.blocks, t, dtype=torch.float64)
        for _ in range(draws):
            contents, weights = program.inputs()
            for some in contents.split(chunk):
                for layer, sums in enumerate(one(some, weights)):
                    for total, part in zip((score, log_z, sink), sums, strict=True):
                        total[layer] += part
        entries = draws * CONTENTS
        return score / entries, log_z / entries / shape.heads, sink / entries / shape.heads

    return inferring(run)


def materialised(sizes: list[int], draws: int) -> Callable[[], object]:
    """Return the program in PyTorch that keeps every score and weight, then averages."""
    shape = Shape(*sizes)
    program = Torch(shape)
    torch = program.torch

    def run() -> object:
        kept: tuple[list[Any], ...] = ([], [], [])
        for _ in range(draws):
            x, weights = program.inputs()
            for layer in weights:
                x, *found = program.layer(x, layer)
                for every, one in zip(kept, found, strict=True):
                    every.append(one)
        score, log_z, a = (torch.stack(every).unflatten(0, (draws, shape.blocks)) for every in kept)
        return score.mean((0, 2)), log_z.mean((0, 2, 3)), a[..., 0].mean((0, 2, 3))

    return inferring(run)


LARGE = Shape(d_model=512, heads=8, blocks=8, context=1024)


def run() -> None:
    """Print the table of task B, and of a larger stack."""
    for title, shape, draws in (("Task B", Shape(), 24), ("A larger stack", LARGE, 2)):
        same = {"sizes": list(shape), "draws": draws}
        programs = [
            Program("ropeleak", "task_b", "ropeleak", same),
            Program("ropeleak, with controls", "task_b", "ropeleak", {**same, "controls": True}),
            Program("PyTorch, compiled", "task_b", "tuned", {**same, "compiled": True}),
            Program("PyTorch, eager", "task_b", "tuned", {**same, "compiled": False}),
            Program("ceiling", "ceiling", "product", {"repeats": 8}),
        ]
        if shape != LARGE:  # a draw of the larger one has 4 GB of scores and weights
            programs.insert(-1, Program("PyTorch, materialised", "task_b", "materialised", same))
        print_task(title, shape, draws, race(programs))


def print_task(title: str, shape: Shape, draws: int, timings: dict[str, Timing]) -> None:
    """Print one table: rates, ratios to ropeleak, and the share of the ceiling."""
    ceiling = 8 * OPERATIONS / timings.pop("ceiling").typical
    ours, rows = timings["ropeleak"], []
    for name, timing in timings.items():
        rate = draws * CONTENTS / timing.typical
        rows.append(
            (
                name, f"{rate:.1f}", f"{ours.typical / timing.typical:.2f}",
                f"{rate * shape.operations / 1e9:.0f}",
                f"{rate * shape.operations / ceiling:.0%}", f"{timing.gigabytes:.2f}",
                timing.remark, timing.note,
            )
        )  # fmt: skip
    words = f"d_model {shape.d_model}, {shape.heads} heads, {shape.blocks} blocks"
    print_table(
        f"{title}: {words}, context {shape.context}; ceiling {ceiling / 1e9:.0f} GFLOP/s",
        ("program", "draws x contents a second", "x ropeleak", "GFLOP/s", "of ceiling", "GB",
         "quiet runs", ""), rows,
    )  # fmt: skip
