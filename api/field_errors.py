"""Translate validation errors into fields and messages in our own wording.

pydantic's messages describe its types and internal steps ("Value should have at least 1 item after validation, not 0").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

MAX_ERRORS = 20
_MAX_NAME_LENGTH = 200

# Keyed by pydantic's error type. Placeholders are filled in from the error's context.
_MESSAGES = {
    "missing": "is required",
    "extra_forbidden": "unknown field",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "string_type": "must be text",
    "string_unicode": "must be valid Unicode text",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "literal_error": "must be {expected}",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a whole number of at most 64 bits",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be {ge} or greater",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "uuid_type": "must be a UUID",
    "uuid_parsing": "must be a UUID",
}
_LENGTHS = {
    "too_short": "at least {min_length}",
    "too_long": "at most {max_length}",
    "string_too_short": "at least {min_length}",
    "string_too_long": "at most {max_length}",
}
_OUR_OWN = "value_error"
_OTHER = "is not valid; see the API documentation for the type of this field"
# Parts of a location that describe a step in pydantic's validation, such as the union member that was tried. If the
# member is a model, the part is its class name.
_INTERNAL = re.compile(r"function-|constrained-|(?:list|dict)\[|nullable|ChatMessage$")


def field_errors(errors: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return `(field, message)` for up to MAX_ERRORS fields: the first error that pydantic lists for each.

    For a union, pydantic tries every member and lists the errors of all of them. If one member accepts the value's
    type, the reader needs only that member's errors.
    """
    located = [(_path(error["loc"]), error) for error in errors]
    of_accepted_type = {
        path[:length] for path, error in located for length in range(len(path) + (not _is_wrong_type(error)))
    }
    messages: dict[str, str] = {}
    for path, error in located:
        if _is_wrong_type(error) and path in of_accepted_type:
            continue
        messages.setdefault(".".join(path)[:_MAX_NAME_LENGTH] or "body", message(error))
        if len(messages) == MAX_ERRORS:
            break
    return list(messages.items())


def message(error: Mapping[str, Any]) -> str:
    """Return our message for one of pydantic's errors."""
    kind: str = error["type"]
    context: dict[str, Any] = error.get("ctx") or {}
    if kind == _OUR_OWN:
        text: str = error["msg"]
        return text.removeprefix("Value error, ")
    if kind in _LENGTHS:
        return _length_message(_LENGTHS[kind].format_map(context), context)
    return _MESSAGES.get(kind, _OTHER).format_map(context)


def _length_message(bound: str, context: Mapping[str, Any]) -> str:
    # pydantic states the type of a collection, but calls a string with additional validators a "Value".
    noun = "character" if context.get("field_type", "Value") == "Value" else "item"
    return f"must have {bound} {noun}" + ("" if bound.endswith(" 1") else "s")


def _path(location: Iterable[object]) -> tuple[str, ...]:
    return tuple(str(part) for part in location if not _INTERNAL.match(str(part)))


def _is_wrong_type(error: Mapping[str, Any]) -> bool:
    kind: str = error["type"]
    return kind.endswith("_type")
