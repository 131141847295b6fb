"""The types that routes share. What goes in and out of each stands in `*_schemas.py`."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
)

from memories import coordinates
from memories.coordinates import Box, Coordinate
from somamemory import times
from somamemory.errors import InvalidCoordinate

MAX_CONTEXT_LENGTH = 32_768
MAX_BULK = 1000
MAX_QUERY_LENGTH = 8192
MAX_OFFSET = 10_000


class Body(BaseModel):
    """A request body: no unknown field, and no type is guessed."""

    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)


class Params(BaseModel):
    """Query parameters: text that says exactly one thing."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


# --- Small types -------------------------------------------------------------------------------------------------


def _coordinate(value: Any) -> Coordinate:
    if isinstance(value, str):
        return coordinates.parse(value)
    if isinstance(value, list) and all(type(number) in (int, float) for number in value):
        return coordinates.of(value)
    raise InvalidCoordinate('a coordinate is text like "1.0,2.0,3.0" or a list of numbers')


def _instant(value: Any) -> datetime:
    if not isinstance(value, str):
        raise times.MalformedTime
    moment = times.parse(value)
    if not 1 < moment.year < 9999:  # a year at the edge of the calendar could leave it in another time zone
        raise times.NoSuchTime
    return moment


def _whole(value: Any) -> Any:
    """The digits of a query parameter; pydantic alone would also take `1_0` and ` 1`."""
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,18}", value):
        raise ValueError("must be a whole number")
    return value


def _decimal(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,300}(\.[0-9]{1,300})?([eE][+-]?[0-9]{1,3})?", value):
        raise ValueError("must be a number")
    return value


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _each_once(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


_TIME_SCHEMA = WithJsonSchema({"type": "string", "format": "date-time"})
Value = TypeVar("Value")


def _from_text(make: Callable[[str], Value], example: str) -> Any:
    return PlainValidator(make), WithJsonSchema({"type": "string", "example": example})


Coord = Annotated[
    Coordinate,
    PlainValidator(_coordinate),
    WithJsonSchema(
        {
            "oneOf": [
                {"type": "string", "pattern": r"^[^,]+(,[^,]+){0,31}$"},
                {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 32},
            ],
            "example": "1.0,2.0,3.0",
        }
    ),
]
CoordText = Annotated[
    Coordinate, PlainValidator(coordinates.parse), WithJsonSchema({"type": "string", "example": "1.0,2.0,3.0"})
]
BoxText = Annotated[Box, PlainValidator(Box.parse), WithJsonSchema({"type": "string", "example": "0,0;1,1"})]
Instant = Annotated[datetime, PlainValidator(_instant), _TIME_SCHEMA]
Id = Annotated[UUID, Field(strict=False)]  # JSON and paths carry it as text
Whole = Annotated[int, BeforeValidator(_whole)]
Decimal = Annotated[float, BeforeValidator(_decimal), Field(allow_inf_nan=False)]
NamespaceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:/-]{1,255}$", max_length=255)]
NamespaceList = Annotated[list[NamespaceName], Field(min_length=1, max_length=100), AfterValidator(_each_once)]
LinkType = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,100}$", max_length=100)]
MemoryType = Literal["episodic", "semantic"]
Importance = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
Limit = Annotated[Whole, Field(ge=1, le=1000)]
Text = Annotated[str, AfterValidator(_storable)]
QueryText = Annotated[Text, StringConstraints(max_length=MAX_QUERY_LENGTH), AfterValidator(_not_blank)]
Radius = Annotated[Decimal, Field(ge=0, le=1e100)]


class NamespaceParams(Params):
    namespace: NamespaceName = "default"


# --- Problems ----------------------------------------------------------------------------------------------------


class FieldProblem(BaseModel):
    field: str
    message: str


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] | None = None
