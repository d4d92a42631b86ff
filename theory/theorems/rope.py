"""RoPE is relative for every frequency that does not depend on position, and for no other rule."""

from functools import cache

import sympy as sp

from .steps import Definition, Identity, Recurrence, TermByTerm
from .theorem import Domain, Theorem

a, b, m, n, shift = sp.symbols("a b m n s", real=True)
theta, phi, other_phi = sp.symbols("theta varphi psi", real=True)
sigma = sp.Symbol("sigma", nonnegative=True)
p = sp.Symbol("p", integer=True, positive=True)
r = sp.Symbol("r", integer=True, nonnegative=True)
q, k, q1, q2, k1, k2 = (
    sp.IndexedBase(name, real=True)
    for name in ("q", "k", "q^{(1)}", "q^{(2)}", "k^{(1)}", "k^{(2)}")
)
frequency = sp.IndexedBase("theta", real=True)
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
        hypotheses=("each pair is turned by an angle that is the same for query and key",),
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
        quantity=r"R(a)^{\top}R(b)",
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
        " at $m$ and a key at $n$ is a function of the two contents and of $m-n$.",
        hypotheses=(
            "query and key are turned with the same frequencies",
            "no frequency depends on the position or on the length of the text",
            "exact arithmetic",
        ),
        symbols=(PAIRS, FREQUENCIES, Domain(m, "the query's position", "real"),
                 Domain(n, "the key's position", "real")),
        steps=(
            layout("In the half layout entry $r$ is paired with entry $r+p$. Pair by pair,", half),
            layout("In the interleaved layout entries $2r$ and $2r+1$ are paired, and",
                   interleaved),
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
        quantity=r"\bigl(R_m q\bigr)\cdot\bigl(R_n k\bigr)",
        arguments=(q1, q2, k1, k2, frequency, m, n),
        references=(("2104.09864", "rotary position embedding"),),
    )  # fmt: skip


@cache
def rope_converse() -> Theorem:
    """Only phases that are linear in position are relative."""
    g = sp.Function("g", real=True)
    w, f0, g0, u, v = sp.symbols("omega f_0 g_0 u v", real=True)
    i, j = (sp.Symbol(name, integer=True, nonnegative=True) for name in ("i", "j"))
    turn, other_turn = sp.Function("F")(i), sp.Function("G")(j)

    def phase(angle: sp.Expr) -> sp.Expr:
        return sp.exp(sp.I * angle)

    return Theorem(
        name="rope-converse",
        title="Only linear phases are relative",
        statement="Let a pair of the query at $i$ be turned by $f(i)$ and that of the key at $j$ by"
        " $g(j)$. The score depends on $i-j$ alone, for all contents, only if both phases grow by"
        " the same constant from each position to the next, up to whole turns: a frequency that"
        " depends on position or on the running length is not relative.",
        hypotheses=("the score at $(i+1,j+1)$ is that at $(i,j)$ for all contents",),
        symbols=(Domain(i, "the query's position", "integer from 0"),
                 Domain(j, "the key's position", "integer from 0"),
                 Domain(f0, "the query's phase at position 0", "real"),
                 Domain(g0, "the key's phase at position 0", "real"),
                 Domain(w, "the common growth of the phases", "real")),
        steps=(
            Identity("Contents that are zero in all other pairs show one pair alone. Of these, two"
                     " tell the phase up to whole turns: query and key along the first entry score"
                     " the cosine,",
                     pair_score((sp.S.One, sp.S.Zero), (sp.S.One, sp.S.Zero), u, v),
                     sp.cos(u - v), by="trigonometry"),
            Identity("and with the key along the second entry the sine.",
                     pair_score((sp.S.One, sp.S.Zero), (sp.S.Zero, sp.S.One), u, v),
                     sp.sin(u - v), by="trigonometry"),
            Definition("So $f(i+1)-g(j+1)=f(i)-g(j)$ up to whole turns. At $j=0$ this gives"
                       " $f(i+1)-f(i)$ for every $i$ as one constant,", w, g(1) - g(0)),
            Recurrence("and the query's turn $F(i)=e^{if(i)}$, a unit complex number, is by"
                       " induction", turn, phase(f0 + w * i), index=i, start=sp.S.Zero,
                       first=phase(f0), update=turn * phase(w)),
            Recurrence("At $i=0$ it gives $g(j+1)-g(j)=f(1)-f(0)$, the same constant again, so that"
                       r" the key's turn $G(j)=e^{ig(j)}$ is",
                       other_turn, phase(g0 + w * j), index=j, start=sp.S.Zero,
                       first=phase(g0), update=other_turn * phase(w)),
            Identity("The turn between the two, which is all that a score knows, is",
                     phase(f0 + w * i) * phase(-(g0 + w * j)), phase(f0 - g0 + w * (i - j))),
        ),
        quantity=r"F(i)\,\overline{G(j)}",
        arguments=(f0, g0, w, i, j),
    )  # fmt: skip
