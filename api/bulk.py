"""Many things in one body: each is checked by itself, so that one bad item need not spoil the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from api.field_errors import field_errors
from api.schemas import Body
from somamemory.errors import InvalidInput, SomaError

Item = TypeVar("Item")
Schema = TypeVar("Schema", bound=Body)


def checked(raw: dict[str, Any], schema: type[Schema], make: Callable[[Schema], Item]) -> Item | SomaError:
    """What `make` makes of the item, or why it cannot be."""
    try:
        return make(schema.model_validate(raw))
    except ValidationError as error:
        fields = field_errors(error.errors())
        return InvalidInput(*fields[0], **dict(fields[1:]))
    except SomaError as error:
        return error


def all_or_none(items: Sequence[Any], name: str, elsewhere: str) -> None:
    """Raises the first error among the items, saying which of `name` it is; `elsewhere`: the field of a bad address."""
    for at, error in enumerate(items):
        if isinstance(error, SomaError):
            fields = [(f"{name}.{at}.{each['field']}", each["message"]) for each in error.errors]
            fields = fields or [(f"{name}.{at}{elsewhere}", error.detail)]
            raise InvalidInput(*fields[0], **dict(fields[1:]))


def refused(at: int, error: SomaError) -> dict[str, Any]:
    """The result of an item that could not be."""
    problem = {"status": error.status, "code": error.code, "detail": error.detail, "errors": error.errors}
    return {"index": at, "status": error.status, "error": problem}
