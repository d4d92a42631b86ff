r"""How far a correct implementation may be from exact: the closed form, by dtype.

A rotation is orthogonal and angles are linear in the position, so in exact arithmetic the score
``s = q'·k'/√d`` of a query at ``m`` and a key at ``n`` depends on ``m - n`` alone. What breaks this
in a correct implementation is rounding, and rounding alone. Entries have unit variance here, so
scores do too; errors grow in proportion to the standard deviation of the scores.

**Angles.** ``fl(n w_i)`` is off by an error that is uniform in ``±ulp(n w_i)/2``, so of variance
``ulp²/12``. A pair of entries that is turned by ``δ`` too much moves the score by
``(q_i × k_i) δ/√d``, where the cross product has variance 2. Independent errors of every rotated
vector ``v`` in the comparison (a query and a key, before and after a shift: four) give

.. math:: \mathrm{RMS}_\text{angle}^2 = \frac{2}{d} \sum_v \sum_i \frac{\mathrm{ulp}(p_v w_i)^2}{12}

An integer times a power of two is exact as long as the integer is, so such pairs (the first one
of most RoPEs, with ``w = 1``) drop out of the law; the bound keeps them, as an angle that is taken
modulo 2π before it is rounded is not exact. Integers above ``2^bits`` are themselves rounded,
which adds ``(ulp(p) w_i)²/12``.

**Rotation.** ``q_1 cos - q_2 sin`` rounds the two table entries, two products and one sum. A
rounding error is uniform in ``±ulp(x)/2`` and ``ulp(x) = ε 2^⌊log₂|x|⌋``, with ``ε`` the distance
from 1 to the next number; so its variance is ``h ε²/12`` times the variance of ``x``, where
``h = E[4^⌊log₂|x|⌋]/E[x²]`` is 0.54 if ``x`` is Gaussian (``H_NORMAL``) and 0.36 if it is a cosine
of a uniform angle (``H_COSINE``). Each rotated vector moves the score by the sum over ``d``
entries, and the factors ``1/√d`` cancel the number of entries:

.. math:: \mathrm{RMS}_\text{rotation}^2 = N_v (h_c ε_t^2 + 2 h_n ε^2) / 12

with ``N_v`` rotated vectors, ``ε`` of the activations and ``ε_t`` the coarser one of activations
and angles. For four vectors in bf16 this is 0.0054, in fp16 0.00068, in fp32 8e-8.

**From an RMS to a bound.** Rounding errors are bounded, so weighted sums of independent ones are
sub-Gaussian with their own variance: ``P(|error| > z RMS) ≤ 2 exp(-z²/2)``. ``z`` is chosen such
that ``N`` comparisons exceed their tolerance with probability ``FALSE_ALARM`` in all. Two roundings
of each angle are granted (``position / factor * w`` rounds twice).
"""

from math import log, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import Dtype, Floats, dtype_named

FALSE_ALARM = 1e-12
ANGLE_ROUNDINGS = 2
H_NORMAL = 0.5414
H_COSINE = 0.3578


class Precision(NamedTuple):
    """Where an implementation rounds.

    Parameters
    ----------
    activations
        The format of queries, keys and, after the cast, of cos and sin.
    angles
        The format in which position times inverse frequency is computed.
    """

    activations: Dtype
    angles: Dtype

    @classmethod
    def of(cls, dtype: str, angles: str | None = None) -> "Precision":
        """Return the usual one for a dtype: angles in fp64 for fp64, else in fp32."""
        activations = dtype_named(dtype)
        return cls(activations, dtype_named(angles or ("fp64" if dtype == "fp64" else "fp32")))


def spacing(x: ArrayLike, bits: int) -> Floats:
    """Return ``ulp(x)`` in a format with ``bits`` bits of significand, 0 at 0; shape of ``x``."""
    magnitude = np.abs(np.asarray(x, dtype=np.float64))
    _, exponent = np.frexp(magnitude)  # magnitude = f 2^exponent, 1/2 <= f < 1
    return np.asarray(np.where(magnitude > 0, np.ldexp(1.0, exponent - bits), 0.0))


def angle_variance(
    positions: ArrayLike, frequencies: ArrayLike, bits: int, exact: bool = True
) -> Floats:
    """Return the sum over pairs of the variance of one rounded angle, in radians².

    Parameters
    ----------
    positions
        In tokens, any shape.
    frequencies
        Inverse frequencies in radians a token, shape ``(pairs,)``.
    bits
        Bits of the significand of the format of the angles.
    exact
        Whether an integer times a power of two counts as exact.

    Returns
    -------
    ndarray
        Shape of ``positions``.
    """
    p = np.asarray(positions, dtype=np.float64)[..., None]
    w = np.asarray(frequencies, dtype=np.float64)
    powers = (np.frexp(w)[0] == 0.5) & exact
    rounded = np.where(powers, 0.0, spacing(p * w, bits)) ** 2
    integer = np.where(np.abs(p) > 2.0**bits, spacing(p, bits) * w, 0.0) ** 2
    return np.asarray((rounded + integer).sum(-1) / 12)


def angle_rms(
    positions: ArrayLike, frequencies: ArrayLike, head_size: int, bits: int, exact: bool = True
) -> Floats:
    """Return the RMS error of a score that comes from rounded angles, in score standard deviations.

    Parameters
    ----------
    positions
        Of every rotated vector in the comparison, shape ``(..., vectors)``.
    frequencies
        Inverse frequencies, shape ``(pairs,)``.
    head_size
        ``d``.
    bits
        Bits of the significand of the format of the angles.
    exact
        Whether an integer times a power of two counts as exact.
    """
    total = angle_variance(positions, frequencies, bits, exact).sum(-1)
    return np.asarray(np.sqrt(2 / head_size * total))


def rotation_rms(precision: Precision, vectors: int = 4) -> float:
    """Return the RMS error of a score that comes from rounded tables, products and sums."""
    coarser = max(precision.activations.eps, precision.angles.eps)
    entry = H_COSINE * coarser**2 + 2 * H_NORMAL * precision.activations.eps**2
    return sqrt(vectors * entry / 12)


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
    coarser = max(precision.activations.eps, precision.angles.eps)
    rms = rotation_rms(precision, vectors=2) * sqrt(3 / head_size)
    return quantile(comparisons) * rms + coarser / 4


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
    accumulated = min(precision.activations.eps, 2.0**-23) * sqrt(head_size)
    rounded = H_NORMAL / 12 * (6 * precision.activations.eps**2 + 4 * accumulated**2)
    return np.asarray(np.hypot(np.asarray(score), quantile(comparisons) * sqrt(rounded)))


def explained(
    positions: ArrayLike, frequencies: ArrayLike, head_size: int, precision: Precision
) -> str:
    """Say in words where the tolerance of a score comes from; arguments as `score_tolerance`."""
    p = np.asarray(positions)
    bits = precision.angles.bits
    angle = sqrt(ANGLE_ROUNDINGS) * float(angle_rms(p, frequencies, head_size, bits, exact=False))
    rotation = rotation_rms(precision, p.shape[-1])
    return (
        f"closed form: RMS {angle:.1e} from {precision.angles.name} angles and {rotation:.1e} from"
        f" {precision.activations.name} tables and products, times a bound that one in"
        f" {1 / FALSE_ALARM:.0e} cases passes"
    )
