"""Reading Hugging Face configs: one row per family, in the vocabulary of `Stack`."""

from .reader import model_type_of, read_config

__all__ = ["model_type_of", "read_config"]
