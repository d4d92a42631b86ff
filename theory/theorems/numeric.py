"""Numeric twins: functions of NumPy arrays, compiled from the formula of a theorem.

Indexed symbols such as ``theta[k]`` stand for the last axis of an array; a sum over ``k`` is then a
sum over that axis. A sum over an index without an array is a loop with positive whole limits.
"""

from collections.abc import Callable
from math import comb
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from scipy import special
from sympy.codegen.rewriting import expm1_opt, log1p_opt, optimize

from .functions import NUMERIC

Array = NDArray[np.float64]
Numeric = Callable[..., Any]


def _sine_and_cosine_integral(which: int) -> Callable[[Any], Any]:
    return lambda x: special.sici(x)[which]


MODULES: list[Any] = [
    {
        "Ci": _sine_and_cosine_integral(1),
        "Si": _sine_and_cosine_integral(0),
        "harmonic": lambda n: special.digamma(np.asarray(n) + 1.0) + np.euler_gamma,
        "zeta": lambda s, a=1.0: special.zeta(s, a),
        "polygamma": special.polygamma,
        "binomial": special.binom,
        **NUMERIC,
    },
    "scipy",
    "numpy",
]


def stable(expression: sp.Basic) -> sp.Basic:
    """Return an expression with ``log(1 + x)`` and ``exp(x) - 1`` as functions of their own."""
    if isinstance(expression, sp.Tuple):
        return sp.Tuple(*map(stable, expression))
    if isinstance(expression, sp.MatrixBase):
        return expression.applyfunc(stable)
    return optimize(expression, (expm1_opt, log1p_opt))


def compile_plain(expression: sp.Expr, arguments: tuple[sp.Basic, ...]) -> Numeric:
    """Return ``expression`` as a function of arrays; no sums, no integrals."""
    return sp.lambdify(arguments, stable(expression), modules=MODULES, cse=True)  # type: ignore[no-any-return]


def closed_form(expression: sp.Expr, arguments: tuple[sp.Basic, ...]) -> Numeric:
    """Return an expression with sums as a function of arrays.

    Parameters
    ----------
    expression
        Any closed form; its sums must not be nested.
    arguments
        Symbols, and ``IndexedBase`` for what is indexed by the variable of a sum or a number.
    """
    sums = sorted(expression.atoms(sp.Sum), key=sp.default_sort_key)
    stand_ins = [sp.Dummy(f"sum{n}") for n in range(len(sums))]
    parts = [_compile_sum(part, arguments) for part in sums]
    rest = expression.xreplace(dict(zip(sums, stand_ins, strict=True)))
    entries = sorted(rest.atoms(sp.Indexed), key=sp.default_sort_key)
    names = [sp.Dummy(str(entry)) for entry in entries]
    outer = compile_plain(
        rest.xreplace(dict(zip(entries, names, strict=True))), (*arguments, *stand_ins, *names)
    )
    places = [(arguments.index(entry.base), int(entry.indices[0])) for entry in entries]

    def numeric(*values: Any) -> Any:
        arrays = [np.asarray(value, dtype=float) for value in values]
        single = (arrays[base][..., at] for base, at in places)
        return outer(*arrays, *(part(*arrays) for part in parts), *single)

    return numeric


def _compile_sum(total: sp.Sum, arguments: tuple[sp.Basic, ...]) -> Numeric:
    index, first, _ = total.limits[0]
    indexed = sorted(total.function.atoms(sp.Indexed), key=sp.default_sort_key)
    along = [entry for entry in indexed if entry.has(index)]
    if not along:
        return _compile_loop(total, arguments)
    entries = [sp.Dummy(str(entry.base)) for entry in along]
    summand = compile_plain(
        total.function.xreplace(dict(zip(along, entries, strict=True))),
        (index, *arguments, *entries),
    )
    bases = [arguments.index(entry.base) for entry in along]
    scalars = [not isinstance(argument, sp.IndexedBase) for argument in arguments]
    begin = int(first)

    def numeric(*values: Array) -> Any:
        at = np.arange(begin, values[bases[0]].shape[-1])
        spread = [v[..., None] if scalar else v for v, scalar in zip(values, scalars, strict=True)]
        terms = summand(at, *spread, *(values[b][..., begin:] for b in bases))
        return np.asarray(terms).sum(-1)

    return numeric


def _compile_loop(total: sp.Sum, arguments: tuple[sp.Basic, ...]) -> Numeric:
    index, first, last = total.limits[0]
    summand = compile_plain(total.function, (index, *arguments))
    ends = compile_plain(sp.Tuple(first, last), arguments)

    def numeric(*values: Array) -> Any:
        begin, end = (int(np.max(x)) for x in ends(*values))
        result: Any = 0.0
        for at in range(begin, end + 1):
            result = result + summand(at, *values)
        return result

    return numeric


def taylor_coefficients(variable: sp.Symbol) -> Callable[[sp.Expr, tuple[sp.Basic, ...]], Numeric]:
    """Return a compiler for the Taylor coefficients of a generating function.

    The twin takes a count and the arguments, and returns the coefficients of ``variable`` from the
    power 0 on along a last axis: those of the exponential of the logarithm's Taylor series. Where
    the logarithm has positive coefficients nothing cancels.
    """

    def compiler(formula: sp.Expr, arguments: tuple[sp.Basic, ...]) -> Numeric:
        value = compile_plain(sp.gammasimp(formula.subs(variable, 0)), arguments)
        slopes = [sp.expand(sp.expand_log(sp.log(formula), force=True).diff(variable))]
        compiled: list[Numeric] = []

        def log_coefficient(k: int) -> Numeric:
            """Return ``k`` times the coefficient ``k`` of the logarithm."""
            while len(compiled) < k:
                at = len(compiled)
                if at:
                    slopes.append(sp.expand(slopes[-1].diff(variable)))
                term = slopes[at].subs(variable, 0) / sp.factorial(at)
                compiled.append(compile_plain(term, arguments))
            return compiled[k - 1]

        def numeric(count: int, *values: Any) -> Array:
            arrays = np.broadcast_arrays(*(np.asarray(v, dtype=float) for v in values))
            found: list[Array] = [np.ones(arrays[0].shape)]
            powers = [np.asarray(log_coefficient(k)(*arrays)) for k in range(1, count)]
            for m in range(1, count):
                total = sum(powers[k] * found[m - 1 - k] for k in range(m))
                found.append(np.asarray(total / m))
            return np.asarray(np.stack(found, axis=-1) * np.asarray(value(*arrays))[..., None])

        return numeric

    return compiler


def exact_sum(expression: sp.Expr, arguments: tuple[sp.Basic, ...]) -> Numeric:
    """Return a sum over whole numbers as a function that keeps exact rational numbers exact.

    Indexed symbols stand for sequences.
    """
    scalars = [a.label if isinstance(a, sp.IndexedBase) else a for a in arguments]
    (total,) = expression.atoms(sp.Sum)
    index, first, last = total.limits[0]
    exact = [{"binomial": comb}, "math"]
    entries = sorted(total.function.atoms(sp.Indexed), key=sp.default_sort_key)
    at = [sp.lambdify((index, *scalars), entry.indices[0], modules=exact) for entry in entries]
    stand_ins = [sp.Dummy(str(entry.base)) for entry in entries]
    plain = total.function.xreplace(dict(zip(entries, stand_ins, strict=True)))
    summand = sp.lambdify((index, *scalars, *stand_ins), plain, modules=exact)
    outside = sp.lambdify(scalars, expression / total, modules=exact)
    ends = sp.lambdify(scalars, (first, last), modules=exact)
    bases = [arguments.index(entry.base) for entry in entries]

    def numeric(*values: Any) -> Any:
        begin, end = ends(*values)
        terms = (
            summand(
                k,
                *values,
                *(values[b][place(k, *values)] for b, place in zip(bases, at, strict=True)),
            )
            for k in range(begin, end + 1)
        )
        return sum(terms) * outside(*values)

    return numeric
