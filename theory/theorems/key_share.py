"""Which keys draw attention before training: the mean weight of a key unlike the others."""

from functools import cache

import sympy as sp

from .denominator import (
    DEFICIT,
    KEYS,
    LAPLACE,
    MISSING,
    SCORE_STD,
    TONELLI,
    deficit,
    n,
    phi,
    sigma,
    t,
    total,
    u,
)
from .gaussian import GaussianMean, Z, mean_over_normal
from .gaussian_line import gaussian_line
from .participation import FEWER_KEPT
from .steps import Definition, Identity, Substitution
from .theorem import Domain, Theorem

own_std = sp.Symbol("tau", nonnegative=True)
first = sp.Function("xi", nonnegative=True)
FIRST = sp.exp(u + own_std * Z - sp.exp(u + own_std * Z))
"""What `first` is the mean of."""


@cache
def key_share() -> Theorem:
    """``E a_j`` of a key whose scores spread otherwise than those of the rest."""
    slope = sp.Function("eta", nonnegative=True)
    return Theorem(
        name="key-share",
        title="The mean weight of a key unlike the others",
        statement=r"Among $n-1$ keys of standard deviation $\sigma$, a key of standard deviation"
        r" $\tau$ has the mean weight below: more than $1/n$ if $\tau>\sigma$. Here a key's"
        r" deviation is what its score does not share with the row, so that a token which is"
        r" correlated less with the others draws more attention, before any training.",
        hypotheses=(r"scores are independent, one $N(0,\tau^2)$, the others $N(0,\sigma^2)$",),
        symbols=(KEYS, SCORE_STD,
                 Domain(own_std, "the standard deviation of the key's own score", "from 0")),
        steps=(
            LAPLACE,
            Identity("The inverse of the denominator is an integral,",
                     sp.Integral(sp.exp(-t * total), (t, 0, sp.oo)), 1 / total),
            TONELLI,
            Identity("and the weight of the key comes from one derivative of its own transform:",
                     -sp.Derivative(sp.exp(-t * sp.exp(own_std * Z)), t),
                     sp.exp(own_std * Z) * sp.exp(-t * sp.exp(own_std * Z))),
            Identity("Without any spread this gives uniform attention.",
                     sp.Integral(sp.exp(-t) * sp.exp(-t) ** (n - 1), (t, 0, sp.oo)), 1 / n),
            Substitution(r"With $\eta$ the mean of that derivative and the transforms of the"
                         r" others, on a logarithmic scale, the mean weight is",
                         sp.Integral(slope(t) * phi(t) ** (n - 1), (t, 0, sp.oo)),
                         sp.Integral(sp.exp(u) * slope(sp.exp(u)) * phi(sp.exp(u)) ** (n - 1),
                                     (u, -sp.oo, sp.oo)),
                         old=sp.exp(u)),
            Identity("The power of $t$ goes into the mean, which is then bounded:",
                     sp.exp(u) * sp.exp(own_std * Z) * sp.exp(-sp.exp(u) * sp.exp(own_std * Z)),
                     FIRST),
            Definition("With", first(u), mean_over_normal(FIRST)),
            DEFICIT,
            Identity("it is",
                     sp.Integral(first(u) * (1 - deficit(u)) ** (n - 1), (u, -sp.oo, sp.oo)),
                     sp.Integral(first(u) * FEWER_KEPT, (u, -sp.oo, sp.oo)), by="powers"),
        ),
        quantity=r"\mathbb{E}\,a_j",
        arguments=(n, sigma, own_std),
        compiler=gaussian_line(u, {deficit(u): MISSING, first(u): FIRST}, deviations=2),
    )  # fmt: skip


@cache
def key_weights() -> Theorem:
    """Mean attention weights to second order in the scores."""
    s, t, r = sp.symbols("s t r", real=True)
    rest = sp.Symbol("R", positive=True)
    own, mixed, mean_mixed, mean_own = sp.symbols("S_jj S_j S_.. S_d", real=True)
    a, b, e = (sp.exp(v) / (sp.exp(s) + sp.exp(t) + sp.exp(r) + rest) for v in (s, t, r))
    x, y, z = sp.symbols("x y z", real=True)
    size = sp.Symbol("n", positive=True)
    weight = 1 / size
    return Theorem(
        name="key-weights",
        title="Which keys draw attention before training",
        statement="To second order in the scores, the mean weight of key $j$ exceeds uniform"
        " attention by half its score's variance less its covariance with the row's mean score,"
        " relative to the row: a token that is less correlated with the others draws more. It is a"
        " sink that exists before training.",
        hypotheses=("centred scores", "small scores"),
        symbols=(Domain(size, "the number of keys", "from 1"),
                 Domain(own, "the variance of key $j$'s score", "from 0"),
                 Domain(mixed, "its covariance with the row's mean score", "real"),
                 Domain(mean_mixed, "the variance of the row's mean score", "from 0"),
                 Domain(mean_own, "the mean variance of the row's scores", "from 0")),
        steps=(
            Identity("The softmax weight $a_s$ has in two other scores the second derivative",
                     sp.Derivative(a, t, r), 2 * a * b * e),
            Identity("in its own and another,", sp.Derivative(a, s, t),
                     a * (1 - a) * (-b) + a * a * b),
            Identity("in another twice,", sp.Derivative(a, (t, 2)), a * (2 * b**2 - b)),
            Identity(r"and in its own twice: in all"
                     r" $a_s[(\delta_{sk}-a_k)(\delta_{sl}-a_l)-a_k(\delta_{kl}-a_l)]$.",
                     sp.Derivative(a, (s, 2)),
                     a * ((1 - a) ** 2 - a * (1 - a))),
            Identity("At equal scores all weights are $1/n$. Half the contraction with the"
                     " covariance of the scores compares the mean squared deviation $x$ of the key"
                     " from the row's mean $z$ with that of an average key, $y$:",
                     weight * (1 + GaussianMean((x - z) ** 2, {(x, x): own, (x, z): mixed,
                                                              (z, z): mean_mixed}) / 2
                               - GaussianMean((y - z) ** 2, {(y, y): mean_own, (y, z): mean_mixed,
                                                             (z, z): mean_mixed}) / 2),
                     weight * (1 + own / 2 - mixed + mean_mixed - mean_own / 2)),
        ),
        quantity=r"\mathbb{E}\,a_j",
        relation=r"\approx",
        arguments=(size, own, mixed, mean_mixed, mean_own),
        validity="The next terms are of fourth order in the scores; Theorem key-share has no such"
        " limit.",
    )  # fmt: skip


@cache
def shared_choice() -> Theorem:
    """``E[a_ij a'_kl]`` of two rows whose scores of one key are correlated."""
    rho, angle = sp.symbols("rho alpha", real=True)
    other, ratio = sp.symbols("n' P", positive=True)
    spread = sp.Symbol("sigma", positive=True)
    apart = mean_over_normal(sp.exp(spread * sp.sin(angle) * Z))
    along = mean_over_normal(sp.exp(spread * (1 + sp.cos(angle)) * Z))
    first_mean = sp.exp(spread**2 * sp.sin(angle) ** 2 / 2)
    second_mean = sp.exp(spread**2 * (1 + sp.cos(angle)) ** 2 / 2)
    return Theorem(
        name="shared-choice",
        title="Two rows that choose the same key",
        statement=r"Let the scores that two rows of $n$ and $n'$ keys give to one token be"
        r" correlated by $\rho$: $C_{ik}\kappa$ for two queries of one content and the same key,"
        r" $D_{ik}D_{jl}\kappa$ for two contents. The mean product of their weights rises from"
        r" $1/(nn')$ to $P/n$, the participation ratio over the number of keys, as $\rho$ goes from"
        r" 0 to 1.",
        hypotheses=(r"scores are $N(0,\sigma^2)$, those of a row independent",
                    r"many keys, or $\rho=0$, or two rows with the same scores"),
        symbols=(KEYS, Domain(other, "the number of keys of the other row", "from 1"),
                 Domain(ratio, "the participation ratio, the lower one of the two rows", "0 to 1"),
                 Domain(rho, "the correlation of the two scores", "0 to 1")),
        steps=(
            Identity("Over many keys denominators do not fluctuate, and weights are as $e^{s}$."
                     r" With $s=\sigma z$ and $s'=\sigma(z\cos\alpha+y\sin\alpha)$, the mean of the"
                     r" product is first, over $y$,", apart, first_mean),
            Identity("and then, over $z$,", along, second_mean),
            Definition("so that, with the correlation", rho, sp.cos(angle)),
            Identity(r"and relative to the product of the means, $e^{\sigma^2}$, correlated scores"
                     " choose together",
                     first_mean * second_mean / sp.exp(spread**2),
                     sp.exp(spread**2 * sp.cos(angle)), by="exponents"),
            Identity(r"times as often as by chance. Many keys have $nP=e^{\sigma^2}$ (Theorem"
                     r" participation-series), of which this is the power $\rho$:",
                     sp.Pow(sp.exp(spread**2), rho, evaluate=False), sp.exp(rho * spread**2),
                     by="exponents"),
            Identity("Rows with the same scores have the mean square of one weight, whatever the"
                     " number of keys:", sp.Subs((n * ratio) ** rho / n**2, rho, 1), ratio / n),
            Identity("and uncorrelated ones the product of the means. All three are",
                     sp.exp(rho * sp.log(n * ratio)) / (n * other),
                     (n * ratio) ** rho / (n * other), by="exponents"),
        ),
        quantity=r"\mathbb{E}\,a_{ij}a'_{kl}",
        relation=r"\approx",
        arguments=(n, other, ratio, rho),
        validity=r"In between it is too small, by 1 part in a hundred at $\sigma=1$ and 6 at"
        r" $\sigma=1.6$, for rows that share all scores so. Where only the one key is shared, few"
        r" keys make it too large: by 20 parts in a hundred at $\rho=1$, $\sigma=1.6$.",
    )  # fmt: skip
