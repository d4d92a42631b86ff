"""Which random-init models are compared, and what is claimed of the predictions."""

import json
from importlib.metadata import version
from typing import Any, NamedTuple

from .families import FAMILIES, config_of

STDS = (0.02, 0.045)
"""Standard deviations of the weights: what transformers takes unless told otherwise, and what gives
models of this width the scores of wide ones."""
TOKENS, INPUTS, DRAWS = 96, 16, 24
MORE = {"gpt_neox": 96, "gpt_oss": 48, "mixtral": 48}
"""Draws of families whose BOS part varies more from draw to draw."""
MIXTURES = ("gpt_oss", "mixtral")
LIMITS = {"k_diag": 0.02, "bos_part": 0.10}
MIXTURE_LIMITS = {"k_diag": 0.10, "bos_part": 0.15}
"""Largest median error that is claimed."""
LARGEST_Z = 2.0
REASONS = {
    "participation": "of scores that correlate, the recursion keeps their mean over a row's keys"
    " and how each key differs from it, and takes the rest as independent. Where averaging has made"
    " keys alike and scores are as large as σ = 1, rows come out up to 2% too concentrated, as"
    " random heads on the same stream tell",
}
"""Why a statistic may be off by more than chance; by name."""


class Case(NamedTuple):
    """Models of one family with weights of one standard deviation."""

    family: str
    std: float

    @property
    def words(self) -> str:
        """What it is called."""
        return f"{self.family} at {self.std:g}"

    @property
    def config(self) -> Any:
        """The transformers config."""
        return config_of(self.family, initializer_range=self.std)

    @property
    def draws(self) -> int:
        """Number of random-init models."""
        return MORE.get(self.family, DRAWS)

    def identity(self) -> str:
        """Return what decides the numbers of a draw."""
        decides = {"config": self.config.to_diff_dict(), "tokens": TOKENS, "inputs": INPUTS,
                   "torch": version("torch")}  # fmt: skip
        return json.dumps(decides, sort_keys=True, default=str)


CASES = tuple(Case(family, std) for std in STDS for family in FAMILIES)
