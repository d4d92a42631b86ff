"""Wavelengths, and the angles that a trained length never saw."""

from functools import cache

import sympy as sp

from .rope import PAIRS, p, r
from .rope_kernel import BASE, base, x
from .steps import Antiderivative, Cited, Definition, Identity, TermByTerm
from .theorem import Domain, Theorem

trained = sp.Symbol("T", positive=True)
rate = sp.Symbol("theta", positive=True)
rates = sp.IndexedBase("theta", nonnegative=True)
LENGTH = Domain(trained, "the trained length", "tokens")


@cache
def rope_wavelengths() -> Theorem:
    """How many tokens each pair takes for a whole turn."""
    place = p * sp.log((trained - 1) / (2 * sp.pi)) / sp.log(base)
    wave = 2 * sp.pi * base ** (r / p)
    return Theorem(
        name="rope-wavelengths",
        title="The wavelengths of RoPE",
        statement=r"With frequencies $b^{-r/p}$ the pairs turn once in so many tokens as follows: a"
        r" geometric series from $2\pi$ to almost $2\pi b$. A text of $T$ tokens holds a whole turn"
        r" of the pairs up to number $p\log_b((T-1)/2\pi)$.",
        hypotheses=("geometric frequencies $b^{-r/p}$, as in unscaled RoPE",),
        symbols=(Domain(r, "the number of a pair", "integer from 0 to $p-1$"), PAIRS, BASE),
        steps=(
            Identity("The wavelength is where the angle is a whole turn,",
                     sp.Mul(wave, base ** (-r / p), evaluate=False), 2 * sp.pi,
                     by="exponents"),
            Identity("it grows by the same factor from pair to pair,",
                     wave.subs(r, r + 1) / wave, base ** (1 / p), by="exponents"),
            Identity("and the pair whose wavelength is $T-1$ is that of the statement:",
                     sp.Subs(wave, r, place), trained - 1),
            Identity("Wavelengths are the inverse frequencies times a whole turn,",
                     sp.Mul(2 * sp.pi, sp.Pow(base ** (-r / p), -1, evaluate=False),
                            evaluate=False), wave, by="exponents"),
        ),
        quantity=r"2\pi/\theta_r",
        arguments=(r, p, base),
    )  # fmt: skip


@cache
def rope_unseen() -> Theorem:
    """How much of the circle a trained length has never shown, for any frequencies."""
    share = (trained - 1) * rate / (2 * sp.pi)
    shares = (trained - 1) * rates[r] / (2 * sp.pi)
    each = sp.Max(0, 1 - shares, evaluate=False)
    return Theorem(
        name="rope-unseen",
        title="Angles that a trained length never saw",
        statement="In $T$ tokens a pair of wavelength above $T-1$ has shown only part of the"
        " circle; any longer offset gives it angles that were never seen. Averaged over pairs, the"
        " share of the circle that stays unseen is as follows. Pairs that are not rotated are left"
        " out: their one angle is always the same.",
        hypotheses=("each pair starts at angle 0 and turns evenly",),
        symbols=(LENGTH, PAIRS, Domain(rates[r], "the frequency of a pair", "positive")),
        steps=(
            Identity("At the largest offset $T-1$ a pair has turned by this share of the circle:",
                     sp.Mul(trained - 1, sp.Pow(2 * sp.pi / rate, -1, evaluate=False),
                            evaluate=False), share),
            TermByTerm("No share is above one; what is left of the circle is",
                       sp.Sum(1 - sp.Min(1, shares, evaluate=False), (r, 0, p - 1)),
                       sp.Sum(each, (r, 0, p - 1)), by="minmax"),
            Identity("On average over pairs, then,",
                     sp.Sum(each / p, (r, 0, p - 1)), sp.Sum(each, (r, 0, p - 1)) / p, by="sums"),
        ),
        quantity="1-\\text{the share of the circle seen}",
        arguments=(trained, rates, p),
    )  # fmt: skip


@cache
def rope_unseen_comb() -> Theorem:
    """The same for geometric frequencies and many pairs, in closed form."""
    first = sp.Symbol("x_0", nonnegative=True)
    seen = sp.log((trained - 1) / (2 * sp.pi)) / sp.log(base)
    return Theorem(
        name="rope-unseen-comb",
        title="Angles that a trained length never saw, for many pairs",
        statement="With geometric frequencies and many pairs, the share of the circle that Theorem"
        " rope-unseen counts is in closed form; the share of pairs concerned is $1-x_0$.",
        hypotheses=("geometric frequencies, a fine comb of pairs", r"$2\pi \le T-1 \le 2\pi b$"),
        symbols=(LENGTH, BASE,
                 Domain(first, "the place of the first pair that has not turned once", "0 to 1")),
        steps=(
            Cited("The mean over pairs is a Riemann sum of a continuous function.",
                  "definition of the Riemann integral"),
            Definition(r"The pair at $x$ has wavelength $2\pi b^{x}$ (Theorem rope-wavelengths); it"
                       r" fits into $T-1$ up to", first, seen),
            Antiderivative(r"Beyond, the pair at $x$ has not seen a share $1-b^{x_0-x}$:",
                           sp.Integral(1 - base ** (first - x), (x, first, 1)),
                           1 - first - (1 - base ** (first - 1)) / sp.log(base),
                           primitive=x + base ** (first - x) / sp.log(base), by="exponents"),
            Identity("With the place put in,",
                     (1 - first - (1 - base ** (first - 1)) / sp.log(base)).subs(first, seen),
                     1 - seen - (1 - (trained - 1) / (2 * sp.pi * base)) / sp.log(base)),
        ),
        quantity="1-\\text{the share of the circle seen}",
        relation=r"\to",
        arguments=(trained, base),
    )  # fmt: skip
