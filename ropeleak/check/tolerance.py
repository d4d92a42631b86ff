r"""How far a correct implementation may be from exact: the closed form, by dtype.

A rotation is orthogonal and angles are linear in the position, so in exact arithmetic the score
``s = q'·k'/√d`` of a query at ``m`` and a key at ``n`` depends on ``m - n`` alone. What breaks this
in a correct implementation is rounding, and rounding alone. Its laws are theorems of
`ropeleak.theory.theorems` (``ropeleak theorems precision-angle``), and `ropeleak.theory.rounding`
holds them as code. Entries have unit variance here, so scores do too; errors grow in proportion to
the standard deviation of the scores.

**Angles** (``precision-angle``). ``fl(n w_i)`` is off by an error that is uniform in
``±ulp(n w_i)/2``. Independent errors of every rotated vector ``v`` in the comparison (a query and a
key, before and after a shift: four) give, over ``d/2`` pairs,

.. math:: \mathrm{RMS}_\text{angle}^2 = \frac{2}{d} \sum_v \sum_i \frac{\mathrm{ulp}(p_v w_i)^2}{12}

An integer times a power of two is exact as long as the integer is, so such pairs (the first one
of most RoPEs, with ``w = 1``) drop out of the law; the bound keeps them, as an angle that is taken
modulo 2π before it is rounded is not exact. Integers above ``2^bits`` are themselves rounded,
which adds ``(ulp(p) w_i)²/12``.

**Rotation** (``precision-tables``, ``precision-rotation``). ``q_1 cos - q_2 sin`` rounds the two
table entries, two products and one sum. That adds a constant, whatever the position: 0.0054 in
bf16, 0.00068 in fp16, 8e-8 in fp32 for the four vectors of two scores, and in proportion to the
square root of their number for others.

**From an RMS to a bound.** Rounding errors are bounded, and a uniform error is strictly
sub-Gaussian, so weighted sums of independent ones are sub-Gaussian with their own variance:
``P(|error| > z RMS) ≤ 2 exp(-z²/2)``. ``z`` is chosen such that ``N`` comparisons exceed their
tolerance with probability ``FALSE_ALARM`` in all. Two roundings of each angle are granted
(``position / factor * w`` rounds twice).
"""

from math import hypot, log, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ropeleak.theory.rounding import of_angles, of_rotation, of_tables

from ._arrays import Dtype, Floats, dtype_named

FALSE_ALARM = 1e-12
FP32_BITS = 24
ANGLE_ROUNDINGS = 2
SCORE_VECTORS, ROUNDINGS = 4, 2
"""Rotated vectors of two scores, and roundings of each vector, that ``of_rotation`` counts."""


class Precision(NamedTuple):
    """Where an implementation rounds.

    Parameters
    ----------
    activations
        The format of queries and keys.
    angles
        The format in which position times inverse frequency is computed.
    tables
        The format of cos and sin.
    """

    activations: Dtype
    angles: Dtype
    tables: Dtype

    @property
    def eps(self) -> float:
        """The coarser spacing at 1 of activations and tables."""
        return max(self.activations.eps, self.tables.eps)

    @classmethod
    def of(cls, dtype: str, angles: str | None = None, tables: str | None = None) -> "Precision":
        """Return the usual one for a dtype.

        Angles are in fp64 for fp64, else in fp32, and tables in the coarser one of both formats,
        unless given.
        """
        activations = dtype_named(dtype)
        turned = dtype_named(angles or ("fp64" if dtype == "fp64" else "fp32"))
        coarser = min(activations, turned, key=lambda format_: format_.bits)
        return cls(activations, turned, dtype_named(tables) if tables else coarser)


def spacing(x: ArrayLike, bits: int) -> Floats:
    """Return ``ulp(x)`` in a format with ``bits`` bits of significand, 0 at 0; shape of ``x``."""
    magnitude = np.abs(np.asarray(x, dtype=np.float64))
    _, exponent = np.frexp(magnitude)  # magnitude = f 2^exponent, 1/2 <= f < 1
    return np.asarray(np.where(magnitude > 0, np.ldexp(1.0, exponent - bits), 0.0))


def angle_rms(
    positions: ArrayLike, frequencies: ArrayLike, head_size: int, bits: int, exact: bool = True
) -> Floats:
    """Return the RMS error of a score that comes from rounded angles, in score standard deviations.

    Parameters
    ----------
    positions
        Of every rotated vector in the comparison, in tokens, shape ``(..., vectors)``.
    frequencies
        Inverse frequencies in radians a token, shape ``(pairs,)``.
    head_size
        ``d``; pairs that are not turned have no frequency.
    bits
        Bits of the significand of the format of the angles.
    exact
        Whether an integer times a power of two counts as exact.

    Returns
    -------
    ndarray
        Shape ``(...)``.
    """
    p = np.asarray(positions, dtype=np.float64)[..., None]
    w = np.asarray(frequencies, dtype=np.float64)
    powers = (np.frexp(w)[0] == 0.5) & exact
    rounded = np.where(powers, 0.0, spacing(p * w, bits)) ** 2
    integer = np.where(np.abs(p) > 2.0**bits, spacing(p, bits) * w, 0.0) ** 2
    return np.asarray(of_angles((rounded + integer).sum((-2, -1)), head_size // 2))


def rotation_rms(precision: Precision, vectors: int = SCORE_VECTORS) -> float:
    """Return the RMS error of a score that comes from rounded tables, products and sums."""
    error = hypot(of_tables(precision.tables.bits), of_rotation(precision.activations.bits))
    return error * sqrt(vectors / SCORE_VECTORS)


def rounding_rms(bits: int) -> float:
    """Return the RMS error of one rounding, relative to the RMS of what is rounded."""
    return of_rotation(bits) / sqrt(SCORE_VECTORS * ROUNDINGS)


def quantile(comparisons: int) -> float:
    """Return ``z``: all of so many sub-Gaussian errors stay below ``z`` RMS but for FALSE_ALARM."""
    return sqrt(2 * log(2 * max(comparisons, 1) / FALSE_ALARM))


def score_tolerance(
    positions: ArrayLike, frequencies: ArrayLike, head_size: int, precision: Precision
) -> Floats:
    """Return how far two scores may differ that are equal in exact arithmetic.

    Parameters
    ----------
    positions
        Of every rotated vector in the comparison, shape ``(..., vectors)``.
    frequencies
        Inverse frequencies, shape ``(pairs,)``.
    head_size
        ``d``.
    precision
        Where the implementation rounds.

    Returns
    -------
    ndarray
        Shape ``(...)``, in score standard deviations.
    """
    p = np.asarray(positions)
    angle = angle_rms(p, frequencies, head_size, precision.angles.bits, exact=False)
    angle *= sqrt(ANGLE_ROUNDINGS)
    rotation = rotation_rms(precision, p.shape[-1])
    return np.asarray(quantile(angle.size) * np.hypot(angle, rotation))


def norm_tolerance(head_size: int, precision: Precision, comparisons: int) -> float:
    """Return how far the norm of a rotated vector may be from its norm at position 0, relatively.

    Each entry is off by a relative error ``δ`` of the variance above, so ``|x|²`` by
    ``2 Σ x² δ``: a relative error of the norm of variance ``E[x⁴]/d`` (at most 3/d, as for a
    Gaussian) times that of ``δ``, at both positions. The table's share may add up instead: cosines
    just below 1 are all rounded the same way, by at most ``ε/4`` each.
    """
    rms = rotation_rms(precision, vectors=2) * sqrt(3 / head_size)
    return quantile(comparisons) * rms + precision.tables.eps / 4


def attention_tolerance(
    score: ArrayLike, head_size: int, precision: Precision, comparisons: int
) -> Floats:
    """Return how far two outputs of attention may differ that are equal in exact arithmetic.

    Values have unit variance. An error ``δ`` of the scores moves ``Σ_j a_j v_j`` by at most its own
    RMS. Scores (two of unit variance), softmax weights and outputs are rounded to the activations'
    format, the sums over ``d`` entries in fp32 or finer, each at the two places that are compared.

    Parameters
    ----------
    score
        The tolerance of the scores (``score_tolerance``), any shape.
    """
    bits = precision.activations.bits
    stored = sqrt(6) * rounding_rms(bits)
    summed = sqrt(4 * head_size) * rounding_rms(max(bits, FP32_BITS))
    rounded = quantile(comparisons) * hypot(stored, summed)
    return np.asarray(np.hypot(np.asarray(score), rounded))


def explained(
    positions: ArrayLike, frequencies: ArrayLike, head_size: int, precision: Precision
) -> str:
    """Say in words where the tolerance of a score comes from; arguments as `score_tolerance`."""
    p = np.asarray(positions)
    bits = precision.angles.bits
    angle = sqrt(ANGLE_ROUNDINGS) * float(angle_rms(p, frequencies, head_size, bits, exact=False))
    rotation = rotation_rms(precision, p.shape[-1])
    tables, activations = precision.tables.name, precision.activations.name
    finer = "" if tables == activations else f"{activations} "
    return (
        f"closed form: RMS {angle:.1e} from {precision.angles.name} angles and {rotation:.1e} from"
        f" {tables} tables and {finer}products, times a bound that one in {1 / FALSE_ALARM:.0e}"
        " cases passes"
    )
