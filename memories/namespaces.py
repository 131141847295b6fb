"""Namespaces: list them, find those below a prefix, and move all memories from one to another.

A prefix covers whole segments: `users/ada` (or `users/ada/`) covers `users/ada` and `users/ada/notes`, but not
`users/adam`. No character is a wildcard. Listing namespaces takes one index lookup per namespace, not per memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from memories import prepared_reads, reserved_namespaces
from memories.index import notify, outbox
from memories.models import Memory, MemoryVersion
from somamemory import cursors, deadline
from somamemory.db.collisions import retrying
from somamemory.db.replicas import may_read_replica
from somamemory.errors import Conflict, InvalidInput
from tenants import audit
from tenants.caller import Caller
from tenants.scoping import TenantOwned

# In a list of namespaces, the memories in a namespace are counted exactly only up to this number.
COUNTED = 1_000
# The maximum number of namespaces that one search or deletion by prefix can cover.
MAX_BELOW = 100
BATCH = 500
# The maximum number of namespaces without live memories that one page of a list skips.
_MAX_SKIPPED = 1_000
_LAST = "~"  # sorts after every character that a namespace can contain


@dataclass(frozen=True)
class Listed:
    """A namespace and its number of live memories. If `is_exact` is false, there are more."""

    name: str
    memories: int
    is_exact: bool


@dataclass(frozen=True)
class Page:
    items: list[Listed]
    next_cursor: str | None


def covers(prefix: str, namespace: str) -> bool:
    """Return whether a prefix covers a namespace, that is, whether the namespace is the prefix itself or below it."""
    stem = prefix.removesuffix("/")
    return namespace == stem or namespace.startswith(stem + "/")


def covered(prefix: str) -> Q:
    """Return the condition for rows in a namespace that the prefix covers."""
    stem = prefix.removesuffix("/")
    return Q(namespace=stem) | Q(**_below(stem))


def _below(stem: str) -> dict[str, str]:
    return {"namespace__gte": stem + "/", "namespace__lt": stem + chr(ord("/") + 1)}


def truncated(namespace: str, depth: int | None) -> str:
    """Return a namespace's first `depth` segments."""
    return namespace if depth is None else "/".join(namespace.split("/")[:depth])


@may_read_replica
def list_namespaces(
    caller: Caller, prefix: str | None = None, *, depth: int | None = None, limit: int = 50, cursor: str | None = None
) -> Page:
    """Return a page of the namespaces with live memories, by name.

    With `depth`, names are truncated to this number of segments.
    """
    caller.require("read")
    of_list = cursors.list_id("namespaces", prefix, depth)
    after = _position(cursor, of_list) if cursor else ""
    items: list[Listed] = []
    for skipped, (name, position) in enumerate(_groups(caller, prefix, depth, after)):
        if len(items) == limit or skipped - len(items) >= _MAX_SKIPPED:
            return Page(items, cursors.encode(of_list, after))
        listed = _counted(caller, name, depth)
        if listed.memories:
            items.append(listed)
        after = position
    return Page(items, None)


def names(caller: Caller, prefix: str | None = None, after: str = "") -> Iterator[str]:
    """Yield the namespaces that the caller can access, sorted by name, including those with only deleted memories."""
    return names_in(caller, Memory, prefix, after)


def names_in(caller: Caller, model: type[TenantOwned], prefix: str | None = None, after: str = "") -> Iterator[str]:
    """Yield the namespaces that the caller can access and that have rows of this model, sorted by name."""
    rows = model.objects.for_tenant(caller.tenant).order_by("namespace").values_list("namespace", flat=True)
    if caller.namespaces:
        for name in sorted(caller.namespaces):
            if name > after and (prefix is None or covers(prefix, name)) and rows.filter(namespace=name).exists():
                yield name
        return
    if prefix is not None:
        stem = prefix.removesuffix("/")
        if stem > after and rows.filter(namespace=stem).exists():
            yield stem
        rows = rows.filter(**_below(stem))
    while (found := rows.filter(namespace__gt=after).first()) is not None:
        deadline.check()
        yield found
        after = found


def below(caller: Caller, prefix: str) -> tuple[str, ...]:
    """Return the namespaces that a prefix covers, or the prefix itself if there are none.

    Raises InvalidInput if there are more than `MAX_BELOW`.
    """
    found = tuple(islice(names(caller, prefix), MAX_BELOW + 1))
    if len(found) > MAX_BELOW:
        raise too_many_below()
    return found or (prefix,)


def too_many_below() -> InvalidInput:
    return InvalidInput("namespace_prefix", f"covers more than {MAX_BELOW} namespaces; use a longer prefix")


def move_batch(caller: Caller, old: str, new: str) -> int:
    """Move up to BATCH memories, with their history, in one transaction, and return how many were moved.

    Their ids, coordinates and keys stay the same. Raises Conflict if one of their coordinates or keys is already taken
    in `new`.
    """
    caller.require("write", [old, new])
    caller.require_unlimited()
    for namespace in (old, new):
        reserved_namespaces.check_writable(caller, namespace)
    return retrying(lambda: _moved(caller, old, new))


def is_empty(caller: Caller, namespace: str) -> bool:
    """Return whether a namespace has no memories, not even deleted ones."""
    caller.require("read", [namespace])
    return not Memory.objects.for_tenant(caller.tenant).filter(namespace=namespace).exists()


def _moved(caller: Caller, old: str, new: str) -> int:
    mine = Memory.objects.for_tenant(caller.tenant)
    needed = ("seq", "id", "tenant_id", "version", "coordinate_key", "key")
    batch = list(mine.filter(namespace=old).only(*needed).order_by("coordinate_key").select_for_update()[:BATCH])
    if not batch:
        return 0
    _refuse_taken(mine.filter(namespace=new), batch)
    # The version is incremented although the memories themselves do not change, so that a worker that has read the old
    # state does not mark the row as done.
    mine.filter(seq__among=[row.seq for row in batch]).update(namespace=new, version=F("version") + 1)
    versions = MemoryVersion.objects.for_tenant(caller.tenant).filter(id__among=[row.id for row in batch])
    versions.update(namespace=new)
    for row in batch:
        row.version += 1
    outbox.enqueue(batch)
    audit.record(caller, "namespace.rename", [f"{old} -> {new}: {len(batch)} memories"], new)
    notify.on_commit()
    return len(batch)


def _refuse_taken(rows: QuerySet[Memory], batch: list[Memory]) -> None:
    keys = [row.key for row in batch if row.key is not None]
    at_address = Q(coordinate_key__among=[row.coordinate_key for row in batch]) | Q(key__among=keys)
    if (taken := rows.filter(at_address).first()) is not None:
        address = f"key '{taken.key}'" if taken.key in keys else f"coordinate {taken.coordinate}"
        raise Conflict(f"{address} is in use in both namespaces; delete one of the two memories permanently")


def _groups(caller: Caller, prefix: str | None, depth: int | None, after: str) -> Iterator[tuple[str, str]]:
    """Yield each distinct namespace, truncated to `depth`, with the position after which the list continues."""
    found = names(caller, prefix, after)
    while (name := next(found, None)) is not None:
        group = truncated(name, depth)
        if group == name:
            yield name, name
            continue
        # The rest of the group directly follows `name`, but a namespace with the group's own name may have come much
        # earlier, because `-` and `.` sort before `/`.
        position = f"{group}/{_LAST}"
        if not _exists(caller, group):
            yield group, position
        found = names(caller, prefix, position)


def _exists(caller: Caller, name: str) -> bool:
    """Return whether the namespace exists and the caller can access it."""
    allowed = not caller.namespaces or name in caller.namespaces
    return allowed and Memory.objects.for_tenant(caller.tenant).filter(namespace=name).exists()


def _counted(caller: Caller, name: str, depth: int | None) -> Listed:
    is_group = depth is not None and name.count("/") + 1 == depth
    rows = Memory.objects.for_tenant(caller.tenant).filter(covered(name) if is_group else Q(namespace=name))
    if caller.namespaces:
        rows = rows.filter(namespace__in=caller.namespaces)
    count = rows.filter(prepared_reads.alive(timezone.now())).order_by()[: COUNTED + 1].count()
    return Listed(name, min(count, COUNTED), count <= COUNTED)


def _position(cursor: str, of_list: str) -> str:
    made_for, after = cursors.decode(cursor, str, str)
    if made_for != of_list:
        raise cursors.invalid()
    return str(after)
