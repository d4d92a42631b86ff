"""Frequency rules that break relativity, and by how much: dynamic NTK, LongRoPE, mixed caches."""

from functools import cache

import sympy as sp

from .functions import Dirichlet
from .gaussian import GaussianMean, independent
from .rope import PAIRS, p, phi, r, relative_score, sigma, x1, x2, y1, y2
from .steps import Definition, Identity, SumInduction
from .theorem import Domain, Theorem

delta = sp.Symbol("delta", real=True)
change, gap = (sp.IndexedBase(name, real=True) for name in ("delta", "omega"))
i, j = (sp.Symbol(name, integer=True, nonnegative=True) for name in ("i", "j"))
now, then = sp.symbols("theta'_r theta_r", real=True)

SCORE_STD = Domain(sigma, "the standard deviation of a score", "from 0")
GAPS = Domain(gap[r], "how far a pair's frequency moves", "real")


def break_of(angles: sp.IndexedBase) -> sp.Expr:
    """Return the root mean square change of a score whose pairs turn by ``angles`` more."""
    return 2 * sigma * sp.sqrt(sp.Sum(sp.sin(angles[r] / 2) ** 2, (r, 0, p - 1)) / p)


@cache
def rope_break() -> Theorem:
    """The RMS change of a score when the phases of its pairs change."""
    content = independent(x1, x2, y1, y2)
    score = relative_score((x1, x2), (y1, y2), phi)
    changed = relative_score((x1, x2), (y1, y2), phi + delta)
    return Theorem(
        name="rope-break",
        title="The size of a break of relativity",
        statement=r"If the phases of a head's pairs change by $\delta_r$, scores of standard"
        r" deviation $\sigma$ change by the root mean square below, at every offset. A base that is"
        r" recomputed for the whole text has $\delta_r = \Delta(\theta'_r-\theta_r)$ at offset"
        r" $\Delta$.",
        hypotheses=("query and key are independent and isotropic Gaussian",),
        symbols=(PAIRS, SCORE_STD, Domain(change[r], "the change of a pair's phase", "real")),
        steps=(
            Identity("A pair's score has the same variance at every phase:",
                     GaussianMean(score**2, content), sp.S(2), by="trigonometry"),
            Identity(r"and a change of the phase by $\delta$ moves it by",
                     GaussianMean((changed - score) ** 2, content), 8 * sp.sin(delta / 2) ** 2),
            Identity(r"Pairs are independent and each has $\sigma^2/p$ of the score's variance,"
                     r" which the variance 2 of the first line stands for. The mean squares add up,"
                     r" and the root mean square change of the score is",
                     sp.sqrt(sigma**2 / (2 * p) * sp.Sum(8 * sp.sin(change[r] / 2) ** 2,
                                                         (r, 0, p - 1))),
                     break_of(change), by="sums"),
        ),
        quantity=r"\sqrt{\mathbb{E}(s'-s)^2}",
        arguments=(sigma, change, p),
    )  # fmt: skip


@cache
def rope_break_mean() -> Theorem:
    """The break averaged over a range of offsets, or of cached keys."""
    x, last = (sp.Symbol(name, integer=True, nonnegative=True) for name in ("x", "X"))
    count = sp.Symbol("N", integer=True, positive=True)
    w = sp.Symbol("omega", positive=True)
    spelt = sp.sin((2 * last + 1) * w / 2) / sp.sin(w / 2)
    mean = (1 + (2 * count - 1) * Dirichlet(gap[r], 2 * count - 1)) / (2 * count)
    return Theorem(
        name="rope-break-mean",
        title="The size of a break over a range",
        statement=r"Let a pair's phase change by a multiple $x$ of how far its frequency moves, as"
        r" at offset $x$ after a change of the base, or at key $x$ of a cache that was filled under"
        r" another one. Over $x=0,\ldots,N-1$ the root mean square change of a score is in closed"
        r" form. It tends to $\sqrt2\,\sigma$, two scores that have nothing in common, when every"
        r" pair has moved by many turns.",
        hypotheses=("query and key are independent and isotropic Gaussian",),
        symbols=(PAIRS, SCORE_STD, GAPS, Domain(count, "how many multiples", "integer from 1")),
        steps=(
            Identity("A sine squared is a cosine,", 4 * sp.sin(x * w / 2) ** 2,
                     2 - 2 * sp.cos(x * w), by="trigonometry"),
            SumInduction("and cosines of multiples sum to a ratio of sines:",
                         sp.Sum(sp.cos(x * w), (x, 0, last)), (1 + spelt) / 2,
                         by="trigonometry"),
            Identity(r"With $\operatorname{D}_N(\omega)=\sin(N\omega/2)/(N\sin(\omega/2))$, their"
                     r" mean over $x<N$ is",
                     ((1 + spelt) / 2).subs(last, count - 1) / count,
                     (1 + (2 * count - 1) * Dirichlet(w, 2 * count - 1)) / (2 * count),
                     by="trigonometry"),
            Identity("The root of the mean square over pairs and multiples is",
                     sp.sqrt(sigma**2 / p * sp.Sum(2 - 2 * mean, (r, 0, p - 1))),
                     sigma * sp.sqrt(2 * sp.Sum(1 - mean, (r, 0, p - 1)) / p), by="sums"),
        ),
        quantity=r"\Bigl(\tfrac{1}{N}\sum_{x<N}\mathbb{E}(s'_x-s_x)^2\Bigr)^{1/2}",
        arguments=(sigma, gap, p, count),
    )  # fmt: skip


@cache
def rope_dynamic() -> Theorem:
    """How far dynamic NTK moves each frequency."""
    base, factor, s, length, trained = sp.symbols("b g s L M", positive=True)
    last = sp.Symbol("t", integer=True, positive=True)
    d = 2 * (last + 1)
    ratio = (base * factor ** (d / (d - 2))) ** (-2 * r / d) / base ** (-2 * r / d)
    growth = s * length / trained - (s - 1)
    return Theorem(
        name="rope-dynamic",
        title="Dynamic NTK scaling",
        statement=r"Past $M$ tokens dynamic NTK scaling multiplies the base by a power of $g$,"
        r" which grows with the running length $L$. Pair 0 never changes and the slowest pair is"
        r" divided by all of $g$. The frequencies depend on $L$, hence scores do: at offset"
        r" $\Delta$ by what Theorem rope-break says of $\delta_r=\Delta\theta_r(g^{-r/t}-1)$.",
        hypotheses=("$L > M$", "a head of at least 4 rotated entries"),
        symbols=(Domain(r, "the number of a pair", "integer from 0 to $t$"),
                 Domain(last, "the number of the slowest pair, $d_h/2-1$", "integer from 1"),
                 Domain(base, "the RoPE base", "above 1"),
                 Domain(s, "the scaling factor", "from 1"),
                 Domain(length, "the running length", "above $M$"),
                 Domain(trained, "the trained length", "from 1")),
        steps=(
            Definition("The base is multiplied by $g^{d/(d-2)}$, where", factor, growth),
            Identity("At the trained length $g$ is 1, so the rule is continuous there;",
                     sp.Limit(growth, length, trained), sp.S.One),
            Identity("it grows with the length at a constant rate: no two lengths agree.",
                     sp.Derivative(growth, length), s / trained),
            Identity("The slowest pair is interpolated by the whole factor,",
                     ratio.subs(r, last), 1 / factor, by="exponents"),
            Identity("and the frequency of pair $r$ is multiplied by",
                     ratio, factor ** (-r / last), by="exponents"),
        ),
        quantity=r"\theta'_r/\theta_r",
        arguments=(factor, r, last),
        references=(("2309.00071", "NTK-aware and dynamic scaling, YaRN"),),
    )  # fmt: skip


@cache
def rope_switch() -> Theorem:
    """LongRoPE's switch: every frequency jumps at one length."""
    short, long, base = sp.symbols("ell_r ell'_r theta", positive=True)
    return Theorem(
        name="rope-switch",
        title="LongRoPE's switch",
        statement=r"LongRoPE divides every frequency by a list of factors, by one list up to the"
        r" original context and by another beyond. On either side the rule is relative (Theorem"
        r" rope-relative); when one more token crosses the limit, all frequencies jump at once, and"
        r" scores with them, at offset $\Delta$ by what Theorem rope-break says of"
        r" $\delta_r=\Delta\omega_r$. A pair is left alone only if its two factors are the same.",
        hypotheses=("the attention factor is the same on both sides",),
        symbols=(Domain(base, "the unscaled frequency of a pair", "positive"),
                 Domain(short, "its factor up to the original context", "positive"),
                 Domain(long, "its factor beyond", "positive")),
        steps=(
            Identity("A pair turns, for each token of the offset, by so much more than before:",
                     base / long - base / short, base * (short - long) / (short * long)),
        ),
        quantity=r"\omega_r=\theta'_r-\theta_r",
        arguments=(base, short, long),
        references=(("2402.13753", "LongRoPE"),),
    )  # fmt: skip


@cache
def rope_cache() -> Theorem:
    """Keys cached under one base and read under another."""
    query = sp.Symbol("i", integer=True, nonnegative=True)
    return Theorem(
        name="rope-cache",
        title="A cache of mixed bases",
        statement=r"Keys that were cached under frequencies $\theta_r$ and are read by a query that"
        r" is turned with $\theta'_r$ keep a phase that knows the key's own position $j$: what"
        r" dynamic NTK does to a cache, and LongRoPE's switch if the cache is kept. Against the"
        r" score that a fresh cache would give, the break grows with $j$ and does not know the"
        r" offset. Its mean over a cache of $N$ keys is that of Theorem rope-break-mean.",
        hypotheses=("query and key are independent and isotropic Gaussian",
                    "the keys were all cached under the same frequencies"),
        symbols=(PAIRS, SCORE_STD, Domain(j, "the key's position", "integer from 0"), GAPS),
        steps=(
            Identity("The phase of a pair, that of the offset taken away, is",
                     now * query - then * j - now * (query - j), (now - then) * j),
            Identity(r"With $\omega_r=\theta'_r-\theta_r$ and $\delta_r=j\omega_r$ in Theorem"
                     r" rope-break, scores are off by",
                     sp.sqrt(sigma**2 / (2 * p) * sp.Sum(8 * sp.sin(j * gap[r] / 2) ** 2,
                                                         (r, 0, p - 1))),
                     2 * sigma * sp.sqrt(sp.Sum(sp.sin(j * gap[r] / 2) ** 2, (r, 0, p - 1)) / p),
                     by="sums"),
        ),
        quantity=r"\sqrt{\mathbb{E}(s'-s)^2}",
        arguments=(sigma, j, gap, p),
    )  # fmt: skip
