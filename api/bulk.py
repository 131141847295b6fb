"""Bulk requests: each item is validated separately, so that an invalid item does not make the others fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from api.field_errors import field_errors
from api.json import JsonObject
from api.schemas import Body
from somamemory.errors import InvalidInput, SomaError

Item = TypeVar("Item")
Schema = TypeVar("Schema", bound=Body)


def parsed(raw: dict[str, Any], schema: type[Schema], convert: Callable[[Schema], Item]) -> Item | SomaError:
    """Validate and convert an item. Return the result or the error."""
    try:
        return convert(schema.model_validate(raw))
    except ValidationError as error:
        fields = field_errors(error.errors())
        return InvalidInput(*fields[0], **dict(fields[1:]))
    except SomaError as error:
        return error


def require_all(items: Sequence[object], name: str, address_field: str) -> None:
    """Raise InvalidInput for the first invalid item, if any. The error contains field names such as `items.0.payload`.

    name: the request field that contains the items.
    address_field: the field, such as `.coord`, to report if the error does not name one.
    """
    for index, item in enumerate(items):
        if isinstance(item, SomaError):
            fields = [(f"{name}.{index}.{error['field']}", error["message"]) for error in item.errors]
            fields = fields or [(f"{name}.{index}{address_field}", item.detail)]
            raise InvalidInput(*fields[0], **dict(fields[1:]))


def failed(index: int, error: SomaError) -> JsonObject:
    """Return the result for an item that was rejected."""
    problem = {"status": error.status, "code": error.code, "detail": error.detail, "errors": error.errors}
    return {"index": index, "status": error.status, "error": problem}
