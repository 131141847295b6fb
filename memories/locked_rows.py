"""Lock the rows of memories by their addresses, and save them, with the statements of `somamemory.db.rows`."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

from memories.models import IDS, Memory
from somamemory.db import rows
from tenants.caller import Caller

TABLE = rows.Table(Memory)
ADDRESS = ("tenant_id", "namespace", "coordinate_key")
_REPLACED_FIELDS = [
    "payload", "metadata", "memory_type", "importance", "context", "terms",
    "version", "created_at", "updated_at", "expires_at", "deleted_at", "access_count", "last_accessed_at", "size",
    "archived_at", "valid_from", "valid_to", "source", "trust", "written_by", "key", *IDS,
]  # fmt: skip


def at(caller: Caller, namespace: str, keys: Iterable[str]) -> dict[str, Memory]:
    """Return the rows at these addresses, including deleted ones, locked in the order of their keys."""
    condition, parameter = rows.one_of("coordinate_key", sorted(set(keys)))
    whose, user = ("", []) if caller.user_id is None else (" AND user_id = %s", [caller.user_id])
    found = TABLE.read(
        f"WHERE tenant_id = %s AND namespace = %s AND {condition}{whose} ORDER BY coordinate_key{rows.locked()}",
        [rows.id_parameter(caller.tenant.id), namespace, parameter, *user],
    )
    return {memory.coordinate_key: memory for memory in found}


def save(new: Sequence[Memory], old: Sequence[Memory]) -> None:
    """Insert new rows and update locked ones. Raises IntegrityError if a new row's address is taken."""
    # If another caller has just created a memory at the same address, `retrying` runs the transaction again.
    TABLE.insert([vars(memory) for memory in new])
    # These rows are locked, so each of them is updated. These ids belong to rows that will never be inserted, and must
    # not collide with existing ones.
    TABLE.upsert([{**vars(memory), "id": uuid.uuid4()} for memory in old], ADDRESS, _REPLACED_FIELDS)
