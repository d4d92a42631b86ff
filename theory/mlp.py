r"""The MLP's mean-field map: ``K += g κ(C)``, ``Q += g κ(D)``.

For a plain MLP ``κ(c) = E[φ(a)φ(a')]``; a gate's partner multiplies it by its own covariance. At
finite width the overlap ``c`` of a pair varies with variance ``V``, and the mean of ``κ`` moves by
``½ κ''(c) V``: ``V`` is what two random vectors of the stream's size have, ``1/d`` of the square
of their variance, and the spread that heads, hidden units and the blocks before have left.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ropeleak.spec import Stack

from .activations import hermite_coefficients
from .routing import routing_overlap
from .state import OtherContent, SameContent, State

Array = NDArray[np.float64]

_NEGLIGIBLE = 1e-7
_CONSTANT = 1e-4
"""Pre-activation variances that differ by less than this are taken as one."""
_LEAST_GAIN = 1e-100
"""What is written with less than this is taken as nothing."""
_ENTRIES = 1 << 12
"""Entries whose powers are worked out together."""


@dataclass(frozen=True)
class Kernel:
    """``g κ`` as a polynomial in the correlation ``c`` of two tokens.

    Attributes
    ----------
    size
        Variance of the pre-activation of every token (N,), or (1,) if it is the same for all.
    hermite
        Hermite coefficients of the activation (order + 1, N) or (order + 1, 1).
    offset
        Constant added to a gate's partner; None without a gate.
    routing
        Polynomial that multiplies it: how much of two tokens' experts they share.
    """

    gain: float
    size: Array
    hermite: Array
    offset: float | None
    routing: tuple[float, ...]

    def between(self, rows: slice, columns: slice) -> Array:
        """Return the coefficients for pairs of tokens (K, R, C), or (K, 1, 1) if all are alike."""
        rows, columns = (slice(None) if self.size.size == 1 else x for x in (rows, columns))
        left = self.hermite[:, rows, None], self.size[rows, None]
        right = self.hermite[:, None, columns], self.size[None, columns]
        return self._product(left, right)

    def own(self) -> Array:
        """Return the coefficients for two tokens like each one, (K, N) or (K, 1)."""
        return self._product((self.hermite, self.size), (self.hermite, self.size))

    def variance(self) -> Array:
        """Return the variance that the MLP writes for every token, (N,) or (1,)."""
        return np.asarray(self.own().sum(0))

    def _product(self, left: tuple[Array, Array], right: tuple[Array, Array]) -> Array:
        kernel = self.gain * left[0] * right[0]
        if self.offset is not None:
            partner = np.sqrt(left[1] * right[1])
            kernel = _times(kernel, (self.offset**2, partner))
        if self.routing != (1.0,):
            kernel = _times(kernel, self.routing)
        tails = np.cumsum(kernel[::-1], axis=0)[::-1]
        size = np.abs(tails).max(axis=tuple(range(1, tails.ndim)))
        least = min(3, len(kernel))
        kept = least + int((size[least:] >= _NEGLIGIBLE * size[0]).sum())
        return np.concatenate([kernel[: kept - 1], tails[kept - 1 : kept]])


def _times(polynomial: Array, factor: Sequence[Array | float]) -> Array:
    """Return the product of two polynomials, the first of coefficients (K, …)."""
    product = np.zeros((len(polynomial) + len(factor) - 1, *polynomial.shape[1:]))
    for power, coefficient in enumerate(factor):
        product[power : power + len(polynomial)] += coefficient * polynomial
    return product


def mlp_kernel(stack: Stack, block: int, variance: Array) -> Kernel:
    """Return the kernel of a block's MLP for tokens whose input has some mean squares (N,)."""
    mlp = stack.mlp[block]
    size = stack.preactivation_var() * variance
    if np.ptp(size) <= _CONSTANT * size.max():
        size = size[:1]
    routing: tuple[float, ...] = (1.0,)
    if mlp.experts is not None:
        routing = routing_overlap(mlp.experts, float(np.sqrt(size.mean())))
    return Kernel(
        stack.mlp_gain(block),
        size,
        hermite_coefficients(mlp.activation, size, mlp.activation_scale),
        mlp.offset if mlp.kind == "gated" else None,
        routing,
    )


def horner(polynomial: Array, c: Array) -> Array:
    """Return a polynomial of coefficients (K, R, C) at ``c`` (R, C)."""
    value = np.multiply(polynomial[-1], c)
    for coefficient in polynomial[-2:0:-1]:
        if coefficient.any():  # half of an odd or even activation's vanish
            value += coefficient
        value *= c
    value += polynomial[0]
    return value


def evaluate(polynomial: Array, c: Array) -> tuple[Array, Array, Array]:
    """Return a polynomial and its first two derivatives at ``c`` (…, G, G)."""
    if polynomial[0].size == 1:
        return _evaluate_alike(polynomial.ravel(), c)
    value, first = polynomial[-1] * c + polynomial[-2], np.broadcast_to(polynomial[-1], c.shape)
    first, second = first.copy(), np.zeros_like(c)
    for coefficient in polynomial[-3::-1]:
        second *= c
        second += first
        first *= c
        first += value
        value *= c
        value += coefficient
    second *= 2
    return value, first, second


def _evaluate_alike(polynomial: Array, c: Array) -> tuple[Array, Array, Array]:
    """Return what `evaluate` does where all coefficients (K,) are the same for all entries."""
    degree = np.arange(polynomial.size)
    derivatives = np.zeros((3, polynomial.size))
    derivatives[0] = polynomial
    derivatives[1, :-1] = (degree * polynomial)[1:]
    derivatives[2, :-2] = (degree * (degree - 1) * polynomial)[2:]
    flat, found = c.ravel(), np.empty((3, c.size))
    for start in range(0, c.size, _ENTRIES):
        part = slice(start, start + _ENTRIES)
        powers = np.ones((polynomial.size, flat[part].size))
        for lower, power in zip(powers, powers[1:], strict=False):
            np.multiply(lower, flat[part], out=power)
        found[:, part] = derivatives @ powers
    value, first, second = found.reshape(3, *c.shape)
    return value, first, second


def mlp_branch(
    stack: Stack, block: int, u: State, rms: Array, gain: Callable[[Array], Array | float]
) -> State:
    """Return what the MLP writes.

    Parameters
    ----------
    u
        State of the MLP's input.
    rms
        Factor from the input back to the residual stream (G,).
    gain
        Factor on what is written, for its variances (G,): a norm of the branch, a multiplier.
    """
    variance = u.same.diag
    size = np.maximum(variance, 1e-300)
    kernel = mlp_kernel(stack, block, size)
    polynomial = kernel.between(slice(None), slice(None))
    inverse = 1 / np.sqrt(size)
    scale = np.outer(inverse, inverse)
    diag = np.broadcast_to(kernel.variance(), variance.shape).copy()
    fresh = np.outer(diag, diag) / stack.block_d_ff(block)
    factor = gain(diag)
    stream = np.divide(rms, factor, out=np.zeros_like(rms), where=np.greater(factor, _LEAST_GAIN))
    twice = 2 * np.outer(stream, stream)
    chance = np.outer(variance, variance) / stack.d_model

    kernels = [u.same, *u.other.values()]
    c = np.array([q.pairs for q in kernels])
    c *= scale
    np.clip(c, -1.0, 1.0, out=c)
    values, slopes, curvatures = evaluate(polynomial, c)
    total = np.array([q.spread for q in kernels])
    total += chance
    curvatures *= np.clip(total * scale * scale, 0.0, 1 - c * c)
    values += curvatures / 2
    # the input's own variation passes on, in step with the stream that the branch is added to:
    # (f² slope + rms²)² - rms⁴ = f⁴ slope (slope + 2 rms²/f²), and f⁴ is left to the gain f
    slopes *= scale
    spreads = np.maximum(slopes * (slopes + twice), 0.0)
    spreads *= total
    spreads += fresh

    def other(q: OtherContent, c: Array, pairs: Array, spread: Array) -> OtherContent:
        for k, l in q.anchors:
            if c[k, l] > 1 - 1e-9:
                pairs[k, l], spread[k, l] = np.sqrt(diag[k] * diag[l]), 0.0
        return OtherContent(pairs, spread, q.anchors)

    same = SameContent(values[0], diag, spreads[0], _near(kernel, u.same))
    others = zip(u.other.items(), c[1:], values[1:], spreads[1:], strict=True)
    return State(same, {name: other(q, *found) for (name, q), *found in others})


def _near(kernel: Kernel, same: SameContent) -> Array:
    """Return the ridge that the MLP writes (G, B)."""
    if not same.near.size:
        return same.near
    polynomial = kernel.own()[..., None]
    size = np.maximum(same.diag, 1e-300)
    smooth = (np.diag(same.pairs) / size)[:, None]
    c = np.clip(smooth + same.near / size[:, None], -1.0, 1.0)
    return horner(polynomial, c) - horner(polynomial, np.clip(smooth, -1.0, 1.0))
