"""Finite precision: how far rounding breaks relative invariance."""

from functools import cache

import sympy as sp

from .gaussian import GaussianMean
from .rope import PAIRS, p, phi, r, relative_score, sigma, x1, x2, y1, y2
from .steps import Antiderivative, Cited, Definition, Identity, Nonnegative, Series
from .theorem import Domain, Theorem

h, t = sp.symbols("h t", positive=True)
m, n, shift = sp.symbols("m n s", nonnegative=True)
bits = sp.Symbol("b", integer=True, positive=True)
ulp = sp.Function("ulp", nonnegative=True)
frequency = sp.IndexedBase("theta", nonnegative=True)
query, key = sp.IndexedBase("a", nonnegative=True), sp.IndexedBase("b'", nonnegative=True)
error = sp.Symbol("delta", real=True)

BITS = Domain(bits, "bits of the significand: 8 bfloat16, 11 float16, 24 float32, 53 float64",
              "integer from 1")  # fmt: skip
SCORE = Domain(sigma, "the standard deviation of a score", "from 0")
POSITIONS = (Domain(m, "the query's position", "from 0"), Domain(n, "the key's position", "from 0"),
             Domain(shift, "the common shift", "from 0"))  # fmt: skip


def angle_ulps(place: sp.Expr) -> sp.Expr:
    """Return the spacing of floating-point numbers at a pair's angle."""
    return ulp(place * frequency[r], bits)


@cache
def rounding_error() -> Theorem:
    """Variance and mean cosine of a rounding error."""
    x = sp.Symbol("x", real=True)
    uniform = (x, -h / 2, h / 2)
    return Theorem(
        name="rounding-error",
        title="A rounding error",
        statement="Rounding to a grid of spacing $h$ makes an error that is uniform between"
        " $\\pm h/2$. An angle with it keeps the following share of its cosine on average.",
        hypotheses=("the error is uniform: angles are spread over many grid points",),
        symbols=(Domain(h, "the spacing of floating-point numbers", "positive"),),
        steps=(
            Identity("Its variance is", sp.Integral(x**2 / h, uniform), h**2 / 12),
            Identity("and the mean sine vanishes,", sp.Integral(sp.sin(x) / h, uniform), sp.S.Zero),
            Identity("For small spacing the lost share is half the variance:",
                     sp.Limit((1 - sp.sin(h / 2) / (h / 2)) / h**2, h, 0), sp.Rational(1, 24)),
            Identity("The mean cosine is", sp.Integral(sp.cos(x) / h, uniform),
                     2 * sp.sin(h / 2) / h),
        ),
        quantity=r"\mathbb{E}\cos\delta",
        arguments=(h,),
    )  # fmt: skip


@cache
def precision_angle() -> Theorem:
    """The RMS break of invariance by rounded angles."""
    content = {(v, v): sp.S.One for v in (x1, x2, y1, y2)}
    score = relative_score((x1, x2), (y1, y2), phi)
    variance = sp.Symbol("V", nonnegative=True)
    squares = sum(angle_ulps(place) ** 2 for place in (m, n, m + shift, n + shift))
    return Theorem(
        name="precision-angle",
        title="Relative invariance with rounded angles",
        statement="Angles that are rounded to $b$ bits, in whatever precision the rest is computed,"
        " break relative invariance: under a common shift $s$ a score changes by the root mean"
        " square"
        " below, which grows linearly with the shift once it exceeds the positions.",
        hypotheses=("isotropic Gaussian query and key",
                    "independent rounding errors, small against one",
                    "pair 0 turns by whole radians, which are exact, and is left out"),
        symbols=(PAIRS, BITS, SCORE, *POSITIONS,
                 Domain(frequency[r], "the frequency of a pair", "from 0")),
        steps=(
            Identity("The slope of a pair's score in its angle has the score's own variance,",
                     GaussianMean(sp.diff(score, phi) ** 2, content),
                     GaussianMean(score**2, content), by="trigonometry"),
            Identity("so an error of variance $V$ in the angle changes the score by $V$ times its"
                     " variance, to the lowest order:",
                     sp.Limit(2 * (1 - sp.cos(error)) / error**2, error, 0), sp.S.One),
            Definition("Four angles are rounded, two of each score; errors of spacing $h$ have the"
                       " variance $h^2/12$ (Theorem rounding-error), so a pair has", variance,
                       squares / 12),
            Identity("Each pair has the share $1/p$ of the score's variance. The root mean square"
                     " is",
                     sp.sqrt(sigma**2 / p * sp.Sum(squares / 12, (r, 1, p - 1))),
                     sigma * sp.sqrt(sp.Sum(squares, (r, 1, p - 1)) / (12 * p)), by="sums"),
        ),
        quantity=r"\sqrt{\mathbb{E}(s'-s)^2}",
        arguments=(sigma, m, n, shift, frequency, p, bits),
    )  # fmt: skip


@cache
def precision_positions() -> Theorem:
    """The break by rounded positions, which is not small."""
    spacings = (ulp(m, bits), ulp(n, bits), ulp(m + shift, bits), ulp(n + shift, bits))
    u, v = sp.symbols("delta_1 delta_2", real=True)

    def kept(spacing: sp.Expr) -> sp.Expr:
        return sp.Function("kept", real=True)(spacing * frequency[r])

    product = sp.Mul(*(kept(spacing) for spacing in spacings))
    return Theorem(
        name="precision-positions",
        title="Relative invariance with rounded positions",
        statement="Positions themselves that are rounded to few bits turn pairs by whole radians."
                  " The"
        " mean square change of a score under a common shift is then bounded by its decorrelation;"
        r" $\mathrm{kept}(h)=\sin(h/2)/(h/2)$.",
        hypotheses=(("isotropic Gaussian query and"
                    " key"), ("independent, uniform rounding errors of the"
                    " four positions; whole numbers below $2^b$ are exact")),
        symbols=(PAIRS, BITS, SCORE, *POSITIONS,
                 Domain(frequency[r], "the frequency of a pair", "from 0")),
        steps=(
            Identity("Independent errors of odd symmetry multiply their mean cosines, as",
                     sp.cos(u + v), sp.cos(u) * sp.cos(v) - sp.sin(u) * sp.sin(v),
                     by="trigonometry"),
            Identity("A pair whose angle is off by $\\delta$ has the mean square change, over its"
                     " variance,", 4 * sp.sin(error / 2) ** 2, 2 - 2 * sp.cos(error)),
            Identity("With the mean cosines put in, the mean square over pairs is",
                     sigma**2 / p * sp.Sum(2 - 2 * product, (r, 0, p - 1)),
                     2 * sigma**2 * sp.Sum(1 - product, (r, 0, p - 1)) / p, by="sums"),
        ),
        quantity=r"\mathbb{E}(s'-s)^2",
        arguments=(sigma, m, n, shift, frequency, p, bits),
    )  # fmt: skip


@cache
def precision_tables() -> Theorem:
    """The break by rounded cosines and sines."""
    dc, ds = sp.symbols("delta_c delta_s", real=True)
    variance = sp.Symbol("V", positive=True)
    e = sp.Symbol("e", integer=True, nonnegative=True)
    half = sp.Symbol("x", positive=True)
    content = {(v, v): sp.S.One for v in (x1, x2, y1, y2)}
    turned = ((dc * x1 - ds * x2) * y1 + (ds * x1 + dc * x2) * y2) ** 2
    binades = sp.Sum((sp.acos(2 ** (-e - 1)) - sp.acos(2 ** (-e))) * sp.S(4) ** (-e), (e, 0, 30))
    return Theorem(
        name="precision-tables",
        title="Relative invariance with rounded tables",
        statement="Cosines and sines rounded to $b$ bits break relative invariance by a constant,"
        " whatever the shift: with all pairs well turned, scores at two places differ by the"
        " following"
        " root mean square.",
        hypotheses=(("isotropic Gaussian query and"
                    " key"), ("angles uniform on the circle, rounding errors"
                    " uniform and independent between the four tables")),
        symbols=(BITS, SCORE),
        steps=(
            Identity("Errors of cosine and sine change a pair's score, whose variance is 2, by",
                     GaussianMean(turned, content), 2 * (dc**2 + ds**2)),
            Identity("A cosine is between $2^{-e-1}$ and $2^{-e}$ in size for a share of angles"
                     " that the"
                     " arc cosine gives; its slope is the density,",
                     sp.Derivative(-2 * sp.acos(half) / sp.pi, half),
                     2 / (sp.pi * sp.sqrt(1 - half**2))),
            Definition("There its spacing is $2^{-e-b}$. Sine and cosine are alike, so that both"
                       " errors"
                       " have together the variance", variance,
                       2 * sp.S(4) ** (-bits) / 12 * 2 / sp.pi * binades),
            Identity("Two scores have four tables; the root mean square difference is",
                     sp.sqrt(4 * sigma**2 * (2 * sp.S(4) ** (-bits) / 12 * 2 / sp.pi * binades)),
                     2 * sigma * 2 ** (-bits) * sp.sqrt(binades / (3 * sp.pi)), by="exponents"),
        ),
        quantity=r"\sqrt{\mathbb{E}(s'-s)^2}",
        arguments=(sigma, bits),
        validity="Pairs that have hardly turned have a cosine near one and an error of its own"
                 " sign;"
        " they leave somewhat less.",
    )  # fmt: skip


@cache
def precision_rotation() -> Theorem:
    """The break by rounding inside the rotation."""
    x = sp.Symbol("x", real=True)
    e = sp.Symbol("e", integer=True)
    share, relative = sp.symbols("P_e rho", positive=True)
    within = sp.erf(2 ** (e + 1) / sp.sqrt(2)) - sp.erf(2**e / sp.sqrt(2))
    binades = sp.Sum(within * sp.S(4) ** e, (e, -30, 4))
    return Theorem(
        name="precision-rotation",
        title="Relative invariance with a rounded rotation",
        statement="A rotation that is computed and stored in $b$ bits (two products and their sum,"
        " for query and key) breaks relative invariance by a constant, on top of what its tables"
        " do.",
        hypotheses=("isotropic Gaussian query and key",
                    "products are spread over powers of two as their sum is",
                    "independent rounding errors"),
        symbols=(BITS, SCORE),
        steps=(
            Identity("The size of a number of unit variance is distributed as an error function,"
                     " whose slope is the Gaussian density on both sides of zero:",
                     sp.Derivative(sp.erf(x / sp.sqrt(2)), x),
                     2 * sp.exp(-(x**2) / 2) / sp.sqrt(2 * sp.pi)),
            Definition("So it lies between $2^e$ and $2^{e+1}$ with the probability", share,
                       within),
            Definition("Its spacing there is $2^{e+1-b}$, so that a rounding has the relative"
                       " variance (powers outside of the range have no part in it)", relative,
                       2 ** (2 - 2 * bits) / 12 * binades),
            Identity("The two products of a coordinate have together the coordinate's mean square,",
                     GaussianMean((sp.cos(phi) * x1) ** 2 + (sp.sin(phi) * x2) ** 2,
                                  {(v, v): sp.S.One for v in (x1, x2)}), sp.S.One),
            Identity("so products and sum count as two roundings of each turned vector. Two scores"
                     " have four such vectors; the root mean square difference is",
                     sp.sqrt(8 * sp.Mul(sigma**2, 2 ** (2 - 2 * bits) / 12 * binades,
                                        evaluate=False), evaluate=False),
                     sigma * 2 ** (1 - bits) * sp.sqrt(2 * binades / 3), by="exponents"),
        ),
        quantity=r"\sqrt{\mathbb{E}(s'-s)^2}",
        arguments=(sigma, bits),
    )  # fmt: skip


@cache
def precision_bound() -> Theorem:
    """A bound on the error of one score, for tests."""
    a, b = sp.symbols("a b", real=True)
    v = sp.Symbol("v", real=True)
    unit = sp.Symbol("u", positive=True)
    total = sp.Sum(query[r] * key[r] * (frequency[r] * (m + n) + 2 * p + 10), (r, 0, p - 1))
    return Theorem(
        name="precision-bound",
        title="A bound on rounding in a score",
        statement="Computed with unit roundoff $u=2^{-b}$, a score is off by at most the following;"
        " two scores that should agree differ by at most the sum of both bounds.",
        hypotheses=(
            "angles are products of position and frequency, rounded once",
            "cosine and sine are within one spacing",
            "products and sums are rounded once each, errors of second order are neglected",
            "the score is not rescaled (a factor on the score is one on the bound)",
        ),
        symbols=(PAIRS, BITS, Domain(query[r], "the norm of a pair of the query", "from 0"),
                 Domain(key[r], "the norm of a pair of the key", "from 0"),
                 Domain(frequency[r], "the frequency of a pair", "from 0"), *POSITIONS[:2]),
        steps=(
            Nonnegative("A pair's score is at most the product of its norms, for",
                        (x1**2 + x2**2) * (y1**2 + y2**2) - (x1 * y1 + x2 * y2) ** 2,
                        (x1 * y2 - x2 * y1) ** 2),
            Identity("An error of the angle moves the unit vector by a chord,",
                     (sp.cos(a) - sp.cos(b)) ** 2 + (sp.sin(a) - sp.sin(b)) ** 2,
                     4 * sp.sin((a - b) / 2) ** 2, by="trigonometry"),
            Antiderivative("which is shorter than the arc, as",
                           sp.Integral(1 - sp.cos(v), (v, 0, t)), t - sp.sin(t),
                           primitive=v - sp.sin(v)),
            Nonnegative("and the integrand has one sign.", 1 - sp.cos(v), 2 * sp.sin(v / 2) ** 2),
            Cited("The rounded angle is off by at most $u\\theta m$, cosine and sine by twice $u$"
                  " relatively; a rotation's two products and one sum by $2\\sqrt2u<3u$ of the"
                  " norm, for"
                  " query and key alike; a sum over $2p$ products by $2pu$ of their size.",
                  "the standard model of floating-point arithmetic, Higham 2002"),
            Definition("The unit roundoff is", unit, 2 ** (-bits)),
            Identity("Added up: angles, tables, rotations, products and sums,",
                     sp.Sum(unit * query[r] * key[r] * frequency[r] * m
                            + unit * query[r] * key[r] * frequency[r] * n
                            + unit * query[r] * key[r] * (2 * 2 + 2 * 3 + 2 * p),
                            (r, 0, p - 1)).subs(unit, 2 ** (-bits)),
                     2 ** (-bits) * total, by="sums"),
        ),
        quantity=r"|\hat s-s|",
        relation=r"\le",
        arguments=(query, key, frequency, m, n, p, bits),
    )  # fmt: skip


@cache
def precision_tail() -> Theorem:
    """How often an error of many roundings exceeds a multiple of its RMS."""
    k = sp.Symbol("k", integer=True, nonnegative=True)
    z, count, alarm = sp.symbols("z N alpha", positive=True)
    lift, x = sp.symbols("lambda x", positive=True)
    spread = sp.Symbol("r", positive=True)
    once = (sp.exp(x) - sp.exp(-x)) / (2 * x)
    return Theorem(
        name="precision-tail",
        title="From a root mean square to a bound",
        statement="Sums of independent rounding errors exceed $z$ times their root mean square with"
        " a probability of at most $2e^{-z^2/2}$, as Gaussian ones do. So $N$ comparisons stay"
        r" below the following $z$, all of them, with probability $1-\alpha$.",
        hypotheses=("errors are uniform between $\\pm h/2$, independent, added with any weights",
                    "the probability is small against one"),
        symbols=(Domain(count, "the number of comparisons", "from 1"),
                 Domain(alarm, "the probability that any of them exceeds it", "0 to 1")),
        steps=(
            Identity(r"With $x=\lambda h/2$, the mean of $e^{\lambda\delta}$ is",
                     sp.Integral(sp.exp(lift * error) / h, (error, -h / 2, h / 2)),
                     once.subs(x, lift * h / 2)),
            Series("a series in even powers with the coefficients $1/(2k+1)!$,", once,
                   1 + x**2 / 6 + x**4 / 120, variable=x, power=6),
            Series("where that of a Gaussian with the same variance has $1/(6^kk!)$,",
                   sp.exp(x**2 / 6), 1 + x**2 / 6 + x**4 / 72, variable=x, power=6),
            Nonnegative("which is never smaller: from $k$ to $k+1$ the first is divided by"
                        " $(2k+2)(2k+3)$, the second by $6(k+1)$, and these differ by",
                        (2 * k + 2) * (2 * k + 3) - 6 * (k + 1), 4 * k * (k + 1)),
            Cited("So is the mean for a sum of them, by independence, and"
                  r" $e^{\lambda^2r^2/2-\lambda zr}$ bounds the probability of an error above $z$"
                  " times its root mean square $r$.", "Chernoff's bound"),
            Identity(r"At $\lambda=z/r$ the exponent is",
                     sp.Subs(lift**2 * spread**2 / 2 - lift * z * spread, lift, z / spread),
                     -(z**2) / 2),
            Identity("and it is least there, where its slope vanishes:",
                     sp.Derivative(lift**2 * spread**2 / 2 - lift * z * spread, lift),
                     spread**2 * (lift - z / spread)),
            Identity(r"Both signs and $N$ comparisons have in all $2Ne^{-z^2/2}=\alpha$ at",
                     sp.sqrt(-2 * sp.log(alarm / (2 * count))),
                     sp.sqrt(2 * sp.log(2 * count / alarm)), by="logarithms"),
        ),
        quantity="z",
        arguments=(count, alarm),
    )  # fmt: skip
