r"""The numbers in the paper's text, by name: ``\val{name}``.

A row of `NUMBERS` per number; none is typed into the sources.
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import prod

from ropeleak.claims import CLAIMS
from ropeleak.claims import names as claim_names
from ropeleak.claims.fifty_vs_hundred import PAIR
from ropeleak.claims.interventions import CHOICES
from ropeleak.claims.number import Number, mean_of
from ropeleak.claims.rule import Verdict
from ropeleak.claims.stacks import FACTOR
from ropeleak.latex import escaped

from .material import Material, rms
from .tables import ladder_depth
from .training.architectures import BASELINE
from .training.intervals import Interval
from .training.questions import SOURCE_SHARE, ranked, ranked_position
from .training.results import Results

Text = Callable[[Material], str]


LEAKS = ("mask", "residual")
"""Quantities of trained models that are given as means over blocks, not after the last."""


def interval(found: Interval) -> str:
    """Return a number and the ends of its 95% interval, for use inside a formula."""
    value, low, high = (f"{end:.2g}" for end in (found.value, found.low, found.high))
    return rf"{value}\,[{low},{high}]"


def shown(number: Number) -> str:
    """Return a number with its standard error in LaTeX, for use inside a formula."""
    text = str(Number(number.value, number.se, ""))
    return text.replace("±", r"\pm")


def percent(number: Number) -> str:
    """Return a share in percent with its standard error, for use inside a formula."""
    error = None if number.se is None else 100 * number.se
    text = shown(Number(100 * number.value, error))
    return rf"({text})\%" if error else rf"{text}\%"


def _found(claim: str, row: str, material: Material) -> str:
    return shown(material.number(claim, row))


def _share(claim: str, row: str, material: Material) -> str:
    return percent(material.number(claim, row))


def _predicted(claim: str, row: str, material: Material) -> str:
    return shown(material.theory(claim, row))


def _name(claim: str, row: str, material: Material) -> str:
    """Return what a row's words name after their colon."""
    found = next(r for r in material.finding(claim).evidence.rows if r.name == row)
    return rf"\text{{{escaped(found.words.partition(': ')[2])}}}"


def _verdicts(verdict: Verdict, material: Material) -> str:
    return str(sum(material.finding(name).verdict == verdict for name in claim_names(CLAIMS)))


def _leak(hole: str, material: Material) -> str:
    return f"{rms(material.reference[f'leak_{hole}']):.2g}"


def _trained(dim: str, material: Material) -> int:
    return int(material.trained.trained.sizes[dim])


def _answer(question: str, material: Material) -> str:
    """Return the number of a question about trained models with its interval."""
    return interval(material.answer(question).number)


def _share_of(question: str, material: Material) -> str:
    """Return the number of a question as a percentage with its interval."""
    found = material.answer(question).number
    return interval(Interval(*(100 * value for value in found))) + r"\,\%"


def _before(rank: Callable[[Results], Interval], material: Material) -> str:
    """Return how well the prediction ranks models at the first step."""
    return interval(rank(material.trained))


def _baseline(name: str, step: int, material: Material) -> str:
    """Return a quantity of the trained baseline with its standard error over seeds."""
    values = material.trained.of(name, BASELINE, step)
    each = values.mean(axis=1) if name in LEAKS else values[:, -1]
    return shown(mean_of(each))


NUMBERS: Mapping[str, Text] = {
    # The two holes
    "mask-leak-rms": partial(_leak, "mask"),
    "residual-leak-rms": partial(_leak, "residual"),
    # The ruler
    "position-early": lambda material: str(PAIR[0]),
    "position-late": lambda material: str(PAIR[1]),
    "ruler-predicted": partial(_predicted, "fifty-vs-hundred", "d′ linear"),
    "ruler-measured": partial(_found, "fifty-vs-hundred", "d′ linear"),
    "probe-accuracy": partial(_share, "fifty-vs-hundred", "probe"),
    # BOS
    "source-share": lambda material: rf"{100 * SOURCE_SHARE:g}\%",
    "removed-total": partial(_share, "bos-anchor", "total"),
    # Beyond the trained length
    "long-times": lambda material: f"{FACTOR:g}",
    "growth-none": partial(_found, "beyond-training", "growth, none"),
    # The ledger
    "count-supported": partial(_verdicts, "supported"),
    "count-refuted": partial(_verdicts, "refuted"),
    "count-later": partial(_verdicts, "not at initialisation"),
    "ntk-removed": partial(_share, "ntk-suppresses", "NTK"),
    "ntk-removed-aligned": partial(_share, "ntk-suppresses", "NTK, aligned"),
    "ntk-removed-reads": partial(_share, "ntk-suppresses", "NTK, reads"),
    "plugs-before": partial(_predicted, "plugs", "d′"),
    "plugs-best": partial(_name, "plugs", "best d′"),
    "plugs-far": partial(_name, "plugs", "best d′, far"),
    "plugs-far-position": partial(_predicted, "plugs", "best d′, far"),
    "plugs-far-mask": partial(_predicted, "plugs", "mask leak², far"),
    "plugs-far-residual": partial(_predicted, "plugs", "residual leak², far"),
    "plugs-searched": lambda material: str(prod(map(len, CHOICES))),
    # The ladder
    "ladder-depth": lambda material: str(ladder_depth()),
    # Real architectures
    "model-count": lambda material: str(len(material.models)),
    # Training
    "trained-architectures": lambda material: str(_trained("architecture", material)),
    "trained-seeds": lambda material: str(_trained("seed", material)),
    "trained-steps": lambda material: str(material.trained.trained["step"].values[-1]),
    "ranks-mask-initial": partial(_before, partial(ranked, hole="mask", step=0)),
    "ranks-residual-initial": partial(_before, partial(ranked, hole="residual", step=0)),
    "ranks-position-initial": partial(_before, partial(ranked_position, step=0)),
    "ranks-mask": partial(_answer, "ranks-mask"),
    "ranks-residual": partial(_answer, "ranks-residual"),
    "ranks-position": partial(_answer, "ranks-position"),
    "mask-initial": partial(_baseline, "mask", 0),
    "mask-trained": partial(_baseline, "mask", -1),
    "residual-initial": partial(_baseline, "residual", 0),
    "residual-trained": partial(_baseline, "residual", -1),
    "probe-initial": partial(_baseline, "d_prime", 0),
    "probe-trained": partial(_baseline, "d_prime", -1),
    "removed-random": partial(_share_of, "bos-anchor: random bytes"),
    "trained-runs": lambda material: str(
        _trained("architecture", material) * _trained("seed", material)
    ),
}


def rendered(material: Material) -> str:
    """Return the LaTeX file that defines every number."""
    lines = [
        rf"\defval{{{name}}}{{\ensuremath{{{text(material)}}}}}" for name, text in NUMBERS.items()
    ]
    return "\n".join(["% Written by: python -m paper build", *lines, ""])
