"""Payloads: the text to index, merge patches, and JSON numbers. This module is pure: it does no I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

Json = dict[str, Any]

# If a payload has any of these fields, they make up the memory's text, in this order.
TEXT_FIELDS = ("title", "summary", "text", "content")
MAX_TEXT_LENGTH = 32_768
_SPEAKER_FIELDS = ("name", "speaker", "role")
_MAX_SPEAKER_LENGTH = 100
_DATE_FIELDS = ("date", "datetime", "timestamp", "time", "created_at", "sent_at", "occurred_at")
_INT64 = 1 << 63
_LONG_DIGITS = 19
_LONG_NUMBER = re.compile(rf"\d{{{_LONG_DIGITS}}}", re.ASCII)
_CHUNK_LENGTH = 262_144  # characters that are searched at once
_MAY_HOLD_STRINGS = {str, dict, list}


def decode(text: str) -> Any:
    """Parse JSON from the database, with the same result as `Decoder`, but several times faster."""
    # If there are long numbers, orjson cannot be used, because it reads integers from 2**63 to 2**64 as integers.
    return _decoder.decode(text) if _has_long_number(text) else orjson.loads(text)


def _has_long_number(text: str) -> bool:
    """Return whether the text contains a number of 19 or more digits.

    The text is searched in overlapping chunks, because searching 10 MB at once would block other threads for 0.1 s.
    """
    if len(text) <= _CHUNK_LENGTH:
        return _LONG_NUMBER.search(text) is not None
    starts = range(0, len(text), _CHUNK_LENGTH)
    return any(_LONG_NUMBER.search(text, start, start + _CHUNK_LENGTH + _LONG_DIGITS - 1) for start in starts)


class Decoder(json.JSONDecoder):
    """Decodes integers outside the int64 range as floats, because the client sent them as floats.

    PostgreSQL's jsonb writes 1e300, for example, as an integer of 301 digits.
    """

    def __init__(self) -> None:
        super().__init__(parse_int=_int64_or_float)


def _int64_or_float(digits: str) -> int | float:
    if len(digits) <= 18:
        return int(digits)
    number = int(digits)
    return number if -_INT64 <= number < _INT64 else float(digits)


_decoder = Decoder()


def text_of(payload: Json) -> str:
    """Return the text to index for a payload, at most MAX_TEXT_LENGTH characters.

    The text consists of `title`, `summary`, `text` and `content` if any of them is present, otherwise of all strings in
    the payload. In a message, which is a payload with `role` and `content`, other strings are ignored even if the
    content is blank.
    """
    named = [payload[name] for name in TEXT_FIELDS if isinstance(payload.get(name), str) and payload[name].strip()]
    is_message = "role" in payload and isinstance(payload.get("content"), str)
    return "\n".join(named if named or is_message else _first_strings(payload))[:MAX_TEXT_LENGTH]


def speakers_of(payload: Json) -> list[str]:
    """Return the speakers of the text: the `name`, `speaker` and `role` of a payload, if they are short strings."""
    given = [payload.get(field) for field in _SPEAKER_FIELDS]
    return [name for name in given if isinstance(name, str) and 0 < len(name) <= _MAX_SPEAKER_LENGTH]


def dates_of(metadata: Json, payload: Json) -> list[Any]:
    """Return the fields that may contain the date of the memory, in the order in which they are considered."""
    return [source[name] for source in (metadata, payload) for name in _DATE_FIELDS if name in source]


def _first_strings(payload: Json) -> Iterator[str]:
    """Yield strings until their total length reaches MAX_TEXT_LENGTH. A payload can contain millions of strings."""
    length = 0
    for text in _strings(payload):
        yield text
        length += len(text)
        if length >= MAX_TEXT_LENGTH:
            return


def _strings(value: Any) -> Iterator[str]:
    """Yield every string in a JSON value, except blank ones.

    Object members are visited in order of their names, because jsonb does not preserve the original order. The
    recursion is safe, because the API's JSON parser limits the depth.
    """
    if isinstance(value, str):
        if value.strip():
            yield value
    elif isinstance(value, dict):
        for name in sorted(value):
            yield from _strings(value[name])
    elif isinstance(value, list):
        for item in value:
            if type(item) in _MAY_HOLD_STRINGS:  # otherwise, each of a million numbers would create a generator
                yield from _strings(item)


def merge_patch(target: Any, patch: Any) -> Any:
    """Return the target with the merge patch applied (RFC 7396). A null in the patch removes a member."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged
