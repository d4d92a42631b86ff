"""A mask as an operator: means over the keys that each query sees."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ropeleak.spec import Attention

from .axes import times
from .grid import Grid

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Averaging:
    """The averaging matrix ``U`` of a mask on a grid, and the keys that two queries share.

    Attributes
    ----------
    n_keys
        ``n_i`` (G,).
    mean
        ``(mean @ f)_i`` is the mean of ``f`` over the keys of query ``i``, (G, G); rows sum to 1.
    """

    n_keys: Array
    mean: Array
    _to_stop: Array
    _to_first: Array | None
    _to_sinks: Array | None
    _touch: NDArray[np.bool_]
    _early: NDArray[np.bool_]

    @classmethod
    def of(cls, attention: Attention, grid: Grid, beyond: NDArray[np.bool_]) -> "Averaging":
        """Return the operator of one layer's mask.

        Keys that two nodes ``beyond`` (G,) share in their windows are left to a `Ridge`.
        """
        keys = attention.key_range(grid.nodes, grid.context)
        stop, first, sinks = (grid.prefix_weights(x) for x in (keys.stop, keys.first, keys.sinks))
        n = keys.n_keys.astype(float)
        return cls(
            n,
            (stop - first + sinks) / n[:, None],
            stop,
            first if keys.first.any() else None,
            sinks if keys.sinks.any() else None,
            (keys.stop[None, :] > keys.first[:, None]) & ~np.logical_and.outer(beyond, beyond),
            keys.stop[None, :] < keys.sinks[:, None],
        )

    def shared(self, excess: Array, mass: Array) -> Array:
        """Return ``Σ_k a_ik a_jk mass_k`` over the keys that two queries share, (G, G).

        Parameters
        ----------
        excess
            Weight of a key relative to uniform attention (G, G): ``a_ik = excess_ik / n_i``.
        mass
            (G,)
        """
        weighted = excess * mass[..., None, :]
        to_stop = excess @ (self._to_stop * weighted).mT  # (i, j): keys before the end of j's
        later = to_stop
        if self._to_first is not None:
            later = to_stop - (self._to_first * weighted) @ excess.mT
            if self._to_sinks is None:
                later = np.where(self._touch, later, 0.0)
            else:
                sinks = (self._to_sinks * weighted) @ excess.mT
                apart = np.where(self._early, to_stop, sinks)
                later = np.where(self._touch, later + sinks, apart)
        return np.where(self._lower, later, later.mT) * self._share

    def repeated(self, excess: Array, mass: Array) -> Array:
        """Return ``Σ_k a_ik² mass_k`` (G,)."""
        return times(self.mean * excess**2, mass) / self.n_keys

    @cached_property
    def _lower(self) -> NDArray[np.bool_]:
        return np.tri(self.n_keys.size, dtype=bool)

    @cached_property
    def _share(self) -> Array:
        return 1 / np.outer(self.n_keys, self.n_keys)

    @cached_property
    def common_keys(self) -> Array:
        """Number of keys that two queries share (G, G)."""
        one = np.ones_like(self.mean)
        return self.shared(one, one[0]) * np.outer(self.n_keys, self.n_keys)
