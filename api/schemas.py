"""Types shared by the schemas of several packages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)

from api.json import JsonObject
from conversations.models import problem_with_external_id
from memories import addresses, coordinates
from memories.addresses import MAX_KEY_LENGTH, Address, Key
from memories.coordinates import Box, Coordinate, RoundedFloat
from memories.models import Ids
from somamemory import times
from somamemory.errors import InvalidCoordinate, InvalidInput
from tenants.models import MAX_ID_LENGTH, problem_with_id

MAX_CONTEXT_LENGTH = 32_768
MAX_BULK = 1000
MAX_COORDS = 100  # maximum number of coordinates in a query parameter
MAX_SOURCE_BYTES = 4096
MAX_QUERY_LENGTH = 8192
MAX_OFFSET = 10_000
ENDED_EARLY = "Set if the results are too large for one response: the `offset` to continue from."


class Body(BaseModel):
    """A request body. Unknown fields are rejected, and types are not coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)


class Patch(Body):
    """A request body that changes the fields it contains and leaves the others unchanged."""

    def changes(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.model_fields_set}

    def required_changes(self) -> dict[str, Any]:
        """Return the changes. Raises InvalidInput if there are none."""
        changes = self.changes()
        if not changes:
            raise InvalidInput("body", "must contain at least one field")
        return changes


class Params(BaseModel):
    """Query parameters. Unknown names are rejected."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


# --- Field types -------------------------------------------------------------------------------------------------


def _coordinate(value: object, field: ValidationInfo) -> Coordinate:
    with _naming(field):
        if isinstance(value, str):
            return coordinates.parse(value)
        if isinstance(value, list) and all(type(number) in (int, float, RoundedFloat) for number in value):
            return coordinates.of(value)
        raise InvalidCoordinate('must be a coordinate, as text such as "1.0,2.0,3.0" or as a list of numbers')


def _coordinate_text(value: str, field: ValidationInfo) -> Coordinate:
    with _naming(field):
        return coordinates.parse(value)


def _coordinate_texts(value: str, field: ValidationInfo) -> tuple[Coordinate, ...]:
    texts = value.split(";")
    if len(texts) > MAX_COORDS:
        raise ValueError(f"must contain at most {MAX_COORDS} coordinates")
    return tuple(_coordinate_text(text, field) for text in texts)


def _box(value: str, field: ValidationInfo) -> Box:
    with _naming(field):
        return Box.parse(value)


@contextmanager
def _naming(field: ValidationInfo) -> Iterator[None]:
    """Add the field name to an InvalidCoordinate."""
    try:
        yield
    except InvalidCoordinate as error:
        raise InvalidCoordinate(error.detail, field.field_name or "") from None


def _instant(value: object) -> datetime:
    if not isinstance(value, str):
        raise times.MalformedTime
    moment = times.parse(value)
    if not times.is_convertible(moment):
        raise times.NoSuchTime
    return moment


def _whole(value: object) -> object:
    """Reject values that pydantic alone would accept in a query parameter, such as `1_0` and ` 1`."""
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,18}", value):
        raise ValueError("must be a whole number")
    return value


def _decimal(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,300}(\.[0-9]{1,300})?([eE][+-]?[0-9]{1,3})?", value):
        raise ValueError("must be a number")
    return value


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    return text


def _small(source: JsonObject) -> JsonObject:
    if len(orjson.dumps(source)) > MAX_SOURCE_BYTES:
        raise ValueError(f"must be at most {MAX_SOURCE_BYTES} bytes long as JSON")
    return source


def not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty or blank")
    return text


def _id(text: str) -> str:
    if (problem := problem_with_id(text)) is not None:
        raise ValueError(problem)
    return text


def _external_id(text: str) -> str:
    if (problem := problem_with_external_id(text)) is not None:
        raise ValueError(problem)
    return text


def _distinct(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _key(value: object) -> Key:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return addresses.key(value)


_TIME_SCHEMA = WithJsonSchema({"type": "string", "format": "date-time"})


_COORDINATE_SCHEMA = WithJsonSchema(
    {
        "oneOf": [
            {"type": "string", "pattern": r"^[^,]+(,[^,]+){0,31}$"},
            {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 32},
        ],
        "format": "coordinate",
    }
)


Coord = Annotated[Coordinate, PlainValidator(_coordinate), _COORDINATE_SCHEMA]
# Can be omitted, but must not be null: if a program sends null by mistake, the memory must not get a new coordinate.
NewCoord = Annotated[Coordinate | None, PlainValidator(_coordinate), _COORDINATE_SCHEMA]
CoordText = Annotated[
    Coordinate, PlainValidator(_coordinate_text), WithJsonSchema({"type": "string", "format": "coordinate"})
]
# Several coordinates, separated by semicolons
CoordTexts = Annotated[tuple[Coordinate, ...], PlainValidator(_coordinate_texts), WithJsonSchema({"type": "string"})]
KeyText = Annotated[
    Key,
    PlainValidator(_key),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH}),
]
BoxText = Annotated[Box, PlainValidator(_box), WithJsonSchema({"type": "string"})]
Instant = Annotated[datetime, PlainValidator(_instant), _TIME_SCHEMA]
Id = Annotated[UUID, Field(strict=False)]  # text in JSON and in paths
Whole = Annotated[int, BeforeValidator(_whole)]
Decimal = Annotated[float, BeforeValidator(_decimal), Field(allow_inf_nan=False)]
NamespaceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:/-]{1,255}$", max_length=255)]
NamespaceList = Annotated[list[NamespaceName], Field(min_length=1, max_length=100), AfterValidator(_distinct)]
_ID_SCHEMA = WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH})
OwnerId = Annotated[str, AfterValidator(_id), _ID_SCHEMA]
ExternalId = Annotated[str, AfterValidator(_external_id), _ID_SCHEMA]
LinkType = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,100}$", max_length=100)]
MemoryType = Literal["episodic", "semantic"]
Importance = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Limit = Annotated[Whole, Field(ge=1, le=1000)]
Cursor = Annotated[str, Field(max_length=2048)]
Text = Annotated[str, AfterValidator(_storable)]
SourceText = Annotated[Text, StringConstraints(min_length=1, max_length=1000)]
Source = SourceText | Annotated[JsonObject, AfterValidator(_small)]
QueryText = Annotated[Text, StringConstraints(max_length=MAX_QUERY_LENGTH), AfterValidator(not_blank)]
Radius = Annotated[Decimal, Field(ge=0, le=1e100)]


class NamespaceParams(Params):
    namespace: NamespaceName = "default"


class NamespacePrefix(BaseModel):
    """A request that selects one `namespace`, or all namespaces that begin with a prefix."""

    namespace_prefix: NamespaceName | None = None

    def check_namespace(self) -> None:
        """Raise InvalidInput if the request contains both a namespace and a prefix."""
        if self.namespace_prefix is not None and "namespace" in self.model_fields_set:
            raise InvalidInput("namespace_prefix", "cannot be combined with namespace; send only one of them")


class OwnerIds(BaseModel):
    """The user, agent and session whose data a request stores or selects."""

    user_id: OwnerId | None = None
    agent_id: OwnerId | None = None
    session_id: OwnerId | None = None

    @property
    def ids(self) -> Ids:
        return Ids(user_id=self.user_id, agent_id=self.agent_id, session_id=self.session_id)


class OwnerIdsOut(BaseModel):
    user_id: str | None
    agent_id: str | None
    session_id: str | None


def one_address(field: str, coord: Coordinate | None, key: Key | None, id: UUID | None) -> Address:
    """Return the address. Raises InvalidInput unless exactly one of `coord`, `key` and `id` is given.

    field: the name of the coordinate field, for error messages.
    """
    names = [name for name in (coord, key, id) if name is not None]
    if not names:
        raise InvalidInput(field, "is required, unless the memory is identified by its key or id")
    if len(names) > 1:
        raise InvalidInput(field, "cannot be combined with a key or an id of the same memory; send only one of them")
    return names[0]


# --- Problems ----------------------------------------------------------------------------------------------------


class FieldProblem(BaseModel):
    field: str
    message: str


class Problem(BaseModel):
    """An error (RFC 9457). `code` is stable; `errors` lists the invalid fields.

    `error` and `message` repeat `detail` for Sekha's clients.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    error: str
    message: str
    errors: list[FieldProblem] | None = None
