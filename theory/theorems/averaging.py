"""Uniform causal attention: the averaging matrix ``U_ij = 1/(i+1)`` as a Hausdorff matrix."""

from functools import cache

import sympy as sp

from .numeric import exact_sum
from .steps import Antiderivative, Definition, Identity, SumInduction, TermByTerm
from .theorem import Domain, Theorem

i, j, k, n, length = (
    sp.Symbol(name, integer=True, nonnegative=True) for name in ("i", "j", "k", "n", "N")
)
s, x, y = sp.symbols("s x y", positive=True)
mu = sp.IndexedBase("mu", real=True)
moment = sp.Function("mu", real=True)

QUERY = Domain(i, "the query's position", "integer from 0")
KEY = Domain(j, "the key's position", "integer from 0 to $i$")
UNIFORM = (r"uniform attention, the limit of small scores ($\sigma\to0$)", "a full causal mask")


@cache
def averaging_hausdorff() -> Theorem:
    """``U`` is the Hausdorff matrix of the moments ``1/(k+1)``."""
    difference = sp.factorial(k) * sp.factorial(length) / sp.factorial(k + length + 1)
    return Theorem(
        name="averaging-hausdorff",
        title="Causal averaging is a Hausdorff matrix",
        statement=r"The entries of causal averaging are $\binom{i}{j}$ times the $(i-j)$-th"
        r" difference of the moments $\mu_k=1/(k+1)$ at $j$, where one difference is"
        r" $\mu_k-\mu_{k+1}$.",
        hypotheses=UNIFORM,
        symbols=(QUERY, KEY),
        steps=(
            Identity("Let $D_N(k)=k!\\,N!/(k+N+1)!$. Without differences it is the moment,",
                     difference.subs(length, 0), 1 / (k + 1), by="gamma"),
            Identity("and it is the difference of itself: $D_{N+1}(k)=D_N(k)-D_N(k+1)$. By"
                     " induction it is the $N$-th difference.",
                     difference - difference.subs(k, k + 1), difference.subs(length, length + 1),
                     by="gamma"),
            Identity("The matrix entry is then",
                     sp.binomial(i, j) * difference.subs({k: j, length: i - j}), 1 / (i + 1),
                     by="gamma"),
        ),
        quantity=r"U_{ij}",
        arguments=(i,),
    )  # fmt: skip


@cache
def averaging_eigenvectors() -> Theorem:
    """Binomial coefficients are eigenvectors of ``U`` with eigenvalues ``1/(k+1)``."""
    row = sp.Symbol("n", integer=True, positive=True)
    return Theorem(
        name="averaging-eigenvectors",
        title="Eigenvectors of causal averaging",
        statement=r"The column $\binom{i}{k}$, $i=0,1,\ldots$, is an eigenvector of causal"
        r" averaging with eigenvalue $1/(k+1)$. With alternating signs, the matrix of these columns"
        r" is its own inverse.",
        hypotheses=UNIFORM,
        symbols=(QUERY, Domain(k, "the number of the eigenvector", "integer from 0")),
        steps=(
            Identity("Products of binomial coefficients factor,",
                     sp.binomial(i, j) * sp.binomial(j, k),
                     sp.binomial(i, k) * sp.binomial(i - k, j - k), by="gamma"),
            SumInduction("and alternating sums are cut short:",
                         sp.Sum((-1) ** j * sp.binomial(x, j), (j, 0, n)),
                         (-1) ** n * sp.binomial(x - 1, n), by="gamma"),
            Identity(r"so that a whole row, $x\to n\ge1$, alternates to nothing (the sum is"
                     r" $\Gamma(x)/(\Gamma(x-n)\,n!)$ up to its sign): the signed matrix is its own"
                     r" inverse.",
                     sp.Limit(sp.gamma(x) / sp.gamma(x - row), x, row), sp.S.Zero, by="gamma"),
            SumInduction("A column sums to the next one (the hockey stick),",
                         sp.Sum(sp.binomial(j, k), (j, k, n)), sp.binomial(n + 1, k + 1),
                         by="gamma"),
            Identity("whose mean over the $i+1$ keys is the column times the eigenvalue:",
                     sp.binomial(i + 1, k + 1) / (i + 1), sp.binomial(i, k) / (k + 1), by="gamma"),
        ),
        quantity=r"\sum_jU_{ij}\tbinom{j}{k}",
        arguments=(i, k),
    )  # fmt: skip


@cache
def averaging_generating() -> Theorem:
    """Averaging on generating functions is an integral."""
    return Theorem(
        name="averaging-generating",
        title="Averaging as an integral of generating functions",
        statement=r"If $X(s)=\sum_n x_n s^n$, the averages of $x$ have the generating function"
        r" $\frac1s\int_0^s X(x)/(1-x)\,dx$. Powers of $x/(1-x)$ over $1-x$ are its eigenfunctions,"
        r" which proves the eigenvalues once more.",
        hypotheses=(*UNIFORM, "$0<s<1$"),
        symbols=(Domain(k, "the number of the eigenvector", "integer from 0"),
                 Domain(s, "the variable of the generating function", "0 to 1"),
                 Domain(y, "$s/(1-s)$", "positive")),
        steps=(
            SumInduction("Dividing by $1-x$ sums: one term $x^j$ becomes all later ones,",
                         sp.Sum(x**j * (1 - x), (j, 0, n)), 1 - x ** (n + 1)),
            Identity("and integrating divides the sum up to $n$ by $n+1$:",
                     sp.Integral(x**n, (x, 0, s)) / s, s**n / (n + 1)),
            Antiderivative(r"The eigenvector $\binom{i}{k}$ has $x^k/(1-x)^{k+1}$. With"
                           r" $y=s/(1-s)$, its average is, times $s$,",
                           sp.Integral(x**k / (1 - x) ** (k + 2), (x, 0, y / (1 + y))),
                           y ** (k + 1) / (k + 1),
                           primitive=(x / (1 - x)) ** (k + 1) / (k + 1), by="exponents"),
        ),
        quantity=r"\int_0^s\frac{x^k}{(1-x)^{k+2}}\,dx",
        arguments=(y, k),
    )  # fmt: skip


@cache
def averaging_function() -> Theorem:
    """Any function of ``U`` in closed form."""
    decomposed = (-1) ** (k + j) * sp.binomial(i, k) * sp.binomial(k, j) * mu[k]
    return Theorem(
        name="averaging-function",
        title="Functions of causal averaging",
        statement=r"Any function $f$ of causal averaging has, at $(i,j)$, $\binom{i}{j}$ times the"
        r" $(i-j)$-th difference of $\mu_k=f(1/(k+1))$ at $j$. In exact arithmetic this is a closed"
        r" form for rollout through any number of residual layers.",
        hypotheses=UNIFORM,
        symbols=(QUERY, KEY, Domain(mu[k], "$f(1/(k+1))$", "real")),
        steps=(
            Definition("The eigen-decomposition of Theorem averaging-eigenvectors gives the entry",
                       sp.Function("f")(i, j), sp.Sum(decomposed, (k, j, i))),
            Identity("in which the binomial coefficients factor, and signs combine:",
                     (-1) ** (k + j) * sp.binomial(i, k) * sp.binomial(k, j),
                     (-1) ** (k - j) * sp.binomial(i, j) * sp.binomial(i - j, k - j), by="gamma"),
            TermByTerm("so that it is the binomial coefficient times a difference,",
                       sp.Sum(decomposed, (k, j, i)),
                       sp.Sum((-1) ** (k - j) * sp.binomial(i, j) * sp.binomial(i - j, k - j)
                              * mu[k], (k, j, i)), by="gamma"),
        ),
        quantity=r"f(U)_{ij}",
        arguments=(i, j, mu),
        compiler=exact_sum,
        validity="Alternating terms cancel: evaluate it with exact rational numbers. Powers and"
        " rollout have forms without cancellation (Theorems averaging-power and rollout).",
    )  # fmt: skip
