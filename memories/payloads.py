"""Payloads: the text to index, merge patches, and JSON numbers. This module is pure: it does no I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

Json = dict[str, Any]

# If any of these fields are present, they contain the text of a memory, in reading order.
TEXT_FIELDS = ("title", "summary", "text", "content")
MAX_TEXT_LENGTH = 32_768
_SPEAKER_FIELDS = ("name", "speaker", "role")
_MAX_SPEAKER_LENGTH = 100
_INT64 = 1 << 63
_LONG_DIGITS = 19
_LONG_NUMBER = re.compile(rf"\d{{{_LONG_DIGITS}}}", re.ASCII)
_CHUNK_LENGTH = 262_144  # characters
_MAY_HOLD_STRINGS = {str, dict, list}


def decode(text: str) -> Any:
    """Parse JSON from the database, like `Decoder` but several times as fast."""
    # orjson reads integers from 2**63 up to 2**64 as integers, and below -2**63 as floats.
    return _decoder.decode(text) if _has_long_number(text) else orjson.loads(text)


def _has_long_number(text: str) -> bool:
    """Search in overlapping chunks, because a search blocks other threads: for 0.1 s with 10 MB of text."""
    if len(text) <= _CHUNK_LENGTH:
        return _LONG_NUMBER.search(text) is not None
    starts = range(0, len(text), _CHUNK_LENGTH)
    return any(_LONG_NUMBER.search(text, start, start + _CHUNK_LENGTH + _LONG_DIGITS - 1) for start in starts)


class Decoder(json.JSONDecoder):
    """Decode integers beyond int64 as floats, which is how the client sent them.

    PostgreSQL's jsonb writes 1e300 with all its zeros.
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
    """Return the text to index, at most MAX_TEXT_LENGTH characters.

    It consists of `title`, `summary`, `text` and `content` if any of them is present, otherwise of every string. A
    payload with a `role` is a message, whose text is its content only, even if that is blank.
    """
    named = [payload[name] for name in TEXT_FIELDS if isinstance(payload.get(name), str) and payload[name].strip()]
    is_message = "role" in payload and isinstance(payload.get("content"), str)
    return "\n".join(named if named or is_message else _first_strings(payload))[:MAX_TEXT_LENGTH]


def speakers_of(payload: Json) -> list[str]:
    """Return the speakers of the text: the `name`, `speaker` and `role` of a payload, if they are short strings."""
    given = [payload.get(field) for field in _SPEAKER_FIELDS]
    return [name for name in given if isinstance(name, str) and 0 < len(name) <= _MAX_SPEAKER_LENGTH]


def _first_strings(payload: Json) -> Iterator[str]:
    """Yield strings until their total length reaches MAX_TEXT_LENGTH: a payload can contain millions of strings."""
    length = 0
    for text in _strings(payload):
        yield text
        length += len(text)
        if length >= MAX_TEXT_LENGTH:
            return


def _strings(value: Any) -> Iterator[str]:
    """Yield every string.

    Object members are visited in order of their names, because jsonb does not preserve the original order. The JSON
    parser of the API limits the depth.
    """
    if isinstance(value, str):
        if value.strip():
            yield value
    elif isinstance(value, dict):
        for name in sorted(value):
            yield from _strings(value[name])
    elif isinstance(value, list):
        for item in value:
            if type(item) in _MAY_HOLD_STRINGS:  # avoids creating a generator for each of a million numbers
                yield from _strings(item)


def merge_patch(target: Any, patch: Any) -> Any:
    """Return the target with the patch applied (RFC 7396); null removes a member."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged
