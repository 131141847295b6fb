"""Adapt requests from Sekha's clients to our routes' schemas.

A translation drops unknown fields and adapts values that Sekha's server accepts, and notes each change. The schemas
then validate the result as strictly as for any other client.
"""

from __future__ import annotations

import re
from typing import TypeVar

from django.http import HttpRequest
from pydantic import BaseModel

from api.compat.changes import Changes, changes_of
from api.compat.lenient import known, parameters_of, valid
from api.json import JsonObject

Schema = TypeVar("Schema", bound=BaseModel)

PREFIX = "/sekha"
MIN_SCORE, MAX_SCORE = 1, 10  # Sekha also accepts 0, and any number above 10
_NAIVE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?", re.ASCII)
# A match begins only at the first of several spaces. Trying all of them would take quadratic time.
_SLASHES = re.compile(r"(?<!\s)\s*/[\s/]*")
ALIASES = {"importanceScore": "importance_score", "conversationId": "conversation_id"}


def body_of(request: HttpRequest, body: JsonObject, schema: type[Schema]) -> Schema:
    """Validate a body after dropping its unknown fields and adapting its folders and scores.

    Raises InvalidInput if the result does not match the schema.
    """
    changes = changes_of(request)
    return valid(schema, adapted(known(body, schema, changes, aliases=ALIASES), changes))


def parameters(request: HttpRequest, schema: type[Schema]) -> Schema:
    """Validate the query parameters like a body (see `body_of`). Only the last value of a repeated parameter counts."""
    return body_of(request, parameters_of(request), schema)


def adapted(body: JsonObject, changes: Changes) -> JsonObject:
    """Return the fields. Folders and scores are changed, as far as possible, to values that our schemas accept."""
    result = dict(body)
    for name in ("importance_score", "importance_threshold"):
        if name in result:
            result[name] = _score(name, result[name], changes)
    if isinstance(folder := result.get("folder"), str):
        result["folder"] = a_folder(folder, "folder", changes)
    if isinstance(excluded := result.get("excluded_folders"), list):
        result["excluded_folders"] = [
            a_folder(folder, "excluded_folders", changes) if isinstance(folder, str) else folder for folder in excluded
        ]
    return result


def a_folder(folder: str, name: str, changes: Changes) -> str:
    """Return a folder without repeated slashes and without spaces around them: `//x` becomes `/x`."""
    tidy = _SLASHES.sub("/", folder.strip())
    if tidy != folder:
        changes.note(name, "slashes and spaces removed")
    return tidy


def a_time(value: object, name: str, changes: Changes) -> object:
    """Return the time with an offset. Sekha's server writes and reads times in UTC, without offsets."""
    if isinstance(value, str) and _NAIVE_TIME.fullmatch(value):
        changes.note(name, "read as UTC")
        return f"{value}Z"
    return value


def at_most(value: object, limit: int, name: str, changes: Changes) -> object:
    """Return a number, or the limit if the number is larger."""
    if isinstance(value, int) and value > limit:
        changes.note(name, f"reduced to {limit}")
        return limit
    return value


def _score(name: str, value: object, changes: Changes) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float) or MIN_SCORE <= value <= MAX_SCORE:
        return value
    changes.note(name, f"limited to the range from {MIN_SCORE} to {MAX_SCORE}")
    return min(max(value, MIN_SCORE), MAX_SCORE)
