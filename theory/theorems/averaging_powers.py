"""Powers of causal averaging: closed form, asymptotics, and the log-position axis."""

from functools import cache

import sympy as sp

from .averaging import KEY, QUERY, UNIFORM, i, j
from .numeric import taylor_coefficients
from .steps import Cited, Identity, Recurrence, Series, Substitution
from .theorem import Domain, Theorem

t, r, s = sp.symbols("t r s", positive=True)
z = sp.Symbol("z", real=True)
m = sp.Symbol("m", integer=True, positive=True)
POWER = Domain(m, "the number of layers", "integer from 1")


@cache
def averaging_power() -> Theorem:
    """``(U^m)_{ij}`` by its generating function in ``m``."""
    entry = sp.Function("G")(i)
    closed = (
        sp.gamma(i + 1) * sp.gamma(j + 1 - z) / (sp.gamma(j + 1) * sp.gamma(i + 2 - z))
    )  # fmt: skip
    start = sp.Symbol("z", negative=True)
    return Theorem(
        name="averaging-power",
        title="Powers of causal averaging",
        statement=r"The entries of all powers of causal averaging have one generating function,"
        r" $\sum_m (U^m)_{ij}z^{m-1}$, a ratio of gamma functions. Its logarithm has positive"
        r" Taylor"
        r" coefficients $\sum_{k=j+1}^{i+1}k^{-a}/a$, so that powers are evaluated without"
        r" cancellation. Equivalently $(U^m)_{ij}=\binom{i}{j}\int_0^1 t^j(1-t)^{i-j}"
        r"(\ln1/t)^{m-1}/(m-1)!\,dt$.",
        hypotheses=UNIFORM,
        symbols=(QUERY, KEY, Domain(z, "the variable of the generating function", "below 1")),
        steps=(
            Identity("The integral: each derivative in $z$ of $t^{-z}$ brings down one logarithm,"
                     " so"
                     " that $t^{-z}$ generates the powers of $\\ln1/t$ over factorials.",
                     sp.Derivative(t ** (-z), z), sp.log(1 / t) * t ** (-z), by="logarithms"),
            Identity("The logarithmic derivative of $t^{j+1-z}(1-t)^{i+1-j}$, times $t(1-t)$, is",
                     t * (1 - t) * sp.Derivative(
                         (j + 1 - z) * sp.log(t) + (i + 1 - j) * sp.log(1 - t), t),
                     (i + 2 - z) * (1 - t) - (i + 1 - j)),
            Identity("so that, integrated over $0\\le t\\le1$, the integral $I_i$ of"
                     " $t^{j-z}(1-t)^{i-j}$ obeys $(i+2-z)I_{i+1}=(i+1-j)I_i$; the binomial"
                     " coefficient turns this into the recursion below:",
                     sp.binomial(i + 1, j) * (i + 1 - j) / sp.binomial(i, j), i + 1, by="gamma"),
            Identity("it starts, at $i=j$, from", sp.Integral(t ** (j - start), (t, 0, 1)),
                     1 / (j + 1 - start)),
            Identity("The logarithm: from row to row the ratio of gamma functions below gains a"
                     " factor"
                     " $1/(1-z/k)$ with $k=i+2$, besides the change of $1/(i+1)$,",
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
        arguments=(i, j),
        compiler=taylor_coefficients(z),
    )  # fmt: skip


@cache
def averaging_asymptotics() -> Theorem:
    """``(U^m)_{i0}`` far from the start."""
    log_i, at = sp.Symbol("Lambda", positive=True), sp.Symbol("i", positive=True)
    gamma = sp.EulerGamma
    claim = (
        sp.log(at) ** (m - 1) / sp.factorial(m - 1)
        + gamma * sp.log(at) ** (m - 2) * (m - 1) / sp.factorial(m - 1)
    ) / at  # fmt: skip
    return Theorem(
        name="averaging-asymptotics",
        title="How a token fades from later ones",
        statement=r"After $m$ layers of causal averaging token 0 has about $(\ln"
                  r" i)^{m-1}/((m-1)!\,i)$"
        " of the attention of position $i$: it fades with the inverse position, and each layer"
        " gains"
        " a logarithm.",
        hypotheses=(*UNIFORM, "$i$ large"),
        symbols=(Domain(at, "the query's position", "large"), POWER,
                 Domain(log_i, r"$\ln i$", "positive")),
        steps=(
            Cited(r"The generating function of column 0 is $\Gamma(i+1)\Gamma(1-z)/\Gamma(i+2-z)$;"
                  r" the ratio of the two that know $i$ tends to $i^{z-1}$.", "Stirling's formula"),
            Series(r"With $\Lambda=\ln i$ the rest is, in powers of $z$,",
                   sp.exp(log_i * z) * sp.gamma(1 - z),
                   1 + (log_i + gamma) * z
                   + (log_i**2 / 2 + gamma * log_i + gamma**2 / 2 + sp.pi**2 / 12) * z**2,
                   variable=z, power=3),
            Identity("In general the power $z^{m-1}$ has, from the two leading terms $1+\\gamma z$"
                     " of the"
                     " gamma function,",
                     (log_i ** (m - 1) / sp.factorial(m - 1)
                      + gamma * log_i ** (m - 2) / sp.gamma(m - 1)).subs(log_i, sp.log(at)) / at,
                     claim, by="gamma"),
        ),
        arguments=(at, m),
        validity=r"The next term is smaller by $(m-1)(m-2)/\ln^2i$; for $m=1$ the limit $1/i$ is"
                 r" exact"
        " up to the shift from $i$ to $i+1$.",
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
                  r" on"
        r" the axis $\ln i$ with an exponential. After $m+1$ layers the kernel is the gamma"
        r" density with"
        r" $m+1$ degrees: tokens are read at distances in the logarithm of position.",
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
            Identity("The first layer's is $e^{-s}$, and one more layer convolves once more:",
                     sp.Integral(sp.exp(-(s - r)) * kernel.subs(more, later - 1).subs(s, r),
                                 (r, 0, s)),
                     kernel.subs(more, later)),
        ),
        arguments=(s, later),
    )  # fmt: skip
