"""Routes that ignore unknown fields, as the original product's server does, and report what they drop or change.

A translation drops unknown fields and adapts values, and notes each change. The schema of our route then validates the
result as strictly as for any other client.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeVar

from django.http import HttpRequest
from ninja import Body as JsonBody
from pydantic import BaseModel, ValidationError

from api.auth import KeyAuth
from api.compat.changes import Changes
from api.compat.layer import CompatRouter
from api.field_errors import field_errors
from api.json import JsonObject
from api.request import as_api
from somamemory.errors import InvalidInput
from tenants.caller import Caller

Schema = TypeVar("Schema", bound=BaseModel)
Json = Annotated[JsonObject, JsonBody()]


class LenientAuth(KeyAuth):
    """Accepts unknown and repeated query parameters. `known` reports the unknown ones."""

    def __call__(self, request: HttpRequest) -> Caller:
        as_api(request).admission.query_error = None
        return super().__call__(request)


class LenientRouter(CompatRouter):
    """Declares routes that accept unknown query parameters."""

    def __init__(self, tag: str, *, prefix: str, has_key: bool = True) -> None:
        super().__init__(tag, prefix=prefix, auth=LenientAuth() if has_key else None)


def valid(schema: type[Schema], body: JsonObject) -> Schema:
    """Validate a body with our route's schema. Raises InvalidInput if it does not match."""
    try:
        return schema.model_validate(body)
    except ValidationError as error:
        fields = field_errors(error.errors())
        raise InvalidInput(*fields[0], **dict(fields[1:])) from None


def known(
    body: JsonObject, schema: type[BaseModel], changes: Changes, at: str = "", aliases: Mapping[str, str] = {}
) -> JsonObject:
    """Return the body's fields that are in the schema, under our names. Note all other fields as dropped.

    at: the path of the object, such as `messages.0.`.
    aliases: maps the client's names to ours.
    """
    kept: JsonObject = {}
    for name, value in body.items():
        ours = aliases.get(name, name)
        if ours in schema.model_fields:
            kept[ours] = value
        else:
            changes.note(at + name, "unknown, dropped")
    return kept


def parameters_of(request: HttpRequest) -> JsonObject:
    """Return the query parameters. If a parameter is repeated, only its last value counts."""
    return dict(request.GET.items())
