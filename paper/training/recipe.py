"""How decoders are trained."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How a decoder is trained.

    AdamW with weight decay on matrices; the rate rises linearly, then falls as a cosine to a tenth.

    Attributes
    ----------
    steps, rows
        Batches, and stretches of text in each.
    rate, warmup
        Largest learning rate, and the steps that it takes to reach it.
    saved
        Steps after which the weights are kept: log-spaced.
    save_every
        Steps between two states that training can be resumed from.
    """

    steps: int = 640
    rows: int = 16
    rate: float = 4e-3
    warmup: int = 48
    decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    saved: tuple[int, ...] = (0, 3, 10, 40, 160, 640)
    save_every: int = 80

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step."""
        fall = 0.1 + 0.9 * (1 + math.cos(math.pi * step / self.steps)) / 2
        return self.rate * min((step + 1) / self.warmup, fall)
