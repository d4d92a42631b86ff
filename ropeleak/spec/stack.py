"""`Stack`: the description of an architecture that everything else starts from."""

from math import sqrt
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, ValidationError, field_validator, model_validator

from ropeleak.errors import RopeleakError

from ._base import LEFT_OUT, DerivedSize, Gain, Size, Spec
from .attention import Attention
from .bos import Bos
from .changes import apply_change, explain
from .init import SCHEMES, Init, WeightScale
from .mlp import Mlp
from .norm import Norm

if TYPE_CHECKING:
    from os import PathLike

MAX_BLOCKS = 1000
MAX_CONTEXT = 2**24


class Stack(Spec):
    """A decoder at initialisation: everything that decides how much position it leaks.

    ``attention`` and ``mlp`` hold one entry per block; a single one, or a pattern shorter than
    ``n_blocks``, is repeated cyclically.

    Parameters
    ----------
    context
        Number of tokens ``T``; positions are ``0 .. T-1`` and position 0 holds ``bos``.
    d_model, n_blocks, n_heads, n_kv_heads, d_head
        Width ``d``, depth ``L``, query heads ``H``, key-value heads, head size ``d_h``
        (``d_model / n_heads`` unless given).
    vocab_size
        ``V``: two content tokens are the same with probability ``1/V``; None is never.
    alpha
        Share ``α`` of the embedding variance that all content tokens have in common.
    embedding_multiplier, residual_multiplier
        Factors on the embedding and on what a branch adds to the residual stream.
    approximations
        What this description leaves out of the model it was read from, in words.

    Raises
    ------
    RopeleakError
        From `Stack.build`, `Stack.from_hf` and `Stack.set`, in one sentence; the bare
        constructor raises pydantic's ``ValidationError``.

    Examples
    --------
    >>> stack = Stack.build(d_model=512, n_heads=8, n_blocks=6, attention={"window": 64})
    >>> stack.attention[0].window
    64
    """

    name: Annotated[str, Field(max_length=200)] = "stack"
    context: Annotated[int, Field(ge=1, le=MAX_CONTEXT)] = 512
    d_model: Size = 512
    n_blocks: Annotated[int, Field(ge=1, le=MAX_BLOCKS)] = 6
    n_heads: Size = 8
    n_kv_heads: DerivedSize = LEFT_OUT
    d_head: DerivedSize = LEFT_OUT
    vocab_size: Size | None = None
    attention: tuple[Attention, ...] = (Attention(),)
    mlp: tuple[Mlp, ...] = (Mlp(),)
    norm: Norm = Norm()
    bos: Bos = Bos()
    init: Init = Init()
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.0
    embedding_multiplier: Gain = 1.0
    residual_multiplier: Gain = 1.0
    approximations: tuple[str, ...] = ()

    @field_validator("attention", "mlp", mode="before")
    @classmethod
    def _one_is_a_pattern(cls, value: object) -> object:
        return value if isinstance(value, (list, tuple)) else (value,)

    @model_validator(mode="after")
    def _check(self) -> "Stack":
        self._derive_sizes()
        for field in ("attention", "mlp"):
            pattern = getattr(self, field)
            if not pattern or len(pattern) > self.n_blocks:
                raise ValueError(
                    f"{field} has {len(pattern)} entries for n_blocks={self.n_blocks}:"
                    " give one per block, or a pattern to repeat"
                )
            cycled = tuple(pattern[b % len(pattern)] for b in range(self.n_blocks))
            object.__setattr__(self, field, cycled)
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"n_heads={self.n_heads} is not a multiple of n_kv_heads={self.n_kv_heads}:"
                " change n_kv_heads"
            )
        for attention in dict.fromkeys(self.attention):
            if attention.rope is not None:
                attention.rope.check(self.rotary_size(attention), self.context)
            if attention.sink_bias and self.bos.kind in ("zero", "mean"):
                raise ValueError(
                    f"attention.sink_bias={attention.sink_bias:g} points at BOS's key, and"
                    f" bos={self.bos.kind!r} has none: set bos to constant, other, random or absent"
                )
        return self

    def _derive_sizes(self) -> None:
        if self.d_head is None:
            if self.d_model % self.n_heads:
                raise ValueError(
                    f"d_model={self.d_model} is not divisible by n_heads={self.n_heads}:"
                    " give d_head or change one of them"
                )
            object.__setattr__(self, "d_head", self.d_model // self.n_heads)
        if self.n_kv_heads is None:
            object.__setattr__(self, "n_kv_heads", self.n_heads)

    # Making one

    @classmethod
    def build(cls, **fields: object) -> "Stack":
        """Return a stack from keywords; bad values raise `RopeleakError` in one sentence."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise RopeleakError(explain(error, cls)) from None

    @classmethod
    def from_hf(
        cls, source: "str | PathLike[str] | dict[str, Any]", context: int | None = None
    ) -> "Stack":
        """Return the stack that a Hugging Face ``config.json`` describes.

        Parameters
        ----------
        source
            Path of the file or of the folder that holds it, or the parsed dictionary.
        context
            Number of tokens; the config's maximum, but at most 512, unless given.

        Raises
        ------
        RopeleakError
            If the config is missing, not JSON, not a decoder, or outside what is modelled.
        """
        from ropeleak.hf import read_config

        return read_config(source, context)

    def set(self, path: str, value: object) -> "Stack":
        """Return a copy with one field changed, by its dotted path.

        ``attention.…`` and ``mlp.…`` reach every block that the field makes sense for
        (``attention.window`` the windowed blocks, or all when none is; ``rope.…`` the blocks
        with RoPE); ``attention[3].…``, ``attention[local].…``, ``attention[global].…`` and
        ``attention[all].…`` choose. ``bos`` and ``rope`` stand for ``bos.kind`` and
        ``attention.rope``.

        Raises
        ------
        RopeleakError
            If the path does not exist (the nearest is suggested) or the value is not allowed.
        """
        return apply_change(self, path, value)

    def proxy(self, width: int = 512) -> "Stack":
        """Return a narrow stand-in with ``d_model = width``, to be measured in place of this one.

        ``σ``, ``γ``, ``v0``, ``m``, the MLP gains and pre-activation variance, the head size, the
        depth, the context and the masks stay what they are; heads, MLP widths and latent ranks
        shrink with ``d_model``. `approximations` says what was shrunk. A stack that is no wider
        is returned as it is.

        Raises
        ------
        RopeleakError
            If the width is not positive.
        """
        from .proxy import proxy

        return proxy(self, width)

    # What follows from the fields, in the symbols of the theory

    @property
    def d_ff(self) -> int:
        """MLP width of the first block (``4 d_model`` unless given)."""
        return self.mlp[0].d_ff or 4 * self.d_model

    def block_d_ff(self, block: int) -> int:
        """MLP width of a block."""
        return self.mlp[block].d_ff or 4 * self.d_model

    def head_size(self, attention: Attention) -> int:
        """Entries of a query that meet a key's."""
        latent = attention.latent
        return latent.d_nope + latent.d_rope if latent else self.d_head

    def rotary_size(self, attention: Attention) -> int:
        """Size of the part of a head that RoPE is given."""
        return attention.latent.d_rope if attention.latent else self.d_head

    @property
    def weight_scale(self) -> WeightScale:
        """Standard deviations that the scheme gives to the weights, before overrides."""
        return SCHEMES[self.init.scheme](self)

    @property
    def embedding_var(self) -> float:
        """Per-coordinate variance of a token's embedding, ``v0``."""
        if self.init.embedding_var is not None:
            return self.init.embedding_var
        return float((self.weight_scale.embedding * self.embedding_multiplier) ** 2)

    def score_scale(self, attention: Attention) -> float:
        """Factor on ``q·k``."""
        d = self.head_size(attention)
        if attention.scale is not None:
            return attention.scale
        return 1 / d if self.init.scheme == "mup" else 1 / sqrt(d)

    def rotary_gain(self, attention: Attention) -> float:
        """Factor on the score's variance that comes from RoPE's attention factor ``a``."""
        if attention.rope is None or attention.qk_norm == "l2":
            return 1.0
        a = attention.rope.attention_scale(self.context)
        if attention.latent is not None:
            return 1.0
        share = attention.rope.rotary_dim(self.rotary_size(attention)) / self.head_size(attention)
        return float(1 + share * (a**4 - 1))

    def score_std(self, block: int) -> float:
        """``σ``: standard deviation of the score of two independent unit-RMS tokens."""
        if self.init.score_std is not None:
            return self.init.score_std
        attention, w, d = self.attention[block], self.weight_scale, self.d_model
        scale = self.score_scale(attention)
        if attention.latent is not None:
            latent = attention.latent
            q_var = (latent.q_rank or d) * w.query**2
            k_var = latent.d_nope * latent.kv_rank * w.key**2 + latent.d_rope * d * w.key**2
            return scale * sqrt(q_var * k_var)
        size = self.head_size(attention)
        variance = size if attention.qk_norm != "none" else size * (d * w.query * w.key) ** 2
        return scale * sqrt(variance * self.rotary_gain(attention))

    @property
    def qk_floor(self) -> float:
        """Mean square of a token that the eps of a QK-norm stands for: ``eps / (d s0²)``."""
        w = self.weight_scale
        return float(self.norm.eps / max(self.d_model * w.query * w.key, 1e-300))

    def attention_gain(self, block: int) -> float:
        """``γ``: variance that the heads add when they copy one unit-RMS token."""
        if self.init.attention_gain is not None:
            return self.init.attention_gain
        w, latent = self.weight_scale, self.attention[block].latent
        fan_in = latent.kv_rank if latent else self.d_model
        d_value = latent.d_value if latent else self.d_head
        return float(fan_in * w.value**2 * self.n_heads * d_value * w.output**2)

    def preactivation_var(self) -> float:
        """Variance of an MLP pre-activation of a unit-RMS token: ``d s0²``."""
        return float(self.d_model * self.weight_scale.up**2)

    def mlp_gain(self, block: int) -> float:
        """Variance that the MLP's output has per unit mean square activation: ``d_ff s0²``."""
        if self.init.mlp_gain is not None:
            return self.init.mlp_gain
        return float(self.block_d_ff(block) * self.weight_scale.down**2)
