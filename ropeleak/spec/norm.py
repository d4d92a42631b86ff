"""Normalisation layers: their kind, and where they stand around a branch."""

from typing import Annotated, Literal

from pydantic import Field

from ._base import Spec

NormKind = Literal["rms", "layer"]
Placement = Literal["pre", "post", "res-post", "sandwich", "parallel", "none"]


class Norm(Spec):
    """Normalisation of the residual stream, unit gain as at initialisation.

    ``placement`` says what a branch ``f`` (attention or MLP) does to the residual stream ``x``:

    ========== =============================== ==========================================
    pre        ``x + f(N(x))``                 Llama, Mistral, Qwen, gpt-oss
    post       ``N(x + f(x))``                 the original Transformer
    res-post   ``x + N(f(x))``                 OLMo-2, OLMo-3, EXAONE-4, Swin-v2
    sandwich   ``x + N(f(N(x)))``              Gemma-2, Gemma-3
    parallel   ``x + attn(N(x)) + mlp(N(x))``  GPT-NeoX, Pythia, Cohere, Falcon
    none       ``x + f(x)``                    no normalisation at all
    ========== =============================== ==========================================
    """

    kind: NormKind = "rms"
    placement: Placement = "pre"
    eps: Annotated[float, Field(ge=0, le=1)] = 1e-5

    @property
    def before_branch(self) -> bool:
        """Whether a branch reads the normalised residual stream."""
        return self.placement in ("pre", "sandwich", "parallel")

    @property
    def after_branch(self) -> bool:
        """Whether a branch's output is normalised before it is added."""
        return self.placement in ("res-post", "sandwich")

    @property
    def after_sum(self) -> bool:
        """Whether the residual stream itself is normalised after each branch."""
        return self.placement == "post"

    @property
    def parallel(self) -> bool:
        """Whether attention and MLP read the same residual stream."""
        return self.placement == "parallel"
