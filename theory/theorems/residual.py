"""The residual leak: what contents share of the scores, and why RoPE hardly matters at first."""

from functools import cache

import sympy as sp

from .gaussian import GaussianMean
from .rope import other_phi, p, phi, relative_score, sigma, x1, x2, y1, y2
from .steps import Cited, Definition, Identity
from .theorem import Domain, Theorem

rho, align = sp.symbols("rho m", real=True)
c, c2 = sp.symbols("C_ij C_kl", real=True)
d_q, d_k, d_cross, d_cross2 = sp.symbols("D_ik D_jl D_il D_kj", real=True)
near, far, between, across = sp.symbols("kappa_1 kappa_2 kappa_- kappa_+", real=True)
u1, u2, v1, v2 = sp.symbols("q'_1 q'_2 k'_1 k'_2", real=True)
n = sp.Symbol("n", positive=True)

ALIGNMENT = Domain(align, "the alignment, the mean self-score", "real")
SCORE_STD = Domain(sigma, "the standard deviation of a score", "positive")
SHARED = (
    Domain(c, "the correlation of query token $i$ with key token $j$ in one content", "$-1$ to 1"),
    Domain(c2, "the same for $k$ and $l$", "$-1$ to 1"),
    Domain(d_q, "what two contents share of the tokens $i$ and $k$", "$-1$ to 1"),
    Domain(d_k, "the same for $j$ and $l$", "$-1$ to 1"),
)


def head_covariance() -> dict[tuple[sp.Symbol, sp.Symbol], sp.Expr]:
    """Return the covariance of two queries and two keys of aligned weights, pair by pair."""
    table: dict[tuple[sp.Symbol, sp.Symbol], sp.Expr] = {}
    for q, k, q_, k_ in ((x1, y1, u1, v1), (x2, y2, u2, v2)):
        table |= {(s, s): sp.S.One for s in (q, k, q_, k_)}
        table |= {(q, q_): d_q, (k, k_): d_k, (q, k): rho * c, (q_, k_): rho * c2}
        table |= {(q, k_): rho * d_cross, (q_, k): rho * d_cross2}
    return table


@cache
def residual_leak() -> Theorem:
    """``E[s̄ s̄']`` for a random head with alignment."""
    score = relative_score((x1, x2), (y1, y2), phi)
    other = relative_score((u1, u2), (v1, v2), other_phi)
    covariance = head_covariance()
    cross = rho**2 * d_cross * d_cross2
    claim = (
        align**2 * near * far * c * c2
        + sigma**2 * d_q * d_k * between
        + (align**2 * d_cross * d_cross2 * across / (2 * p))
    )
    return Theorem(
        name="residual-leak",
        title="The residual leak in closed form",
        statement=r"Over weights, the scores of a head averaged over contents have the second"
        r" moment below, for entries $(i,j)$ at offset $\Delta$ and $(k,l)$ at offset $\Delta'$."
        r" The first term is purely relative where $C$ is; absolute position enters through $D$,"
        r" what all contents share. $\kappa_1,\kappa_2,\kappa_-,\kappa_+$ stand for"
        r" $\kappa(\Delta)$, $\kappa(\Delta')$, $\kappa(\Delta-\Delta')$,"
        r" $\kappa(\Delta+\Delta')$.",
        hypotheses=("Gaussian query and key weights with correlation $\\rho$, wide limit",
                    "alignment $m=\\rho\\sigma\\sqrt{2p}$ in a head of $2p$ entries"),
        symbols=(ALIGNMENT, SCORE_STD, *SHARED,
                 Domain(d_cross, "what two contents share of $i$ and $l$", "$-1$ to 1"),
                 Domain(d_cross2, "what two contents share of $k$ and $j$", "$-1$ to 1"),
                 Domain(p, "the number of pairs, $d_h/2$", "integer from 1")),
        steps=(
            Identity(r"Turn queries and keys back to position 0; their coordinates are then"
                     r" Gaussian with the correlations of the tokens, times $\rho$ between query"
                     r" and key. A pair's score has the mean",
                     GaussianMean(score, covariance), 2 * rho * c * sp.cos(phi)),
            Identity("and two scores of one pair the second moment (Isserlis)",
                     GaussianMean(score * other, covariance),
                     4 * rho**2 * c * c2 * sp.cos(phi) * sp.cos(other_phi)
                     + 2 * d_q * d_k * sp.cos(phi - other_phi)
                     + 2 * cross * sp.cos(phi + other_phi),
                     by="trigonometry"),
            Cited("The mean over contents of a product of two contents' scores is the product of"
                  " the means, which is why the covariances hold $D$, not $C$.",
                  "independence of contents under one set of weights"),
            Definition(r"Sums over pairs of cosines are $p$ times the kernel. A score's variance"
                       r" $\sigma^2$ is spread over $2p$ such products, and", align,
                       rho * sigma * sp.sqrt(2 * p)),
            Identity("Means of different pairs multiply too, so that in all",
                     (sigma**2 / (2 * p) * (4 * rho**2 * c * c2 * (p * near) * (p * far)
                                            + 2 * d_q * d_k * p * between + 2 * cross * p * across)
                      ).subs(rho, align / (sigma * sp.sqrt(2 * p))), claim),
        ),
        quantity=r"\mathbb{E}\,\bar s_{ij}\bar s_{kl}",
        arguments=(align, sigma, c, c2, d_q, d_k, d_cross, d_cross2, near, far, between, across, p),
        validity="The last term is smaller by the head size; without it this is the leading order"
        " that predictions use.",
        references=(("2606.06160", "absolute position leaks through the residual stream"),),
    )  # fmt: skip


@cache
def frequencies_drop_out() -> Theorem:
    """Why RoPE's frequencies hardly matter at initialisation."""
    kernel = sp.Symbol("kappa", real=True)
    overlap = sp.Symbol("C_jk", real=True)
    content = {(v, v): sp.S.One for v in (x1, x2, y1, y2, v1, v2)}
    own = relative_score((x1, x2), (y1, y2), phi)
    other = relative_score((x1, x2), (v1, v2), other_phi)
    correlated = content | {(y1, v1): overlap, (y2, v2): overlap}
    mixed = sigma**2 * (1 + overlap * kernel) / n
    mean_mixed = sigma**2 * (n + 2 * overlap * kernel) / n**2
    weight = (1 + sigma**2 / 2 - mixed + mean_mixed - sigma**2 / 2) / n
    return Theorem(
        name="frequencies-drop-out",
        title="Why RoPE's frequencies drop out at initialisation",
        statement=r"Rotation changes attention on average only where the scores of two keys $j,k$"
        r" of a row are correlated: the kernel $\kappa(j-k)$ enters the mean weight of a key"
        r" multiplied by $\sigma^2$ and by the correlation of the two keys, which is 0 for fresh"
        r" tokens. To first order in the scores no frequency enters at all.",
        hypotheses=("independent Gaussian query and key weights ($m=0$)", "small scores",
                    "two correlated keys among $n$, the others independent"),
        symbols=(SCORE_STD, Domain(n, "the number of keys", "from 2"),
                 Domain(overlap, "the correlation of the two key tokens", "$-1$ to 1")),
        steps=(
            Identity("A score is as often positive as negative, so nothing remains to first order:",
                     GaussianMean(own, content), sp.S.Zero),
            Identity("A score's variance knows no angle,", GaussianMean(own**2, content), sp.S(2),
                     by="trigonometry"),
            Identity(r"and the scores of two keys of one row are correlated by their overlap times"
                     r" the cosine of the difference of their angles, in all by"
                     r" $C_{jk}\kappa(j-k)$.",
                     GaussianMean(own * other, correlated),
                     2 * overlap * sp.cos(phi - other_phi), by="trigonometry"),
            Identity("In Theorem key-weights the kernel therefore has the coefficient",
                     sp.Derivative(weight, kernel), -(sigma**2) * overlap * (n - 2) / n**3),
        ),
        quantity=r"\partial_\kappa\,\mathbb{E}\,a_j",
        relation=r"\approx",
        arguments=(sigma, overlap, n),
    )  # fmt: skip
