"""How many keys a query reads: the participation ratio, and its tie to the denominator."""

from functools import cache

import sympy as sp

from .denominator import (
    DEFICIT,
    INDEPENDENT,
    KEYS,
    LAPLACE,
    MISSING,
    SCORE_STD,
    SCORES,
    TONELLI,
    deficit,
    log_moment,
    n,
    phi,
    sigma,
    t,
    total,
    u,
)
from .gaussian import Z, mean_over_normal
from .gaussian_line import gaussian_line
from .steps import Cited, Definition, Identity, Series, Substitution
from .theorem import Domain, Theorem

second = sp.Function("psi", nonnegative=True)
SECOND = sp.exp(2 * (u + sigma * Z) - sp.exp(u + sigma * Z))
"""What `second` is the mean of."""
SQUARED = Identity(
    "The power of $t$ goes into the mean, which is then bounded:",
    sp.exp(2 * u) * sp.exp(2 * sigma * Z) * sp.exp(-sp.exp(u) * sp.exp(sigma * Z)), SECOND,
)  # fmt: skip
WITH_SQUARE = Definition("With", second(u), mean_over_normal(SECOND))
FEWER_KEPT = sp.exp((n - 1) * sp.log(1 - deficit(u)))
"""``φ^(n-1)`` in terms of `deficit`."""


@cache
def participation_ratio() -> Theorem:
    """``E Σ_j a_j²`` by one integral, for every number of keys."""
    curvature = sp.Function("chi", nonnegative=True)
    return Theorem(
        name="participation-ratio",
        title="The participation ratio",
        statement="The mean sum of squared weights, the chance that two draws from a row hit the"
        " same key, is one integral for every number of keys.",
        hypotheses=SCORES,
        symbols=(KEYS, SCORE_STD),
        steps=(
            LAPLACE,
            Identity("The inverse square of the denominator is an integral,",
                     sp.Integral(t * sp.exp(-t * total), (t, 0, sp.oo)), 1 / total**2),
            TONELLI,
            INDEPENDENT,
            Identity("The squared weight of a key comes from two derivatives of its transform,",
                     sp.Derivative(sp.exp(-t * sp.exp(sigma * Z)), (t, 2)),
                     sp.exp(2 * sigma * Z) * sp.exp(-t * sp.exp(sigma * Z))),
            Identity("Without spread of the scores this gives uniform attention:",
                     n * sp.Integral(t * sp.exp(-t) * sp.exp(-t) ** (n - 1), (t, 0, sp.oo)), 1 / n),
            Substitution(r"With $\chi$ the mean of that derivative, the integral over all keys"
                         r" becomes, on a logarithmic scale,",
                         sp.Integral(t * curvature(t) * phi(t) ** (n - 1), (t, 0, sp.oo)),
                         sp.Integral(sp.exp(2 * u) * curvature(sp.exp(u))
                                     * phi(sp.exp(u)) ** (n - 1), (u, -sp.oo, sp.oo)),
                         old=sp.exp(u)),
            SQUARED,
            WITH_SQUARE,
            DEFICIT,
            Identity("and the participation ratio is",
                     n * sp.Integral(second(u) * (1 - deficit(u)) ** (n - 1), (u, -sp.oo, sp.oo)),
                     n * sp.Integral(second(u) * FEWER_KEPT, (u, -sp.oo, sp.oo)), by="powers"),
        ),
        quantity=r"\mathbb{E}\sum_j a_j^2",
        arguments=(n, sigma),
        compiler=gaussian_line(u, {deficit(u): MISSING, second(u): SECOND}),
    )  # fmt: skip


@cache
def participation_series() -> Theorem:
    """The participation ratio for many keys."""
    c, h = sp.symbols("c h", positive=True)
    k = sp.Symbol("k", integer=True, positive=True)
    a, b, x = sp.symbols("alpha beta x", real=True)
    cov, var = c**3 - c, c - 1
    return Theorem(
        name="participation-series",
        title="The participation ratio for many keys",
        statement=r"A row over many keys reads about $n e^{-\sigma^2}$ of them; the correction in"
        r" $1/n$ lowers the ratio.",
        hypotheses=SCORES,
        symbols=(KEYS, SCORE_STD, Domain(c, r"$e^{\sigma^2}$", "from 1"),
                 Domain(h, "$1/n$", "positive")),
        steps=(
            log_moment(k),
            Identity("so the $k$-th moment of a weight over its mean is $c^{k(k-1)/2}$:",
                     sp.exp(k**2 * sigma**2 / 2) / sp.exp(sigma**2 / 2) ** k,
                     sp.exp(sigma**2) ** (k * (k - 1) / 2), by="exponents"),
            Series(r"Let the mean squared weight be $c+\alpha$ and the mean weight $1+\beta$; $x$"
                   r" counts their powers. Then",
                   (c + x * a) / (1 + x * b) ** 2,
                   c + x * (a - 2 * b * c) + x**2 * (3 * c * b**2 - 2 * a * b),
                   variable=x, power=3, by="expand"),
            Identity("Averages over $n$ keys have covariances smaller by $n$; in mean the second"
                     " order leaves",
                     h * (3 * c * var - 2 * cov), -h * c * (c - 1) * (2 * c - 1)),
            Identity("Over $n$ keys the ratio is the $n$-th part,",
                     (c - c * (c - 1) * (2 * c - 1) / n).subs(c, sp.exp(sigma**2)) / n,
                     sp.exp(sigma**2) / n * (1 - (sp.exp(sigma**2) - 1)
                                             * (2 * sp.exp(sigma**2) - 1) / n)),
        ),
        quantity=r"\mathbb{E}\sum_j a_j^2",
        relation=r"\approx",
        arguments=(n, sigma),
        validity=r"An asymptotic series, within one part in a hundred for $n$ above"
        r" $100+5e^{3\sigma^2}$; Theorem participation-ratio holds everywhere.",
    )  # fmt: skip


@cache
def denominator_heat() -> Theorem:
    """The denominator grows with the variance of the scores by what participation leaves."""
    s, rest = sp.Symbol("s", real=True), sp.Symbol("R", positive=True)
    v = sp.Symbol("v", positive=True)
    density = sp.exp(-(s**2) / (2 * v)) / sp.sqrt(2 * sp.pi * v)
    weight = sp.exp(s) / (sp.exp(s) + rest)
    a = sp.IndexedBase("a", real=True)
    j = sp.Symbol("j", integer=True, nonnegative=True)
    count = sp.Symbol("n", integer=True, positive=True)
    return Theorem(
        name="denominator-heat",
        title="Denominator and participation are one quantity",
        statement=r"As the variance $v$ of the scores grows, the mean log denominator grows by half"
        r" of what the participation ratio leaves to one. It starts from $\ln n$.",
        hypotheses=("independent Gaussian scores of variance $v$",),
        symbols=(Domain(v, "the variance of a score", "positive"),
                 Domain(a[j], "the weight of a key", "0 to 1"),
                 Domain(count, "the number of keys", "from 1")),
        steps=(
            Identity("The Gaussian density obeys the heat equation,",
                     sp.Derivative(density, v), sp.Derivative(density, (s, 2)) / 2),
            Cited("so the mean of a smooth function of the scores grows with $v$ by half the mean"
                  " of its Laplacian (boundary terms vanish).", "integration by parts, twice"),
            Identity("The log denominator has the weight as its slope in a score,",
                     sp.Derivative(sp.log(sp.exp(s) + rest), s), weight),
            Identity("and a curvature $a-a^2$.",
                     sp.Derivative(sp.log(sp.exp(s) + rest), (s, 2)), weight - weight**2),
            Identity("At variance 0 all scores are equal:",
                     sp.log(sp.Sum(sp.exp(0), (j, 0, count - 1))), sp.log(count)),
            Identity("Summed over keys, the growth of the mean log denominator is the mean of what"
                     " follows; weights sum to 1, their squares to the participation ratio.",
                     sp.Sum(a[j] - a[j] ** 2, (j, 0, count - 1)) / 2,
                     sp.Sum(a[j], (j, 0, count - 1)) / 2 - sp.Sum(a[j] ** 2, (j, 0, count - 1)) / 2,
                     by="sums"),
        ),
        quantity=r"\tfrac12\sum_j\partial_{s_j}^2\ln Z",
        arguments=(a,),
    )  # fmt: skip


@cache
def attention_entropy() -> Theorem:
    """The entropy of attention: the denominator less what the scores of the chosen keys add."""
    s, rest = sp.Symbol("s", real=True), sp.Symbol("R", positive=True)
    v, ratio = sp.symbols("v P", positive=True)
    log_z = sp.Symbol("Lambda", real=True)
    density = sp.exp(-(s**2) / (2 * v)) / sp.sqrt(2 * sp.pi * v)
    weight = sp.exp(s) / (sp.exp(s) + rest)
    return Theorem(
        name="attention-entropy",
        title="The entropy of attention",
        statement=r"The entropy of a row is the mean log denominator $\Lambda$ less the variance"
        r" $v$ of a score times what the participation ratio $P$ leaves to one. It is $\ln n$ for"
        r" equal scores.",
        hypotheses=("independent Gaussian scores of variance $v$",),
        symbols=(Domain(log_z, r"the mean log denominator, $E\ln Z$", "real"),
                 Domain(v, "the variance of a score", "positive"),
                 Domain(ratio, "the participation ratio", "0 to 1")),
        steps=(
            Identity("A key's surprise is the log denominator less its score,",
                     -sp.log(weight), sp.log(sp.exp(s) + rest) - s, by="exponents"),
            Cited("so the entropy is the mean log denominator less the mean of $a\\,s$, summed over"
                  " keys.", "weights sum to one"),
            Identity("The Gaussian density turns a factor $s$ into a derivative,",
                     s * density, -v * sp.Derivative(density, s)),
            Cited("so that the mean of $a\\,s$ is $v$ times the mean slope of the weight in its own"
                  " score (boundary terms vanish).", "integration by parts"),
            Identity("That slope is", sp.Derivative(weight, s), weight - weight**2),
            Identity("Weights sum to one and their squares to the participation ratio, which"
                     " leaves", log_z - (v - v * ratio), log_z - v * (1 - ratio)),
        ),
        quantity=r"-\mathbb{E}\sum_j a_j\ln a_j",
        arguments=(log_z, v, ratio),
    )  # fmt: skip
