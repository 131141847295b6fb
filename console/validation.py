"""Validate a page's input with the API's schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from api.field_errors import field_errors
from somamemory.errors import InvalidInput

Schema = TypeVar("Schema", bound=BaseModel)


def validated(schema: type[Schema], given: Mapping[str, Any]) -> Schema:
    """Return the input as an instance of one of the API's schemas. Raises InvalidInput if it does not match."""
    try:
        return schema.model_validate(given)
    except ValidationError as error:
        fields = field_errors(error.errors())
        raise InvalidInput(*fields[0], **dict(fields[1:])) from None
