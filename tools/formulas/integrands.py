"""``theory/integrands.py``: what predictions integrate over the line of ``ln t``.

The variables are ``t = e^u``, a key's weight ``y = e^s`` and the null key's weight ``B = e^ℓ``:
exponentials that are needed anyway.
"""

import sympy as sp

from ropeleak.theory.theorems import load
from ropeleak.theory.theorems.denominator import MISSING, deficit, logit, n, sigma, t, u, y
from ropeleak.theory.theorems.gaussian import Z
from ropeleak.theory.theorems.key_share import FIRST, first, own_std
from ropeleak.theory.theorems.null_key import constant as null
from ropeleak.theory.theorems.numeric import stable
from ropeleak.theory.theorems.participation import SECOND, second

from . import printing
from .printing import File

MEANS = {
    "deficit": (deficit(u), MISSING),
    "first": (first(u), FIRST),
    "second": (second(u), SECOND),
}
"""The functions of ``u`` that are means over the scores of one key, and what they are means of."""
CLAIMS = (
    "null-key-denominator", "null-key-row-sum", "null-key-row-sum-square", "null-key-participation",
    "key-share",
)  # fmt: skip

NOTES = """
A mean over the scores of a row of ``n`` keys, beside a null key of weight ``null``, is
``outside + ∫ (alone + of_keys · of_null) dt/t``; every theorem has these four. ``deficit``,
``first`` and ``second`` are themselves means over the weight ``y = e^s`` of one key.
""".strip()

BEFORE = '''
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Parts(NamedTuple):
    """What a mean is made of; the factors of the product depend on keys and null key apart."""

    outside: float
    alone: Array | float
    of_keys: Array
    of_null: Array | float
'''


def exponentials(expression: sp.Expr) -> sp.Expr:
    """Return an expression of ``u``, ``σz`` and ``ℓ`` in terms of their exponentials."""
    apart = expression.expand(power_exp=True, power_base=False, mul=False, multinomial=False)
    named = {sp.exp(u): t, sp.exp(sigma * Z): y, sp.exp(own_std * Z): y, sp.exp(logit): null}
    found = apart.subs(named)
    if found.has(u, sigma, own_std, Z, logit):
        raise SystemExit(f"{expression} is not a function of e^u, e^(σz) and e^ℓ")
    return found


def parts(claim: sp.Expr) -> tuple[sp.Expr, ...]:
    """Return ``outside, alone, of_keys, of_null`` of a claim that is linear in one integral."""
    (integral,) = claim.atoms(sp.Integral)
    value = sp.Dummy("value")
    linear = claim.xreplace({integral: value})
    outside, scale = linear.subs(value, 0), linear.diff(value)
    names = {function: sp.Symbol(name) for name, (function, _) in MEANS.items()}
    integrand = exponentials(scale * integral.function.xreplace(names))
    alone, product = integrand.as_independent(n, as_Add=True)
    of_keys, of_null = product.as_independent(null, as_Add=False)
    if alone.has(null) or of_null.has(n):
        raise SystemExit(f"{integrand} does not part into factors of the keys and of the null key")
    return outside, alone, of_keys, of_null


def code(expression: sp.Expr) -> str:
    """Return an expression as NumPy code that does not cancel."""
    return printing.code(stable(expression).subs(null, sp.Symbol("null")))


def mean(name: str) -> str:
    """Return the function that a mean over scores is the mean of."""
    return (
        f"def of_{name}(t: Array, y: Array) -> Array:\n"
        f'    """Return what ``{name}`` is the mean of."""\n'
        f"    return {code(exponentials(MEANS[name][1]))}\n"
    )


def claim(name: str) -> str:
    """Return the function that gives the parts of a theorem's claim."""
    formula = load(name).formula
    found = parts(formula)
    means = [mean for mean in MEANS if any(part.has(sp.Symbol(mean)) for part in found)]
    given = ["t", "n", *(["null"] if formula.has(logit) else []), *means]
    arguments = ", ".join(f"{argument}: Array" for argument in given)
    rows = zip(("outside", "alone", "of_keys", "of_null"), map(code, found), strict=True)
    values = "".join(f"{part}={value}," for part, value in rows)
    return printing.function(name, arguments, "Parts", f"Parts({values})")


FILE = File(
    "integrands", "Integrands of the softmax theorems", NOTES, BEFORE,
    lambda: (*map(mean, MEANS), *map(claim, CLAIMS)),
)  # fmt: skip
