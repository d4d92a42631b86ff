"""RoPE: inverse frequencies, attention factors and the kernel of every published type.

The formulas are those of Hugging Face's ``modeling_rope_utils.py`` (transformers 5), in float64.
Symbols: ``d`` the rotary dimension, ``θ`` the base, ``w_k = θ^(-2k/d)`` for ``k = 0..d/2-1``,
``s`` the factor, ``O`` the original context, ``M`` the maximum context, ``L`` the running length.
"""

from collections.abc import Callable
from math import ceil, floor, log, pi, sqrt
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from ._base import Positive, Spec

RopeType = Literal[
    "default", "linear", "dynamic", "ntk", "yarn", "longrope", "llama3", "proportional"
]
Layout = Literal["half", "interleaved"]
Tokens = Annotated[int, Field(ge=1, le=10**9)]
Floats = NDArray[np.float64]


class Rope(Spec):
    """A rotary position embedding (Su et al. 2021, arXiv 2104.09864) and its scaling.

    ============ ==============================================================================
    default      ``w_k``
    linear       ``w_k / s``: position interpolation
    dynamic      ``θ`` grows with the running length past ``M`` (dynamic NTK)
    ntk          ``θ s^(d/(d-2))``: a fixed NTK scaling; ``factor`` is its alpha
    yarn         between ``w_k`` and ``w_k / s`` by the rotations made in ``O`` tokens
                 (arXiv 2309.00071); cos and sin times an attention factor
    longrope     ``w_k`` over a list of factors, one list up to ``O`` tokens, another beyond
                 (arXiv 2402.13753); cos and sin times an attention factor
    llama3       between ``w_k`` and ``w_k / s`` by the rotations made in ``O`` tokens
    proportional the first ``fraction`` of the pairs with the exponents of the whole head, the
                 others not rotated (Gemma-4)
    ============ ==============================================================================

    Parameters
    ----------
    base
        ``θ`` (``rope_theta``).
    fraction
        Share of a head's entries that are rotated (``partial_rotary_factor``).
    factor
        ``s``; ``M / O`` where only those are given.
    original_context, max_context
        ``O`` and ``M`` in tokens (``original_max_position_embeddings`` and
        ``max_position_embeddings``); each stands in for the other where only one is given.
    attention_factor
        ``a``, on cos and sin of both query and key (``yarn``, ``longrope``); derived if None.
    beta_fast, beta_slow, mscale, mscale_all_dim, truncate
        YaRN: rotations beyond which nothing, and below which everything is interpolated;
        coefficients of ``a``; whether the range of pairs is rounded outwards.
    low_freq_factor, high_freq_factor
        Llama 3: rotations below which all, and above which nothing is interpolated.
    short_factor, long_factor
        LongRoPE: ``d/2`` divisors each.
    layout
        Which entries form a pair: ``(k, k + d/2)`` or ``(2k, 2k + 1)``.

    Raises
    ------
    pydantic.ValidationError
        If a type lacks a field that it needs.
    """

    type: RopeType = "default"
    base: Annotated[float, Field(gt=1, le=1e15)] = 10000.0
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    factor: Positive | None = None
    original_context: Tokens | None = None
    max_context: Tokens | None = None
    attention_factor: Positive | None = None
    beta_fast: Positive = 32.0
    beta_slow: Positive = 1.0
    mscale: Annotated[float, Field(ge=0, le=1e3)] | None = None
    mscale_all_dim: Annotated[float, Field(ge=0, le=1e3)] | None = None
    truncate: bool = True
    low_freq_factor: Positive | None = None
    high_freq_factor: Positive | None = None
    short_factor: tuple[Positive, ...] | None = None
    long_factor: tuple[Positive, ...] | None = None
    layout: Layout = "half"

    @model_validator(mode="after")
    def _has_what_its_type_needs(self) -> "Rope":
        missing = [name for name in TYPES[self.type].needs if self._lacks(name)]
        if missing:
            raise ValueError(
                f"type={self.type!r} needs {_listed(missing)} too: give them before the type or"
                " together with it"
            )
        if self.type == "llama3" and not self._low < self._high:
            raise ValueError(
                f"low_freq_factor={self._low:g} must be below high_freq_factor={self._high:g}:"
                " change one of them"
            )
        return self

    def _lacks(self, name: str) -> bool:
        stand_ins = {"original_context": self._original, "factor": self._given_factor}
        return not stand_ins.get(name, getattr(self, name))

    @property
    def _original(self) -> int:
        return self.original_context or self.max_context or 0

    @property
    def _maximum(self) -> int:
        return self.max_context or self.original_context or 0

    @property
    def _given_factor(self) -> float | None:
        if self.factor is None and self.max_context and self.original_context:
            return self.max_context / self.original_context
        return self.factor

    @property
    def _scale(self) -> float:
        return self._given_factor or 1.0

    @property
    def _low(self) -> float:
        return self.low_freq_factor or 0.0

    @property
    def _high(self) -> float:
        return self.high_freq_factor or 0.0

    @property
    def breaks_relativity(self) -> str | None:
        """Why scores depend on more than offsets, in one sentence, or None where they do not."""
        reason = TYPES[self.type].breaks_relativity
        return reason and reason.format(original=self._original, maximum=self._maximum)

    def check(self, size: int, context: int) -> None:
        """Check that the spec fits a head.

        Parameters
        ----------
        size
            Number of entries of a head that RoPE is given.
        context
            Number of tokens.

        Raises
        ------
        ValueError
            In one sentence, if the rotary dimension is odd, too small, or unlike the lists of
            LongRoPE.
        """
        d = self.rotary_dim(size)
        least = 4 if self.type in ("dynamic", "ntk") else 2
        if d % 2 or d < least:
            raise ValueError(
                f"rope.fraction={self.fraction:g} of a head of {size} entries rotates {d} of them,"
                f" and rope.type={self.type!r} takes an even number from {least}:"
                " change the fraction or the head size"
            )
        for name in ("short_factor", "long_factor") if self.type == "longrope" else ():
            n = len(getattr(self, name) or ())
            if n != d // 2:
                raise ValueError(
                    f"rope.{name} has {n} entries for {d // 2} pairs of rotated entries:"
                    f" give {d // 2}"
                )

    def rotary_dim(self, size: int) -> int:
        """Return ``d``, the number of entries of a head of ``size`` that have a frequency."""
        return size if self.type == "proportional" else int(size * self.fraction)

    def attention_scale(self, context: int) -> float:
        """Return ``a``: the factor on cos and sin, so on rotated scores ``a²``."""
        derived = TYPES[self.type].attention
        if derived is None:
            return 1.0
        return derived(self) if self.attention_factor is None else self.attention_factor

    def inverse_frequencies(self, size: int, context: int) -> Floats:
        """Return the inverse frequencies in radians a token, shape ``(rotary_dim / 2,)``.

        Parameters
        ----------
        size
            Number of entries of a head that RoPE is given.
        context
            The running length ``L`` in tokens, which ``dynamic`` and ``longrope`` depend on.
        """
        return TYPES[self.type].frequencies(self, self.rotary_dim(size), context)

    def kernel(self, offset: ArrayLike, size: int, context: int) -> Floats:
        """Return ``κ(Δ) = (2/size) Σ_k cos(Δ w_k)``, shape of ``offset``.

        What is not rotated counts as frequency 0, so ``κ(0) = 1`` always.
        """
        delta = np.asarray(offset, dtype=np.float64)
        frequencies = self.inverse_frequencies(size, context)
        total = np.full(delta.shape, size / 2 - frequencies.size)
        for w in frequencies:  # one at a time: a million offsets must fit in memory
            total += np.cos(delta * w)
        return np.asarray(total * (2 / size))


def _powers(base: float, d: int) -> Floats:
    """``w_k = base^(-2k/d)``, shape ``(d/2,)``."""
    return np.asarray(base ** (-np.arange(0, d, 2, dtype=np.float64) / d))


def _default(rope: Rope, d: int, length: int) -> Floats:
    return _powers(rope.base, d)


def _linear(rope: Rope, d: int, length: int) -> Floats:
    return _powers(rope.base, d) / rope._scale


def _dynamic(rope: Rope, d: int, length: int) -> Floats:
    s, maximum = rope._scale, rope._maximum
    growth = s * max(length, maximum) / maximum - (s - 1)
    return _powers(rope.base * growth ** (d / (d - 2)), d)


def _ntk(rope: Rope, d: int, length: int) -> Floats:
    return _powers(rope.base * rope._scale ** (d / (d - 2)), d)


def _yarn(rope: Rope, d: int, length: int) -> Floats:
    def pair(rotations: float) -> float:
        """The pair that makes this many rotations in the original context."""
        return d * log(rope._original / (2 * pi * rotations)) / (2 * log(rope.base))

    low, high = pair(rope.beta_fast), pair(rope.beta_slow)
    if rope.truncate:
        low, high = floor(low), ceil(high)
    low, high = max(low, 0), min(high, d - 1)
    if low == high:
        high += 0.001
    kept = 1 - np.clip((np.arange(d // 2) - low) / (high - low), 0, 1)
    return np.asarray(_powers(rope.base, d) * (kept + (1 - kept) / rope._scale))


def _longrope(rope: Rope, d: int, length: int) -> Floats:
    divisors = rope.short_factor if length <= rope._original else rope.long_factor
    return np.asarray(_powers(rope.base, d) / np.asarray(divisors, dtype=np.float64))


def _llama3(rope: Rope, d: int, length: int) -> Floats:
    w = _powers(rope.base, d)
    rotations = rope._original * w / (2 * pi)
    kept = np.clip((rotations - rope._low) / (rope._high - rope._low), 0, 1)
    return np.asarray(w * (kept + (1 - kept) / rope._scale))


def _proportional(rope: Rope, d: int, length: int) -> Floats:
    w = _powers(rope.base, d) / (rope.factor or 1.0)
    w[int(rope.fraction * d // 2) :] = 0
    return w


def _yarn_attention(rope: Rope) -> float:
    def growth(coefficient: float) -> float:
        return 0.1 * coefficient * log(max(rope._scale, 1)) + 1

    if rope.mscale and rope.mscale_all_dim:
        return growth(rope.mscale) / growth(rope.mscale_all_dim)
    return growth(1)


def _longrope_attention(rope: Rope) -> float:
    if rope._scale <= 1:
        return 1.0
    return sqrt(1 + log(rope._scale) / log(max(rope._original, 2)))


class _Type(NamedTuple):
    """One RoPE type: frequencies, attention factor, required fields, where it is not relative."""

    frequencies: Callable[[Rope, int, int], Floats]
    attention: Callable[[Rope], float] | None = None
    needs: tuple[str, ...] = ()
    breaks_relativity: str | None = None


_DYNAMIC = (
    "dynamic NTK scaling takes its base from the running length past {maximum} tokens, so the same"
    " offset scores differently in a longer text"
)
_LONGROPE = (
    "LongRoPE changes all frequencies at once when the running length passes {original} tokens, so"
    " the same offset scores differently in a longer text"
)
TYPES: dict[str, _Type] = {
    "default": _Type(_default),
    "linear": _Type(_linear, needs=("factor",)),
    "dynamic": _Type(_dynamic, None, ("factor", "original_context"), _DYNAMIC),
    "ntk": _Type(_ntk, needs=("factor",)),
    "yarn": _Type(_yarn, _yarn_attention, ("factor", "original_context")),
    "longrope": _Type(
        _longrope,
        _longrope_attention,
        ("factor", "original_context", "short_factor", "long_factor"),
        _LONGROPE,
    ),
    "llama3": _Type(
        _llama3,
        None,
        ("factor", "original_context", "low_freq_factor", "high_freq_factor"),
    ),
    "proportional": _Type(_proportional),
}


def _listed(names: list[str]) -> str:
    """``["a", "b", "c"]`` as ``"a, b and c"``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
