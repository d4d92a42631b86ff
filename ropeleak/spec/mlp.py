"""The MLP block: none, plain or gated, dense or a mixture of experts."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ._base import Positive, Size, Spec

Activation = Literal["silu", "gelu", "gelu_tanh", "quick_gelu", "relu", "relu2", "tanh", "linear"]
Router = Literal["softmax", "softmax-all", "sigmoid", "sigmoid-input"]


class Experts(Spec):
    """A mixture of experts at initialisation: Gaussian router logits, the top few used.

    ``router`` is how the weights of the chosen experts come from their logits: ``softmax`` over
    the chosen ones (they sum to one), ``softmax-all`` over all experts, ``sigmoid`` normalised
    over the chosen ones, ``sigmoid-input`` multiplying the expert's input (Llama-4).
    """

    count: Size
    active: Size
    shared: Annotated[int, Field(ge=0, le=64)] = 0
    router: Router = "softmax"
    scale: Annotated[float, Field(gt=0, le=100)] = 1.0

    @model_validator(mode="after")
    def _active_exist(self) -> "Experts":
        if self.active > self.count:
            raise ValueError(f"active={self.active} experts of count={self.count}: lower active")
        return self


class Mlp(Spec):
    """``down(act(gate u) * (up u + offset))`` when gated, ``down(act(up u))`` when plain.

    ``kind="none"`` leaves the MLP out. ``offset`` is gpt-oss's constant on the linear branch,
    ``activation_scale`` multiplies the activation's sigmoid argument (1.702 there), and ``limit``
    is where both branches of a gated MLP are clamped, ``gate u`` from above only (7 there).
    """

    kind: Literal["none", "plain", "gated"] = "gated"
    activation: Activation = "silu"
    d_ff: Size | None = None
    offset: Annotated[float, Field(ge=-10, le=10)] = 0.0
    activation_scale: Annotated[float, Field(gt=0, le=10)] = 1.0
    limit: Positive | None = None
    experts: Experts | None = None
