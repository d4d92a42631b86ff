"""Streaming moments over draws, and the observables that follow from them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .forward import Sample

Floats = NDArray[np.float64]

ROUNDING = 1e-12
"""Share of a squared deviation that may be rounding."""


CONTROLS = {
    "k_diag": "k_chance", "q_diag": "q_chance", "q_common": "common_chance", "k_bos": "bos_chance",
    "fingerprint": "fingerprint_chance", "log_z": "mean_score", "sink": "first_score",
    "leak": "leak_chance", "full": "full_chance",
}  # fmt: skip
"""Control variates: statistics whose mean is 0 exactly, by the statistic that they explain."""
CROSSED = (
    *CONTROLS.items(),
    ("fingerprint", "k_diag"), ("fingerprint", "k_chance"), ("k_diag", "fingerprint_chance"),
    ("fingerprint_chance", "k_chance"),
)  # fmt: skip
"""Pairs of statistics whose products are followed."""
ENOUGH = 16
"""Draws from which on the slope on a control variate is known well enough to be used."""


@dataclass
class Moments:
    """Mean and spread of every statistic over the draws so far (Welford), in float64.

    Draws are added one by one in their order, so the numbers do not depend on how they were
    computed: with how many threads, in one go or resumed.

    Attributes
    ----------
    count
        Number of draws.
    mean, square
        By name: the mean, and the sum of squared deviations from it.
    cross
        By two statistics of `CROSSED`: the sum of products of their deviations.
    """

    count: int = 0
    mean: dict[str, Floats] = field(default_factory=dict)
    square: dict[str, Floats] = field(default_factory=dict)
    cross: dict[str, Floats] = field(default_factory=dict)

    def add(self, sample: Sample) -> None:
        """Add one draw."""
        values = statistics(sample)
        if self.count == 0:
            self.mean = {name: np.zeros_like(value) for name, value in values.items()}
            self.square = {name: np.zeros_like(value) for name, value in values.items()}
            self.cross = {_pair(*pair): np.zeros_like(values[pair[0]]) for pair in CROSSED}
        self.count += 1
        before = {name: value - self.mean[name] for name, value in values.items()}
        for name, value in values.items():
            self.mean[name] += before[name] / self.count
            self.square[name] += before[name] * (value - self.mean[name])
        for one, other in CROSSED:
            self.cross[_pair(one, other)] += before[one] * (values[other] - self.mean[other])

    def error(self, name: str) -> Floats:
        """Return the standard error of a mean; NaN before the second draw."""
        return self._error_of(self.square[name])

    def _error_of(self, square: Floats, fitted: bool = False) -> Floats:
        """Return the standard error from squared deviations, less a fitted slope's if there is one.

        A slope takes one degree of freedom from the deviations, and its own chance costs the mean
        as much again: ``(n-2)/(n-3)`` of the variance (Lavenberg and Welch 1981).
        """
        if self.count < 2:
            return np.full_like(square, np.nan)
        freedom = self.count - (3 if fitted else 1)
        return np.sqrt(np.maximum(square, 0.0) / freedom / self.count)

    def slope(self, name: str) -> Floats:
        """Return the slope of a statistic on its control variate; 0 before it can be known."""
        cross, known = self.cross[_pair(name, CONTROLS[name])], self.square[CONTROLS[name]]
        if self.count < ENOUGH:
            return np.zeros_like(known)
        return np.where(known > 0, cross / np.where(known > 0, known, 1.0), 0.0)

    def controlled(self, name: str) -> tuple[Floats, Floats]:
        """Return a mean without what its control variate explains, and its standard error."""
        slope, square = self.slope(name), self.square[name]
        rest = square - slope * self.cross[_pair(name, CONTROLS[name])]
        error = self._error_of(np.maximum(rest, ROUNDING * square), self.count >= ENOUGH)
        return self.mean[name] - slope * self.mean[CONTROLS[name]], error

    def plain(self, name: str) -> tuple[Floats, Floats]:
        """Return a mean and its standard error."""
        return self.mean[name], self.error(name)

    def observables(self, controls: bool = True) -> dict[str, Floats]:
        """Return the observables with their standard errors, ``<name>_se``.

        Parameters
        ----------
        controls
            Whether control variates are used.
        """
        estimate = self.controlled if controls else self.plain
        found: dict[str, Floats] = {}
        for name in ("k_diag", "q_diag", "q_common", "k_bos", "log_z", "sink"):
            found[name], found[f"{name}_se"] = estimate(name)
        found["beacon"], found["beacon_se"] = self._beacon(controls)
        squares, errors = estimate("leak")
        for k, name in enumerate(("leak_mask", "leak_residual", "leak_total")):
            found[name], found[f"{name}_se"] = root(squares[:, k], errors[:, k])
        if self.mean["head_leak"].size:
            squares, errors = self.plain("head_leak")
            for k, name in enumerate(("head_leak_mask", "head_leak_residual", "head_leak_total")):
                found[name], found[f"{name}_se"] = root(squares[..., k], errors[..., k])
            found["head_sink"], found["head_sink_se"] = self.plain("head_sink")
        if self.mean["full"].size:
            for name, *values in zip(("K", "Q", "Q_common"), *estimate("full"), strict=True):
                found[name], found[f"{name}_se"] = values
        return found

    def _beacon(self, controls: bool) -> tuple[Floats, Floats]:
        """Return a ratio of means and its standard error, to first order in their deviations."""
        estimate = self.controlled if controls else self.plain
        part, variance = estimate("fingerprint")[0], estimate("k_diag")[0]
        some = variance > 0  # a zero BOS has no direction to leave behind
        variance = np.where(some, variance, 1.0)
        share = np.where(some, part / variance, 0.0)
        slopes = [self.slope(name) * controls for name in ("fingerprint", "k_diag")]
        square = self._square_of(
            {
                "fingerprint": np.ones_like(share), "fingerprint_chance": -slopes[0],
                "k_diag": -share, "k_chance": share * slopes[1],
            }
        )  # fmt: skip
        error = self._error_of(square, controls and self.count >= ENOUGH)
        return share, np.where(some, error / variance, 0.0)

    def _square_of(self, weights: dict[str, Floats]) -> Floats:
        """Return the squared deviations of a weighted sum of statistics."""
        total = sum(weight**2 * self.square[name] for name, weight in weights.items())
        for one, other in CROSSED:
            if one in weights and other in weights:
                total = total + 2 * weights[one] * weights[other] * self.cross[_pair(one, other)]
        return np.asarray(total)


def _pair(one: str, other: str) -> str:
    return f"{one}*{other}"


def root(square: Floats, error: Floats) -> tuple[Floats, Floats]:
    """Return the root of a mean square, and its standard error.

    Unbiased estimates of small squares may be negative: their root is 0. The error is that
    towards larger values, ``√(s + e) - √s``, which is finite at 0 too.
    """
    positive = np.maximum(square, 0.0)
    return np.sqrt(positive), np.sqrt(positive + error) - np.sqrt(positive)


def statistics(sample: Sample) -> dict[str, Floats]:
    """Return what is averaged over draws, by name; ``leak`` holds mask, residual and total."""
    names = ("k_diag", "q_diag", "q_common", "k_bos", "log_z", "sink", "mean_score", "first_score",
             "full", "full_chance", "head_sink")  # fmt: skip
    k, q, common, bos = sample.state_chance
    return {
        **{name: getattr(sample, name) for name in names},
        "k_chance": k, "q_chance": q, "common_chance": common, "bos_chance": bos,
        "fingerprint": sample.q_diag - sample.q_common, "fingerprint_chance": q - common,
        "leak": _with_total(sample.leak), "leak_chance": _with_total(sample.leak_chance),
        "head_leak": _with_total(sample.head_leak),
    }  # fmt: skip


def _with_total(leak: Floats) -> Floats:
    """Return mask, residual and total leak from the first two and their product (…, 3)."""
    mask, residual, cross = np.moveaxis(leak, -1, 0)
    return np.stack([mask, residual, mask + residual - 2 * cross], axis=-1)
