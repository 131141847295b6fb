"""What is inside a memory: the text worth indexing, merge patches, and JSON numbers. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

# The fields that carry the words of a memory when they are there, in the order in which they are read.
TEXT_FIELDS = ("title", "summary", "text", "content")
MAX_TEXT_LENGTH = 32_768
_INT64 = 1 << 63


class Decoder(json.JSONDecoder):
    """A whole number beyond int64 was a float when it came in (jsonb writes 1e300 with all its zeros)."""

    def __init__(self) -> None:
        super().__init__(parse_int=_int64_or_float)


def _int64_or_float(digits: str) -> int | float:
    if len(digits) <= 18:
        return int(digits)
    number = int(digits)
    return number if -_INT64 <= number < _INT64 else float(digits)


def text_of(payload: Json) -> str:
    """The words to index: `title`, `summary`, `text`, `content` when one is present, else every string in it.

    At most MAX_TEXT_LENGTH characters.
    """
    named = [payload[name] for name in TEXT_FIELDS if isinstance(payload.get(name), str) and payload[name].strip()]
    return "\n".join(named or _strings(payload))[:MAX_TEXT_LENGTH]


def _strings(value: Any) -> Iterator[str]:
    """Every string leaf, members in the order of their names: jsonb does not keep the one they came in.

    The depth is bounded by the parser at the edge.
    """
    if isinstance(value, str):
        if value.strip():
            yield value
    elif isinstance(value, dict):
        for name in sorted(value):
            yield from _strings(value[name])
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: the target with the patch applied; null removes a member."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged
