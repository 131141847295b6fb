"""What the audit log says of a memory: its address, and hashes of what it was and what it is."""

from __future__ import annotations

from memories.models import Memory
from tenants import audit
from tenants.audit import Change


def state(memory: Memory | None, *, deleted: bool | None = None) -> bytes | None:
    """SHA-256 of all that a caller can have put into it; None for no memory. deleted: as if it were, or were not."""
    if memory is None:
        return None
    return audit.fingerprint(
        memory.version,
        memory.payload,
        memory.metadata,
        memory.memory_type,
        memory.importance,
        memory.context,
        memory.expires_at,
        memory.deleted_at is not None if deleted is None else deleted,
    )


def purged(memory: Memory) -> Change:
    return Change(memory.coordinate.text, state(memory))
