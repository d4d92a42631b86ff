"""The specs: frozen, validated descriptions of an architecture."""

from .attention import Attention, KeyRange, Latent, Softmax
from .bos import Bos
from .init import Init, WeightScale
from .mlp import Experts, Mlp
from .norm import Norm
from .rope import Rope
from .stack import Stack

__all__ = [
    "Attention",
    "Bos",
    "Experts",
    "Init",
    "KeyRange",
    "Latent",
    "Mlp",
    "Norm",
    "Rope",
    "Softmax",
    "Stack",
    "WeightScale",
]
