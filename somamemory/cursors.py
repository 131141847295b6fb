"""Keyset cursors: opaque strings that encode the position after a page of a list."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from datetime import datetime
from typing import Any
from uuid import UUID

from somamemory import times
from somamemory.errors import InvalidInput

_MAX_LENGTH = 2048
_MAX_INTEGER = 1 << 63  # the range of a database integer column


def list_id(*conditions: Any) -> str:
    """Return an identifier to put in a cursor, so that a list with different conditions rejects the cursor.

    Conditions are identified by their `repr`.
    """
    return hashlib.sha256(repr(conditions).encode()).hexdigest()[:16]


def encode(*position: object) -> str:
    """Return the cursor for a position, which consists of strings, numbers, aware times and UUIDs."""
    raw = json.dumps([_to_json(part) for part in position], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(cursor: str, *kinds: type) -> list[Any]:
    """Return the position that a cursor encodes, with one part for each type in `kinds`.

    Raises InvalidInput if the cursor is invalid or encodes parts of other types.
    """
    try:
        if len(cursor) > _MAX_LENGTH:
            raise ValueError
        position = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(position, list) or len(position) != len(kinds):
            raise ValueError
        return [_from_json(part, kind) for part, kind in zip(position, kinds, strict=True)]
    except (ValueError, binascii.Error, RecursionError):
        raise invalid() from None


def invalid() -> InvalidInput:
    return InvalidInput("cursor", "must be the next_cursor of an earlier page of the same list, with the same filters")


def _to_json(part: object) -> object:
    if isinstance(part, datetime):
        return times.rfc3339(part)
    return str(part) if isinstance(part, UUID) else part


def _from_json(part: Any, kind: type) -> Any:
    """Convert a part of a position to its type. Raises ValueError for values that `encode` cannot produce."""
    if kind in (int, float):
        if type(part) is not kind or (kind is int and not -_MAX_INTEGER <= part < _MAX_INTEGER):
            raise ValueError
        return part
    # The text in a position is always printable ASCII. Databases reject NUL.
    if not (isinstance(part, str) and part.isascii() and part.isprintable()):
        raise ValueError
    if kind is datetime:
        return _moment(part)
    return UUID(part) if kind is UUID else part


def _moment(text: str) -> datetime:
    moment = times.parse(text)
    if not times.is_convertible(moment):
        raise ValueError
    return moment
