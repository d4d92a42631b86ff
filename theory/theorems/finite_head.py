"""Scores of a finite head: a chi-square mixture, because a query's norm varies."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from .denominator import KEYS, n
from .gaussian import GaussianMean
from .numeric import Numeric, compile_plain
from .steps import Cited, Definition, Identity, Substitution
from .theorem import Domain, Theorem

d = sp.Symbol("d_h", positive=True)
w, k = sp.symbols("w k", positive=True)
v = sp.Symbol("v", real=True)
spread = sp.Symbol("sigma", positive=True)
density = (d / 2) ** (d / 2) / sp.gamma(d / 2) * w ** (d / 2 - 1) * sp.exp(-d * w / 2)
q1, q2, k1, k2 = sp.symbols("q_1 q_2 k_1 k_2", real=True)

HEAD = Domain(d, "the head size", "from 1")
NORM = Domain(w, "the query's squared norm over its mean", "positive")
MIXTURE = ("query and keys are independent isotropic Gaussians in $d_h$ dimensions",)
NORM_OF_QUERY = Identity(
    "Given the query, a key's score is Gaussian with the query's squared norm for its variance:"
    " each pair of entries adds", GaussianMean((q1 * k1 + q2 * k2) ** 2,
                                                {(k1, k1): sp.S.One, (k2, k2): sp.S.One}),
    q1**2 + q2**2,
)  # fmt: skip

_LOG_STEP = 0.05
_TAIL = 46.0
"""The exponent of the density where the line starts."""
_NEGLIGIBLE = 1e-18


def chi_square_mixture(family: str) -> Callable[[sp.Expr, tuple[sp.Basic, ...]], Numeric]:
    """Return a compiler for the mean of a theorem's twin over the query's norm.

    The theorem ``family`` takes numbers of keys and a standard deviation. The integral is a
    trapezoidal sum over the logarithm of the squared norm, on which everything is analytic.
    """

    def compiler(formula: sp.Expr, arguments: tuple[sp.Basic, ...]) -> Numeric:
        (integral,) = formula.atoms(sp.Integral)
        (law,) = integral.function.atoms(sp.Function("L"))
        weight = compile_plain(sp.log(integral.function / law), (v, d))

        def numeric(keys: Any, sigma: Any, size: Any) -> Any:
            from . import load

            sizes = np.asarray(size, dtype=float)[..., None]
            low = -2 * _TAIL / sizes.min() - 4 / np.sqrt(sizes.min())
            at = np.arange(low, 5.0, _LOG_STEP / np.sqrt(1 + sizes.max() / 32))
            share = np.exp(weight(at, sizes)) * (at[1] - at[0])
            some = share.reshape(-1, at.size).max(0) > _NEGLIGIBLE
            share, at = share[..., some], at[some]
            keys, sigma = (np.asarray(x, dtype=float)[..., None] for x in (keys, sigma))
            return (share * load(family)(keys, sigma * np.exp(at / 2))).sum(-1)

        return numeric

    return compiler


@cache
def finite_head() -> Theorem:
    """Moments of scores at finite head size."""
    moment = (2 / d) ** k * sp.gamma(d / 2 + k) / sp.gamma(d / 2)
    tilt = sp.Symbol("r", positive=True)  # d/2 - σ²/2
    return Theorem(
        name="finite-head",
        title="Scores of a finite head",
        statement=r"Given the query, scores are Gaussian with variance $\sigma^2 w$, where"
        r" $w=|q|^2/d_h$ follows $\chi^2_{d_h}/d_h$: a mixture, with heavier tails than a Gaussian."
        r" The mean denominator is finite only for $\sigma^2<d_h$.",
        hypotheses=MIXTURE,
        symbols=(KEYS, HEAD, Domain(spread, "the standard deviation of a score",
                                    r"below $\sqrt{d_h}$"), NORM),
        steps=(
            NORM_OF_QUERY,
            Identity("The density of $w$ has the moments",
                     sp.Integral(density * w**k, (w, 0, sp.oo)), moment, by="exponents"),
            Identity("of which the first is 1:", moment.subs(k, 1), sp.S.One, by="gamma"),
            Identity("and the second gives the scores a kurtosis of 3 times",
                     moment.subs(k, 2), 1 + 2 / d, by="gamma"),
            Definition(r"A key's mean weight given $w$ is $e^{\sigma^2 w/2}$. With", tilt,
                       (d - spread**2) / 2),
            Identity("its mean over $w$ is",
                     sp.Integral((d / 2) ** (d / 2) / sp.gamma(d / 2) * w ** (d / 2 - 1)
                                 * sp.exp(-tilt * w), (w, 0, sp.oo)),
                     (d / 2) ** (d / 2) * tilt ** (-d / 2), by="exponents"),
            Identity("so that the mean denominator is",
                     n * ((d - spread**2) / d) ** (-d / 2), n * (1 - spread**2 / d) ** (-d / 2)),
        ),
        quantity=r"\mathbb{E}Z_n",
        arguments=(n, spread, d),
    )  # fmt: skip


def _mixture(
    name: str, family: str, title: str, statement: str, quantity: str, words: str
) -> Theorem:
    law = sp.Function("L")
    on_line = sp.exp(v) * density.subs(w, sp.exp(v)) * law(spread * sp.exp(v / 2))
    return Theorem(
        name=name,
        title=title,
        statement=statement,
        hypotheses=MIXTURE,
        symbols=(KEYS, HEAD, Domain(spread, "the standard deviation of a score", "from 0"), NORM,
                 Domain(law(spread), words, "a function")),
        steps=(
            NORM_OF_QUERY,
            Cited("The query's norm is the same for all keys of its row. Given the norm, scores"
                  f" are independent and Theorem {family} holds with deviation"
                  r" $\sigma\sqrt w$; the mean over the norm is the mean over $w$.",
                  "the law of total expectation"),
            Identity("whose density, that of a chi-square variable over $d_h$, is normalised:",
                     sp.Integral(density, (w, 0, sp.oo)), sp.S.One, by="exponents"),
            Substitution("On a logarithmic scale, with $w=e^v$, it is",
                         sp.Integral(density * law(spread * sp.sqrt(w)), (w, 0, sp.oo)),
                         sp.Integral(on_line, (v, -sp.oo, sp.oo)), old=sp.exp(v), by="exponents"),
        ),
        quantity=quantity,
        arguments=(n, spread, d),
        compiler=chi_square_mixture(family),
    )  # fmt: skip


@cache
def finite_head_denominator() -> Theorem:
    """``E ln Z_n`` at finite head size."""
    return _mixture(
        "finite-head-denominator", "log-denominator", "The denominator of a finite head",
        "At a finite head size the mean log denominator is that of Theorem log-denominator,"
        " averaged over the query's norm. Scores spread more in some rows than in others.",
        r"\mathbb{E}\ln Z_n", r"$\mathbb{E}\ln Z_n$ at a given standard deviation",
    )  # fmt: skip


@cache
def finite_head_participation() -> Theorem:
    """The participation ratio at finite head size."""
    return _mixture(
        "finite-head-participation", "participation-ratio", "The participation of a finite head",
        "At a finite head size the participation ratio is that of Theorem participation-ratio,"
        " averaged over the query's norm.",
        r"\mathbb{E}\sum_j a_j^2", "the participation ratio at a given standard deviation",
    )  # fmt: skip
