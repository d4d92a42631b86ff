"""One attention layer: which keys a query sees, and how scores become weights."""

from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from ._base import Positive, Size, Spec
from .rope import Rope

MaskKind = Literal["causal", "bidirectional", "ring"]
SoftmaxKind = Literal["softmax", "off-by-one", "sigmoid"]
LengthScaling = Literal["none", "log-n", "llama4"]
QkNorm = Literal["none", "head", "projection", "l2"]


class Softmax(Spec):
    """How scores become attention weights.

    ``softmax`` is the usual one; ``off-by-one`` adds 1 to the denominator; ``sigmoid`` weighs
    every key by ``sigmoid(s_ij + bias)`` without a denominator (``bias=None``: ``-ln n_i``).
    ``sink_logit`` adds ``exp(l)`` per head to the denominator, ``l ~ N(sink_logit,
    sink_logit_std²)`` (gpt-oss). ``softcap`` replaces a score by ``c tanh(s/c)`` (Gemma-2).
    ``length_scaling`` multiplies scores by ``ln n_i / ln reference`` (``log-n``) or by
    ``1 + slope ln(1 + ⌊(i+1)/reference⌋)`` (``llama4``); all scores are divided by
    ``temperature``.
    """

    kind: SoftmaxKind = "softmax"
    bias: Annotated[float, Field(ge=-1e3, le=1e3)] | None = None
    sink_logit: Annotated[float, Field(ge=-1e3, le=1e3)] | None = None
    sink_logit_std: Annotated[float, Field(ge=0, le=100)] = 0.0
    softcap: Positive | None = None
    temperature: Positive = 1.0
    length_scaling: LengthScaling = "none"
    length_reference: Annotated[int, Field(ge=2, le=10**9)] = 8192
    length_slope: Annotated[float, Field(ge=0, le=10)] = 0.1

    @property
    def null_logit(self) -> float | None:
        """Mean logit of the key that takes weight and writes nothing, or None without one."""
        return 0.0 if self.kind == "off-by-one" else self.sink_logit

    @model_validator(mode="after")
    def _consistent(self) -> "Softmax":
        if self.kind != "softmax" and self.sink_logit is not None:
            raise ValueError(
                f"sink_logit={self.sink_logit:g} needs kind='softmax', not {self.kind!r}:"
                " leave sink_logit out"
            )
        return self

    def query_scale(self, query: ArrayLike, n_keys: ArrayLike) -> NDArray[np.float64]:
        """Return the factor on the scores of each query, shape of ``query``."""
        i = np.asarray(query, dtype=float)
        if self.length_scaling == "log-n":
            scale = np.log(np.asarray(n_keys, dtype=float)) / np.log(self.length_reference)
        elif self.length_scaling == "llama4":
            scale = 1 + self.length_slope * np.log1p((i + 1) // self.length_reference)
        else:
            scale = np.ones_like(i)
        return np.asarray(scale / self.temperature)


class KeyRange(NamedTuple):
    """The keys that each query sees: ``[first, stop)`` and the first ``sinks`` tokens."""

    first: NDArray[np.int64]
    stop: NDArray[np.int64]
    sinks: NDArray[np.int64]

    @property
    def n_keys(self) -> NDArray[np.int64]:
        """Number of keys ``n_i``, the query itself included."""
        return self.stop - self.first + self.sinks


class Latent(Spec):
    """Multi-head latent attention: low-rank queries and keys, a shared rotary key (DeepSeek)."""

    q_rank: Size | None
    kv_rank: Size
    d_nope: Size
    d_rope: Size
    d_value: Size


class Attention(Spec):
    """One attention layer.

    ``window`` counts the keys of a sliding window, the query itself included; ``chunk`` lets a
    query see its own chunk only; ``sinks`` keeps the first tokens visible to all queries. The first
    ``prefix`` tokens see each other whatever their order (prefix LM).
    ``ring`` is bidirectional with offsets taken modulo the context: no position is special.
    ``rope=None`` is a NoPE layer. ``alignment`` is ``m``, the mean self-score of correlated
    query and key matrices. ``scale=None`` is ``1/√d_head``.

    ``sink_bias`` makes every head read sinks: its queries hold a constant along the key that BOS
    has in the block, in the share ``sink_band`` of the head that turns slowest. BOS's score with
    itself rises by so many nats, that of a query Δ tokens later by ``κ(Δ)`` of those pairs times
    as many. Where position 0 does not hold BOS, the constant points at what is not there.
    """

    mask: MaskKind = "causal"
    window: Annotated[int, Field(ge=1, le=10**9)] | None = None
    chunk: Annotated[int, Field(ge=1, le=10**9)] | None = None
    sinks: Annotated[int, Field(ge=0, le=4096)] = 0
    prefix: Annotated[int, Field(ge=0, le=10**9)] = 0
    rope: Rope | None = Rope()
    softmax: Softmax = Softmax()
    qk_norm: QkNorm = "none"
    scale: Positive | None = None
    alignment: Annotated[float, Field(ge=-100, le=100)] = 0.0
    sink_bias: Annotated[float, Field(ge=-100, le=100)] = 0.0
    sink_band: Annotated[float, Field(gt=0, le=1)] = 0.25
    latent: Latent | None = None

    @model_validator(mode="after")
    def _one_mask(self) -> "Attention":
        if self.window is not None and self.chunk is not None:
            raise ValueError(
                f"window={self.window} and chunk={self.chunk} exclude each other: drop one"
            )
        if self.mask != "causal" and (self.window or self.chunk or self.sinks or self.prefix):
            raise ValueError(
                f"mask={self.mask!r} takes no window, chunk, sinks or prefix: use mask='causal'"
            )
        if self.prefix and self.is_local:
            raise ValueError(f"prefix={self.prefix} takes no window or chunk: drop one of them")
        if self.sinks and self.window is None:
            raise ValueError(f"sinks={self.sinks} needs a window: set window too")
        return self

    @model_validator(mode="after")
    def _sink_bias_has_a_place(self) -> "Attention":
        lacking = (
            (self.softmax.kind == "sigmoid", "a denominator, not softmax.kind='sigmoid'"),
            (self.latent is not None, "keys of its own, not latent attention"),
        )
        for applies, needed in lacking:
            if self.sink_bias and applies:
                raise ValueError(
                    f"sink_bias={self.sink_bias:g} needs {needed}: leave one of them out"
                )
        return self

    @property
    def is_local(self) -> bool:
        """Whether a query sees a bounded number of keys."""
        return self.window is not None or self.chunk is not None

    def key_range(self, query: ArrayLike, context: int) -> KeyRange:
        """Return the keys that each query position sees in a context of ``context`` tokens."""
        i = np.asarray(query, dtype=np.int64)
        none = np.zeros_like(i)
        if self.mask != "causal":
            return KeyRange(none, np.full_like(i, context), none)
        if self.chunk is not None:
            return KeyRange(i - i % self.chunk, i + 1, none)
        if self.window is not None:
            first = np.maximum(i + 1 - self.window, 0)
            return KeyRange(first, i + 1, np.minimum(self.sinks, first))
        return KeyRange(none, np.maximum(i + 1, min(self.prefix, context)), none)
