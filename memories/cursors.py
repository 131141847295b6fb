"""Opaque cursors: where a page of a list ended."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import Any

from somamemory.errors import InvalidInput

_MAX_LENGTH = 2048


def mark_of(*conditions: Any) -> str:
    """What tells the cursors of one list from those of another; the conditions say by their `repr` what they are."""
    return hashlib.sha256(repr(conditions).encode()).hexdigest()[:16]


def encode(*position: Any) -> str:
    raw = json.dumps(position, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(cursor: str, *kinds: type) -> list[Any]:
    """The position, if it has as many parts as `kinds` and each is of its kind. Raises InvalidInput."""
    try:
        if len(cursor) > _MAX_LENGTH:
            raise ValueError
        position = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        raise broken() from None
    if not isinstance(position, list) or len(position) != len(kinds):
        raise broken()
    if any(type(part) is not kind for part, kind in zip(position, kinds, strict=True)):
        raise broken()
    # No position of ours holds anything else, and a database chokes on NUL.
    if any(isinstance(part, str) and not (part.isascii() and part.isprintable()) for part in position):
        raise broken()
    return position


def broken() -> InvalidInput:
    return InvalidInput("cursor", "is not the next_cursor of an answer to this very list")
