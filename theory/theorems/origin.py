"""Position 0 is a closed dynamical system: no other token, no length, no rotation enters it."""

from functools import cache

import sympy as sp

from .denominator import LOGIT, SCORE_STD, logit, sigma
from .gaussian import DENSITY, Z
from .gaussian_line import gaussian_mean
from .rope import rotation, theta
from .steps import Identity, Recurrence, TermByTerm
from .theorem import Domain, Theorem

depth = sp.Symbol("L", integer=True, nonnegative=True)
gain, mlp, v0, kept, factor, eps = sp.symbols("gamma g v_0 A rho epsilon", nonnegative=True)
state = sp.Function("K")(depth)

DEPTH = Domain(depth, "the number of blocks", "integer from 0")
GAIN = Domain(gain, "the variance that attention adds when it copies a unit token", "from 0")
MLP = Domain(mlp, "the variance that the MLP adds for a unit token, 0 without one", "from 0")
EMBEDDING = Domain(v0, "the variance of token 0's embedding", "from 0")
KEPT = Domain(kept, "the mean squared weight of token 0 on itself, 1 without a null key", "0 to 1")
FACTOR = Domain(factor, "the residual multiplier", "from 0")


@cache
def origin_closed() -> Theorem:
    """Token 0 attends to itself with weight one."""
    j = sp.Symbol("j", integer=True, nonnegative=True)
    score, value = sp.IndexedBase("s", real=True), sp.IndexedBase("v", real=True)
    own = sp.Symbol("s_00", real=True)
    read = sp.Sum(sp.exp(score[j]) * value[j], (j, 0, 0)) / sp.Sum(sp.exp(score[j]), (j, 0, 0))
    return Theorem(
        name="origin-closed",
        title="Position 0 is a closed system",
        statement="Under a causal mask position 0 sees one key, itself, with weight one whatever"
        " the scores. What attention reads there is its own value, MLPs and norms act on each"
        " position alone: its trajectory through the blocks is a function of its own embedding and"
        " of the weights, independent of the length of the text, of RoPE and of all other tokens.",
        hypotheses=("a causal mask", "norms and MLPs act on one position at a time"),
        symbols=(Domain(score[j], "a score of query 0", "real"),
                 Domain(value[j], "a value", "real")),
        steps=(
            Identity("At position 0 every rotation is the identity,",
                     sp.MatMul(rotation(theta).T, rotation(theta), evaluate=False), sp.eye(2)),
            Identity("for query and key are turned alike, and their score would not matter: the"
                     " weight has no slope in it,",
                     sp.Derivative(sp.exp(own) / sp.Sum(sp.exp(own), (j, 0, 0)), own), sp.S.Zero),
            Identity("so that what attention reads is the token's own value:", read, value[0]),
        ),
        quantity=r"\sum_ja_{0j}v_j",
        arguments=(value,),
    )  # fmt: skip


@cache
def origin_null_key() -> Theorem:
    """With a sink logit position 0 keeps less than all of itself."""
    total = sp.Symbol("t", positive=True)
    weight = 1 / (1 + sp.exp(logit - sigma * Z))
    mean = sp.Integral(weight**2 * DENSITY, (Z, -sp.oo, sp.oo))
    ratio = sp.exp(sigma * Z) / (sp.exp(sigma * Z) + sp.exp(logit))
    return Theorem(
        name="origin-null-key",
        title="Position 0 with a key that writes nothing",
        statement="With a sink logit (or softmax off-by-one, logit 0) position 0 still sees no"
        " other token, but keeps only part of itself; the system stays closed. The mean squared"
        " weight, by which its attention branch is scaled, is the following mean.",
        hypotheses=(r"the self-score is $N(0,\sigma^2)$ at initialisation",),
        symbols=(SCORE_STD, LOGIT),
        steps=(
            Identity("The weight is a logistic function of score less logit,", ratio, weight),
            Identity("which falls as the logit grows,",
                     sp.Derivative(1 / (1 + total * sp.exp(logit)), logit),
                     -total * sp.exp(logit) / (1 + total * sp.exp(logit)) ** 2),
            TermByTerm("and is one half at equal score and logit. Its mean square is",
                       sp.Integral(ratio**2 * DENSITY, (Z, -sp.oo, sp.oo)), mean),
        ),
        quantity=r"\mathbb{E}\,a_{00}^2",
        arguments=(sigma, logit),
        compiler=gaussian_mean,
    )  # fmt: skip


def _growth(name: str, title: str, statement: str, hypotheses: tuple[str, ...],
            symbols: tuple[Domain, ...], step: Recurrence, *before: Identity,
            arguments: tuple[sp.Symbol, ...]) -> Theorem:  # fmt: skip
    return Theorem(name, title, statement, (*hypotheses, "wide limit"), symbols, (*before, step),
                   quantity="K_{00}", arguments=arguments)  # fmt: skip


@cache
def origin_variance() -> Theorem:
    """Pre-norm: the variance of position 0 grows linearly with depth."""
    return _growth(
        "origin-variance",
        "Position 0 under pre-normalisation",
        "With normalisation before each branch, every block adds the same variance to position 0:"
        " it grows linearly with depth, from its embedding's.",
        ("pre-normalisation, parallel blocks included",
         "MLPs whose mean square output depends on the norm of their input alone"),
        (DEPTH, EMBEDDING, GAIN, MLP, KEPT, FACTOR),
        Recurrence("Each block adds, independently of what there is,", state,
                   v0 + depth * factor**2 * (kept * gain + mlp), index=depth, start=sp.S.Zero,
                   first=v0, update=state + factor**2 * (kept * gain + mlp)),
        Identity("A normalised token has unit variance, so a branch adds what a unit token adds:",
                 sp.Limit(v0 / (v0 + eps), eps, 0), sp.S.One),
        arguments=(depth, v0, factor, kept, gain, mlp),
    )  # fmt: skip


@cache
def origin_without_norm() -> Theorem:
    """No norm: geometric growth."""
    after = state * (1 + kept * gain)
    return _growth(
        "origin-without-norm",
        "Position 0 without normalisation",
        "Without normalisation each branch adds a fixed share of what is there: the variance of"
        " position 0 grows geometrically with depth.",
        ("no normalisation",
         "an MLP, if any, whose activation scales with its input, such as ReLU"),
        (DEPTH, EMBEDDING, GAIN, MLP, KEPT),
        Recurrence("The MLP reads what attention left, so that after $L$ blocks there is", state,
                   v0 * ((1 + kept * gain) * (1 + mlp)) ** depth, index=depth, start=sp.S.Zero,
                   first=v0, update=after + mlp * after, by="exponents"),
        arguments=(depth, v0, kept, gain, mlp),
    )  # fmt: skip


@cache
def origin_after_norm() -> Theorem:
    """Norms on the branches."""
    branches = sp.Symbol("B", nonnegative=True)
    return _growth(
        "origin-after-norm",
        "Position 0 with normalised branches",
        "Where a branch's output is normalised before it is added (as in sandwich norms), each"
        " branch adds one unit of variance whatever its weights. A null key cannot change that.",
        ("$B$ branches in a block",),
        (DEPTH, EMBEDDING, Domain(branches, "branches in a block", "1 or 2"), FACTOR),
        Recurrence("and normalised branches add up:", state, v0 + depth * factor**2 * branches,
                   index=depth, start=sp.S.Zero, first=v0, update=state + factor**2 * branches),
        Identity("Whatever a branch writes, the variance after its norm is",
                 sp.Limit((kept * gain + mlp + 1) / (kept * gain + mlp + 1 + eps), eps, 0),
                 sp.S.One),
        arguments=(depth, v0, factor, branches),
    )  # fmt: skip


@cache
def origin_post_norm() -> Theorem:
    """Post-norm: unit variance at every depth."""
    there = v0 + kept * gain + mlp + 1
    return Theorem(
        name="origin-post-norm",
        title="Position 0 under post-normalisation",
        statement="Where the residual stream itself is normalised after each branch, position 0 has"
        " unit variance at every depth from the first block on: its norm carries nothing.",
        hypotheses=("post-normalisation", "a stream that is not zero"),
        symbols=(EMBEDDING, GAIN, MLP, KEPT),
        steps=(
            Identity("Whatever there was and whatever branches add, the variance after a norm is",
                     sp.Limit(there / (there + eps), eps, 0), sp.S.One),
        ),
        quantity="K_{00}",
        arguments=(),
    )  # fmt: skip
