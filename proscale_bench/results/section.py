"""The base of every section of a record: strict, frozen, with words that cannot drive a terminal."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("control characters are not allowed")
    return text


def _nan_to_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Line = Annotated[str, Field(max_length=1000), AfterValidator(_printable)]
Word = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Amount = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Interval = tuple[float, float]  # 95 %
Percent = Annotated[float | None, BeforeValidator(_nan_to_none)]  # NaN and infinity are kept as null


def _packed(values: Any) -> array[float]:
    if isinstance(values, array):
        return values
    if not isinstance(values, (list, tuple)) or not all(
        type(one) in (float, int) and math.isfinite(one) for one in values
    ):
        raise ValueError("expected a list of finite numbers")
    return array("d", values)


# Thousands of numbers a record, eight bytes each: as a tuple of Python's floats they would take four times that.
Draws = Annotated[Sequence[float], PlainValidator(_packed), PlainSerializer(list, return_type=list[float])]


def first_problem(error: ValidationError) -> str:
    """The first of a validation's problems in one line, with its place."""
    problem = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, problem["loc"]))
    return f"{where}: {problem['msg']}" if where else problem["msg"]


def written_as(first_name: str, name: str) -> Any:
    """The field of a section that files know by its first name; either name is read."""
    return Field(validation_alias=AliasChoices(name, first_name), serialization_alias=first_name)


class Section(BaseModel):
    """Strict and frozen: no unknown keys, no coercion, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, serialize_by_alias=True)
