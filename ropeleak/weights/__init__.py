"""Weights of trained models: reading checkpoints into the places of a `Stack`."""

from .contents import Source, Tokens
from .files import Files, Tensor, Tensors
from .layouts import NORMS
from .weights import Weights

__all__ = ["NORMS", "Files", "Source", "Tensor", "Tensors", "Tokens", "Weights"]
