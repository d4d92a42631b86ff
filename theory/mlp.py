r"""The MLP's mean-field map: ``K += g κ(C)``, ``Q += g κ(D)``.

For a plain MLP ``κ(c) = E[φ(a)φ(a')]``; a gate's partner multiplies it by its own covariance. At
finite width the overlap ``c`` of a pair varies with variance ``V``, and the mean of ``κ`` moves by
``½ κ''(c) V``: ``V`` is what two random vectors of the stream's size have, ``1/d`` of the square
of their variance, and the spread that heads, hidden units and the blocks before have left.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .activations import hermite_coefficients
from .axes import outer, per_node
from .routing import routing_overlap
from .state import OtherContent, SameContent, State
from .together import Some

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
    gain
        ``g`` (…, 1).
    size
        Variance of the pre-activation of every token (…, N), or (…, 1) if it is the same for all.
    hermite
        Hermite coefficients of the activation (order + 1, …, N) or (order + 1, …, 1).
    offset
        Constant added to a gate's partner; None without a gate.
    routing
        Polynomial that multiplies it (R, …): how much of two tokens' experts they share; None
        without experts.
    """

    gain: Array
    size: Array
    hermite: Array
    offset: float | None
    routing: Array | None

    def between(self, rows: slice, columns: slice) -> Array:
        """Return the coefficients for pairs of tokens (K, …, R, C).

        They are (K, …, 1, 1) if all tokens are alike.
        """
        if self.size.shape[-1] == 1:
            return self.own()[..., None]
        first, second = (
            Kernel(self.gain[..., None], *found, self.offset, self.routing)
            for found in (
                (self.size[..., rows, None], self.hermite[..., rows, None]),
                (self.size[..., None, columns], self.hermite[..., None, columns]),
            )
        )
        return first._product(second, axes=(-2, -1))

    def parts(self) -> "list[tuple[Any, Kernel]]":
        """Return the kernels of stacks whose tokens are alike and of the others, with indices."""
        alike = (self.size == self.size[..., :1]).all(-1)
        if alike.all() or not alike.any():
            return [(..., self)]
        found: list[tuple[Any, Kernel]] = []
        for which, nodes in ((alike, slice(1)), (~alike, slice(None))):
            routing = None if self.routing is None else self.routing[:, which]
            arrays = self.size[which, nodes], self.hermite[:, which, nodes]
            found.append((which, Kernel(self.gain[which], *arrays, self.offset, routing)))
        return found

    def own(self) -> Array:
        """Return the coefficients for two tokens like each one, (K, …, N) or (K, …, 1)."""
        return self._product(self, axes=(-1,))

    def variance(self) -> Array:
        """Return the variance that the MLP writes for every token, (…, N) or (…, 1)."""
        return np.asarray(sum(self.own()))

    def _product(self, other: "Kernel", axes: tuple[int, ...]) -> Array:
        kernel = self.gain * self.hermite * other.hermite
        if self.offset is not None:
            kernel = _times(kernel, [self.offset**2, np.sqrt(self.size * other.size)])
        if self.routing is not None:
            shape = self.routing.shape + (1,) * len(axes)
            kernel = _times(kernel, self.routing.reshape(shape))
        return _shortened(kernel, axes)


def _shortened(polynomial: Array, axes: tuple[int, ...]) -> Array:
    """Return a polynomial whose small last coefficients are added to one before them.

    Those of a stack are small if they are at all of its tokens, which lie along ``axes``.
    """
    tails = polynomial.copy()
    for k in range(len(tails) - 1, 0, -1):
        tails[k - 1] += tails[k]
    size = np.abs(tails).max(axis=axes, keepdims=True)
    degree = np.arange(len(polynomial)).reshape(-1, *[1] * (polynomial.ndim - 1))
    least = min(3, len(polynomial)) - 1
    last = least + (size[least + 1 :] >= _NEGLIGIBLE * size[:1]).sum(0)
    found = np.where(degree < last, polynomial, np.where(degree == last, tails, 0.0))
    several = polynomial.ndim > 1 + len(axes)  # whose degrees must not depend on each other
    return np.asarray(found if several else found[: int(last.max()) + 1])


def _times(polynomial: Array, factor: Sequence[Array | float] | Array) -> Array:
    """Return the product of two polynomials, the first of coefficients (K, …)."""
    product = np.zeros((len(polynomial) + len(factor) - 1, *polynomial.shape[1:]))
    for power, coefficient in enumerate(factor):
        product[power : power + len(polynomial)] += coefficient * polynomial
    return product


def mlp_kernel(stack: Some, block: int, variance: Array) -> Kernel:
    """Return the kernel of a block's MLP for tokens whose input has some mean squares (…, N)."""
    mlp = stack.mlp[block]
    size = per_node(stack.preactivation_var()) * variance
    alike = np.ptp(size, axis=-1) <= _CONSTANT * size.max(-1)
    if alike.all():
        size = size[..., :1]
    elif alike.any():
        size = np.where(alike[..., None], size[..., :1], size)
    routing = None
    if mlp.experts is not None:
        spread = np.sqrt(size.mean(-1))
        found = [routing_overlap(mlp.experts, float(std)) for std in spread.flat]
        routing = np.array(found).T.reshape(-1, *spread.shape)
    hermite = hermite_coefficients(mlp.activation, size.ravel(), mlp.activation_scale)
    return Kernel(
        per_node(stack.mlp_gain(block)),
        size,
        hermite.reshape(-1, *size.shape),
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
    return np.asarray(value)


def evaluate(polynomial: Array, c: Array) -> tuple[Array, Array, Array]:
    """Return a polynomial of coefficients (K, …, G, G) and its first two derivatives.

    ``c`` are some kernels (C, …, G, G).
    """
    if polynomial.shape[-2:] == (1, 1):
        return _evaluate_alike(polynomial[..., 0, 0], c)
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
    """Return what `evaluate` does where the coefficients (K, …) are the same for all entries."""
    count = len(polynomial)
    degree = np.arange(count)
    derivatives = np.zeros((*polynomial.shape[1:], 3, count))
    rows = np.moveaxis(polynomial, 0, -1)
    derivatives[..., 0, :] = rows
    derivatives[..., 1, :-1] = (degree * rows)[..., 1:]
    derivatives[..., 2, :-2] = (degree * (degree - 1) * rows)[..., 2:]
    flat, found = c.reshape(*c.shape[:-2], -1), np.empty((3, *c.shape))
    parts = found.reshape(3, *flat.shape)
    for start in range(0, flat.shape[-1], _ENTRIES):
        part = slice(start, start + _ENTRIES)
        at = flat[..., part]
        powers = np.ones((count, *at.shape))
        for lower, power in pairwise(powers):
            np.multiply(lower, at, out=power)
        parts[..., part] = np.moveaxis(derivatives @ np.moveaxis(powers, 0, -2), -2, 0)
    value, first, second = found
    return value, first, second


def mlp_branch(
    stack: Some, block: int, u: State, rms: Array, gain: Callable[[Array], Array | float]
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
    inverse = 1 / np.sqrt(size)
    scale = outer(inverse)
    diag = np.broadcast_to(kernel.variance(), variance.shape).copy()
    fresh = outer(diag) / stack.block_d_ff(block)
    factor = gain(diag)
    stream = np.divide(rms, factor, out=np.zeros_like(diag), where=np.greater(factor, _LEAST_GAIN))
    twice = 2 * outer(stream)
    chance = outer(variance) / stack.d_model

    kernels: list[SameContent | OtherContent] = [u.same, *u.other.values()]
    c = np.array([q.pairs for q in kernels])
    c *= scale
    np.clip(c, -1.0, 1.0, out=c)
    found = np.empty((3, *c.shape))
    for which, part in kernel.parts():
        polynomial = part.between(slice(None), slice(None))
        found[:, :, which] = evaluate(polynomial, c[:, which])
    values, slopes, curvatures = found
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
            same = c[..., k, l] > 1 - 1e-9
            size = np.sqrt(diag[..., k] * diag[..., l])
            pairs[..., k, l] = np.where(same, size, pairs[..., k, l])
            spread[..., k, l] = np.where(same, 0.0, spread[..., k, l])
        return OtherContent(pairs, spread, q.anchors)

    same = SameContent(values[0], diag, spreads[0], _near(kernel, u.same))
    others = zip(u.other.items(), c[1:], values[1:], spreads[1:], strict=True)
    return State(same, {name: other(q, *found) for (name, q), *found in others})


def _near(kernel: Kernel, same: SameContent) -> Array:
    """Return the ridge that the MLP writes (G, B)."""
    if not same.near.size:
        return same.near
    polynomial = kernel.own()[..., None]
    size = np.maximum(same.diag, 1e-300)[..., None]
    smooth = np.linalg.diagonal(same.pairs)[..., None] / size
    c = np.clip(smooth + same.near / size, -1.0, 1.0)
    return horner(polynomial, c) - horner(polynomial, np.clip(smooth, -1.0, 1.0))
