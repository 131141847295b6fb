"""Describe a memory's state for the audit log, as its address and a hash of its content."""

from __future__ import annotations

from memories import large_rows
from memories.models import Memory, MemoryColumns
from tenants import audit
from tenants.audit import Change


def state(memory: MemoryColumns | None, *, deleted: bool | None = None) -> bytes | None:
    """Return the SHA-256 of a memory's version, content and deletion flag, or None if there is no memory.

    `deleted` overrides the memory's own deletion flag.
    """
    if memory is None:
        return None
    with large_rows.documents_of(memory):
        return _fingerprint(memory, memory.deleted_at is not None if deleted is None else deleted)


def _fingerprint(memory: MemoryColumns, deleted: bool) -> bytes:
    return audit.fingerprint(
        memory.version,
        memory.payload,
        memory.metadata,
        memory.memory_type,
        memory.importance,
        memory.context,
        memory.expires_at,
        deleted,
        *_optional(memory),
    )


def _optional(memory: MemoryColumns) -> list[object]:
    """Return the optional fields that this memory has.

    A memory without any of them has the same hash as in earlier releases.
    """
    ids = [memory.ids] if any(memory.ids.values()) else []
    claims = {name: getattr(memory, name) for name in ("valid_from", "valid_to", "source", "trust")}
    given = {name: value for name, value in claims.items() if value is not None}
    return [*ids, *([given] if given else [])]


def purged(memory: Memory) -> Change:
    return Change(memory.coordinate.text, state(memory))
