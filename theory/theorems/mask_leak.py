"""What the causal mask alone tells of absolute position, in nats."""

from functools import cache

import sympy as sp

from .denominator import DEFICIT, KEPT, KEYS, MISSING, SCORE_STD, SCORES, deficit, n, sigma, u
from .gaussian_line import gaussian_line
from .steps import Antiderivative, Cited, Identity
from .theorem import Domain, Theorem

i, w = (sp.Symbol(name, integer=True, positive=True) for name in ("i", "w"))


@cache
def mask_gradient() -> Theorem:
    """The derivative of ``E ln a`` in absolute position at a fixed offset."""
    integrand = sp.exp(-sp.exp(u)) - (1 - deficit(u)) ** n
    return Theorem(
        name="mask-gradient",
        title="The mask leak in closed form",
        statement="At a fixed offset the mean log attention weight of full causal attention falls"
        " with the query's absolute position, by the following derivative. It depends on nothing"
        " but the number of keys and the spread of the scores, and is near $-1/n$.",
        hypotheses=(*SCORES, "the mean score depends on the offset alone",
                    "each token more is one key more"),
        symbols=(KEYS, SCORE_STD),
        steps=(
            DEFICIT,
            Identity(r"The log weight is the score less $\ln Z$. Of its mean (Theorem"
                     r" log-denominator) only the second part knows $n$; under the integral,",
                     -sp.Derivative(integrand, n), sp.log(1 - deficit(u)) * (1 - deficit(u)) ** n),
            Identity("From one query to the next, the change is exactly",
                     (1 - deficit(u)) ** n - (1 - deficit(u)) ** (n + 1),
                     deficit(u) * (1 - deficit(u)) ** n),
            Identity(r"Without spread, $\varphi=e^{-t}$ with $t=e^u$, and the derivative is that of"
                     r" $-\ln n$:",
                     sp.Integral(-sp.exp(u) * sp.exp(-n * sp.exp(u)), (u, -sp.oo, sp.oo)),
                     -1 / n),
            Identity("In general it is",
                     sp.Integral((1 - deficit(u)) ** n * sp.log(1 - deficit(u)),
                                 (u, -sp.oo, sp.oo)),
                     sp.Integral(KEPT * sp.log(1 - deficit(u)), (u, -sp.oo, sp.oo)), by="powers"),
        ),
        quantity=r"\partial_n\,\mathbb{E}\ln a",
        arguments=(n, sigma),
        compiler=gaussian_line(u, {deficit(u): MISSING}),
    )  # fmt: skip


@cache
def mask_gradient_series() -> Theorem:
    """The mask gradient for many keys."""
    c = sp.exp(sigma**2)
    series = sp.log(n) + sigma**2 / 2 - (c - 1) / (2 * n)
    return Theorem(
        name="mask-gradient-series",
        title="The mask leak for many keys",
        statement="Far from the start, the mean log weight falls by $1/n$ for each token, and by"
        " somewhat more where scores are spread.",
        hypotheses=(*SCORES, "$n$ well above $e^{2\\sigma^2}$"),
        symbols=(KEYS, SCORE_STD),
        steps=(
            Identity("From the series of Theorem log-denominator-series,",
                     -sp.Derivative(series, n), -1 / n - (sp.exp(sigma**2) - 1) / (2 * n**2)),
        ),
        quantity=r"\partial_n\,\mathbb{E}\ln a",
        relation=r"\approx",
        arguments=(n, sigma),
        validity="The next term is of order $1/n^3$.",
    )  # fmt: skip


@cache
def window_keys() -> Theorem:
    """Under a window the number of keys, and with it the mask leak, saturates."""
    beyond = sp.Symbol("e", integer=True, nonnegative=True)
    return Theorem(
        name="window-keys",
        title="A window stops the mask leak",
        statement=r"Under a window of $w$ keys the query at $i$ sees $\min(i+1,w)$ keys. From"
        r" position $w-1$ on the number is constant, and nothing of the denominator's law depends"
        r" on absolute position.",
        hypotheses=("the window counts the query's own token",),
        symbols=(Domain(i, "the query's position", "from 0"), Domain(w, "the window", "from 1")),
        steps=(
            Identity("Beyond the window the minimum is the window:",
                     sp.Min(w + beyond, w, evaluate=False), w),
            Identity("The keys are those from $\\max(i+1-w,0)$ to $i$; there are",
                     i + 1 - sp.Max(i + 1 - w, 0), sp.Min(i + 1, w), by="minmax"),
        ),
        quantity=r"n_i",
        arguments=(i, w),
    )  # fmt: skip


@cache
def mask_leak_constant() -> Theorem:
    """The mask leak of full causal attention at ``σ = 0`` for long texts: a constant."""
    x, v = sp.symbols("x v", positive=True)
    log = sp.log(x)
    variance = 1 - x * log**2 / (1 - x) ** 2
    primitive = (
        x - x**2 / 2 + sp.log(1 - x) * log**2 + 2 * log * sp.polylog(2, x) - 2 * sp.polylog(3, x)
        + x * log**2 - 2 * x * log + 2 * x
    )  # fmt: skip
    half = sp.S.Half
    landen = sp.Rational(7, 8) * sp.zeta(3) - sp.pi**2 * sp.log(2) / 12 + sp.log(2) ** 3 / 6
    third = sp.Symbol("Li_3", positive=True)
    value = sp.Rational(8, 3) * primitive.subs(x, half).subs(sp.polylog(3, half), third)
    return Theorem(
        name="mask-leak-constant",
        title="The mask leak is scale-free",
        statement=r"In a long text under full causal attention and small scores, the mask leak (the"
        r" variance of $\ln n$ at equal offsets, averaged over the band of offsets up to half the"
        r" context) tends to a constant, about a quarter of a square nat: the root mean square leak"
        r" is half a nat at any length.",
        hypotheses=("$\\sigma\\to0$, so that $\\ln Z_i=\\ln(i+1)$",
                    "offsets and positions in units of the context are continuous",
                    "every entry of the band weighs the same"),
        symbols=(Domain(x, "an offset over the context", "0 to 1/2"),),
        steps=(
            Identity("At offset $x$ the query's position is uniform on $[x,1]$. Its logarithm has",
                     sp.Integral(sp.log(v), (v, x, 1)), x - 1 - x * log),
            Identity("and", sp.Integral(sp.log(v) ** 2, (v, x, 1)),
                     2 - 2 * x + 2 * x * log - x * log**2),
            Identity("so its variance is",
                     (2 - 2 * x + 2 * x * log - x * log**2) / (1 - x)
                     - ((x - 1 - x * log) / (1 - x)) ** 2, variance),
            Identity("An offset has $1-x$ of the entries; the band has, in all,",
                     sp.Integral(1 - x, (x, 0, half)), sp.Rational(3, 8)),
            Antiderivative("The leak integrates to polylogarithms:",
                           sp.Integral((1 - x) * variance, (x, 0, half)),
                           primitive.subs(x, half), primitive=primitive, by="polylogarithms"),
            Cited(r"The trilogarithm at one half, $\mathrm{Li}_3$, is"
                  r" $\tfrac{7}{8}\zeta(3)-\tfrac{\pi^2}{12}\ln2+\tfrac{1}{6}\ln^3 2$.",
                  "Landen, 1780"),
            Identity("With it, the mean over the band is", value.subs(third, landen),
                     sp.Rational(11, 3) + sp.Rational(8, 3) * sp.log(2)
                     + sp.Rational(4, 3) * sp.log(2) ** 2 - sp.Rational(8, 9) * sp.log(2) ** 3
                     - sp.Rational(14, 3) * sp.zeta(3), by="expand"),
        ),
        quantity=r"\lim_{T\to\infty}\text{mask leak}^2",
        arguments=(),
        validity="At finite context the constant is approached from below: 0.2303 at 96 tokens,"
        " 0.2495 at 4096.",
    )  # fmt: skip
