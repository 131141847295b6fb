"""Read a memory's history: its versions, newest first, with the author, time and changes of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from memories import history
from memories.models import Memory, MemoryColumns, MemoryVersion
from somamemory import cursors
from somamemory.db.replicas import may_read_replica
from somamemory.response_size import fitting
from tenants.caller import Caller

# The fields that a caller can set, apart from the address and the owner. `restoring` restores these fields.
CONTENT = (
    "payload", "metadata", "memory_type", "importance", "context", "expires_at", "valid_from", "valid_to", "source",
    "trust",
)  # fmt: skip
_COMPARED = (*CONTENT, "user_id", "agent_id", "session_id", "key")


@dataclass(frozen=True)
class Version:
    """A version of a memory, and how it differs from the previous one.

    until: when the next version replaced it, or None for the current version.
    action: create, update, delete or restore.
    changed: the fields that differ, such as `importance` or `payload.city`; None if the previous version is not known.
    """

    row: MemoryColumns
    until: datetime | None
    action: str
    changed: list[str] | None


@dataclass(frozen=True)
class Versions:
    items: list[Version]
    next_cursor: str | None


@may_read_replica
def page(caller: Caller, rows: QuerySet[Memory], limit: int, cursor: str | None = None) -> Versions | None:
    """Return a page of a memory's history, newest version first, or None if `rows` is empty.

    rows: a query for the memory, which may be deleted.
    """
    current = rows.defer("terms").order_by().first()
    if current is None:
        return None
    of_list = cursors.list_id("history", current.id)
    before = _position(cursor, of_list) if cursor else current.version + 1
    newest: list[Memory | MemoryVersion] = [current] if current.version < before else []
    older = MemoryVersion.objects.for_tenant(caller.tenant).filter(
        id=current.id, version__lt=min(before, current.version)
    )
    sizes = [row.size for row in newest]
    sizes += older.order_by("-version").values_list("size", flat=True)[: limit + 1 - len(newest)]
    count = max(fitting(sizes), min(2, len(sizes)))  # one more than shown, for comparison, unless the oldest is shown
    found = [*newest, *older.defer("terms").order_by("-version")[: count - len(newest)]]
    shown = count if count == len(sizes) <= limit else count - 1
    items = [_version(caller, row, before) for row, before in zip(found, [*found[1:], None], strict=True)][:shown]
    return Versions(items, cursors.encode(of_list, items[-1].row.version) if shown < len(sizes) else None)


def _position(cursor: str, of_list: str) -> int:
    made_for, version = cursors.decode(cursor, str, int)
    if made_for != of_list:
        raise cursors.invalid()
    return int(version)


def _version(caller: Caller, row: Memory | MemoryVersion, before: MemoryColumns | None) -> Version:
    until = row.until if isinstance(row, MemoryVersion) else None
    is_first = row.version == 1 or (before is None and _is_oldest(caller, row))
    changed = [] if is_first else None if before is None else differences(before, row)
    return Version(row, until, _action(row, before, is_first), changed)


def _is_oldest(caller: Caller, row: Memory | MemoryVersion) -> bool:
    """Return whether there has never been an earlier version, not even one that was pruned or is another user's.

    Moving a memory to another namespace or tier increments its version, but is not a change.
    """
    earlier = MemoryVersion.objects.for_tenant(caller.unlimited().tenant).filter(id=row.id, version__lt=row.version)
    return row.updated_at > history.earliest(caller.tenant, timezone.now()) and not earlier.exists()


def _action(row: MemoryColumns, before: MemoryColumns | None, is_first: bool) -> str:
    if row.deleted_at is not None:
        return "delete"
    if before is not None and before.deleted_at is not None:
        return "restore"
    return "create" if is_first else "update"


def differences(before: MemoryColumns, after: MemoryColumns) -> list[str]:
    """Return the names of the fields that differ.

    Fields inside payload and metadata are named individually, such as `payload.city`.
    """
    names: list[str] = []
    for name in _COMPARED:
        old, new = getattr(before, name), getattr(after, name)
        if name in ("payload", "metadata"):
            names += [f"{name}.{key}" for key in _changed_keys(old, new)]
        elif _differ(old, new):
            names.append(name)
    return names


def _changed_keys(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return the changed keys, sorted, because PostgreSQL does not preserve their order."""
    absent = object()
    return [key for key in sorted(old.keys() | new.keys()) if _differ(old.get(key, absent), new.get(key, absent))]


def _differ(old: Any, new: Any) -> bool:
    """Return whether two values differ as JSON. In Python, true equals 1, and false equals 0."""
    # Comparing item by item is slow, but rarely needed: few equal values have different representations.
    return old != new or (repr(old) != repr(new) and not _same_kinds(old, new))


def _same_kinds(old: Any, new: Any) -> bool:
    """Return whether two equal values have booleans in the same places."""
    if isinstance(old, dict):
        return all(_same_kinds(value, new[key]) for key, value in old.items())
    if isinstance(old, list):
        return all(map(_same_kinds, old, new))
    return isinstance(old, bool) == isinstance(new, bool)
