"""Typed access to the keys of a config, with the defaults of its family."""

from collections.abc import Mapping
from numbers import Integral
from typing import Any

from ropeleak.errors import RopeleakError
from ropeleak.spec._base import LARGEST_SIZE
from ropeleak.spec.explain import shorten

SHAPE = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "vocab_size",
    "sliding_window",
)
"""Keys whose default is worth telling: without them a config hardly describes a model."""


class Fields:
    """The keys of a config: each read has a type, a domain, and an error in one sentence.

    A key that is absent takes the default of the family; a key that is null is none, whatever
    the default.

    Parameters
    ----------
    values
        The parsed config.
    defaults
        What the family's config class puts in place of absent keys.
    inside
        Key of the table that ``values`` is, named in errors.
    """

    def __init__(
        self, values: Mapping[str, Any], defaults: Mapping[str, object], inside: str = ""
    ) -> None:
        self.values = values
        self.defaults = defaults
        self.prefix = f"{inside}." if inside else ""
        self.assumed: dict[str, object] = {}

    def get(self, name: str) -> object:
        """Return a value as it stands: the config's, else the family's default, else None."""
        if name in self.values:
            value: object = self.values[name]
            return value
        default = self.defaults.get(name)
        if default is not None and name in SHAPE:
            self.assumed[name] = default
        return default

    def fail(self, name: str, remedy: str) -> RopeleakError:
        """Return the error that says what is wrong with a key."""
        value, path = self.get(name), self.prefix + name
        if name not in self.values and value is None:
            return RopeleakError(f"{path} is missing from the config: give {remedy}")
        shown = "null" if value is None else shorten(value)
        return RopeleakError(f"{path}={shown} in the config is not allowed: give {remedy}")

    def maybe_integer(self, name: str, least: int = 1, most: int = LARGEST_SIZE) -> int | None:
        """Return a whole number, or None where the key is absent or null."""
        return None if self.get(name) is None else self.integer(name, least, most)

    def integer(self, name: str, least: int = 1, most: int = LARGEST_SIZE) -> int:
        """Return a whole number from ``least`` to ``most``."""
        value = self.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise self.fail(name, f"a whole number from {least} to {most}")
        if not least <= int(value) <= most:
            raise self.fail(name, f"a whole number from {least} to {most}")
        return int(value)

    def maybe_number(self, name: str, least: float = 0, most: float = 1e12) -> float | None:
        """Return a number, or None where the key is absent or null."""
        return None if self.get(name) is None else self.number(name, least, most)

    def number(self, name: str, least: float = 0, most: float = 1e12) -> float:
        """Return a finite number from ``least`` to ``most``."""
        value = self.get(name)
        remedy = f"a number from {least:g} to {most:g}"
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self.fail(name, remedy)
        if not least <= value <= most:  # nor is NaN
            raise self.fail(name, remedy)
        return float(value)

    def flag(self, name: str) -> bool:
        """Return a switch; absent and null are off, and so is the number 0."""
        value = self.get(name)
        if value is not None and not isinstance(value, (bool, int)):
            raise self.fail(name, "true or false")
        return bool(value)

    def text(self, name: str) -> str:
        """Return a text."""
        value = self.get(name)
        if not isinstance(value, str):
            raise self.fail(name, "a text")
        return value

    def table(self, name: str) -> dict[str, Any]:
        """Return a table; absent and null are empty."""
        value = self.get(name)
        if value is not None and not isinstance(value, Mapping):
            raise self.fail(name, "a table of keys")
        return {} if value is None else dict(value)

    def items(
        self, name: str, kind: type | tuple[type, ...], count: int | None = None
    ) -> list[Any] | None:
        """Return a list whose entries are of ``kind``, or None where the key is absent or null.

        Parameters
        ----------
        count
            How many entries there have to be, if that is known.
        """
        value = self.get(name)
        if value is None:
            return None
        noun = "texts" if kind is str else "numbers"
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, kind) for v in value):
            raise self.fail(name, f"a list of {noun}")
        if count is not None and len(value) != count:
            raise self.fail(name, f"one entry for each of the {count} layers")
        return list(value)
