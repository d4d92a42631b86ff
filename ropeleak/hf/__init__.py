"""Reading Hugging Face configs: one row per family, in the vocabulary of `Stack`."""

from .reader import read_config

__all__ = ["read_config"]
