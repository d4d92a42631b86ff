"""Stacks of uniform attention with residual weights: rollout, kernels, variance."""

from functools import cache

import sympy as sp

from .averaging import QUERY, UNIFORM, i, j
from .averaging_powers import RESIDUAL
from .steps import Cited, Identity, Nonnegative, Recurrence, SumInduction, TermByTerm
from .theorem import Domain, Theorem

weight = sp.Symbol("lambda", positive=True)
depth = sp.Symbol("L", integer=True, nonnegative=True)
m, k = (sp.Symbol(name, integer=True, nonnegative=True) for name in ("m", "k"))
gain, v0, n = sp.symbols("gamma v_0 n", positive=True)
P, A = sp.IndexedBase("P", nonnegative=True), sp.IndexedBase("A", real=True)

DEPTH = Domain(depth, "the number of layers", "integer from 0")
WEIGHT = Domain(weight, "the share of a layer that is attention, the rest being residual", "0 to 1")
GAIN = Domain(gain, "the variance that a head bank adds when it copies a unit token", "from 0")
EMBEDDING = Domain(v0, "the variance of an embedding", "positive")
EMERGENCE = ("2502.01951", "attention-only rollout collapses onto the first token")


def expansion(kept: sp.Expr, added: sp.Expr, rest: sp.Expr) -> TermByTerm:
    """Return the step from ``L - 1`` to ``L`` of ``Σ_m C(L, m) kept^(L-m) added^m rest_m``."""

    def term(length: sp.Expr, power: sp.Expr) -> sp.Expr:
        return sp.binomial(length, power) * kept ** (length - power) * added**power

    before = kept * term(depth - 1, m) + added * term(depth - 1, m - 1)
    return TermByTerm(
        "A block keeps each power with its first weight and raises it by one with its second. With"
        " Pascal's rule, by induction over blocks, the result is",
        sp.Sum(before * rest, (m, 0, depth)), sp.Sum(term(depth, m) * rest, (m, 0, depth)),
        by="binomials",
    )  # fmt: skip


@cache
def rollout() -> Theorem:
    """``((1-λ) + λU)^L`` as a sum of positive terms."""
    return Theorem(
        name="rollout",
        title="Rollout through residual layers",
        statement="The influence of token $j$ on position $i$ through $L$ layers, each a mixture of"
        " residual stream and uniform attention, is a sum of positive terms: binomial weights times"
        " $P_m=(U^m)_{ij}$ (Theorem averaging-power; $P_0$ is 1 for $i=j$ and 0 otherwise).",
        hypotheses=(*UNIFORM, r"each layer is $(1-\lambda)I+\lambda U$"),
        symbols=(DEPTH, WEIGHT, Domain(P[m], "the entry of the $m$-th power", "0 to 1")),
        steps=(
            Identity("A single layer has the eigenvalues",
                     (1 - weight) + weight / (k + 1), 1 - weight * k / (k + 1)),
            Recurrence("so that through $L$ layers an eigenvector is multiplied by",
                       sp.Function("f")(depth), (1 - weight * k / (k + 1)) ** depth,
                       index=depth, start=sp.S.Zero, first=sp.S.One,
                       update=sp.Function("f")(depth) * (1 - weight * k / (k + 1)),
                       by="exponents"),
            SumInduction(r"Token $i$ keeps $(1-\lambda+\lambda/(i+1))^L$ of itself, the recency"
                         r" end; token 0 gains what others lose, the primacy end: rows still sum to"
                         r" one,",
                         sp.Sum(sp.S.One / (i + 1), (j, 0, k)), (k + 1) / (i + 1)),
            expansion(1 - weight, weight, P[m]),
        ),
        quantity=r"\bigl(((1-\lambda)I+\lambda U)^L\bigr)_{ij}",
        arguments=(depth, weight, P),
        references=(EMERGENCE, RESIDUAL),
    )  # fmt: skip


@cache
def rollout_collapse() -> Theorem:
    """Rollout collapses onto token 0 at the rate of its second eigenvalue."""
    mean = sp.Function("e")(depth)
    below = sp.Symbol("nu", nonnegative=True)
    return Theorem(
        name="rollout-collapse",
        title="How fast influence collapses onto the first token",
        statement=r"The influence of all tokens but token 0 on position $i$ after $L$ layers is at"
        r" most $i(1-\lambda/2)^L$, which is the mean position that is read. If $\lambda$ differs"
        r" from layer to layer the bound is $i\prod_l(1-\lambda_l/2)$: collapse is complete at"
        r" infinite depth if $\sum\lambda_l$ diverges, and with $\lambda=1$ it is that of attention"
        r" without residual streams. If $\sum\lambda_l$ converges it is not: position $i$ keeps a"
        r" positive share of itself.",
        hypotheses=(*UNIFORM, r"each layer is $(1-\lambda)I+\lambda U$"),
        symbols=(QUERY, DEPTH, WEIGHT),
        steps=(
            SumInduction(r"Positions $0,1,\ldots$ are an eigenvector with eigenvalue one half:"
                         r" their sum over the keys is", sp.Sum(j, (j, 0, i)), i * (i + 1) / 2),
            Identity("so a layer maps the mean position of what is read to",
                     (1 - weight) * i + weight * sp.Sum(j, (j, 0, i)) / (i + 1),
                     (1 - weight / 2) * i),
            Cited("The influence of tokens from 1 on is at most the mean position that is read.",
                  "Markov's inequality"),
            Nonnegative(r"What position $i$ keeps of itself in a layer, with $\lambda=1/(1+\nu)$,"
                        r" exceeds $1-\lambda$ by",
                        sp.Add(1 - 1 / (1 + below) + 1 / (1 + below) / (i + 1),
                               -1 + 1 / (1 + below), evaluate=False),
                        1 / ((1 + below) * (i + 1))),
            Cited(r"and the product of all $1-\lambda_l$ is positive if and only if their sum"
                  r" converges (no $\lambda_l$ being one).", "theory of infinite products"),
            Identity("Layers multiply their factors; equal ones give a power:",
                     sp.Product(1 - weight / 2, (k, 1, depth)), (1 - weight / 2) ** depth),
            Recurrence("From position $i$ itself, by induction over layers,",
                       mean, i * (1 - weight / 2) ** depth, index=depth, start=sp.S.Zero, first=i,
                       update=mean * (1 - weight / 2)),
        ),
        quantity=r"\sum_{j\ge1}\bigl(((1-\lambda)I+\lambda U)^L\bigr)_{ij}",
        relation=r"\le",
        arguments=(i, depth, weight),
        references=(EMERGENCE, RESIDUAL),
    )  # fmt: skip


@cache
def uniform_kernels() -> Theorem:
    """``K`` and ``Q`` without norms: a closed form in powers of ``U``."""
    operator = sp.Symbol("A", commutative=True)
    state = sp.Function("f")(depth)
    return Theorem(
        name="uniform-kernels",
        title="The residual stream without norms",
        statement=r"Without normalisation each block maps $K$ to $K+\gamma UKU^{\top}$, and $Q$"
        r" alike. After $L$ blocks both are the following, where $A_m=(U^mK_0(U^m)^{\top})_{ij}$"
        r" for what they start from. Random tokens have $K_0=v_0I$ and"
        r" $A_m=v_0\sum_k(U^m)_{ik}(U^m)_{jk}$; a constant token 0 in front of random content has"
        r" $Q_0=v_0e_0e_0^{\top}$, of rank one, and $A_m=v_0(U^m)_{i0}(U^m)_{j0}$ (Theorem"
        r" averaging-power).",
        hypotheses=(*UNIFORM, "no normalisation, no MLP, wide limit"),
        symbols=(DEPTH, GAIN, Domain(A[m], r"$(U^mK_0(U^m)^{\top})_{ij}$", "real")),
        steps=(
            Recurrence(r"Let $A$ stand for $K\mapsto UKU^{\top}$. A block adds $\gamma A$ of the"
                       r" state,",
                       state, (1 + gain * operator) ** depth, index=depth, start=sp.S.Zero,
                       first=sp.S.One, update=state + gain * operator * state),
            expansion(sp.S.One, gain, A[m]),
        ),
        quantity=r"K^{(L)}_{ij},\;Q^{(L)}_{ij}",
        arguments=(depth, gain, A),
    )  # fmt: skip


@cache
def variance_shrinkage() -> Theorem:
    """Averaging over more keys leaves less variance."""
    return Theorem(
        name="variance-shrinkage",
        title="Variance shrinks with position",
        statement=r"After one block of causal attention over independent tokens the variance of the"
        r" residual stream at the $n$-th token is $v_0(1+\gamma\,PR)$, and $PR=1/n$ for uniform"
        r" attention: position can be read from the norm.",
        hypotheses=("independent tokens of one variance",
                    "no normalisation or one that starts from equal norms",
                    "weights that do not depend on the values"),
        symbols=(Domain(n, "the number of keys", "from 1"), GAIN, EMBEDDING),
        steps=(
            Identity("Independent tokens add their variances with squared weights: for uniform"
                     " weights over $n$ keys", sp.Sum((1 / (i + 1)) ** 2, (j, 0, i)), 1 / (i + 1)),
            Identity("so that, added to the residual stream,",
                     v0 + gain * v0 * sp.Sum((1 / n) ** 2, (j, 1, n)), v0 * (1 + gain / n)),
        ),
        quantity=r"K_{ii}",
        arguments=(n, gain, v0),
        validity=r"With spread scores $1/n$ becomes the participation ratio of Theorem"
        r" participation-ratio, about $e^{\sigma^2}/n$.",
        references=(("2305.13571", "the variance of a causal average carries position"),),
    )  # fmt: skip


@cache
def variance_profile() -> Theorem:
    """The variance at depth, far from the start, without norms."""
    s = sp.Symbol("s", positive=True)
    power = sp.Symbol("m", integer=True, positive=True)
    return Theorem(
        name="variance-profile",
        title="The variance profile of a deep stack",
        statement=r"Without normalisation, the variance after $L$ blocks of uniform attention"
        r" approaches $v_0$ with the inverse of the position, at every depth; the coefficient grows"
        r" with depth about like $(1+4\gamma)^L$.",
        hypotheses=(*UNIFORM, "no normalisation, no MLP, wide limit", "$n$ large"),
        symbols=(Domain(n, "the number of keys", "large"), DEPTH, GAIN, EMBEDDING),
        steps=(
            Identity("On the log-position axis the squared kernel of $m$ layers, $e^{s}$ of it per"
                     " unit of position (Theorem averaging-convolution), integrates to",
                     sp.Integral((s ** (power - 1) / sp.factorial(power - 1)) ** 2 * sp.exp(-s),
                                 (s, 0, sp.oo)),
                     sp.binomial(2 * power - 2, power - 1), by="gamma"),
            Identity("whose ratio from one power to the next tends to four:",
                     sp.Limit(sp.gammasimp((sp.binomial(2 * m + 2, m + 1) / sp.binomial(2 * m, m))
                                           .rewrite(sp.gamma)), m, sp.oo), sp.S(4)),
            Identity("With the binomial weights of Theorem uniform-kernels the variance is",
                     v0 + sp.Sum(v0 * sp.binomial(depth, m) * gain**m / n
                                 * sp.binomial(2 * m - 2, m - 1), (m, 1, depth)),
                     v0 * (1 + sp.Sum(sp.binomial(depth, m) * gain**m
                                      * sp.binomial(2 * m - 2, m - 1), (m, 1, depth)) / n),
                     by="sums"),
        ),
        quantity=r"K_{ii}",
        relation=r"\approx",
        arguments=(n, depth, gain, v0),
        validity=r"The next terms are of relative order $\ln^{2L-2}n/n$.",
    )  # fmt: skip
