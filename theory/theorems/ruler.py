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
        hypotheses=(("activations at a position are Gaussian about their mean, isotropic, with the"
                    " variance $K-Q$ per coordinate averaged over both positions"), "wide limit"),
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
                        " signal"
                        " to noise $(au+bv)^2/(a^2+b^2)$, at most $u^2+v^2$ and equal to it along"
                        " the"
                        " difference itself, as",
                        (a**2 + b**2) * (u**2 + v**2) - (a * u + b * v) ** 2, (a * v - b * u) ** 2),
            Identity("Over $d$ coordinates the squared discriminability is the sum of squared"
                     " differences over the noise, hence",
                     sp.sqrt(d * difference / variance),
                     sp.sqrt(2 * d * difference / (k1 + k2 - q1 - q2))),
        ),
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
        statement="The log of the squared norm of a Gaussian activation has a variance that"
                  " depends on"
        " the width alone. Two positions with different variances are told apart by the norm with"
        " the"
        r" following $d'$, which tends to $\sqrt{d/2}\,|\ln K_{ii}/K_{jj}|$.",
        hypotheses=("activations are isotropic Gaussian with the variance of their position",),
        symbols=(WIDTH, Domain(k1, "the variance at $i$", "positive"),
                 Domain(k2, "the variance at $j$", "positive"), Domain(half, "$d/2$", "positive")),
        steps=(
            Identity("Half the squared norm over the variance has a gamma density with $h=d/2$; its"
                     " moments are",
                     sp.Integral(w ** (half + power - 1) * sp.exp(-w) / sp.gamma(half),
                                 (w, 0, sp.oo)), ratio),
            Identity("so that the logarithm, whose cumulants are derivatives of the log moments,"
                     " has"
                     " the variance",
                     sp.Limit(sp.Derivative(sp.loggamma(half + power), (power, 2)).doit(),
                              power, 0),
                     sp.polygamma(1, half)),
            Identity("which tends to $2/d$ for large width:",
                     sp.Limit(sp.polygamma(1, half) * half, half, sp.oo), sp.S.One),
            Identity("The mean logarithms differ by that of the variances, so $d'$ is",
                     sp.Abs(sp.log(k1) - sp.log(k2)) / sp.sqrt(sp.polygamma(1, d / 2)),
                     sp.Abs(sp.log(k1 / k2)) / sp.sqrt(sp.polygamma(1, d / 2)), by="logarithms"),
        ),
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
    return Theorem(
        name="ruler-fisher",
        title="Fisher information about log position",
        statement=r"The information that one activation holds about $\ell=\ln i$ is the squared"
                  r" rate at"
        r" which its mean moves, $G=\partial_\ell\partial_{\ell'}Q$ at $\ell=\ell'$, over the noise"
        r" $s^2=K-Q$, and half the squared rate $\eta=\partial_\ell\ln s^2$: $d$ times their sum."
        r" Both"
        r" rulers are its finite differences, and $1/\sqrt{I}$ is the best resolution of $\ln i$.",
        hypotheses=("activations are isotropic Gaussian about a mean that the contents share",),
        symbols=(WIDTH, Domain(signal, "the mean square rate of a coordinate's mean", "from 0"),
                 Domain(noise, "the noise of a coordinate", "positive"),
                 Domain(slope, "the rate of the log of the noise", "real")),
        steps=(
            Identity("The log density of a coordinate has the slope",
                     sp.Derivative(log_density, at),
                     -width / s + (value - mu) * mean / s**2 + (value - mu) ** 2 * width / s**3),
            Identity("whose mean square, with $x-\\mu=sz$ and the two rates $\\nu$ (of the mean)"
                     " and $\\eta s/2$, is",
                     GaussianMean((-slope / 2 + z * shift / deviation + z**2 * slope / 2) ** 2,
                                  independent(z)),
                     shift**2 / deviation**2 + slope**2 / 2),
            Identity("The rate of a mean that is Gaussian over weights has the mean square"
                     " $\\partial_\\ell\\partial_{\\ell'}Q$, the limit of the ruler's difference:",
                     sp.Limit((x**2 * (1 + n) ** 2 + x**2 - 2 * x**2 * (1 + n)) / n**2, n, 0),
                     x**2),
            Identity("Over $d$ coordinates the information is",
                     d * signal / noise + d * slope**2 / 2, d * (signal / noise + slope**2 / 2)),
        ),
        arguments=(d, signal, noise, slope),
    )  # fmt: skip


@cache
def ruler_scaling() -> Theorem:
    """How the rulers scale with width, depth, spread and position."""
    at, other = sp.symbols("ell ell_1", real=True)
    profile = 1 + spread * sp.exp(-at)
    shared = gain * sp.exp(-at - other)
    mean_part = gain / n**2 / (1 + spread / n)
    norm_part = (spread / (n + spread)) ** 2 / 2
    return Theorem(
        name="ruler-scaling",
        title="How the rulers scale",
        statement="Without normalisation, far from the start and seen from $\\ell=\\ln n$, the"
                  " variance"
        " is $v_0(1+c/n)$ and what contents share, $v_0\\gamma/(nn')$ after one block. Both cues"
        " fade"
        " with the square of the position and grow with the width; depth and spread of the scores"
        " act"
        " through $c$: after one block $c=\\gamma e^{\\sigma^2}$, after $L$ blocks of uniform"
        " attention"
        " the sum of Theorem variance-profile, which grows geometrically.",
        hypotheses=(("no normalisation, no"
                    " MLP"), ("$n$ large, so that the shared part is small against"
                    " the variance")),
        symbols=(WIDTH, Domain(n, "the number of keys", "large"),
                 Domain(gain, "the gain of attention", "positive"),
                 Domain(spread, "the coefficient of the variance profile", "positive")),
        steps=(
            Identity("The norm cue: the log of the variance falls at the rate",
                     sp.Derivative(sp.log(profile), at), -spread / (sp.exp(at) + spread)),
            Identity("The linear cue: the shared part moves at a rate of mean square"
                     " ($\\ell_1=\\ell$)",
                     sp.Derivative(shared, at, other), gain * sp.exp(-at - other)),
            Identity("The resolution of $\\ln n$ is far from the start, times $\\sqrt{d}/n$,",
                     sp.Limit((n**2 * (mean_part + norm_part)), n, sp.oo), gain + spread**2 / 2),
            Identity("By Theorem ruler-fisher, the information about $\\ln n$ is",
                     d * (mean_part + norm_part),
                     d * (gain / (n * (n + spread)) + spread**2 / (2 * (n + spread) ** 2))),
        ),
        arguments=(d, n, gain, spread),
        validity="Where each block is normalised the growth with depth is that of the normalised"
        " recursion, linear instead of geometric.",
    )  # fmt: skip
