"""A layer's mask and RoPE on a grid: what stays the same from block to block."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ropeleak.spec import Attention, Stack
from ropeleak.spec.sink import sink_band

from .averaging import Averaging
from .grid import Grid
from .together import Some, Stacks, first
from .vicinity import Ridge, Vicinity

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Layer:
    """One kind of attention layer of a stack, made once for all blocks that share it.

    Attributes
    ----------
    kernel
        ``κ(i-j)`` averaged over the cells of two nodes (G, G).
    frequencies, share
        Rotation frequencies (P,) and the share of a head's pairs that turns with each (P,).
    smear
        Mean of a rotation over a node's cell (G, P).
    ridge
        What the layer does to close pairs of tokens that the grid does not resolve.
    band_kernel
        ``κ_P(i-j)`` of the entries that a sink bias lives in (G, G); empty without one.

    Frequencies, and what follows from them, are those of every stack that runs along: (B, P), ….
    """

    attention: Attention
    nodes: NDArray[np.int64]
    averaging: Averaging
    kernel: Array
    frequencies: Array
    share: Array
    smear: Array
    ridge: Ridge
    band_kernel: Array

    @classmethod
    def of(cls, stack: Some, attention: Attention, grid: Grid, vicinity: Vicinity) -> "Layer":
        """Return one layer of ``stack`` on ``grid``."""
        frequencies, share = _rotations(stack, attention)
        ridge = Ridge.of(vicinity, attention, frequencies, share)
        averaging = Averaging.of(attention, grid, ridge.beyond)
        slow = np.zeros((0, 0))
        if attention.mask == "ring":  # every query sees every offset once
            alike = share @ _dirichlet(frequencies, grid.context) ** 2
            still = np.zeros(1)
            one = np.ones((grid.size, 1))
            kernel = np.full((grid.size, grid.size), alike)
            if attention.sink_bias:
                offset = np.subtract.outer(grid.nodes, grid.nodes) % grid.context
                slow = np.cos(offset[..., None] * frequencies) @ band_share(stack, attention)
            return cls(
                attention, grid.nodes, averaging, kernel, still, np.ones(1), one, ridge, slow
            )
        smear = np.sinc((grid.cell - 1)[:, None] * frequencies[..., None, :] / (2 * np.pi))
        kernel = _kernel(grid.nodes, frequencies, share, smear, 0)
        if attention.sink_bias:
            slow = _kernel(grid.nodes, frequencies, band_share(stack, attention), smear, 0)
        return cls(attention, grid.nodes, averaging, kernel, frequencies, share, smear, ridge, slow)

    @cached_property
    def turns(self) -> NDArray[np.complex128]:
        """``e^{iθp}`` at every node (G, P)."""
        return np.asarray(np.exp(1j * (self.nodes[:, None] * self.frequencies[..., None, :])))

    def shifted_kernel(self, shift: int) -> Array:
        """Return ``κ(i-j-shift)`` on the nodes (G, G)."""
        if shift not in self._shifted:
            found = _kernel(self.nodes, self.frequencies, self.share, self.smear, shift)
            self._shifted[shift] = found
        return self._shifted[shift]

    @cached_property
    def _shifted(self) -> dict[int, Array]:
        """Kernels that every block of the layer needs again."""
        return {}


def _kernel(
    nodes: NDArray[np.int64], frequencies: Array, share: Array, smear: Array, shift: int
) -> Array:
    rates = frequencies[..., None, :]
    query, key = ((nodes - by)[:, None] * rates for by in (shift, 0))
    at_query, at_key = (
        np.concatenate([np.cos(angle) * smear, np.sin(angle) * smear], axis=-1)
        for angle in (query, key)
    )
    return np.asarray((at_query * np.tile(share, 2)) @ at_key.mT)


def _rotations(stack: Some, attention: Attention) -> tuple[Array, Array]:
    """Return `rotations` of a stack, or the frequencies (B, P) of several and their share (P,)."""
    if not isinstance(stack, Stacks):
        return rotations(stack, attention)
    found = [rotations(*pair) for pair in stack.layers(attention)]
    return np.array([frequencies for frequencies, _ in found]), found[0][1]


def rotations(stack: Stack, attention: Attention) -> tuple[Array, Array]:
    """Return the frequencies that the pairs of a head turn with, and the share of each."""
    if attention.rope is None:
        return np.zeros(1), np.ones(1)
    frequencies = attention.rope.inverse_frequencies(stack.rotary_size(attention), stack.context)
    pairs = stack.head_size(attention) / 2
    still = pairs - frequencies.size
    share = np.append(np.ones(frequencies.size), still) / pairs
    return np.append(frequencies, 0.0), share


def band_share(stack: Some, attention: Attention) -> Array:
    """Return the share of a sink bias that turns with each frequency of `rotations`."""
    band = sink_band(first(stack), attention)
    counts = np.append(2.0 * band.pairs, band.still)
    if attention.rope is None:
        counts = counts[-1:]
    return np.asarray(counts / counts.sum())


def _dirichlet(frequencies: Array, count: int) -> Array:
    """Return ``|Σ_{δ < count} e^{iθδ}| / count`` for every frequency."""
    half = frequencies / 2
    low = np.sin(half)
    turning = np.abs(low) > 1e-12
    ratio = np.sin(count * half) / np.where(turning, count * low, 1.0)
    return np.where(turning, np.abs(ratio), 1.0)
