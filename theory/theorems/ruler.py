"""The rulers: how well one activation tells which position it was read at."""

from functools import cache

import sympy as sp

from .gaussian import GaussianMean, independent
from .steps import Identity, Nonnegative
from .theorem import Domain, Theorem

d = sp.Symbol("d", positive=True)
q1, q2, q12 = sp.symbols("Q_ii Q_jj Q_ij", real=True)
k1, k2 = sp.symbols("K_ii K_jj", positive=True)
x, y = sp.symbols("x y", real=True)
n, gain, noise, spread = sp.symbols("n gamma s^2 c", positive=True)
signal = sp.Symbol("G", nonnegative=True)
slope = sp.Symbol("eta", real=True)
z = sp.Symbol("z", real=True)
WIDTH = Domain(d, "the width of the residual stream", "from 1")


@cache
def ruler_linear() -> Theorem:
    """d′ of the best linear readout."""
    a, b, u, v = sp.symbols("a b u v", real=True)
    variance = ((k1 - q1) + (k2 - q2)) / 2
    difference = q1 + q2 - 2 * q12
    return Theorem(
        name="ruler-linear",
        title="The linear ruler",
        statement="For a token read at one of two positions $i$ and $j$, with fixed weights and the"
        " rest of the text random, the best linear readout of one activation tells the positions"
        " apart with the following discriminability $d'$, in standard deviations.",
        hypotheses=("activations at a position are Gaussian about their mean",
                    "noise of variance $K-Q$ in each coordinate, averaged over both positions",
                    "wide limit"),
        symbols=(WIDTH, Domain(q1, "what contents share at $i$", "per coordinate"),
                 Domain(q2, "the same at $j$", "per coordinate"),
                 Domain(q12, "the same between $i$ and $j$", "per coordinate"),
                 Domain(k1, "the variance at $i$", "positive"),
                 Domain(k2, "the variance at $j$", "positive")),
        steps=(
            Identity("The means at both positions are Gaussian over weights; a coordinate of their"
                     " difference has the mean square",
                     GaussianMean((x - y) ** 2, {(x, x): q1, (y, y): q2, (x, y): q12}), difference),
            Identity("What is not shared is noise: two contents of one position differ by twice",
                     GaussianMean((x - y) ** 2, {(x, x): k1, (y, y): k1, (x, y): q1}) / 2, k1 - q1),
            Nonnegative("A readout along $(a,b)$ of a difference $(u,v)$ has the squared ratio of"
                        " signal to noise $(au+bv)^2/(a^2+b^2)$, at most $u^2+v^2$ and equal to it"
                        " along the difference itself, as",
                        (a**2 + b**2) * (u**2 + v**2) - (a * u + b * v) ** 2, (a * v - b * u) ** 2),
            Identity("Over $d$ coordinates the squared discriminability is the sum of squared"
                     " differences over the noise, hence",
                     sp.sqrt(d * difference / variance),
                     sp.sqrt(2 * d * difference / (k1 + k2 - q1 - q2))),
        ),
        quantity=r"d'",
        arguments=(d, q1, q2, q12, k1, k2),
    )  # fmt: skip


@cache
def ruler_norm() -> Theorem:
    """d′ of the norm."""
    power = sp.Symbol("p", positive=True)
    half = sp.Symbol("h", positive=True)
    ratio = sp.gamma(half + power) / sp.gamma(half)
    w = sp.Symbol("w", positive=True)
    return Theorem(
        name="ruler-norm",
        title="The norm ruler",
        statement=r"The log of the squared norm of a Gaussian activation has a variance that"
        r" depends on the width alone. Two positions with different variances are told apart by the"
        r" norm with the following $d'$ ($\psi_1$ is the trigamma function), which tends to"
        r" $\sqrt{d/2}\,|\ln K_{ii}/K_{jj}|$.",
        hypotheses=("activations are isotropic Gaussian with the variance of their position",),
        symbols=(WIDTH, Domain(k1, "the variance at $i$", "positive"),
                 Domain(k2, "the variance at $j$", "positive"), Domain(half, "$d/2$", "positive")),
        steps=(
            Identity("Half the squared norm over the variance has a gamma density with $h=d/2$; its"
                     " moments are",
                     sp.Integral(w ** (half + power - 1) * sp.exp(-w) / sp.gamma(half),
                                 (w, 0, sp.oo)), ratio),
            Identity("so that the logarithm, whose cumulants are derivatives of the log moments,"
                     r" at $p=0$ has the variance $\psi_1(h)$,",
                     sp.Derivative(sp.loggamma(half + power), (power, 2)),
                     sp.polygamma(1, half + power)),
            Identity("which tends to $2/d$ for large width:",
                     sp.Limit(sp.polygamma(1, half) * half, half, sp.oo), sp.S.One),
            Identity("The mean logarithms differ by that of the variances, so $d'$ is",
                     sp.Abs(sp.log(k1) - sp.log(k2)) / sp.sqrt(sp.polygamma(1, d / 2)),
                     sp.Abs(sp.log(k1 / k2)) / sp.sqrt(sp.polygamma(1, d / 2)), by="logarithms"),
        ),
        quantity=r"d'",
        arguments=(d, k1, k2),
        references=(("2305.13571", "position in the variance of a causal average"),),
    )  # fmt: skip


@cache
def ruler_fisher() -> Theorem:
    """Fisher information about log position."""
    at, z, shift = sp.symbols("ell z nu", real=True)
    mu, s = sp.Function("mu")(at), sp.Function("s", positive=True)(at)
    value = sp.Symbol("x", real=True)
    deviation = sp.Symbol("s", positive=True)
    log_density = -((value - mu) ** 2) / (2 * s**2) - sp.log(s)
    mean, width = sp.Derivative(mu, at), sp.Derivative(s, at)
    constant, linear, square = sp.symbols("c_0 c_1 c_2", real=True)

    def shared(a: sp.Expr, b: sp.Expr) -> sp.Expr:
        return constant + linear * (a + b) + square * (a**2 + b**2) / 2 + signal * a * b

    return Theorem(
        name="ruler-fisher",
        title="Fisher information about log position",
        statement=r"The information that one activation holds about $\ell=\ln i$ is the squared"
        r" rate at which its mean moves, $G=\partial_\ell\partial_{\ell'}Q$ at $\ell=\ell'$, over"
        r" the noise $s^2=K-Q$, and half the squared rate $\eta=\partial_\ell\ln s^2$: $d$ times"
        r" their sum. Both rulers are its finite differences, and $1/\sqrt{I}$ is the best"
        r" resolution of $\ln i$.",
        hypotheses=("activations are isotropic Gaussian about a mean that the contents share",),
        symbols=(WIDTH, Domain(signal, "the mean square rate of a coordinate's mean", "from 0"),
                 Domain(noise, "the noise of a coordinate", "positive"),
                 Domain(slope, "the rate of the log of the noise", "real")),
        steps=(
            Identity("The log density of a coordinate has the slope",
                     sp.Derivative(log_density, at),
                     -width / s + (value - mu) * mean / s**2 + (value - mu) ** 2 * width / s**3),
            Identity(r"whose mean square, with $x-\mu=sz$ and the two rates $\nu$ (of the mean) and"
                     r" $\eta s/2$, is",
                     GaussianMean((-slope / 2 + z * shift / deviation + z**2 * slope / 2) ** 2,
                                  independent(z)),
                     shift**2 / deviation**2 + slope**2 / 2),
            Identity("Any smooth kernel $Q$ is about a point a symmetric polynomial, up to the"
                     " second order, whose mixed derivative is $G$:",
                     sp.Derivative(shared(x, y), x, y), signal),
            Identity("The rate of a mean that is Gaussian over weights has this mean square, the"
                     " limit of the ruler's difference.",
                     (shared(x + n, x + n) + shared(x, x) - 2 * shared(x + n, x)) / n**2, signal),
            Identity("Over $d$ coordinates the information is",
                     d * signal / noise + d * slope**2 / 2, d * (signal / noise + slope**2 / 2)),
        ),
        quantity=r"I",
        arguments=(d, signal, noise, slope),
    )  # fmt: skip


@cache
def ruler_scaling() -> Theorem:
    """The information after one block: width, spread of the scores and position."""
    at, other = sp.symbols("ell ell_1", real=True)
    profile = 1 + spread * sp.exp(-at)
    shared = gain * sp.exp(-at - other)
    mean_part = gain / n**2 / (1 + spread / n)
    norm_part = (spread / (n + spread)) ** 2 / 2
    return Theorem(
        name="ruler-scaling",
        title="How the rulers scale with width and position",
        statement=r"Without normalisation and far from the start, seen from $\ell=\ln n$, the"
        r" variance after one block is $v_0(1+c/n)$ with $c=\gamma e^{\sigma^2}$, and what contents"
        r" share is $v_0\gamma/(nn')$. Both cues fade with the square of the position and grow with"
        r" the width; the spread of the scores acts through $c$.",
        hypotheses=("no normalisation, no MLP",
                    "$n$ large, so that the shared part is small against the variance"),
        symbols=(WIDTH, Domain(n, "the number of keys", "large"),
                 Domain(gain, "the gain of attention", "positive"),
                 Domain(spread, "the coefficient of the variance profile", "positive")),
        steps=(
            Identity("The norm cue: the log of the variance falls at the rate",
                     sp.Derivative(sp.log(profile), at), -spread / (sp.exp(at) + spread)),
            Identity(r"The linear cue: the shared part moves at a rate of mean square"
                     r" ($\ell_1=\ell$)",
                     sp.Derivative(shared, at, other), gain * sp.exp(-at - other)),
            Identity("The resolution of $\\ln n$ is far from the start, times $\\sqrt{d}/n$,",
                     sp.Limit((n**2 * (mean_part + norm_part)), n, sp.oo), gain + spread**2 / 2),
            Identity("By Theorem ruler-fisher, the information about $\\ln n$ is",
                     d * (mean_part + norm_part),
                     d * (gain / (n * (n + spread)) + spread**2 / (2 * (n + spread) ** 2))),
        ),
        quantity="I",
        arguments=(d, n, gain, spread),
    )  # fmt: skip


@cache
def ruler_depth() -> Theorem:
    """The information after any number of blocks."""
    at, other = sp.symbols("ell ell_1", real=True)
    depth = sp.Symbol("L", integer=True, positive=True)
    m = sp.Symbol("m", integer=True, positive=True)
    sigma = sp.Symbol("sigma", nonnegative=True)
    rate = sp.IndexedBase("r", real=True)
    c, slope = sp.symbols("c_m c_{m-1}", real=True)
    ways = sp.binomial(depth, m) * gain**m
    shared = sp.Sum(ways * rate[m] ** 2, (m, 1, depth))
    uniform = sp.Sum(ways * sp.binomial(2 * m - 2, m - 1), (m, 1, depth))
    column = sp.Function("c")
    return Theorem(
        name="ruler-depth",
        title="How the rulers scale with depth and the spread of the scores",
        statement=r"Far from the start, without normalisation, $L$ blocks let both cues grow"
        r" geometrically with depth. With $c_m(\ell)=[z^{m-1}]\,e^{z\ell}\Gamma(1-z)$ (Theorem"
        r" averaging-asymptotics, $c_0=0$) and $r_m=c_{m-1}-c_m$, the information about $\ln n$ is"
        r" the following, which falls with the square of the position. The spread of the scores"
        r" enters in the norm cue alone, once for every block, as $e^{\sigma^2}$ in place of 1.",
        hypotheses=("no normalisation of the stream, no MLP, wide limit", "$n$ large",
                    "independent tokens after a constant token 0",
                    "scores of one deviation at all tokens, as with normalised queries and keys"),
        symbols=(WIDTH, Domain(n, "the number of keys", "large"),
                 Domain(depth, "the number of blocks", "integer from 1"),
                 Domain(gain, "the gain of attention", "positive"),
                 Domain(sigma, "the standard deviation of a score", "from 0"),
                 Domain(rate[m], "$c_{m-1}-c_m$ at $\\ell=\\ln n$", "real")),
        steps=(
            Identity(r"A power of $z$ brings down by one what a derivative in $\ell$ does to the"
                     r" generating function,",
                     sp.Derivative(sp.exp(z * at) * sp.gamma(1 - z), at),
                     z * sp.exp(z * at) * sp.gamma(1 - z)),
            Identity(r"so that $c_m$ has the slope $c_{m-1}$, and the $m$-th power's entry"
                     r" $c_me^{-\ell}$ moves at the rate",
                     sp.Derivative(column(at) * sp.exp(-at), at).doit().subs(
                         {sp.Derivative(column(at), at): slope, column(at): c}),
                     (slope - c) * sp.exp(-at)),
            Identity("In $Q$, a sum of products of such entries (Theorem uniform-kernels), a"
                     " product of two rates takes the place of each, which gives $G$:",
                     sp.Derivative(sp.exp(-at) * sp.exp(-other), at, other),
                     sp.exp(-at) * sp.exp(-other)),
            Identity(r"The variance is $v_0(1+C/n)$ (Theorem variance-profile). A block's own"
                     r" weights, which enter as $\gamma/n$ where they are even, leave $\gamma"
                     r" e^{\sigma^2}/n$ (Theorem participation-series): $L$ blocks add",
                     depth * (gain * sp.exp(sigma**2) - gain),
                     depth * gain * (sp.exp(sigma**2) - 1)),
            Identity("to $C$. The log of the variance falls at the rate $C/n$, to leading order:",
                     sp.Limit(n * (spread / (n + spread)), n, sp.oo), spread),
            Identity("By Theorem ruler-fisher the information is",
                     d * (shared / n**2 + (uniform + depth * gain * (sp.exp(sigma**2) - 1)) ** 2
                          / n**2 / 2),
                     d / n**2 * (shared + (uniform + depth * gain * (sp.exp(sigma**2) - 1)) ** 2
                                 / 2)),
        ),
        quantity="I",
        relation=r"\approx",
        arguments=(d, n, depth, gain, sigma, rate),
        validity=r"The next terms are of relative order $\ln^{2L-2}n/n$. Where scores grow with the"
        r" norms of their tokens, token 0, whose norm is the largest, draws more than its share,"
        r" and the linear cue grows (by 12 parts in a hundred at $L=3$, $\sigma=0.8$,"
        r" $\gamma=0.4$). Where each block is normalised, its gain is one over the variance that it"
        r" meets, and the growth with depth is no longer geometric.",
    )  # fmt: skip
