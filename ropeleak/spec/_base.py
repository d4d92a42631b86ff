"""What all specs share: frozen, validated, nothing extra, no NaN or infinity."""

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

LARGEST_SIZE = 10**7
"""Largest width, vocabulary or head count that a spec accepts."""

Size = Annotated[int, Field(ge=1, le=LARGEST_SIZE)]
Gain = Annotated[float, Field(ge=0, le=1e6)]
Positive = Annotated[float, Field(gt=0, le=1e12)]

if TYPE_CHECKING:
    DerivedSize = int
else:
    DerivedSize = Size | None
"""A size that may be left out: the spec's own validator works it out, so that it is never None."""
LEFT_OUT: Any = None

T = TypeVar("T", bound="Spec")


class Spec(BaseModel):
    """Base of every spec: immutable, hashable, extra fields forbidden, finite numbers only."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, strict=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        """Refuse a boolean, or a list with one, where a number is meant: Python takes it for 1."""
        is_switch = cls.model_fields[str(info.field_name)].annotation is bool
        parts = value if isinstance(value, (list, tuple)) else (value,)
        if not is_switch and any(isinstance(part, (bool, np.bool_)) for part in parts):
            raise PydanticCustomError("not_a_switch", "a boolean is not allowed here")
        return value

    def replace(self: T, **changes: object) -> T:
        """Return a validated copy with the named fields changed.

        Raises
        ------
        pydantic.ValidationError
            If a field is unknown or a value is out of its domain.
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**fields, **changes})
