"""Streaming moments over draws, and the observables that follow from them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .forward import Sample

Floats = NDArray[np.float64]

ROUNDING = 1e-12
"""Share of a squared deviation that may be rounding."""


CONTROLS = {"log_z": "mean_score", "sink": "first_score"}
"""Control variates: statistics whose mean is 0 exactly, by the statistic that they explain."""
CROSSED = {**CONTROLS, "k_diag": "fingerprint"}
"""Statistics whose products are followed."""
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
        By the first of two statistics in `CROSSED`: the sum of products of their deviations.
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
            self.cross = {name: np.zeros_like(values[name]) for name in CROSSED}
        self.count += 1
        before = {name: values[name] - self.mean[name] for name in CROSSED}
        for name, value in values.items():
            deviation = value - self.mean[name]
            self.mean[name] += deviation / self.count
            self.square[name] += deviation * (value - self.mean[name])
        for name, other in CROSSED.items():
            self.cross[name] += before[name] * (values[other] - self.mean[other])

    def error(self, name: str) -> Floats:
        """Return the standard error of a mean; NaN before the second draw."""
        return self._error_of(self.square[name])

    def _error_of(self, square: Floats, fitted: int = 0) -> Floats:
        """Return the standard error from squared deviations, ``fitted`` slopes taken out."""
        if self.count < 2:
            return np.full_like(square, np.nan)
        return np.sqrt(np.maximum(square, 0.0) / (self.count - 1 - fitted) / self.count)

    def controlled(self, name: str) -> tuple[Floats, Floats]:
        """Return a mean without what its control variate explains, and its standard error."""
        mean, square, cross = self.mean[name], self.square[name], self.cross[name]
        control = CONTROLS[name]
        known = self.square[control]
        if self.count < ENOUGH:
            return mean, self.error(name)
        slope = np.where(known > 0, cross / np.where(known > 0, known, 1.0), 0.0)
        rest = np.maximum(square - slope * cross, ROUNDING * square)
        return mean - slope * self.mean[control], self._error_of(rest, fitted=1)

    def observables(self, controls: bool = True) -> dict[str, Floats]:
        """Return the observables with their standard errors, ``<name>_se``.

        Parameters
        ----------
        controls
            Whether ``log_z`` and ``sink`` use their control variates.
        """
        found: dict[str, Floats] = {}
        for name in ("k_diag", "q_diag", "q_common", "k_bos", "log_z", "sink"):
            if controls and name in CONTROLS:
                found[name], found[f"{name}_se"] = self.controlled(name)
            else:
                found[name], found[f"{name}_se"] = self.mean[name], self.error(name)
        found["beacon"], found["beacon_se"] = self._beacon()
        for k, name in enumerate(("leak_mask", "leak_residual", "leak_total")):
            square, error = self.mean["leak"][:, k], self.error("leak")[:, k]
            found[name], found[f"{name}_se"] = root(square, error)
        if "head_leak" in self.mean:
            for k, name in enumerate(("head_leak_mask", "head_leak_residual", "head_leak_total")):
                square, error = self.mean["head_leak"][..., k], self.error("head_leak")[..., k]
                found[name], found[f"{name}_se"] = root(square, error)
            found["head_sink"] = self.mean["head_sink"]
            found["head_sink_se"] = self.error("head_sink")
        if "full" in self.mean:
            for k, name in enumerate(("K", "Q", "Q_common")):
                found[name], found[f"{name}_se"] = self.mean["full"][k], self.error("full")[k]
        return found

    def _beacon(self) -> tuple[Floats, Floats]:
        """Return a ratio of means and its standard error, to first order in their deviations."""
        variance = self.mean["k_diag"]
        some = variance > 0  # a zero BOS has no direction to leave behind
        variance = np.where(some, variance, 1.0)
        share = np.where(some, self.mean["fingerprint"] / variance, 0.0)
        square = (
            self.square["fingerprint"]
            - 2 * share * self.cross["k_diag"]
            + share**2 * self.square["k_diag"]
        )
        return share, np.where(some, self._error_of(square) / variance, 0.0)


def root(square: Floats, error: Floats) -> tuple[Floats, Floats]:
    """Return the root of a mean square, and its standard error.

    Unbiased estimates of small squares may be negative: their root is 0. The error is that
    towards larger values, ``√(s + e) - √s``, which is finite at 0 too.
    """
    positive = np.maximum(square, 0.0)
    return np.sqrt(positive), np.sqrt(positive + error) - np.sqrt(positive)


def statistics(sample: Sample) -> dict[str, Floats]:
    """Return what is averaged over draws, by name; ``leak`` holds mask, residual and total.

    What the sample does not hold is left out.
    """
    values = {name: value for name, value in sample._asdict().items() if value.size}
    if sample.head_leak.size:
        values["head_leak"] = _with_total(sample.head_leak)
    return {
        **values,
        "fingerprint": sample.q_diag - sample.q_common,
        "leak": _with_total(sample.leak),
    }


def _with_total(leak: Floats) -> Floats:
    """Return mask, residual and total leak from the first two and their product (…, 3)."""
    mask, residual, cross = np.moveaxis(leak, -1, 0)
    return np.stack([mask, residual, mask + residual - 2 * cross], axis=-1)
