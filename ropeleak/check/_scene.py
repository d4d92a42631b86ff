"""Where a failure happened, and questions about it that several causes ask."""

from collections.abc import Callable
from typing import NamedTuple

from .operator import Operator


class Scene(NamedTuple):
    """A failure: the function's matrices, and the positions that it failed at."""

    op: Operator
    positions: tuple[int, ...]

    @property
    def limit(self) -> int:
        """The largest position that may be tried."""
        return self.op.subject.max_position

    def reaches(self, p: int) -> bool:
        """Whether a position may be tried."""
        return p <= self.limit

    def alike(self, p: int, q: int) -> bool:
        """Whether ``M(p)`` and ``M(q)`` are the same."""
        return self.op.same(self.op.matrix(p), self.op.matrix(q), p, q)

    def opposite(self, p: int, q: int) -> bool:
        """Whether ``M(p)`` turns as far as ``M(q)``, the other way."""
        return self.op.same(self.op.matrix(p), self.op.matrix(q).T, p, q)


def first_where(holds: Callable[[int], bool], low: int, high: int) -> int:
    """Return where a condition begins to hold that holds at ``high``, by bisection."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return high
