"""The causal softmax denominator ``Z_n = Σ_j exp(s_j)`` of independent Gaussian scores."""

from functools import cache

import sympy as sp

from .gaussian import Z, mean_over_normal
from .gaussian_line import gaussian_line
from .steps import (
    Antiderivative,
    Cited,
    Definition,
    Identity,
    Nonnegative,
    Recurrence,
    Series,
    Substitution,
    TermByTerm,
)
from .theorem import Domain, Theorem

n, t, y = sp.symbols("n t y", positive=True)
sigma = sp.Symbol("sigma", nonnegative=True)
total = sp.Symbol("Z", positive=True)
logit = sp.Symbol("ell", real=True)
u = sp.Symbol("u", real=True)
phi = sp.Function("varphi", positive=True)
deficit = sp.Function("delta", nonnegative=True)
keys = sp.Symbol("n", integer=True, nonnegative=True)

KEYS = Domain(n, "the number of keys", "from 1")
SCORE_STD = Domain(sigma, "the standard deviation of a score", "from 0")
LOGIT = Domain(logit, "the logit of a key that writes nothing", "real")
SCORES = (r"scores are independent $N(0,\sigma^2)$",)

LAPLACE = Definition(
    "One key's Laplace transform is", phi(t), mean_over_normal(sp.exp(-t * sp.exp(sigma * Z)))
)
DEFICIT = Definition(
    r"With $t=e^u$ and, to keep precision where $\varphi$ is close to 1,",
    deficit(u),
    1 - phi(sp.exp(u)),
)
MISSING = 1 - sp.exp(-sp.exp(u + sigma * Z))
"""What `deficit` is the mean of."""
TONELLI = Cited(
    "Mean and integral may be exchanged: the integrand has one sign.", "Tonelli's theorem"
)
FUBINI = Cited(
    r"Mean and integral may be exchanged: for each $Z$ the integrand has one sign, so that its size"
    r" integrates to $|\ln Z|$, whose mean is finite.",
    "Fubini's theorem",
)
INDEPENDENT = Recurrence(
    "Keys are independent, so each multiplies the transform of the sum:",
    sp.Function("E")(keys), phi(t) ** keys,
    index=keys, start=sp.S.Zero, first=sp.S.One, update=sp.Function("E")(keys) * phi(t),
)  # fmt: skip
KEPT = sp.exp(n * sp.log(1 - deficit(u)))
"""``φ^n`` in terms of `deficit`."""


def log_moment(k: sp.Expr) -> Identity:
    """Return the step ``E exp(kσz) = exp(k²σ²/2)``."""
    return Identity(
        "Powers of a key's weight have the means of a log-normal variable,",
        mean_over_normal(sp.exp(k * sigma * Z)), sp.exp(k**2 * sigma**2 / 2),
    )  # fmt: skip


@cache
def denominator_moments() -> Theorem:
    """Mean, variance and third cumulant of ``Z_n``."""
    k = sp.Symbol("k", integer=True, positive=True)
    m1, m2, m3 = (sp.exp(sp.Integer(power) ** 2 * sigma**2 / 2) for power in (1, 2, 3))
    return Theorem(
        name="denominator-moments",
        title="Moments of the softmax denominator",
        statement=r"The denominator over $n$ keys has mean $n e^{\sigma^2/2}$; cumulants of all"
        r" orders are $n$ times those of one key. The relative variance falls with the number of"
        r" keys, hence with absolute position.",
        hypotheses=SCORES,
        symbols=(KEYS, SCORE_STD),
        steps=(
            log_moment(k),
            Identity("so the variance of the sum is", n * (m2 - m1**2),
                     n * sp.exp(sigma**2) * (sp.exp(sigma**2) - 1)),
            Identity("and its third cumulant", n * (m3 - 3 * m2 * m1 + 2 * m1**3),
                     n * sp.exp(3 * sigma**2 / 2) * (sp.exp(sigma**2) - 1) ** 2
                     * (sp.exp(sigma**2) + 2)),
            Identity("The variance over the squared mean is",
                     n * (m2 - m1**2) / (n * m1) ** 2,
                     (sp.exp(sigma**2) - 1) / n),
        ),
        quantity=r"\operatorname{Var}Z_n/(\mathbb{E}Z_n)^2",
        arguments=(n, sigma),
    )  # fmt: skip


@cache
def log_denominator() -> Theorem:
    """``E ln Z_n`` by one integral, for every number of keys."""
    return Theorem(
        name="log-denominator",
        title="The mean log denominator",
        statement=r"For every number of keys the mean of $\ln Z_n$ is one integral over the $n$-th"
        r" power of a Laplace transform.",
        hypotheses=SCORES,
        symbols=(KEYS, SCORE_STD),
        steps=(
            LAPLACE,
            Identity("The derivative of $e^{-t}-e^{-tZ}$ over $t$ in $Z$ is an exponential,",
                     sp.Derivative((sp.exp(-t) - sp.exp(-t * total)) / t, total),
                     sp.exp(-t * total)),
            Identity("whose integral is", sp.Integral(sp.exp(-t * total), (t, 0, sp.oo)),
                     1 / total),
            Identity("At $Z=1$ the integrand vanishes, so its integral is the logarithm"
                     " (Frullani):",
                     sp.Integral(1 / y, (y, 1, total)), sp.log(total)),
            FUBINI,
            INDEPENDENT,
            Substitution("On a logarithmic scale,",
                         sp.Integral((sp.exp(-t) - phi(t) ** n) / t, (t, 0, sp.oo)),
                         sp.Integral(sp.exp(-sp.exp(u)) - phi(sp.exp(u)) ** n, (u, -sp.oo, sp.oo)),
                         old=sp.exp(u)),
            DEFICIT,
            TermByTerm("the mean log denominator is",
                       sp.Integral(sp.exp(-sp.exp(u)) - (1 - deficit(u)) ** n, (u, -sp.oo, sp.oo)),
                       sp.Integral(sp.exp(-sp.exp(u)) - KEPT, (u, -sp.oo, sp.oo)), by="powers"),
        ),
        quantity=r"\mathbb{E}\ln Z_n",
        arguments=(n, sigma),
        compiler=gaussian_line(u, {deficit(u): MISSING}),
    )  # fmt: skip


@cache
def log_denominator_series() -> Theorem:
    """``E ln Z_n`` in powers of ``1/n``."""
    c, h = sp.symbols("c h", positive=True)
    x = sp.Symbol("x", real=True)
    k2, k3, k4, k5, k6 = sp.symbols("kappa_2:7", real=True)
    generating = 1 + x + c * x**2 / 2 + c**3 * x**3 / 6 + c**6 * x**4 / 24
    cumulants = k2 * x**2 / 2 + k3 * x**3 / 6 + k4 * x**4 / 24 + k5 * x**5 / 120 + k6 * x**6 / 720
    moments = sp.Poly(sp.series(sp.exp(cumulants.subs(x, h * x) / h), x, 0, 7).removeO(), x)
    mean_log = sum(
        (-1) ** (k + 1) * sp.factorial(k) * moments.coeff_monomial(x**k) / k for k in range(2, 7)
    )
    values = {k2: c - 1, k3: c**3 - 3 * c + 2, k4: c**6 - 4 * c**3 - 3 * c**2 + 12 * c - 6}
    in_h = (
        -k2 * h / 2
        + (k3 / 3 - sp.Rational(3, 4) * k2**2) * h**2
        + (2 * k2 * k3 - k4 / 4 - sp.Rational(5, 2) * k2**3) * h**3
    )
    claim = sp.log(n) + sigma**2 / 2 + in_h.subs(values).subs({h: 1 / n, c: sp.exp(sigma**2)})
    return Theorem(
        name="log-denominator-series",
        title="The mean log denominator for many keys",
        statement=r"For many keys $E\ln Z_n$ is $\ln n+\sigma^2/2$ less a correction in powers of"
        r" $1/n$, whose coefficients grow like powers of $e^{\sigma^2}$.",
        hypotheses=SCORES,
        symbols=(KEYS, SCORE_STD, Domain(c, r"$e^{\sigma^2}$", "from 1"),
                 Domain(h, "$1/n$", "positive")),
        steps=(
            Series("A key's weight over its mean has moments $1, 1, c, c^3, c^6$ and cumulants",
                   sp.log(generating),
                   x + values[k2] * x**2 / 2 + values[k3] * x**3 / 6 + values[k4] * x**4 / 24,
                   variable=x, power=5, by="expand"),
            Series("The logarithm about the mean is", sp.log(1 + x),
                   sum((-1) ** (k + 1) * x**k / k for k in range(1, 7)), variable=x, power=7),
            Series(r"The $k$-th cumulant of the mean of $n$ keys is $\kappa_k h^{k-1}$; its moments"
                   r" follow from the exponential, and the mean of the logarithm, to the third"
                   r" order in $h=1/n$, is", mean_log, in_h, variable=h, power=4, by="expand"),
            Identity("With the cumulants put in, and the mean of $Z_n$,",
                     sp.log(n * sp.exp(sigma**2 / 2))
                     + in_h.subs(values).subs(h, 1 / n).subs(c, sp.exp(sigma**2)),
                     claim, by="logarithms"),
        ),
        quantity=r"\mathbb{E}\ln Z_n",
        relation=r"\approx",
        arguments=(n, sigma),
        validity=r"An asymptotic series, whose terms fall off as powers of $e^{k\sigma^2}/n$ with"
        r" ever larger $k$. It is within $0.01$ nats for $n$ above $3e^{2\sigma^2}$; the integral"
        r" of Theorem log-denominator holds everywhere.",
    )  # fmt: skip


@cache
def log_denominator_bounds() -> Theorem:
    """``ln n <= E ln Z_n <= ln n + σ²/2``."""
    v, w = sp.Symbol("v", real=True), sp.Symbol("w", nonnegative=True)
    part = sp.Symbol("r", real=True)
    count, j = sp.Symbol("n", integer=True, positive=True), sp.Symbol("j", integer=True)
    score = sp.IndexedBase("s", real=True)
    return Theorem(
        name="log-denominator-bounds",
        title="The log denominator follows the log of the number of keys",
        statement=r"Whatever $\sigma$ and the correlations of the scores, $\ln n\le E\ln Z_n\le\ln"
        r" n+\sigma^2/2$: the mask leak is that of $\ln n$, up to a bounded term.",
        hypotheses=(r"each score is $N(0,\sigma^2)$; they may depend on each other",),
        symbols=(KEYS, SCORE_STD),
        steps=(
            Antiderivative("The exponential is its tangent plus an integral,",
                           sp.Integral(v**2 * (1 - part) * sp.exp(part * v), (part, 0, 1)),
                           sp.exp(v) - 1 - v,
                           primitive=v * (1 - part) * sp.exp(part * v) + sp.exp(part * v)),
            Nonnegative("whose integrand has one sign (with $r=1/(1+w)$): $e^v\\ge1+v$.",
                        (v**2 * (1 - part) * sp.exp(part * v)).subs(part, 1 / (1 + w)),
                        v**2 * w / (1 + w) * sp.exp(v / (1 + w))),
            Identity(r"With $v=s_j-\ln(Z/n)$, the mean of $e^v$ over keys is the ratio of $Z$ to"
                     r" itself, so that $1\ge1$ plus the mean of $v$: $\ln(Z/n)$ is at least the"
                     r" mean score, whose mean is 0.",
                     sp.Sum(sp.exp(score[j] - sp.log(total / count)), (j, 1, count)) / count,
                     sp.Sum(sp.exp(score[j]), (j, 1, count)) / total, by="sums"),
            Identity(r"With $v=\ln(Z/E Z)$ the mean of $e^v$ over scores is 1, so that $E\ln Z$ is"
                     r" at most the logarithm of the mean,",
                     sp.log(n * mean_over_normal(sp.exp(sigma * Z))), sp.log(n) + sigma**2 / 2,
                     by="logarithms"),
        ),
        quantity=r"\mathbb{E}\ln Z_n",
        relation=r"\le",
        arguments=(n, sigma),
    )  # fmt: skip
