r"""The MLP's mean-field map: ``K += g κ(C)``, ``Q += g κ(D)``.

For a plain MLP ``κ(c) = E[φ(a)φ(a')]``; a gate's partner multiplies it by its own covariance. At
finite width the overlap ``c`` of a pair varies with variance ``V``, and the mean of ``κ`` moves by
``½ κ''(c) V``: ``V`` is what two random vectors of the stream's size have, ``1/d`` of the square
of their variance, and the spread that heads, hidden units and the blocks before have left.
"""

from collections.abc import Callable
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

    def between(self, rows: slice, columns: slice) -> list[Array]:
        """Return the coefficients for pairs of tokens, (R, C) each, or (1, 1) if all are alike."""
        rows, columns = (slice(None) if self.size.size == 1 else x for x in (rows, columns))
        left = self.hermite[:, rows, None], self.size[rows, None]
        right = self.hermite[:, None, columns], self.size[None, columns]
        return self._product(left, right)

    def own(self) -> list[Array]:
        """Return the coefficients for two tokens like each one, (N,) or (1,) each."""
        return self._product((self.hermite, self.size), (self.hermite, self.size))

    def variance(self) -> Array:
        """Return the variance that the MLP writes for every token, (N,) or (1,)."""
        return np.asarray(sum(self.own()))

    def _product(self, left: tuple[Array, Array], right: tuple[Array, Array]) -> list[Array]:
        kernel = [self.gain * a * b for a, b in zip(left[0], right[0], strict=True)]
        zero = np.zeros_like(kernel[0])
        if self.offset is not None:
            partner = np.sqrt(left[1] * right[1])
            kernel = [
                self.offset**2 * low + partner * high
                for low, high in zip([*kernel, zero], [zero, *kernel], strict=True)
            ]
        product = [zero] * (len(kernel) + len(self.routing) - 1)
        for k, coefficient in enumerate(kernel):
            for r, share in enumerate(self.routing):
                product[k + r] = product[k + r] + share * coefficient
        whole = np.abs(sum(product)).max()
        while len(product) > 3 and np.abs(product[-1]).max() < _NEGLIGIBLE * whole:
            last = product.pop()
            product[-1] = product[-1] + last
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


def horner(polynomial: list[Array], c: Array) -> Array:
    """Return a polynomial at ``c`` (R, C)."""
    value = np.multiply(polynomial[-1], c)
    for coefficient in polynomial[-2:0:-1]:
        if coefficient.any():  # half of an odd or even activation's vanish
            value += coefficient
        value *= c
    value += polynomial[0]
    return value


def evaluate(polynomial: list[Array], c: Array) -> tuple[Array, Array, Array]:
    """Return a polynomial and its first two derivatives at ``c`` (G, G), by Horner's rule."""
    *lower, highest = polynomial
    value, first = highest * c + lower[-1], np.broadcast_to(highest, c.shape).copy()
    second = np.zeros_like(c)
    for coefficient in lower[-2::-1]:
        second *= c
        second += first
        first *= c
        first += value
        value *= c
        value += coefficient
    second *= 2
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

    def apply(pairs: Array, spread: Array) -> tuple[Array, Array]:
        c = np.clip(pairs * scale, -1.0, 1.0)
        value, slope, curvature = evaluate(polynomial, c)
        total = spread + chance
        varies = np.clip(total * scale * scale, 0.0, 1 - c * c)
        curvature *= varies
        value += curvature / 2
        # the input's own variation passes on, in step with the stream that the branch is added to:
        # (f² slope + rms²)² - rms⁴ = f⁴ slope (slope + 2 rms²/f²), and f⁴ is left to the gain f
        slope *= scale
        carried = np.maximum(slope * (slope + twice), 0.0) * total
        return value, carried + fresh

    def other(q: OtherContent) -> OtherContent:
        pairs, spread = apply(q.pairs, q.spread)
        for k, l in q.anchors:
            c = float(np.clip(q.pairs[k, l] * scale[k, l], -1.0, 1.0))
            if c > 1 - 1e-9:
                pairs[k, l], spread[k, l] = np.sqrt(diag[k] * diag[l]), 0.0
        return OtherContent(pairs, spread, q.anchors)

    pairs, spread = apply(u.same.pairs, u.same.spread)
    same = SameContent(pairs, diag, spread, _near(kernel, u.same))
    return State(same, {name: other(q) for name, q in u.other.items()})


def _near(kernel: Kernel, same: SameContent) -> Array:
    """Return the ridge that the MLP writes (G, B)."""
    if not same.near.size:
        return same.near
    polynomial = [coefficient[:, None] for coefficient in kernel.own()]
    size = np.maximum(same.diag, 1e-300)
    smooth = (np.diag(same.pairs) / size)[:, None]
    c = np.clip(smooth + same.near / size[:, None], -1.0, 1.0)
    return horner(polynomial, c) - horner(polynomial, np.clip(smooth, -1.0, 1.0))
