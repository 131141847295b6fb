"""From validation errors to fields and messages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

MAX_ERRORS = 20
# What pydantic says of an unknown field does not name it.
_MESSAGES = {
    "extra_forbidden": "unknown field",
    "missing": "is required",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "list_type": "must be a list",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
}


_ITEMS = re.compile(r"\bitem(?=s?\b)")
_INTERNAL = re.compile(r"function-|constrained-|list\[|nullable")


def field_errors(errors: Iterable[Any], skip: int = 0) -> list[tuple[str, str]]:
    """`(field, message)` of pydantic's errors; `skip` leading parts of each location are the framework's."""
    found: dict[str, str] = {}
    for error in errors:
        # Which member of a union was tried is pydantic's affair.
        parts = [str(part) for part in error["loc"][skip:] if not _INTERNAL.match(str(part))]
        name = ".".join(parts)[:200] or "body"
        message = _MESSAGES.get(error["type"], error["msg"].removeprefix("Value error, "))
        if message.startswith("Value should have"):  # a text of which more than the length is checked
            message = _ITEMS.sub("character", message)
        found.setdefault(name, message)
        if len(found) == MAX_ERRORS:
            break
    return list(found.items())
