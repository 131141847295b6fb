"""Lock memory rows by address, and save them, using the statements in `somamemory.db.rows`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection

from memories import large_rows
from memories.models import IDS, JsonField, Memory
from somamemory.db import rows
from tenants.caller import Caller

TABLE = rows.Table(Memory)
_OUTLINE = rows.Columns(Memory, without=frozenset({"payload", "metadata", "terms"}))
_SMALL_DOCUMENTS = ", ".join(
    f"CASE WHEN size <= {large_rows.SMALL} THEN {name} END" for name in ("payload", "metadata")
)
_JSON = JsonField()
VERSION = ("version", "updated_at", "written_by")  # the columns that every new version changes
ADDRESS = ("tenant_id", "namespace", "coordinate_key")
_REPLACED_FIELDS = [
    "payload", "metadata", "memory_type", "importance", "context", "terms",
    "version", "created_at", "updated_at", "expires_at", "deleted_at", "access_count", "last_accessed_at", "size",
    "archived_at", "valid_from", "valid_to", "source", "trust", "written_by", "key", *IDS,
]  # fmt: skip


def at(caller: Caller, namespace: str, keys: Iterable[str]) -> dict[str, Memory]:
    """Return the rows at these addresses, including deleted ones, locked in key order."""
    return {memory.coordinate_key: memory for memory in TABLE.read(*_where(caller, namespace, keys))}


def outlines(caller: Caller, namespace: str, keys: Iterable[str]) -> dict[str, Memory]:
    """Return the same rows as `at`, but without their terms and, if they are large, without payload and metadata.

    Use this for changes that replace or delete the rows, because their payloads may take up gigabytes in total. To read
    the payload and metadata of a large row, use `large_rows.documents_of`. Never save a row that this function returns.
    """
    where, parameters = _where(caller, namespace, keys)
    sql = f"SELECT {_OUTLINE.sql('sfm_memories')}, {_SMALL_DOCUMENTS} FROM sfm_memories {where}"  # noqa: S608 - constants
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        found = [_outlined(row) for row in cursor.fetchall()]
    return {memory.coordinate_key: memory for memory in found}


def _outlined(row: Sequence[object]) -> Memory:
    *columns, payload, metadata = row
    memory = _OUTLINE.instance(columns)
    if memory.size <= large_rows.SMALL:
        memory.payload = _JSON.from_db_value(payload, None, connection)
        memory.metadata = _JSON.from_db_value(metadata, None, connection)
    return memory


def _where(caller: Caller, namespace: str, keys: Iterable[str]) -> tuple[str, list[Any]]:
    condition, parameter = rows.one_of("coordinate_key", sorted(set(keys)))
    whose, user = ("", []) if caller.user_id is None else (" AND user_id = %s", [caller.user_id])
    where = f"WHERE tenant_id = %s AND namespace = %s AND {condition}{whose} ORDER BY coordinate_key{rows.locked()}"
    return where, [rows.id_parameter(caller.tenant.id), namespace, parameter, *user]


def save(new: Sequence[Memory], old: Sequence[Memory], changed: Sequence[str] = _REPLACED_FIELDS) -> None:
    """Insert the `new` rows, and update the `changed` fields of the `old` rows, which are locked.

    Raises IntegrityError if a new row's address is already taken.
    """
    # If another caller has just created a memory at the same address, `retrying` runs the transaction again.
    TABLE.insert([vars(memory) for memory in new])
    TABLE.update([vars(memory) for memory in old], changed)
