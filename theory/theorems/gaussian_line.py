r"""Twins of the softmax integrals: trapezoidal sums over ``u = ln t`` and ``z``.

A formula is a function of one integral over the line of ``f(n, u, δ(u), …)``, where ``δ`` and its
kind are themselves means over ``z``. All integrands are analytic and fall off, so the sums converge
exponentially. In the number of keys everything is analytic in ``ln n``: many numbers of keys are
interpolated by Chebyshev polynomials, one for each unit of ``ln n``.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from .gaussian import Z
from .numeric import Numeric, compile_plain

Array = NDArray[np.float64]

_LOG_T_STEP = 0.2
_TAIL = 40.0
"""Exponents below minus this are left out of the line."""
_DEGREE = 24
_SEGMENT = 1.25
"""Length in ``ln n`` of one Chebyshev polynomial."""
_DIRECT = 256
"""Up to so many numbers of keys are integrated one by one."""


def gaussian_line(
    variable: sp.Symbol, means: Mapping[sp.Expr, sp.Expr], deviations: int = 1
) -> Callable[[sp.Expr, tuple[sp.Basic, ...]], Numeric]:
    """Return a compiler for formulas with one integral over ``variable``.

    Parameters
    ----------
    means
        What each function of ``variable`` is the mean of, in ``z``, ``variable`` and arguments.
    deviations
        How many standard deviations of scores there are.

    Notes
    -----
    The first argument is the number of keys, then come the standard deviations; one more is a
    logit that stands in the denominator. Arguments are broadcast against each other.
    """

    def compiler(formula: sp.Expr, arguments: tuple[sp.Basic, ...]) -> Numeric:
        (integral,) = formula.atoms(sp.Integral)
        value = sp.Dummy("value")
        outer = compile_plain(formula.xreplace({integral: value}), (value, *arguments))
        stand_ins = {function: sp.Dummy(str(function.func)) for function in means}
        inside = compile_plain(
            integral.function.xreplace(stand_ins), (variable, *arguments, *stand_ins.values())
        )
        inner = [compile_plain(mean, (Z, variable, *arguments[1:])) for mean in means.values()]

        def at_keys(n: Array, parameters: Array) -> Array:
            """Return the formula for numbers of keys (N,) and one set of other arguments."""
            sigma = float(parameters[:deviations].max())
            logit = float(parameters[deviations:].sum())
            low = -(np.log(n.max()) + 2 * sigma**2 + _TAIL + max(logit, 0.0))
            u = np.arange(low, 9 * sigma + 4 + max(-logit, 0.0), _LOG_T_STEP)
            step = 0.25 / max(sigma, 2.0)
            z = np.arange(-9.0, 9.0 + 2 * sigma, step)
            weight = np.exp(-(z**2) / 2) * (step / np.sqrt(2 * np.pi))
            with np.errstate(over="ignore"):  # to infinity, of which the exponential is 0
                found = [
                    np.broadcast_to(mean(z, u[:, None], *parameters), (u.size, z.size)) @ weight
                    for mean in inner
                ]
            found[0] = np.minimum(found[0], 1 - 1e-16)
            total = inside(u, n[:, None], *parameters, *found).sum(-1) * _LOG_T_STEP
            return np.asarray(outer(total, n, *parameters))

        def table_of(rows: Array, n: Array) -> Array:
            return np.stack([at_keys(n, parameters) for parameters in rows], axis=-1)

        def numeric(*values: Any) -> Any:
            n, *others = (np.asarray(value, dtype=float) for value in values)
            shape = np.broadcast_shapes(n.shape, *(other.shape for other in others))
            sets = np.stack(np.broadcast_arrays(*others), axis=-1)
            n, sets = _padded(n, len(shape)), _padded(sets, len(shape) + 1)
            result = np.empty(shape)
            if all(min(a, b) == 1 for a, b in zip(n.shape, sets.shape, strict=False)):
                rows = sets.reshape(-1, sets.shape[-1])
                table = _along_keys(partial(table_of, rows), n.ravel())
                table = table.reshape(n.shape + sets.shape[:-1])
                # axis a of the result is that of the keys or of the others, whichever is longer
                order = [x for a in range(len(shape)) for x in (a, a + len(shape))]
                result[...] = table.transpose(order).reshape(shape)
            else:
                n, sets = np.broadcast_to(n, shape), np.broadcast_to(sets, (*shape, sets.shape[-1]))
                rows, which = np.unique(
                    sets.reshape(-1, sets.shape[-1]), axis=0, return_inverse=True
                )
                for at, p in enumerate(rows):
                    mine = which.reshape(shape) == at
                    result[mine] = _along_keys(partial(table_of, p[None]), n[mine])[:, 0]
            return result[()]

        return numeric

    return compiler


def _padded(array: Array, n_axes: int) -> Array:
    return array.reshape((1,) * (n_axes - array.ndim) + array.shape)


def _along_keys(evaluate: Callable[[Array], Array], n: Array) -> Array:
    """Return ``evaluate(n)`` (N, S) for ``n`` (N,), interpolated in ``ln n`` for large N."""
    if n.size <= _DIRECT:
        return evaluate(n)
    log_n = np.log(n)
    low, high = log_n.min(), max(log_n.max(), log_n.min() + 1e-9)
    count = max(int(np.ceil((high - low) / _SEGMENT)), 1)
    width = (high - low) / count
    nodes = np.polynomial.chebyshev.chebpts1(_DEGREE)
    middles = low + width * (np.arange(count) + 0.5)
    values = evaluate(np.exp(middles[:, None] + nodes * width / 2).ravel())
    coefficients = np.linalg.solve(
        np.polynomial.chebyshev.chebvander(nodes, _DEGREE - 1), values.reshape(count, _DEGREE, -1)
    )
    segment = np.minimum(((log_n - low) / width).astype(int), count - 1)
    result = np.empty((n.size, values.shape[-1]))
    for s in range(count):
        mine = np.flatnonzero(segment == s)
        x = (log_n[mine] - middles[s]) / (width / 2)
        result[mine] = np.polynomial.chebyshev.chebvander(x, _DEGREE - 1) @ coefficients[s]
    return result


def gaussian_mean(formula: sp.Expr, arguments: tuple[sp.Basic, ...]) -> Numeric:
    """Return a compiler's twin of one integral over a Gaussian ``z``, by the trapezoidal rule."""
    (integral,) = formula.atoms(sp.Integral)
    value = sp.Dummy("value")
    outer = compile_plain(formula.xreplace({integral: value}), (value, *arguments))
    inside = compile_plain(integral.function, (Z, *arguments))
    z = np.linspace(-12.0, 12.0, 961)

    def numeric(*values: Any) -> Any:
        arrays = [np.asarray(v, dtype=float)[..., None] for v in values]
        total = np.asarray(inside(z, *arrays)).sum(-1) * (z[1] - z[0])
        return outer(total, *(a[..., 0] for a in arrays))

    return numeric
