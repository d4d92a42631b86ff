"""RoPE is relative for every frequency that does not depend on position, and for no other rule."""

from functools import cache

import sympy as sp

from .gaussian import GaussianMean, independent
from .steps import Definition, Identity, Recurrence, TermByTerm
from .theorem import Domain, Theorem

a, b, m, n, shift = sp.symbols("a b m n s", real=True)
theta, phi, other_phi, delta = sp.symbols("theta varphi psi delta", real=True)
sigma = sp.Symbol("sigma", nonnegative=True)
p = sp.Symbol("p", integer=True, positive=True)
r = sp.Symbol("r", integer=True, nonnegative=True)
q, k, q1, q2, k1, k2 = (
    sp.IndexedBase(name, real=True)
    for name in ("q", "k", "q^{(1)}", "q^{(2)}", "k^{(1)}", "k^{(2)}")
)
frequency = sp.IndexedBase("theta", real=True)
change = sp.IndexedBase("delta", real=True)
Delta = sp.Symbol("Delta", real=True)
x1, x2, y1, y2 = sp.symbols("q_1 q_2 k_1 k_2", real=True)

PAIRS = Domain(p, "the number of pairs, $d_h/2$", "integer from 1")
FREQUENCIES = Domain(
    frequency[r], "the frequency of a pair", "any real number, 0 for what is not rotated"
)


def rotation(angle: sp.Expr) -> sp.Matrix:
    """Return the rotation of a plane by an angle."""
    return sp.Matrix([[sp.cos(angle), -sp.sin(angle)], [sp.sin(angle), sp.cos(angle)]])


def pair_score(
    query: tuple[sp.Expr, sp.Expr], key: tuple[sp.Expr, sp.Expr], at: sp.Expr, other: sp.Expr
) -> sp.Expr:
    """Return what one pair adds to ``(R q)·(R k)`` when query and key are turned by two angles."""
    turned = rotation(at) * sp.Matrix(query)
    return (turned.T * rotation(other) * sp.Matrix(key))[0]


def relative_score(
    query: tuple[sp.Expr, sp.Expr], key: tuple[sp.Expr, sp.Expr], angle: sp.Expr
) -> sp.Expr:
    """Return the same from the difference of the angles alone."""
    even = query[0] * key[0] + query[1] * key[1]
    odd = query[1] * key[0] - query[0] * key[1]
    return even * sp.cos(angle) - odd * sp.sin(angle)


@cache
def rope_group_law() -> Theorem:
    """``R(a)ᵀ R(b) = R(b - a)``."""
    return Theorem(
        name="rope-group-law",
        title="Rotations form a group",
        statement="On every pair RoPE acts as a rotation $R(a)$ of the plane. Rotations compose by"
        " adding angles and transposing one turns it back; a head of any even size is a direct sum"
        " of such pairs, so the same holds for all of it.",
        hypotheses=(("each pair of a head is turned by an angle that is the same for query and"
                    " key"),),
        symbols=(Domain(a, "an angle", "real"), Domain(b, "an angle", "real")),
        steps=(
            Identity(
                "Two rotations compose to one by the sum of the angles.",
                sp.MatMul(rotation(a), rotation(b), evaluate=False), rotation(a + b),
                by="trigonometry",
            ),
            Identity(
                "The transpose of a rotation turns back: it is the rotation by minus the angle.",
                sp.MatMul(rotation(a).T, rotation(a), evaluate=False), sp.eye(2),
            ),
            Identity(
                "Hence the product that a score contains depends on the difference alone.",
                sp.MatMul(rotation(a).T, rotation(b), evaluate=False), rotation(b - a),
                by="trigonometry",
            ),
        ),
        arguments=(a, b),
        references=(("2104.09864", "rotary position embedding"),),
    )  # fmt: skip


@cache
def rope_relative() -> Theorem:
    """Scores depend on offsets alone, for any even head size, layout and partial rotation."""
    half = (q[r], q[r + p]), (k[r], k[r + p])
    interleaved = (q[2 * r], q[2 * r + 1]), (k[2 * r], k[2 * r + 1])
    plain = (q1[r], q2[r]), (k1[r], k2[r])
    w, pairs = frequency[r], (r, 0, p - 1)

    def layout(
        words: str, entries: tuple[tuple[sp.Expr, sp.Expr], tuple[sp.Expr, sp.Expr]]
    ) -> TermByTerm:
        return TermByTerm(
            words,
            sp.Sum(pair_score(*entries, m * w, n * w), pairs),
            sp.Sum(relative_score(*entries, (m - n) * w), pairs),
            by="trigonometry",
        )

    return Theorem(
        name="rope-relative",
        title="RoPE scores depend on offsets alone",
        statement="For every even number of rotated entries, every choice of frequencies that does"
        " not depend on position, both pair layouts and any partial rotation, the score of a query"
        r" at $m$ and a key at $n$ is a function of the two contents and of $m-n$.",
        hypotheses=(
            "query and key are turned with the same frequencies",
            "no frequency depends on the position or on the length of the text",
            "exact arithmetic",
        ),
        symbols=(PAIRS, FREQUENCIES, Domain(m, "the query's position", "real"),
                 Domain(n, "the key's position", "real")),
        steps=(
            layout("In the half layout entry $r$ is paired with entry $r+p$. Pair by pair,", half),
            layout("In the interleaved layout entries $2r$ and $2r+1$ are paired,"
                   " and", interleaved),
            Identity(
                "Entries that are not rotated are pairs of frequency 0. Where both angles agree, as"
                " theirs do, a pair adds the plain product of its entries:",
                pair_score((x1, x2), (y1, y2), phi, phi), x1 * y1 + x2 * y2,
            ),
            Identity(
                "A common shift of both positions changes no pair.",
                pair_score((x1, x2), (y1, y2), (m + shift) * theta, (n + shift) * theta),
                pair_score((x1, x2), (y1, y2), m * theta, n * theta),
                by="trigonometry",
            ),
            layout("With $q^{(1)}, q^{(2)}$ the first and second entries of the pairs, in any"
                   " layout, the score is", plain),
        ),
        arguments=(q1, q2, k1, k2, frequency, m, n),
        references=(("2104.09864", "rotary position embedding"),),
    )  # fmt: skip


@cache
def rope_converse() -> Theorem:
    """Only phases that are linear in position are relative."""
    f = sp.Function("f", real=True)
    g = sp.Function("g", real=True)
    w, f0, g0 = sp.symbols("omega f_0 g_0", real=True)
    i = sp.Symbol("i", integer=True, nonnegative=True)
    j = sp.Symbol("j", integer=True, nonnegative=True)
    then, now = sp.symbols("omega_then omega_now", real=True)
    return Theorem(
        name="rope-converse",
        title="Only linear phases are relative",
        statement="Let a pair of the query at $i$ be turned by $f(i)$ and that of the key at $j$ by"
        " $g(j)$. The score depends on $i-j$ alone, for all contents, only if both phases grow by"
        " the same constant from each position to the next: a frequency that depends on position"
        " or on the running length is not relative.",
        hypotheses=(
            "the phases are compared as real numbers (adding whole turns changes nothing)",
            "scores agree for all contents, so that the difference of the phases itself agrees",
        ),
        symbols=(Domain(i, "the query's position", "integer from 0"),
                 Domain(j, "the key's position", "integer from 0"),
                 Domain(w, "the common growth of the phases", "real")),
        steps=(
            Recurrence(
                "If $f(i+1)-g(j+1)=f(i)-g(j)$, the query's phase grows by what the key's does:"
                " $f(i+1)-f(i)=g(j+1)-g(j)$. The left side does not know $j$, the right side not"
                r" $i$: both are a constant $\omega$. So the query's phase is linear,",
                f(i), f0 + w * i,
                index=i, start=sp.S.Zero, first=f0, update=f(i) + w,
            ),
            Recurrence(
                "and so is the key's.", g(j), g0 + w * j,
                index=j, start=sp.S.Zero, first=g0, update=g(j) + w,
            ),
            Identity(
                "A key that was cached under one frequency and is read under another keeps a phase"
                " that knows the key's own position: what dynamic NTK does to a cache, and what"
                " LongRoPE's switch does if the cache is kept.",
                now * i - then * j - now * (i - j), (now - then) * j,
            ),
            Identity(
                "Conversely linear phases of one growth are relative.",
                f(i).subs(f(i), f0 + w * i) - g(j).subs(g(j), g0 + w * j), f0 - g0 + w * (i - j),
            ),
        ),
        arguments=(f0, g0, w, i, j),
    )  # fmt: skip


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
        r" $\Delta$; keys cached under the old base have $\delta_r = j(\theta'_r-\theta_r)$ at key"
        r" $j$.",
        hypotheses=("query and key are independent and isotropic Gaussian",),
        symbols=(PAIRS, Domain(sigma, "the standard deviation of a score", "from 0"),
                 Domain(change[r], "the change of a pair's phase", "real")),
        steps=(
            Identity("A pair's score has the same variance at every phase:",
                     GaussianMean(score**2, content), sp.S(2), by="trigonometry"),
            Identity(
                r"and a change of the phase by $\delta$ moves it by",
                GaussianMean((changed - score) ** 2, content), 8 * sp.sin(delta / 2) ** 2,
                by="simplify",
            ),
            Identity(
                r"Pairs are independent and each has $\sigma^2/p$ of the score's variance, which"
                r" the"
                " variance 2 of the second line stands for. The mean squares add up, and the root"
                " mean square change of the score is",
                sp.sqrt(sigma**2 / (2 * p) * sp.Sum(8 * sp.sin(change[r] / 2) ** 2, (r, 0, p - 1))),
                2 * sigma * sp.sqrt(sp.Sum(sp.sin(change[r] / 2) ** 2, (r, 0, p - 1)) / p),
                by="sums",
            ),
        ),
        arguments=(sigma, change, p),
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
        statement="Past $M$ tokens dynamic NTK scaling multiplies the base by a power of $g$, which"
        " grows with the running length $L$. Pair 0 never changes and the slowest pair is divided"
        " by"
        " all of $g$. The frequencies depend on $L$, hence scores do.",
        hypotheses=("$L > M$", "a head of at least 4 rotated entries"),
        symbols=(Domain(last, "the number of the slowest pair, $d_h/2-1$", "integer from 1"),
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
        arguments=(factor, r, last),
        references=(("2309.00071", "NTK-aware and dynamic scaling, YaRN"),),
    )  # fmt: skip
