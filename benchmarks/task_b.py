"""Task B: a random-weight stack, fresh weights for every draw, 8 contents a draw.

Pre-norm (RMS), RoPE, causal, no MLP; the mean score, the mean log-denominator and the mean
attention of every layer are gathered over contents and draws.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from .ceiling import OPERATIONS
from .race import Program, race
from .tables import print_table

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


def ropeleak(shape: list[int], draws: int) -> Callable[[], object]:
    """Return the program of ropeleak."""
    return program_of_ropeleak(Shape(*shape), draws)


def program_of_ropeleak(shape: Shape, draws: int) -> Callable[[], object]:
    """Return the program of ropeleak for a shape."""
    from ropeleak import Stack
    from ropeleak.simulate import measure

    stack = Stack.build(
        context=shape.context, d_model=shape.d_model, n_heads=shape.heads, n_blocks=shape.blocks,
        mlp={"kind": "none"}, bos={"kind": "random"}, init={"scheme": "fan_in"},
    )  # fmt: skip
    return lambda: measure(stack, draws=draws, contents=CONTENTS)


class Torch:
    """The same in PyTorch, one draw at a time, all contents in one batch."""

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
        """Return the residual stream after a layer, and its sums over contents."""
        torch, shape = self.torch, self.shape
        c, t, d = x.shape
        size = d // shape.heads
        u = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5)
        q, k, v = (u @ weights[:3].transpose(1, 2)[:, None]).view(
            3, c, t, shape.heads, size
        ).transpose(2, 3)  # fmt: skip
        s = self.rotate(q) @ self.rotate(k).transpose(-1, -2) * size**-0.5
        seen = s.masked_fill(self.hidden, float("-inf"))
        log_z = torch.logsumexp(seen, dim=-1)
        a = torch.exp(seen - log_z[..., None])
        o = (a @ v).transpose(1, 2).reshape(c, t, d)
        return x + o @ weights[3].T, s.sum(0), log_z.sum((0, 1)), a.sum((0, 1))

    def draw(self, x: Any, weights: Any) -> list[Any]:
        """Return the sums of every layer."""
        found = []
        for layer in weights:
            x, *sums = self.layer(x, layer)
            found.append(sums)
        return found


def torch_program(shape: list[int], draws: int, compiled: bool) -> Callable[[], object]:
    """Return the program in PyTorch, eager or compiled."""
    return program_of_torch(Shape(*shape), draws, compiled)


def program_of_torch(shape: Shape, draws: int, compiled: bool) -> Callable[[], object]:
    """Return the program in PyTorch for a shape."""
    program = Torch(shape)
    torch = program.torch
    torch.set_grad_enabled(False)
    one = torch.compile(program.draw) if compiled else program.draw
    t, d = shape.context, shape.d_model

    def run() -> object:
        score = torch.zeros(shape.blocks, shape.heads, t, t, dtype=torch.float64)
        log_z = torch.zeros(shape.blocks, t, dtype=torch.float64)
        attention = torch.zeros(shape.blocks, t, t, dtype=torch.float64)
        for _ in range(draws):
            weights = torch.randn(shape.blocks, 4, d, d) * d**-0.5
            for layer, sums in enumerate(one(torch.randn(CONTENTS, t, d), weights)):
                for total, part in zip((score, log_z, attention), sums, strict=True):
                    total[layer] += part
        return score / draws, log_z / draws, attention / draws

    return run


LARGE = Shape(d_model=512, heads=8, blocks=8, context=1024)


def run() -> None:
    """Print the table of task B, and of a larger stack."""
    for title, shape, draws in (("Task B", Shape(), 24), ("A larger stack", LARGE, 2)):
        same = {"shape": list(shape), "draws": draws}
        programs = [
            Program("ropeleak", "task_b", "ropeleak", same),
            Program("PyTorch, compiled", "task_b", "torch_program", {**same, "compiled": True}),
            Program("PyTorch, eager", "task_b", "torch_program", {**same, "compiled": False}),
            Program("ceiling", "ceiling", "product", {"repeats": 8}),
        ]
        timings = race(programs)
        ceiling = 8 * OPERATIONS / timings.pop("ceiling").typical
        ours, rows = timings["ropeleak"], []
        for name, timing in timings.items():
            rate = draws * CONTENTS / timing.typical
            rows.append(
                (
                    name, f"{rate:.1f}", f"{ours.typical / timing.typical:.2f}",
                    f"{rate * shape.operations / 1e9:.0f}",
                    f"{rate * shape.operations / ceiling:.0%}", f"{timing.gigabytes:.2f}",
                    timing.remark,
                )
            )  # fmt: skip
        words = f"d_model {shape.d_model}, {shape.heads} heads, {shape.blocks} blocks"
        print_table(
            f"{title}: {words}, context {shape.context}; ceiling {ceiling / 1e9:.0f} GFLOP/s",
            ("program", "draws x contents a second", "x ropeleak", "GFLOP/s", "of ceiling", "GB",
             "quiet runs"), rows,
        )  # fmt: skip
