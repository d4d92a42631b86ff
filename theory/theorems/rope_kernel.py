"""The RoPE kernel: what rotation does to scores on average, at short and at long offsets."""

from functools import cache

import sympy as sp

from .gaussian import GaussianMean, independent
from .rope import PAIRS, Delta, frequency, other_phi, p, phi, r, relative_score, x1, x2, y1, y2
from .steps import Antiderivative, Cited, Identity, SumInduction
from .theorem import Domain, Theorem

base = sp.Symbol("b", positive=True)
offset = sp.Symbol("Delta", positive=True)
x = sp.Symbol("x", nonnegative=True)
BASE = Domain(base, "the RoPE base", "above 1")
OFFSET = Domain(offset, "the offset of query and key", "positive")


@cache
def rope_kernel() -> Theorem:
    """``κ(Δ)`` as the mean self-score and as the correlation of scores."""
    content = independent(x1, x2, y1, y2)
    at, other = (relative_score((x1, x2), (y1, y2), angle) for angle in (phi, other_phi))
    own = relative_score((x1, x2), (x1, x2), phi)
    return Theorem(
        name="rope-kernel",
        title="The RoPE kernel",
        statement=r"The mean score of an isotropic query with itself at offset $\Delta$, per unit"
        r" of squared norm, is $\kappa(\Delta)$. The scores that one pair of contents has at two"
        r" offsets $\Delta$ and $\Delta'$ are correlated by $\kappa(\Delta-\Delta')$.",
        hypotheses=("isotropic Gaussian queries and keys",),
        symbols=(PAIRS, Domain(Delta, "the offset of query and key", "real"),
                 Domain(frequency[r], "the frequency of a pair", "real, 0 where not rotated")),
        steps=(
            Identity("A pair's self-score at an angle, over its squared norm, is the cosine,",
                     GaussianMean(own, content) / GaussianMean(x1**2 + x2**2, content),
                     sp.cos(phi)),
            Identity("and two scores of the same contents at two angles, of variance 2 (Theorem"
                     " rope-break), are correlated by",
                     GaussianMean(at * other, content) / 2, sp.cos(phi - other_phi),
                     by="trigonometry"),
            Identity("All pairs weigh the same; their mean is half the trace of the rotation, over"
                     " the number of pairs:",
                     sp.Sum(2 * sp.cos(Delta * frequency[r]), (r, 0, p - 1)) / (2 * p),
                     sp.Sum(sp.cos(Delta * frequency[r]), (r, 0, p - 1)) / p, by="sums"),
        ),
        quantity=r"\kappa(\Delta)",
        arguments=(Delta, frequency, p),
    )  # fmt: skip


@cache
def rope_kernel_series() -> Theorem:
    """The exact Taylor coefficients of the kernel for geometric frequencies."""
    m = sp.Symbol("m", integer=True, positive=True)
    last = sp.Symbol("N", integer=True, nonnegative=True)
    power = base ** (-2 * m / p)
    factor = (-1) ** m / (p * sp.factorial(2 * m))
    term = sp.cos(offset * base ** (-r / p))
    return Theorem(
        name="rope-kernel-series",
        title="The kernel at short offsets",
        statement="With frequencies $b^{-r/p}$ the kernel is an entire function of the offset. Its"
        " Taylor coefficients are geometric sums; the curvature ($m=1$) says how fast a token next"
        " to the query stops being aligned with it.",
        hypotheses=("geometric frequencies $b^{-r/p}$, as in unscaled RoPE",),
        symbols=(PAIRS, BASE, Domain(m, "half the power of the offset", "integer from 1"),
                 Domain(last, "the last pair that is counted", "integer from 0")),
        steps=(
            Identity("The second derivative of a cosine brings down the squared frequency,",
                     sp.Derivative(term, (offset, 2)), -(base ** (-2 * r / p)) * term,
                     by="exponents"),
            Identity("which at offset 0 leaves the power itself;", sp.Limit(term, offset, 0),
                     sp.S.One),
            SumInduction(r"and the Taylor series of the cosine gives each pair's share of the"
                         r" coefficient of $\Delta^{2m}$. By induction on the last pair $N$ (all"
                         r" pairs: $N=p-1$), the coefficient is",
                         sp.Sum(factor * power**r, (r, 0, last)),
                         factor * (1 - power ** (last + 1)) / (1 - power), by="exponents"),
        ),
        quantity=r"[\Delta^{2m}]\,\kappa(\Delta)",
        arguments=(m, base, p, last),
    )  # fmt: skip


@cache
def rope_kernel_decay() -> Theorem:
    """The kernel of many geometric frequencies: logarithmic decay."""
    angle = offset * base ** (-x)
    limit = sp.Integral(sp.cos(angle), (x, 0, 1))
    return Theorem(
        name="rope-kernel-decay",
        title="The kernel at long offsets",
        statement=r"As the number of pairs grows, the kernel of geometric frequencies tends to a"
        r" difference of cosine integrals. It falls with the logarithm of the offset, as"
        r" $1-(\ln\Delta+\gamma)/\ln b$ for $1\ll\Delta\ll b$, and is gone beyond $\Delta\sim b$.",
        hypotheses=("geometric frequencies, a fine comb of pairs",),
        symbols=(OFFSET, BASE),
        steps=(
            Cited("The mean over pairs is a Riemann sum of a continuous function.",
                  "definition of the Riemann integral"),
            Identity(r"For small argument the cosine integral is $\gamma+\ln$,",
                     sp.Limit(sp.Ci(offset) - sp.log(offset), offset, 0, "+"), sp.EulerGamma),
            Identity("and for large argument it vanishes;",
                     sp.Limit(sp.Ci(offset), offset, sp.oo, "-"), sp.S.Zero),
            Identity(r"between the two the kernel falls by the same amount for every factor in the"
                     r" offset: with $\mathrm{Ci}(\Delta)\to0$ and"
                     r" $\mathrm{Ci}(\Delta/b)\to\gamma+\ln(\Delta/b)$ it is",
                     -(sp.EulerGamma + sp.log(offset / base)) / sp.log(base),
                     1 - (sp.log(offset) + sp.EulerGamma) / sp.log(base), by="logarithms"),
            Antiderivative("The integral has a primitive:", limit,
                           (sp.Ci(offset) - sp.Ci(offset / base)) / sp.log(base),
                           primitive=-sp.Ci(angle) / sp.log(base)),
        ),
        quantity=r"\kappa(\Delta)",
        relation=r"\to",
        arguments=(offset, base),
        validity=r"At $p$ pairs the kernel fluctuates about this curve by about $1/\sqrt{2p}$, the"
        r" root mean square of Theorem rope-kernel-rms.",
    )  # fmt: skip


@cache
def rope_kernel_rms() -> Theorem:
    """The long-run root mean square of the kernel."""
    span, w, v = sp.symbols("D omega nu", positive=True)
    t = sp.Symbol("t", positive=True)
    product = sp.cos(w * t) * sp.cos(v * t)
    primitive = sp.sin((w - v) * t) / (2 * (w - v)) + sp.sin((w + v) * t) / (2 * (w + v))
    return Theorem(
        name="rope-kernel-rms",
        title="The kernel never dies",
        statement="Over all offsets the kernel has mean square $1/(2p)=1/d_h$: however far apart,"
        " scores of the same contents keep correlations of that size.",
        hypotheses=("the frequencies of the pairs are distinct and positive",),
        symbols=(PAIRS,),
        steps=(
            Identity("A product of two cosines has the primitive", sp.Derivative(primitive, t),
                     product, by="trigonometry"),
            Identity("which is bounded, for sines are: over a long span its mean vanishes.",
                     sp.Limit((1 / (2 * (w - v)) + 1 / (2 * (w + v))) / span, span, sp.oo),
                     sp.S.Zero),
            Identity("The squared cosine has the primitive",
                     sp.Derivative(t / 2 + sp.sin(2 * w * t) / (4 * w), t), sp.cos(w * t) ** 2),
            Identity("whose mean over a long span is one half.",
                     sp.Limit((span / 2 + sp.sin(2 * w * span) / (4 * w)) / span, span, sp.oo),
                     sp.Rational(1, 2)),
            Identity("The mean square of the mean over pairs is",
                     sp.Sum(sp.Rational(1, 2), (r, 0, p - 1)) / p**2, 1 / (2 * p)),
        ),
        quantity=r"\lim_{D\to\infty}\frac1D\int_0^D\kappa(\Delta)^2\,d\Delta",
        arguments=(p,),
    )  # fmt: skip
