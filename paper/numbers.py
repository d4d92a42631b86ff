r"""The numbers in the paper's text, by name: ``\val{name}``.

A row of `NUMBERS` per number; none is typed into the sources.
"""

from collections.abc import Callable, Mapping
from functools import partial

from ropeleak.claims import names as claim_names
from ropeleak.claims.fifty_vs_hundred import PAIR
from ropeleak.claims.number import Number
from ropeleak.claims.rule import Verdict
from ropeleak.claims.stacks import FACTOR

from .material import Material, rms
from .tables import ladder_depth
from .training.questions import SOURCE_SHARE

Text = Callable[[Material], str]


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


def _verdicts(verdict: Verdict, material: Material) -> str:
    return str(sum(material.finding(name).verdict == verdict for name in claim_names()))


def _leak(hole: str, material: Material) -> str:
    return f"{rms(material.reference[f'leak_{hole}']):.2g}"


def _trained(dim: str, material: Material) -> int:
    return int(material.trained.trained.sizes[dim])


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
    "plugs-before": partial(_predicted, "plugs", "d′"),
    "plugs-after": partial(_predicted, "plugs", "best d′"),
    # The ladder
    "ladder-depth": lambda material: str(ladder_depth()),
    # Real architectures
    "model-count": lambda material: str(len(material.models)),
    # Training
    "trained-architectures": lambda material: str(_trained("architecture", material)),
    "trained-seeds": lambda material: str(_trained("seed", material)),
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
