"""The audit log: one row per change, written in the same transaction as the change.

`sealing` later adds the rows to a chain of blocks, so that writers never wait for it. `verification` detects rows that
were changed afterwards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Model
from django.utils import timezone

from somamemory.db import replicas
from somamemory.db.rows import Part, Table
from somamemory.json_pieces import JsonPieces
from somamemory.times import fixed_width
from tenants.caller import Caller
from tenants.models import AuditEvent

_TARGET_LENGTH, _ADDRESS_LENGTH = 2048, 45
_EVENTS = Table(AuditEvent)
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_PIECES = JsonPieces(lambda value: _ENCODER.encode(_plain(value)), ",", ":", sort_keys=True)


@dataclass(frozen=True, slots=True)
class Change:
    """A changed object, with the SHA-256 of its state before the change (None if it did not exist) and after it."""

    target: str
    before: bytes | None = None
    after: bytes | None = None


def record(caller: Caller, action: str, targets: Iterable[str | Change], namespace: str = "") -> None:
    """Record that `caller` performed `action` on all `targets`.

    Must run inside the transaction that makes the change.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("an audit row must be written in the transaction that makes the change it records")
    part = events(caller, action, targets, namespace)
    part.table.insert(part.rows)
    replicas.wrote(caller)


def events(caller: Caller, action: str, targets: Iterable[str | Change], namespace: str = "") -> Part:
    """Return the rows that `record` would write, so that the statement that makes the change can also write them."""
    changes = [target if isinstance(target, Change) else Change(target) for target in targets]
    common = {
        "tenant_id": caller.tenant.id,
        "at": timezone.now(),
        "actor": caller.actor,
        "action": action,
        "namespace": namespace,
        "request_id": caller.request_id,
        "address": caller.address[:_ADDRESS_LENGTH],
    }
    rows = [
        {
            **common,
            "target": change.target[:_TARGET_LENGTH],
            "before_hash": change.before,
            "after_hash": change.after,
        }
        for change in changes
    ]
    return Part(_EVENTS, rows)


def fingerprint(*parts: Any) -> bytes:
    """Return the SHA-256 of JSON values, times and UUIDs.

    The hash stays the same if the values are stored in either database and read back.
    """
    digest = hashlib.sha256()
    for piece in _PIECES.of(parts):
        digest.update(piece.encode())
    return digest.digest()


def state(row: Model) -> bytes:
    """Return the SHA-256 of all columns of a row, from its values in memory."""
    return fingerprint(*(field.value_from_object(row) for field in row._meta.concrete_fields))


# Avoids a call per item, because a list may have millions of items.
_ALREADY_PLAIN = {str, int, bool, type(None)}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)  # jsonb stores 1e16 as an integer
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [item if type(item) in _ALREADY_PLAIN else _plain(item) for item in value]
    if isinstance(value, datetime):
        return fixed_width(value)
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return str(value) if isinstance(value, UUID) else value
