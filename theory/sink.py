r"""Sink-reading heads: what a constant in every query, along BOS's key, does to the scores.

The score of key ``j`` shifts by ``b (P k_0)·R(j-i) k_j / |P k_0|²``, ``P`` the slow entries of the
head. Over weights its mean is ``b κ_P(i-j) C_0j``, and what ``k_j`` does not share with ``k_0``
leaves it a variance of ``b² (1 - C_0j²) / |P k_0|²``, in units of a key's entry: a noise that all
queries have in common. The square is a ``χ²`` of as many degrees as there are entries, and differs
from head to head.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from ropeleak.spec.sink import sink_band

from .layer import Layer
from .softmax import LARGEST_SCORE_STD, Moments, chi_square_nodes, row_moments
from .state import State
from .together import Some, first
from .weights import TINY, LiftedKey

Array = NDArray[np.float64]

_LARGEST = 50.0
"""Largest shift of a score that is told from a larger one."""


class Shift(NamedTuple):
    """How a sink bias shifts scores, before the query's scale.

    Attributes
    ----------
    towards
        ``k_0·k_j/|k_0|²`` of BOS's key and every key (G,).
    mean
        Mean of the shift (G, G).
    apart
        Variance of the shift of every key (G,), times the square of BOS's key over its mean.
    unit
        Mean variance of the shift of a key that has nothing in common with BOS's.
    squares, weights
        Values of that square, and how often they occur.
    """

    towards: Array
    mean: Array
    apart: Array
    unit: float
    squares: Array
    weights: Array

    @classmethod
    def of(cls, stack: Some, layer: Layer, u: State, factor: Array) -> "Shift | None":
        """Return the shift in a layer whose input is ``u``, or None where there is none.

        ``factor`` (G,) multiplies the input in scores. Where position 0 does not hold BOS, BOS is
        an ordinary token 0 of another input.
        """
        attention = layer.attention
        if not attention.sink_bias:
            return None
        size = u.same.diag * factor**2
        if stack.bos.is_constant:
            shared = u.same.pairs[0].copy()
            shared[0] = u.same.diag[0]
        else:
            shared = u.other["common"].pairs[0]
        towards = shared * factor * factor[0] / max(size[0], TINY)
        entries = sink_band(first(stack), attention).size
        squares, weights = chi_square_nodes(entries)
        unit = attention.sink_bias**2 / entries
        cap = attention.softmax.softcap
        mean = attention.sink_bias * layer.band_kernel * towards
        if cap is not None:
            mean = cap * np.tanh(mean / cap)
        apart = unit * np.maximum(size / max(size[0], TINY) - towards**2, 0.0)
        mean = np.clip(mean, -_LARGEST, _LARGEST)
        return cls(towards, mean, apart, unit * float(weights @ (1 / squares)), squares, weights)


class SinkRead(NamedTuple):
    """Rows of attention after token 0 was set apart.

    Attributes
    ----------
    mean, excess, own_share
        As in `Row`.
    before, after
        The weight of token 0 as one of many keys whose scores are shifted, and with its own shift;
        0 where it is not one of several keys.
    drift
        What the bias adds to ``ln Z`` through the other keys, or through the only one (G,).
    """

    mean: Array
    excess: Array
    own_share: Array
    before: LiftedKey
    after: LiftedKey
    drift: Array

    def moments(self, plain: Moments) -> Moments:
        """Return the moments of rows whose moments without the bias are ``plain``.

        A null key's weight follows that of all others: ``logit Σ_j a_j`` is their ``ln Z`` less its
        logit.
        """
        inside = np.maximum(plain.row_sum_square, TINY)
        lifted = self.before.lift(plain.participation / inside, self.after)
        gained = self.drift + self.after.log_z - self.before.log_z
        null = np.clip(1 - plain.row_sum, 0.0, 1.0)
        row_sum = expit(logit(plain.row_sum) + gained)
        square = np.minimum(inside * (row_sum / np.maximum(plain.row_sum, TINY)) ** 2, 1.0)
        log_z = plain.log_z + np.log(plain.row_sum * np.exp(gained) + null)
        return Moments(log_z, row_sum, square, lifted * square)


def read_sink(
    mean: Array,
    excess: Array,
    own_share: Array,
    n: Array,
    shift: Array,
    variance: Array,
    noise: Array,
    own_noise: Array,
) -> SinkRead:
    """Return rows of mean weights with their scores shifted.

    Parameters
    ----------
    mean, excess, own_share
        Rows without the bias: see `Row`.
    n
        Number of keys (G,).
    shift
        Mean shift of every score (G, G).
    variance, noise, own_noise
        Variances of a score within a row, of the shift of another key, and of token 0's (G,).
    """
    read = mean[:, 0]
    alone = (n <= 1) | (read >= 1)
    gain = np.exp(shift)
    gain[:, 0] = 0.0
    others = np.where(alone, 1.0, 1 - read)
    total = (mean * gain).sum(1)
    total = np.where(total > 0, total, 1.0)
    drift = np.where(alone, np.diag(shift), np.log(total / others))

    share = np.clip(read, 1e-12, 1 - 1e-12)
    base = np.log(share / (1 - share) * np.maximum(n - 1, 1))
    rest = _others(n, variance + noise)
    plain = LiftedKey.of(base, variance, *_others(n, variance))
    before = LiftedKey.of(base, variance + noise, *rest)
    after = LiftedKey.of(base + shift[:, 0] - drift, variance + own_noise, *rest)
    sees = ~alone & (read > 0)
    odds = logit(share) + logit(after.mean) - logit(plain.mean)
    at_sink = np.where(sees, expit(odds), read)
    square = after.square * (at_sink / after.mean) ** 2
    after = LiftedKey(at_sink, np.minimum(square, at_sink), after.log_z)
    before, after = (LiftedKey(*(np.where(sees, x, 0.0) for x in key)) for key in (before, after))

    scale = np.where(alone, 0.0, (1 - at_sink) / total)
    own = own_share * np.diag(gain) * scale
    shifted = gain * scale[:, None]
    new = mean * shifted
    new[:, 0] = at_sink
    spare = np.maximum(1 - own, TINY)
    new_excess = excess * shifted * ((1 - own_share) / spare)[:, None]
    new_excess[:, 0] = np.where(read > 0, n * at_sink / spare, 0.0)
    return SinkRead(new, new_excess, own, before, after, drift)


def _others(n: Array, variance: Array) -> tuple[Array, Array]:
    """Return mean and variance of ``-ln Σ e^{s_j}`` over all keys of a row but one.

    The mean is exact for independent scores; the variance is that of the log-normal that has the
    right mean too.
    """
    others = np.maximum(n - 1, 1)
    variance = np.minimum(variance, LARGEST_SCORE_STD**2)
    mean = row_moments(others, np.sqrt(variance)).log_z
    return -mean, np.maximum(2 * (np.log(others) - mean) + variance, 0.0)
