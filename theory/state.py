"""The order parameters that the recursion carries from block to block.

Where several stacks run together, all arrays have an axis (B,) for them before the others.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from .axes import outer

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SameContent:
    """``K``: covariance of two tokens of one input, per coordinate.

    Attributes
    ----------
    pairs
        ``K_ij`` of two different tokens near nodes ``i`` and ``j`` (G, G); the diagonal is the
        limit of neighbours, not the variance.
    diag
        ``K_ii`` (G,).
    spread
        Variance of the overlap ``x_i·x_j/d`` of a pair over heads, contents and weights (G, G),
        beyond the ``K_ii K_jj / d`` of two random vectors.
    near
        What ``K`` has more than ``pairs`` at the offsets of a `Vicinity` (G, B); 0 at offset 0.
    """

    pairs: Array
    diag: Array
    spread: Array
    near: Array

    @property
    def matrix(self) -> Array:
        """``K`` at the nodes (G, G)."""
        full, node = self.pairs.copy(), np.arange(self.diag.shape[-1])
        full[..., node, node] = self.diag
        return full

    def scaled(self, by: "Factor") -> "SameContent":
        """Return the kernel of ``factor_i x_i``."""
        return SameContent(
            self.pairs * by.pairs,
            self.diag * by.square,
            self.spread * by.spread,
            self.near * by.square[..., None],
        )

    def plus(self, other: "SameContent") -> "SameContent":
        """Return the kernel of the sum of two independent streams."""
        return SameContent(
            self.pairs + other.pairs,
            self.diag + other.diag,
            self.spread + other.spread,
            self.near + other.near,
        )


@dataclass(frozen=True)
class OtherContent:
    """``Q``: covariance of tokens of two inputs that run through the same weights.

    Attributes
    ----------
    pairs
        ``Q_ij`` (G, G), the diagonal included; not symmetric when the inputs differ in kind.
    spread
        As for `SameContent`.
    anchors
        Pairs of nodes ``(k, l)`` at which the two inputs hold the same token.
    """

    pairs: Array
    spread: Array
    anchors: tuple[tuple[int, int], ...] = field(default=())

    @property
    def diag(self) -> Array:
        """``Q_ii`` (G,)."""
        return np.linalg.diagonal(self.pairs)

    def scaled(self, by: "Factor") -> "OtherContent":
        """Return the kernel of ``factor_i x_i``."""
        return OtherContent(self.pairs * by.pairs, self.spread * by.spread, self.anchors)

    def plus(self, other: "OtherContent") -> "OtherContent":
        """Return the kernel of the sum of two independent streams."""
        return OtherContent(self.pairs + other.pairs, self.spread + other.spread, self.anchors)


@dataclass(frozen=True)
class Factor:
    """A factor on the stream, as variances, kernels and their spread see it.

    Attributes
    ----------
    square, pairs, spread
        ``f_i²`` (G,), ``f_i f_j`` and ``(f_i f_j)²`` (G, G); of size 1 if they are the same
        everywhere.
    """

    square: Array
    pairs: Array
    spread: Array

    @classmethod
    def of(cls, factor: Array | float) -> "Factor":
        """Return it for ``f_i`` (G,) or a number."""
        f = np.atleast_1d(factor)
        pairs = outer(f)
        return cls(f * f, pairs, pairs * pairs)


@dataclass(frozen=True)
class State:
    """``K`` and any number of ``Q``, by name."""

    same: SameContent
    other: dict[str, OtherContent]

    def scaled(self, factor: Array | float) -> "State":
        """Return the state of ``factor_i x_i``, a factor for each node (G,) or one for all."""
        if np.ndim(factor) == 0 and factor == 1:
            return self
        by = Factor.of(factor)
        return State(self.same.scaled(by), {name: q.scaled(by) for name, q in self.other.items()})

    def plus(self, branch: "State") -> "State":
        """Return the state after a branch is added to the residual stream."""
        return State(
            self.same.plus(branch.same),
            {name: q.plus(branch.other[name]) for name, q in self.other.items()},
        )

    def with_common(self, added: Array, others: dict[str, Array]) -> "State":
        """Return the state after the same stream joins all inputs.

        Parameters
        ----------
        added
            Its kernel (G, G).
        others
            Its kernel between some pairs of inputs, by name.
        """
        same = replace(
            self.same,
            pairs=self.same.pairs + added,
            diag=self.same.diag + np.linalg.diagonal(added),
        )
        return State(
            same,
            {
                name: replace(q, pairs=q.pairs + others.get(name, added))
                for name, q in self.other.items()
            },
        )

    def normalised(self, eps: float) -> "State":
        """Return the state after RMSNorm or LayerNorm (the same at this order)."""
        return self.scaled(1 / np.sqrt(self.same.diag + eps))
