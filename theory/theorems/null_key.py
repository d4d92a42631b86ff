"""A key that stands in the denominator and writes nothing: sink logits and softmax off-by-one."""

from functools import cache

import sympy as sp

from .denominator import (
    DEFICIT,
    FUBINI,
    INDEPENDENT,
    KEPT,
    KEYS,
    LAPLACE,
    LOGIT,
    MISSING,
    SCORE_STD,
    SCORES,
    TONELLI,
    deficit,
    logit,
    n,
    phi,
    sigma,
    t,
    total,
    u,
)
from .gaussian_line import gaussian_line
from .participation import FEWER_KEPT, SECOND, SQUARED, WITH_SQUARE, second
from .steps import Definition, Identity, Substitution, TermByTerm
from .theorem import Theorem

constant = sp.Symbol("B", positive=True)
NULL_WEIGHT = Definition("The null key weighs", constant, sp.exp(logit))


@cache
def null_key_denominator() -> Theorem:
    """``E ln Z`` with a sink logit; off-by-one softmax is logit 0."""
    weight = sp.exp(-sp.exp(u + logit))
    return Theorem(
        name="null-key-denominator",
        title="The denominator with a key that writes nothing",
        statement=r"A sink logit $\ell$ adds $e^{\ell}$ to the denominator (softmax off-by-one:"
        r" $\ell=0$). The mean log denominator is the same integral with one more factor.",
        hypotheses=(*SCORES, "the logit is given"),
        symbols=(KEYS, SCORE_STD, LOGIT),
        steps=(
            LAPLACE, FUBINI, INDEPENDENT,
            Identity("The constant multiplies the transform by",
                     sp.exp(-t * (total + sp.exp(logit))) / sp.exp(-t * total),
                     sp.exp(-t * sp.exp(logit))),
            Substitution("Frullani's integral on a logarithmic scale is then",
                         sp.Integral((sp.exp(-t) - sp.exp(-t * sp.exp(logit)) * phi(t) ** n) / t,
                                     (t, 0, sp.oo)),
                         sp.Integral(sp.exp(-sp.exp(u)) - weight * phi(sp.exp(u)) ** n,
                                     (u, -sp.oo, sp.oo)),
                         old=sp.exp(u)),
            DEFICIT,
            TermByTerm("so that the mean log denominator is",
                       sp.Integral(sp.exp(-sp.exp(u)) - weight * (1 - deficit(u)) ** n,
                                   (u, -sp.oo, sp.oo)),
                       sp.Integral(sp.exp(-sp.exp(u)) - weight * KEPT, (u, -sp.oo, sp.oo)),
                       by="powers"),
        ),
        quantity=r"\mathbb{E}\ln\bigl(Z_n+e^\ell\bigr)",
        arguments=(n, sigma, logit),
        compiler=gaussian_line(u, {deficit(u): MISSING}),
    )  # fmt: skip


@cache
def null_key_row_sum() -> Theorem:
    """The mean share of attention that is not lost to the null key."""
    weight = sp.exp(u + logit) * sp.exp(-sp.exp(u + logit))
    return Theorem(
        name="null-key-row-sum",
        title="What a null key leaves to the others",
        statement="With a sink logit the weights of a row sum to less than one, by an amount that"
        " falls with the number of keys: a second way for absolute position to leak.",
        hypotheses=(*SCORES, "the logit is given"),
        symbols=(KEYS, SCORE_STD, LOGIT),
        steps=(
            LAPLACE, TONELLI, INDEPENDENT,
            Identity("The inverse of the denominator is an integral,",
                     sp.Integral(sp.exp(-t * (total + constant)), (t, 0, sp.oo)),
                     1 / (total + constant)),
            Identity("and what the other keys get is", total / (total + constant),
                     1 - constant / (total + constant)),
            Substitution("On a logarithmic scale, the lost share is",
                         sp.Integral(sp.exp(logit) * sp.exp(-t * sp.exp(logit)) * phi(t) ** n,
                                     (t, 0, sp.oo)),
                         sp.Integral(weight * phi(sp.exp(u)) ** n, (u, -sp.oo, sp.oo)),
                         old=sp.exp(u)),
            DEFICIT,
            Identity("and the mean row sum",
                     1 - sp.Integral(weight * (1 - deficit(u)) ** n, (u, -sp.oo, sp.oo)),
                     1 - sp.Integral(weight * KEPT, (u, -sp.oo, sp.oo)), by="powers"),
        ),
        quantity=r"\mathbb{E}\sum_j a_j",
        arguments=(n, sigma, logit),
        compiler=gaussian_line(u, {deficit(u): MISSING}),
    )  # fmt: skip


@cache
def null_key_row_sum_square() -> Theorem:
    """The mean square of the share of attention that is not lost to the null key."""
    lost = sp.exp(u + logit)
    weight = (2 * lost - lost**2) * sp.exp(-lost)
    at = t * sp.exp(logit)
    return Theorem(
        name="null-key-row-sum-square",
        title="How unevenly a null key leaves its rest",
        statement="The mean square of a row's sum is one integral too. It exceeds the square of the"
        " mean: how much is lost to the null key differs from row to row.",
        hypotheses=(*SCORES, "the logit is given"),
        symbols=(KEYS, SCORE_STD, LOGIT),
        steps=(
            LAPLACE, TONELLI, INDEPENDENT, NULL_WEIGHT,
            Identity("The square of what the other keys get is",
                     (total / (total + constant)) ** 2,
                     1 - 2 * constant / (total + constant) + constant**2 / (total + constant) ** 2),
            Identity("where both inverse powers of the denominator come from one integral,",
                     sp.Integral((2 * constant - constant**2 * t) * sp.exp(-t * (total + constant)),
                                 (t, 0, sp.oo)),
                     2 * constant / (total + constant) - constant**2 / (total + constant) ** 2),
            Substitution("On a logarithmic scale, its mean is",
                         sp.Integral((2 * at - at**2) * sp.exp(-at) * phi(t) ** n / t,
                                     (t, 0, sp.oo)),
                         sp.Integral(weight * phi(sp.exp(u)) ** n, (u, -sp.oo, sp.oo)),
                         old=sp.exp(u)),
            DEFICIT,
            Identity("and the mean square of the row sum",
                     1 - sp.Integral(weight * (1 - deficit(u)) ** n, (u, -sp.oo, sp.oo)),
                     1 - sp.Integral(weight * KEPT, (u, -sp.oo, sp.oo)), by="powers"),
        ),
        quantity=r"\mathbb{E}\Bigl(\sum_j a_j\Bigr)^2",
        arguments=(n, sigma, logit),
        compiler=gaussian_line(u, {deficit(u): MISSING}),
    )  # fmt: skip


@cache
def null_key_participation() -> Theorem:
    """``E Σ_j a_j²`` over the keys that write something."""
    curvature = sp.Function("chi", nonnegative=True)
    weight = sp.exp(-sp.exp(u + logit))
    return Theorem(
        name="null-key-participation",
        title="The participation ratio beside a null key",
        statement="With a sink logit the mean sum of squared weights, the null key's left out, is"
        " the integral of Theorem participation-ratio with one more factor.",
        hypotheses=(*SCORES, "the logit is given"),
        symbols=(KEYS, SCORE_STD, LOGIT),
        steps=(
            LAPLACE, TONELLI, INDEPENDENT, NULL_WEIGHT,
            Identity("The inverse square of the denominator is an integral,",
                     sp.Integral(t * sp.exp(-t * (total + constant)), (t, 0, sp.oo)),
                     1 / (total + constant) ** 2),
            Substitution(r"With $\chi$ the mean of a key's squared weight under it, all keys"
                         r" together are, on a logarithmic scale,",
                         sp.Integral(t * sp.exp(-t * sp.exp(logit)) * curvature(t)
                                     * phi(t) ** (n - 1), (t, 0, sp.oo)),
                         sp.Integral(sp.exp(2 * u) * weight * curvature(sp.exp(u))
                                     * phi(sp.exp(u)) ** (n - 1), (u, -sp.oo, sp.oo)),
                         old=sp.exp(u)),
            SQUARED,
            WITH_SQUARE,
            DEFICIT,
            Identity("and the participation ratio is",
                     n * sp.Integral(weight * second(u) * (1 - deficit(u)) ** (n - 1),
                                     (u, -sp.oo, sp.oo)),
                     n * sp.Integral(weight * second(u) * FEWER_KEPT, (u, -sp.oo, sp.oo)),
                     by="powers"),
        ),
        quantity=r"\mathbb{E}\sum_j a_j^2",
        arguments=(n, sigma, logit),
        compiler=gaussian_line(u, {deficit(u): MISSING, second(u): SECOND}),
    )  # fmt: skip
