r"""Moments of the softmax of independent scores, exact for every number of keys.

With ``n`` scores ``s_j = f(σ z_j)``, ``z_j ~ N(0, 1)`` or ``√d_h`` times the cosine of two random
directions in ``d_h`` dimensions, a null key of weight ``B = e^l`` and
``Z = Σ_j e^{s_j} + B``, every moment is one integral over ``t`` of powers of
``φ(t) = E exp(-t e^{s})`` (from ``Z^{-k} = ∫ t^{k-1} e^{-tZ} dt / (k-1)!``). The integrands are the
claims of the theorems ``null-key-denominator``, ``null-key-row-sum``, ``null-key-row-sum-square``
and ``null-key-participation``; without a null key, ``B = 0``.

All integrals are trapezoidal sums in ``ln t`` and ``z``, where the integrands are analytic, so
the error falls exponentially with the number of nodes.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal
from scipy.special import expit, roots_hermitenorm

from .axes import by_value
from .integrands import (
    Parts,
    null_key_denominator,
    null_key_participation,
    null_key_row_sum,
    null_key_row_sum_square,
    of_deficit,
    of_second,
)

if TYPE_CHECKING:
    from scipy.interpolate import RegularGridInterpolator

Array = NDArray[np.float64]

_Z_STEP = 0.12
_LOG_T_STEP = 0.3
_LEAST_ANGLES = 512
_TAIL = 40.0
"""Exponents below minus this are left out of the line."""


class Moments(NamedTuple):
    """Moments of a row of attention weights ``a_j``; all arrays have the same shape."""

    log_z: Array
    """``E ln Z``, nats."""
    row_sum: Array
    """``E Σ_j a_j``."""
    row_sum_square: Array
    """``E (Σ_j a_j)²``."""
    participation: Array
    """``E Σ_j a_j²``."""


def softmax_moments(
    n_keys: Array,
    score_std: Array,
    null_logit: Array | None = None,
    softcap: float | None = None,
    unit: int | None = None,
) -> Moments:
    """Return the moments on the outer product of the arguments, by quadrature.

    Parameters
    ----------
    n_keys, score_std, null_logit
        Numbers of keys (N,) ``>= 1``, score standard deviations (S,) and logits of the null key
        (B,); without a null key the last axis has length 1.
    softcap
        ``c`` of ``s = c tanh(σ z / c)``.
    unit
        ``d_h``, where keys are directions in so many dimensions and ``z`` is ``√d_h`` times a
        cosine.

    Returns
    -------
    Moments
        Arrays (N, S, B).
    """
    n = np.asarray(n_keys, dtype=float)
    sigma = np.asarray(score_std, dtype=float)
    logit = np.array([-np.inf] if null_logit is None else null_logit, dtype=float)
    lowest = -(np.log(n.max()) + _TAIL + max(float(logit.max()), 0.0))
    highest = 4.0 if null_logit is None else 4.0 + max(-float(logit.min()), 0.0)

    found = np.empty((len(Moments._fields), n.size, sigma.size, logit.size))
    keys, null = n[:, None], np.exp(logit)[:, None]
    for s, std in enumerate(sigma):
        t = np.exp(np.arange(lowest - std**2, highest + 7 * std, _LOG_T_STEP))
        z, weight = normal_nodes(float(std)) if unit is None else cosine_nodes(unit)
        y = np.exp(std * z if softcap is None else softcap * np.tanh(std * z / softcap))
        deficit = np.minimum(of_deficit(t[:, None], y) @ weight, 1 - 1e-16)
        second = of_second(t[:, None], y) @ weight
        found[:, :, s] = [
            _integral(null_key_denominator(t, keys, null, deficit)),
            _integral(null_key_row_sum(t, keys, null, deficit)),
            _integral(null_key_row_sum_square(t, keys, null, deficit)),
            _integral(null_key_participation(t, keys, null, deficit, second)),
        ]
    return Moments(*found)


def normal_nodes(std: float) -> tuple[Array, Array]:
    """Return nodes and weights of a normal ``z``, for functions of ``e^{std z}``."""
    step = min(_Z_STEP, 0.25 / max(std, 1.0))
    z = np.arange(-9.0, 9.0 + 2 * std, step)
    return z, np.exp(-(z**2) / 2) * (step / np.sqrt(2 * np.pi))


def cosine_nodes(size: int) -> tuple[Array, Array]:
    """Return nodes and weights of ``z = √d_h cos α`` between two random directions.

    The angle has the density ``∝ sin^{d_h-2} α``; the sum over equal steps is that of a periodic
    function.
    """
    if size == 1:
        return np.array([-1.0, 1.0]), np.full(2, 0.5)
    count = max(_LEAST_ANGLES, int(np.sqrt(size) * np.pi / _Z_STEP))
    angle = (np.arange(count) + 0.5) * np.pi / count
    weight = np.sin(angle) ** (size - 2)
    kept = weight > 1e-20 * weight.max()
    return np.sqrt(size) * np.cos(angle[kept]), weight[kept] / weight.sum()


def _integral(parts: Parts) -> Array:
    """Return a mean from its parts on the line of ``ln t``: (N, B)."""
    product = parts.of_keys @ np.transpose(parts.of_null)
    return np.asarray(parts.outside + (np.sum(parts.alone) + product) * _LOG_T_STEP)


LARGEST_SCORE_STD = 8.0
"""Beyond this the softmax is frozen on its largest score; moments are extrapolated."""
_SIGMA_STEP = 0.125
_CHI_NODES = 6
_HERMITE_NODES = 7
_NULL_NODES = 15


def chi_square_nodes(dof: float | None) -> tuple[Array, Array]:
    """Return nodes and weights of ``χ²_dof / dof`` (1 with certainty when ``dof`` is None)."""
    if dof is None:
        return np.ones(1), np.ones(1)
    k, power = np.arange(_CHI_NODES), dof / 2 - 1  # Golub and Welsch: no weight overflows
    x, vectors = eigh_tridiagonal(2 * k + power + 1, np.sqrt(k[1:] * (k[1:] + power)))
    return np.asarray(x / (dof / 2)), np.asarray(vectors[0] ** 2)


@lru_cache(maxsize=64)
def _table(
    log2_n: int,
    n_sigma: int,
    dof: float | None,
    softcap: float | None,
    null: tuple[float, ...],
    unit: int | None,
) -> tuple[tuple[Array, ...], Array]:
    """Tabulate moments over (ln n, σ, null logit), averaged over the query's squared norm.

    Returns the axes and the values (n, σ, null logit, moment), without the third of both where
    there is no null key.
    """
    n = np.unique(
        np.round(np.concatenate([np.arange(1, 17), 2 ** np.arange(4, log2_n + 0.1, 0.25)]))
    )
    sigma = np.arange(n_sigma + 1) * _SIGMA_STEP
    chi, weight = chi_square_nodes(dof)
    spread = np.minimum(np.outer(sigma, np.sqrt(chi)).ravel(), LARGEST_SCORE_STD)
    moments = softmax_moments(n, spread, np.array(null) if null else None, softcap, unit)
    values = np.stack([m.reshape(n.size, sigma.size, chi.size, -1) for m in moments], axis=-1)
    mixed = np.einsum("nscbm,c->nsbm", values, weight)
    mixed[..., 0] -= np.log(n)[:, None, None]
    mixed[..., 3] = np.log(mixed[..., 3] * n[:, None, None])
    axes = np.log(n), np.asarray(sigma, dtype=np.float64)
    return ((*axes, np.array(null)), mixed) if null else (axes, mixed[:, :, 0])


class _Rows:
    """The moments of rows with given numbers of keys as cubic splines in ``σ``.

    Parameters
    ----------
    n
        Numbers of keys (N,).
    table
        Arguments of `_table`.
    """

    def __init__(self, n: Array, *table: Any) -> None:
        from scipy.interpolate import CubicSpline, make_interp_spline

        (log_n, sigma), values = _table(*table)
        of_rows = make_interp_spline(log_n, values, k=3)(np.log(n))
        self._pieces = CubicSpline(sigma, of_rows, axis=1).c  # (4, pieces, N, moment)
        self._row = np.arange(n.size)

    @classmethod
    @lru_cache(maxsize=64)
    def of(cls, n: bytes, *table: Any) -> "_Rows":
        """Return them, made once."""
        return cls(np.frombuffer(n), *table)

    def at(self, sigma: Array) -> Array:
        """Return the moments (…, N, 4) of rows of scores that spread by ``sigma`` (…, N)."""
        piece = np.minimum(sigma / _SIGMA_STEP, self._pieces.shape[1] - 1).astype(np.int64)
        cubic, square, slope, constant = self._pieces[:, piece, self._row]
        above = (sigma - piece * _SIGMA_STEP)[..., None]
        return np.asarray(((cubic * above + square) * above + slope) * above + constant)


def row_moments(
    n_keys: Array,
    score_std: Array,
    *,
    dof: float | None = None,
    softcap: float | None = None,
    null_logit: float | None = None,
    null_var: Array | None = None,
    unit: int | None = None,
) -> Moments:
    """Return the moments of many rows at once, from tables of the quadrature.

    Parameters
    ----------
    n_keys, score_std
        ``n_i`` of every row (N,), and ``σ_i`` of those of every stack that runs along (…, N).
    dof
        Head size, when ``σ²`` is a ``χ²_dof / dof`` mixture because a query's norm varies.
    softcap
        As in `softmax_moments`.
    null_logit, null_var
        Mean and variance (…, N) of the null key's logit, less what all scores of a row share.
    unit
        As in `softmax_moments`.
    """
    n = np.asarray(n_keys, dtype=float)
    sigma = np.minimum(score_std, LARGEST_SCORE_STD)
    log2_n = max(int(np.ceil(np.log2(n.max()))), 5)

    def tabulated(pieces: int, which: Any) -> Array:
        table = log2_n, pieces, dof, softcap
        if null_logit is None:
            return _Rows.of(n.tobytes(), *table, (), unit).at(sigma[which])
        rows = sigma[which].reshape(-1, n.size)
        variances = np.zeros_like(sigma) if null_var is None else null_var
        std = np.sqrt(variances[which]).reshape(rows.shape)
        found = [
            _with_null(n, *row, null_logit, table, unit) for row in zip(rows, std, strict=True)
        ]
        return np.array(found).reshape(*sigma[which].shape, len(Moments._fields))

    pieces = np.maximum(np.ceil(sigma.max(-1) / _SIGMA_STEP).astype(int), 4)
    log_z, row_sum, square, participation = np.moveaxis(by_value(pieces, tabulated), -1, 0)
    if null_logit is None:
        alone = n == 1
        log_z[..., alone] = participation[..., alone] = 0.0
        row_sum[..., alone] = square[..., alone] = 1.0
    frozen = np.maximum(score_std / LARGEST_SCORE_STD, 1.0)
    return Moments(
        (log_z + np.log(n)) * frozen,
        np.clip(row_sum, 0.0, 1.0),
        np.clip(square, 0.0, 1.0),
        np.clip(np.exp(participation) / n, 0.0, 1.0),
    )


@lru_cache(maxsize=64)
def _spline(*table: Any) -> "RegularGridInterpolator":
    from scipy.interpolate import RegularGridInterpolator

    return RegularGridInterpolator(*_table(*table), method="cubic")


def _with_null(
    n: Array, sigma: Array, std: Array, logit: float, table: tuple[Any, ...], unit: int | None
) -> Array:
    """Return moments (N, 4) as they are tabulated, in the mean over the null key's logit."""
    x, w = roots_hermitenorm(_HERMITE_NODES)
    reach = float(np.ceil((x[-1] * std.max() + 0.01) * 4) / 4)
    axis = tuple((logit + np.linspace(-reach, reach, _NULL_NODES)).tolist())
    found = sum(
        wk * _spline(*table, axis, unit)(np.stack([np.log(n), sigma, logit + xk * std], axis=-1))
        for xk, wk in zip(x, w / w.sum(), strict=True)
    )
    return np.asarray(found)


def sigmoid_moments(n_keys: Array, score_std: Array, bias: Array, shared: Array) -> Moments:
    """Return the moments of a row of sigmoid attention ``a_j = sigmoid(s_j + bias_i)``.

    Parameters
    ----------
    n_keys, score_std, bias
        ``n_i`` (N,), ``σ_i`` (…, N) and the bias of every row (N,).
    shared
        Correlation of two scores of a row (…, N).

    Notes
    -----
    There is no denominator: ``log_z`` is ``-bias``, which is what divides a small weight.
    """
    x, w = roots_hermitenorm(40)
    w = w / w.sum()
    a = expit(score_std[..., None] * x + bias[:, None])
    hermite = np.stack([np.ones_like(x), x, (x**2 - 1) / np.sqrt(2)])
    first, second, third = np.moveaxis((a * w) @ hermite.T, -1, 0)
    pair = first**2 + second**2 * shared + third**2 * shared**2
    square = (a**2) @ w
    return Moments(
        -bias + np.zeros_like(first),
        n_keys * first,
        n_keys * square + n_keys * (n_keys - 1) * pair,
        n_keys * square,
    )
