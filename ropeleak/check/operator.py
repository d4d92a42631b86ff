"""The matrix that a rotary function multiplies a vector with, read off by basis vectors.

A rotary function is linear in queries and keys, so ``d`` basis vectors at one position give the
whole matrix ``M(p)``. For RoPE it consists of 2 x 2 blocks ``a [[cos, -sin], [sin, cos]]`` at the
angle ``p w_i``; what it is instead says what is wrong.
"""

from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._arrays import Floats
from ._subject import Subject
from .tolerance import spacing

Complexes = NDArray[np.complex128]
Side = Literal["q", "k"]


class Pairs(NamedTuple):
    """Which entries of a head are turned together.

    Parameters
    ----------
    layout
        ``half``: ``(k, k + rotary_dim / 2)``; ``interleaved``: ``(2k, 2k + 1)``; ``none``: no entry
        depends on another; ``unknown``: another one, whose pairs are not listed.
    first, second
        The entries of each pair, shape ``(pairs,)``.
    """

    layout: Literal["half", "interleaved", "none", "unknown"]
    first: NDArray[np.int64]
    second: NDArray[np.int64]


class Operator:
    """``M(p)`` of queries and keys, in the function's own dtype.

    Parameters
    ----------
    subject
        The function.
    size
        The head size ``d``.
    """

    def __init__(self, subject: Subject, size: int) -> None:
        self.subject = subject
        self.size = size
        self._known: dict[tuple[object, ...], tuple[Floats, Floats]] = {}

    def both(self, p: int, **options: int) -> tuple[Floats, Floats]:
        """Return ``M(p)`` of queries and of keys as `measured` does, asking only once."""
        key = (p, *sorted(options.items()))
        if key not in self._known:
            self._known[key] = self.measured(p, **options)  # type: ignore[arg-type]
        return self._known[key]

    def measured(
        self, p: int, *, running: int | None = None, extra: int = 0, before: bool = False,
        neighbour: int | None = None, layers: int = 1,
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """Return ``M(p)`` of queries and of keys, shape ``(d, d)`` each.

        Parameters
        ----------
        p
            The position of the basis vectors.
        running
            The position of one more token in the row.
        extra, before
            How many more tokens at ``p`` the row has, and whether they come first.
        neighbour
            The position of the tokens of another row, which comes first in the batch.
        layers
            As `Subject.rotate` takes them.
        """
        d = self.size
        eye = np.eye(d)
        others = np.ones((extra, d))
        rows = [others, eye] if before else [eye, others]
        places = [p] * (d + extra)
        if running is not None:
            rows, places = [*rows, np.ones((1, d))], [*places, running]
        x = np.concatenate(rows)[None, None]
        batch = np.array([places], dtype=np.int64)
        if neighbour is not None:
            x = np.concatenate([x, x])
            batch = np.concatenate([np.full_like(batch, neighbour), batch])
        start = extra if before else 0
        q, k = self.subject.rotate(x, x, batch, layers)
        return q[-1, 0, start : start + d].T, k[-1, 0, start : start + d].T

    def matrix(self, p: int, side: Side = "q", **options: int) -> Floats:
        """Return ``M(p)`` of queries or keys; options as `measured` takes them."""
        return self.both(p, **options)[side == "k"]

    def offset(self, p: int) -> float:
        """Return the size of what a zero vector becomes at a position: 0 for any matrix."""
        zero = np.zeros((1, 1, 2, self.size))
        answers = self.subject.rotate(zero, zero, np.full((1, 2), p))
        return float(np.max(np.abs(np.nan_to_num(answers))))

    def stands_still(self, *more: int) -> bool:
        """Whether positions have no effect, as far as a few of them and ``more`` tell."""
        far = self.subject.max_position
        places = (1, min(10, far), min(100, far), *more)
        return all(self.same(self.matrix(0), self.matrix(p), p) for p in places)

    def tolerance(self, *positions: int) -> float:
        """Return how far equal entries of matrices at these positions may be apart."""
        precision = self.subject.precision
        angle = float(np.max(spacing(positions, precision.angles.bits), initial=0.0))
        return 8 * precision.eps + 2 * angle

    def same(self, a: Floats, b: Floats, *positions: int) -> bool:
        """Whether two matrices agree within rounding; positions are those of the angles."""
        with np.errstate(invalid="ignore"):
            return bool(np.max(np.abs(a - b)) <= self.tolerance(*positions))

    def pairs(self, side: Side = "q", rotary_dim: int | None = None) -> Pairs:
        """Return which entries are turned together; the partner of entry 0 tells."""
        for p in (1, 10, 100):  # a slow pair shows later
            if p > self.subject.max_position:
                break
            m = self.matrix(p, side)
            off = np.abs(np.nan_to_num(m - np.diag(np.diag(m))))
            off = np.maximum(off, off.T)
            partner = int(np.argmax(off[0]))
            if off[0, partner] > self.tolerance(p):
                return self._laid_out(partner, rotary_dim)
        none = np.arange(0)
        return Pairs("none", none, none)

    def _laid_out(self, partner: int, rotary_dim: int | None) -> Pairs:
        """Return the pairs of which entry 0 and its partner are the first."""
        d = self.size
        if partner == 1 and d > 2:
            r = rotary_dim or d
            return Pairs("interleaved", np.arange(0, r, 2), np.arange(1, r, 2))
        half = rotary_dim // 2 if rotary_dim else partner
        if 2 * half > d:
            return Pairs("unknown", np.arange(0), np.arange(0))
        return Pairs("half", np.arange(half), np.arange(half, 2 * half))

    @cached_property
    def _expected_pairs(self) -> Pairs:
        rope = self.subject.rope
        r = None if rope is None else rope.rotary_dim(self.size)
        found = self.pairs("q", r)
        if found.layout == "none" and r:
            return Pairs("none", np.arange(r // 2), np.arange(r // 2, r))
        return found

    def rotations(self, p: int, side: Side = "q") -> Complexes:
        """Return ``exp(i angle)`` of every pair at a position, shape ``(pairs,)``."""
        m = self.matrix(p, side)
        pairs = self._expected_pairs
        z = m[pairs.first, pairs.first] + 1j * m[pairs.second, pairs.first]
        size = np.abs(z)
        return np.asarray(z / np.where(size > 0, size, 1.0))

    def attention_factor(self, side: Side = "q") -> float:
        """Return ``a``, by which entry 0 is multiplied."""
        return float(np.linalg.norm(self.matrix(0, side)[:, 0]))


def angle_error(got: Complexes, expected: Complexes) -> Floats:
    """Return the angles between rotations, from 0 to π."""
    return np.abs(np.angle(got * np.conj(expected)))
