"""Powers of causal averaging: closed form, asymptotics, and the log-position axis."""

from functools import cache

import sympy as sp

from .averaging import KEY, QUERY, UNIFORM, i, j
from .numeric import exact_sum, taylor_coefficients
from .steps import (
    Antiderivative,
    Cited,
    Identity,
    Recurrence,
    Series,
    Substitution,
    TermByTerm,
)
from .theorem import Domain, Theorem

t, r, s = sp.symbols("t r s", positive=True)
z = sp.Symbol("z", real=True)
m = sp.Symbol("m", integer=True, positive=True)
POWER = Domain(m, "the number of layers", "integer from 1")


CESARO = ("2603.10123", "powers of the averaging matrix in the continuous limit, at initialisation")
RESIDUAL = ("2602.16837", "residual connections against the collapse; U-shaped influence")


def generating(query: sp.Expr, key: sp.Expr) -> sp.Expr:
    """Return ``Σ_m (U^m)_{ij} z^{m-1}``."""
    return (
        sp.gamma(query + 1) * sp.gamma(key + 1 - z) / (sp.gamma(key + 1) * sp.gamma(query + 2 - z))
    )


@cache
def averaging_power() -> Theorem:
    """``(U^m)_{ij}`` by its generating function in ``m``."""
    entry = sp.Function("G")(i)
    closed = generating(i, j)
    start = sp.Symbol("z", negative=True)
    return Theorem(
        name="averaging-power",
        title="Powers of causal averaging",
        statement=r"The entries of all powers of causal averaging have one generating function,"
        r" $\sum_m (U^m)_{ij}z^{m-1}$, a ratio of gamma functions. Its logarithm has positive"
        r" Taylor coefficients $\sum_{k=j+1}^{i+1}k^{-a}/a$, so that powers are evaluated without"
        r" cancellation. Equivalently $(U^m)_{ij}=\binom{i}{j}\int_0^1"
        r" t^j(1-t)^{i-j}(\ln1/t)^{m-1}/(m-1)!\,dt$.",
        hypotheses=UNIFORM,
        symbols=(QUERY, KEY, Domain(z, "the variable of the generating function", "below 1")),
        steps=(
            Identity(r"The integral: each derivative in $z$ of $t^{-z}$ brings down one logarithm,"
                     r" so that $t^{-z}$ generates the powers of $\ln1/t$ over factorials.",
                     sp.Derivative(t ** (-z), z), sp.log(1 / t) * t ** (-z), by="logarithms"),
            Identity("The logarithmic derivative of $t^{j+1-z}(1-t)^{i+1-j}$, times $t(1-t)$, is",
                     t * (1 - t) * sp.Derivative(
                         (j + 1 - z) * sp.log(t) + (i + 1 - j) * sp.log(1 - t), t),
                     (i + 2 - z) * (1 - t) - (i + 1 - j)),
            Identity(r"so that, integrated over $0\le t\le1$, the integral $I_i$ of"
                     r" $t^{j-z}(1-t)^{i-j}$ obeys $(i+2-z)I_{i+1}=(i+1-j)I_i$; the binomial"
                     r" coefficient turns this into the recursion below:",
                     sp.binomial(i + 1, j) * (i + 1 - j) / sp.binomial(i, j), i + 1, by="gamma"),
            Identity("it starts, at $i=j$, from", sp.Integral(t ** (j - start), (t, 0, 1)),
                     1 / (j + 1 - start)),
            Identity("The logarithm: from row to row the ratio of gamma functions below gains a"
                     " factor $1/(1-z/k)$ with $k=i+2$, besides the change of $1/(i+1)$,",
                     closed.subs(i, i + 1) / closed, (i + 1) / (i + 2) / (1 - z / (i + 2)),
                     by="gamma"),
            Series("whose logarithm has the positive coefficients", -sp.log(1 - z / (i + 2)),
                   z / (i + 2) + z**2 / (2 * (i + 2) ** 2) + z**3 / (3 * (i + 2) ** 3),
                   variable=z, power=4),
            Identity("At $z=0$ only the first power is left:",
                     sp.Limit(closed, z, 0), 1 / (i + 1), by="gamma"),
            Recurrence("The powers: the resolvent $G=U(1-zU)^{-1}$ obeys $G=U+zUG$. Two rows of it,"
                       " multiplied by their numbers of keys, differ by $zG_{ij}$, so that each row"
                       " follows from the one before; row $j$ is $1/(j+1-z)$. By induction,",
                       entry, closed, index=i, start=j, first=1 / (j + 1 - z),
                       update=entry * (i + 1) / (i + 2 - z), by="gamma"),
        ),
        quantity=r"\sum_m(U^m)_{ij}\,z^{m-1}",
        arguments=(i, j),
        compiler=taylor_coefficients(z),
    )  # fmt: skip


@cache
def averaging_asymptotics() -> Theorem:
    """``(U^m)_{i0}`` far from the start, with every power of the logarithm."""
    log_i, at = sp.Symbol("Lambda", positive=True), sp.Symbol("i", positive=True)
    gamma = sp.EulerGamma
    return Theorem(
        name="averaging-asymptotics",
        title="How a token fades from later ones",
        statement=r"After $m$ layers of causal averaging token 0 has about $(\ln"
        r" i)^{m-1}/((m-1)!\,i)$ of the attention of position $i$: it fades with the inverse"
        r" position, and each layer gains a logarithm. With every lower power of the logarithm,"
        r" $\sum_m(U^m)_{i0}z^{m-1}$ tends to the following, whose Taylor coefficients are all"
        r" positive.",
        hypotheses=(*UNIFORM, "$i$ large"),
        symbols=(Domain(at, "the query's position", "large"),
                 Domain(z, "the variable of the generating function, which counts layers",
                        "below 1"),
                 Domain(log_i, r"$\ln i$", "positive")),
        steps=(
            Identity("By Theorem averaging-power the generating function of column 0 is a ratio of"
                     " gamma functions, which moves from row to row by the factor",
                     generating(at + 1, 0) / generating(at, 0), (at + 1) / (at + 2 - z),
                     by="gamma"),
            Cited(r"The ratio $\Gamma(i+1)/\Gamma(i+2-z)$ tends to $i^{z-1}$.",
                  "Stirling's formula"),
            Series(r"With $\Lambda=\ln i$, the rest is in powers of $z$",
                   sp.exp(log_i * z) * sp.gamma(1 - z),
                   1 + (log_i + gamma) * z
                   + (log_i**2 / 2 + gamma * log_i + gamma**2 / 2 + sp.pi**2 / 12) * z**2,
                   variable=z, power=3),
            Identity("in which the leading power of the logarithm is that of the exponential:",
                     sp.Limit((log_i**2 / 2 + gamma * log_i + gamma**2 / 2 + sp.pi**2 / 12)
                              / log_i**2, log_i, sp.oo), sp.Rational(1, 2)),
            Identity("Together,", at ** (z - 1) * sp.gamma(1 - z),
                     sp.exp(z * sp.log(at)) * sp.gamma(1 - z) / at),
        ),
        quantity=r"\sum_m(U^m)_{i0}\,z^{m-1}",
        relation=r"\to",
        arguments=(at,),
        compiler=taylor_coefficients(z),
        validity="Every coefficient is right to a relative $3/(2i)$.",
        references=(CESARO,),
    )  # fmt: skip


@cache
def averaging_primacy() -> Theorem:
    """Influence falls from token 0 on."""
    layers = sp.Symbol("m", integer=True, positive=True)
    k = sp.Symbol("k", integer=True, positive=True)
    later = sp.IndexedBase("P", nonnegative=True)
    ratio = z / (j + 1)
    return Theorem(
        name="averaging-primacy",
        title="Influence falls from the first token on",
        statement=r"Through any number of layers of causal averaging, each token has less influence"
        r" than the one before it, by the positive amount below, where $P_m=(U^m)_{i,j+1}$. With"
        r" residual streams the query's own token adds $(1-\lambda)^L$ at the other end (Theorem"
        r" rollout): influence is largest at both ends, a U.",
        hypotheses=(*UNIFORM, "$j<i$"),
        symbols=(QUERY, KEY, POWER, Domain(later[layers], "$(U^m)_{i,j+1}$", "0 to 1")),
        steps=(
            Identity("The generating functions (Theorem averaging-power) of two keys next to each"
                     " other are in the ratio",
                     generating(i, j) / generating(i, j + 1), 1 / (1 - ratio), by="gamma"),
            Identity("so that they differ by a geometric series,",
                     1 / (1 - ratio) - 1, ratio / (1 - ratio)),
            Series("whose coefficients are positive.", ratio / (1 - ratio),
                   ratio + ratio**2 + ratio**3, variable=z, power=4),
            TermByTerm("Multiplied with the powers of the later key, they give the difference",
                       sp.Sum(ratio**k / z**k * later[layers - k], (k, 1, layers - 1)),
                       sp.Sum(later[layers - k] / (j + 1) ** k, (k, 1, layers - 1)),
                       by="exponents"),
        ),
        quantity=r"(U^m)_{ij}-(U^m)_{i,j+1}",
        arguments=(j, layers, later),
        compiler=exact_sum,
        references=(RESIDUAL, CESARO),
    )  # fmt: skip


@cache
def averaging_convolution() -> Theorem:
    """On the log-position axis averaging is a convolution with an exponential."""
    position = sp.Symbol("i", positive=True)
    f = sp.Function("f")
    power = sp.Symbol("p", nonnegative=True)
    more = sp.Symbol("m", integer=True, nonnegative=True)
    later = sp.Symbol("m", integer=True, positive=True)
    kernel = s**more * sp.exp(-s) / sp.factorial(more)
    step = sp.Symbol("v", real=True)
    return Theorem(
        name="averaging-convolution",
        title="Leaked position is log position",
        statement=r"For positions that are many, averaging over all earlier ones is a convolution"
        r" on the axis $\ln i$ with an exponential. After $m+1$ layers the kernel is the gamma"
        r" density of shape $m+1$: tokens are read at distances in the logarithm of position.",
        hypotheses=(*UNIFORM, "positions so large that sums over them are integrals"),
        symbols=(Domain(later, "the number of layers after the first", "integer from 1"),
                 Domain(s, r"$\ln(i/j)$", "positive")),
        steps=(
            Substitution("With $j=ie^{v}$, the mean over earlier positions is",
                         sp.Integral(f(sp.log(r)) / position, (r, 0, position)),
                         sp.Integral(f(step + sp.log(position)) * sp.exp(step), (step, -sp.oo, 0)),
                         old=position * sp.exp(step), by="logarithms"),
            Identity("Powers of position are its eigenfunctions:",
                     sp.Integral(r**power, (r, 0, position)) / position,
                     position**power / (power + 1)),
            Identity("The kernel that follows has all its weight in one,",
                     sp.Integral(kernel, (s, 0, sp.oo)), sp.S.One, by="gamma"),
            Identity("at a mean distance in $\\ln i$ of the number of layers.",
                     sp.Integral(s * kernel, (s, 0, sp.oo)), more + 1, by="gamma"),
            Antiderivative("The first layer's is $e^{-s}$, and one more layer convolves once more:",
                           sp.Integral(sp.exp(-(s - r)) * kernel.subs(more, later - 1).subs(s, r),
                                       (r, 0, s)),
                           kernel.subs(more, later),
                           primitive=sp.exp(-s) * r**later / sp.factorial(later), by="gamma"),
        ),
        quantity=r"j\,(U^{m+1})_{ij}",
        relation=r"\to",
        arguments=(s, later),
        references=(CESARO,),
    )  # fmt: skip
