r"""Random heads: attention scores drawn from their Gaussian process over inputs and positions.

In the wide limit a head's queries and keys are Gaussian with covariance ``C`` over the positions of
one input and ``D`` between inputs. A draw is a part with covariance ``D`` that all inputs share
and, for each input, a part of its own with ``C - D``; so any number of inputs needs two factors.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from ropeleak.spec import Attention, Stack
from ropeleak.spec.sink import sink_band

from .dense import Band, Mask
from .layer import rotations

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


class Draw(NamedTuple):
    """Heads ``h`` that inputs ``a`` have gone through.

    Attributes
    ----------
    weights
        ``a_ij`` (H, A, T, T).
    log_z
        ``ln Z_i`` (H, A, T).
    band
        Scores on the band (H, A, N), before the mask.
    shared
        Their means over inputs, given what inputs share, (H, N); None where they are not known.
    """

    weights: Array
    log_z: Array
    band: Array
    shared: Array | None


def factor(covariance: Array) -> Array:
    """Return ``F`` with ``F Fᵀ`` the part of a symmetric matrix that is not negative."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    kept = values > 1e-12 * max(values[-1], 0.0)
    return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))


@dataclass(frozen=True)
class Heads:
    """One layer's heads: how they turn, scale and mask scores.

    Attributes
    ----------
    frequencies, gains
        Of every pair of entries: how fast it turns, and the factor on it (P,).
    slow
        Which pairs a sink bias lives in (P,).
    """

    stack: Stack
    block: int
    mask: Mask
    band: Band
    frequencies: Array
    gains: Array
    slow: Array

    @classmethod
    def of(cls, stack: Stack, block: int) -> "Heads":
        """Return the heads of a block."""
        attention = stack.attention[block]
        rates, share = rotations(stack, attention)
        size = stack.head_size(attention)
        pairs = np.round(share * size / 2).astype(int)
        frequencies = np.repeat(rates, pairs)
        gain = stack.rotary_gain(attention)
        rope = attention.rope
        turned = 1.0 if rope is None or gain == 1 else rope.attention_scale(stack.context)
        gains = np.repeat(np.append(np.full(rates.size - 1, turned), 1.0), pairs) / gain**0.25
        band = sink_band(stack, attention)
        still = np.arange(pairs.sum() - band.pairs.size) < band.still // 2
        return cls(
            stack, block, Mask(attention, stack.context), Band(stack, block), frequencies, gains,
            np.append(band.pairs, still),
        )  # fmt: skip

    @property
    def attention(self) -> Attention:
        """The layer."""
        return self.stack.attention[self.block]

    @property
    def linear(self) -> bool:
        """Whether scores are bilinear in the inputs, so that their means are known."""
        return self.attention.softmax.softcap is None and self.attention.qk_norm in (
            "none", "projection",
        )  # fmt: skip

    def draw(
        self,
        covariance: Array,
        shared: Array,
        own: Array,
        n_heads: int,
        n_inputs: int,
        rng: np.random.Generator,
        *,
        with_bos: bool = True,
    ) -> Draw:
        """Draw heads and what they do to some inputs.

        Parameters
        ----------
        covariance
            ``C - D`` of an input's own part (T, T).
        shared, own
            Factors (T, …) of ``D`` and ``C - D``.
        with_bos
            Whether position 0 of the inputs holds BOS, which a sink bias points at.
        """
        stack, attention, soft = self.stack, self.attention, self.attention.softmax
        rho = self._correlation()
        key_all, query_all = (self._normal(shared, (n_heads, 1), rng) for _ in range(2))
        key_own, query_own = (self._normal(own, (n_heads, n_inputs), rng) for _ in range(2))
        query_all = rho * key_all + np.sqrt(1 - rho**2) * query_all
        query = query_all + rho * key_own + np.sqrt(1 - rho**2) * query_own
        key = key_all + key_own
        bos = key_all[:, :, :1]
        if attention.sink_bias and not with_bos:
            bos = bos + self._normal(own[:1], (n_heads, 1), rng)
        mean = None
        if attention.qk_norm != "none":
            floor = stack.qk_floor
            variance = np.diag(covariance + shared @ shared.T) + floor
            size = np.sqrt(np.maximum(variance, 1e-300))[:, None]
            if attention.qk_norm == "projection":
                query, key, query_all, key_all = (
                    x / size for x in (query, key, query_all, key_all)
                )
                bos = bos / size[:1]
                covariance = covariance / (size * size.T)
            else:
                query, key, bos = (
                    x / np.sqrt((np.abs(x) ** 2).mean(-1, keepdims=True) / 2 + floor)
                    for x in (query, key, bos)
                )
        if attention.sink_bias:
            bias = self._sink_bias(bos)
            query, query_all = query + bias, query_all + bias
        scale = soft.query_scale(np.arange(stack.context), self.mask.n_keys)
        score = self._scores(query, key)
        if soft.softcap is not None:
            score = soft.softcap * np.tanh(score / soft.softcap)
        score *= scale[:, None]
        if self.linear:
            whole = self._scores(query_all, key_all)[:, 0]
            whole += rho * self._kernel() * covariance
            mean = (whole * scale[:, None])[:, self.band.query, self.band.key]
        weights, log_z = self._softmax(score, rng)
        return Draw(weights, log_z, score[:, :, self.band.query, self.band.key], mean)

    def _sink_bias(self, bos: Complex) -> Complex:
        """Return the bias of queries (H, A, 1, P) that points at BOS's keys."""
        reads = bos * self.slow
        square = (np.abs(reads * self.gains) ** 2).sum(-1, keepdims=True)
        return np.asarray(self.attention.sink_bias / (self._spread() * square) * reads)

    def _correlation(self) -> float:
        """Return the correlation ``ρ`` of query and key weights."""
        alignment, spread = self.attention.alignment, self.stack.score_std(self.block)
        if not alignment:
            return 0.0
        size = self.stack.head_size(self.attention)
        return float(np.clip(alignment / max(spread * np.sqrt(size), 1e-300), -1.0, 1.0))

    def _spread(self) -> float:
        """Return the factor from a sum over pairs to a score."""
        size = self.stack.head_size(self.attention)
        return self.stack.score_std(self.block) / float(np.sqrt(size))

    def _normal(self, root: Array, lead: tuple[int, int], rng: np.random.Generator) -> Complex:
        """Return Gaussian vectors (H, A, T, P), a pair of entries as a complex number."""
        shape = (*lead, root.shape[1], self.frequencies.size)
        flat = rng.standard_normal((2, *shape))
        return np.asarray(root @ flat[0] + 1j * (root @ flat[1]))

    def _turned(self, x: Complex, wound: int = 0) -> Array:
        """Return vectors turned to their positions, real and imaginary parts apart."""
        angle = np.multiply.outer(np.arange(self.stack.context) + wound, self.frequencies)
        turned = x * (np.exp(1j * angle) * self.gains)
        return np.concatenate([turned.real, turned.imag], axis=-1)

    def _scores(self, query: Complex, key: Complex) -> Array:
        """Return the scores (H, A, T, T)."""
        turned = self._turned(key).swapaxes(-1, -2)
        score = self._turned(query) @ turned
        if self.attention.mask == "ring":  # offsets modulo the context
            wound = self._turned(query, self.stack.context) @ turned
            score = np.where(np.tri(self.stack.context, dtype=bool), score, wound)
        return np.asarray(score * self._spread())

    def _kernel(self) -> Array:
        """Return the mean score of a query and a key that are the same vector (T, T)."""
        one = np.ones((1, 1, self.stack.context, self.frequencies.size), dtype=complex)
        return np.asarray(2 * self._scores(one, one)[0, 0])

    def _softmax(self, score: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        soft, visible, n = self.attention.softmax, self.mask.visible, self.mask.n_keys
        if soft.kind == "sigmoid":
            bias = -np.log(n) if soft.bias is None else np.full_like(n, soft.bias)
            weights = np.where(visible, expit(score + bias[:, None]), 0.0)
            return weights, np.broadcast_to(-bias, score.shape[:-1])
        score = np.where(visible, score, -np.inf)
        top = score.max(-1, keepdims=True)
        if soft.null_logit is not None:
            heads = (score.shape[0], 1, 1, 1)
            logit = soft.null_logit + soft.sink_logit_std * rng.standard_normal(heads)
            top = np.maximum(top, logit)
        weights = np.exp(score - top)
        z = weights.sum(-1, keepdims=True)
        if soft.null_logit is not None:
            z = z + np.exp(logit - top)
        return weights / z, (np.log(z) + top)[..., 0]
