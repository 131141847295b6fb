"""Restore an earlier version of a memory as a new version, and undo the soft deletion of many memories."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db.models import F, Q
from django.utils import timezone

from memories import audit_state, history, reserved_namespaces, retention, services
from memories.coordinates import Coordinate
from memories.index import backpressure, outbox
from memories.models import Memory, MemoryVersion
from memories.precondition import Precondition
from memories.versions import CONTENT
from somamemory.db.collisions import retrying
from somamemory.errors import Conflict, NotFound
from tenants import audit, usage
from tenants.audit import Change
from tenants.caller import Caller


def restore(
    caller: Caller,
    namespace: str,
    coordinate: Coordinate,
    version: int | None = None,
    precondition: Precondition | None = None,
) -> Memory:
    """Restore an earlier version or, without a `version`, undo a soft delete.

    Raises NotFound if there is no such memory or version, and Conflict if that version cannot be restored.
    """
    condition = precondition or Precondition()
    if version is None:
        return retrying(lambda: services.restore(caller, namespace, coordinate, condition))
    return retrying(lambda: _restore_version(caller, namespace, coordinate, version, condition))


def restore_subtree(caller: Caller, namespace: str, root: Coordinate, deleted_since: datetime) -> int:
    """Undo the soft deletion of the memories at and below a coordinate that were deleted at `deleted_since` or later.

    Must be called in a transaction. Returns how many memories were restored.
    """
    low, high = root.subtree
    below = Q(coordinate_key__gte=low, coordinate_key__lt=high, deleted_at__gte=deleted_since)
    return _undelete(caller, namespace, below)


def restore_at(caller: Caller, namespace: str, coordinates: Iterable[Coordinate]) -> int:
    """Undo the soft deletion of the memories at these coordinates, and return how many were restored.

    Must be called in a transaction.
    """
    at = sorted({coordinate.key for coordinate in coordinates})
    batches = [at[start : start + retention.BATCH] for start in range(0, len(at), retention.BATCH)]
    return sum(
        _undelete(caller, namespace, Q(coordinate_key__among=keys, deleted_at__isnull=False)) for keys in batches
    )


def _undelete(caller: Caller, namespace: str, deleted: Q) -> int:
    caller.require("write", [namespace])
    reserved_namespaces.check_writable(caller, namespace)
    rows = Memory.objects.for_tenant(caller.tenant).filter(deleted, namespace=namespace)
    ordered = rows.order_by("coordinate_key").select_for_update()
    count = 0
    while batch := retention.batch_of(ordered):  # rows that have been restored no longer match the condition
        _undelete_batch(caller, namespace, batch)
        count += len(batch)
    return count


def _undelete_batch(caller: Caller, namespace: str, batch: Sequence[Memory]) -> None:
    before = [audit_state.state(memory) for memory in batch]
    Memory.objects.for_tenant(caller.tenant).filter(seq__among=[memory.seq for memory in batch]).update(
        deleted_at=None,
        updated_at=history.moment_after(batch),
        version=F("version") + 1,
        written_by=caller.actor,
    )
    for memory in batch:
        memory.version += 1
        memory.deleted_at = None
    outbox.enqueue(batch)
    usage.add(caller.tenant, 0, sum(memory.size for memory in batch))  # the replaced versions count, too
    changes = [
        Change(memory.coordinate.text, old, audit_state.state(memory))
        for memory, old in zip(batch, before, strict=True)
    ]
    audit.record(caller, "memory.restore", changes, namespace)


def _restore_version(
    caller: Caller, namespace: str, coordinate: Coordinate, version: int, condition: Precondition
) -> Memory:
    """Restore a version in one transaction, even if the memory is deleted."""
    caller.require("write", [namespace])
    caller.require("read", [namespace])  # the response includes the memory
    reserved_namespaces.check_writable(caller, namespace)
    backpressure.check(caller.tenant)
    rows = Memory.objects.for_tenant(caller.tenant).select_for_update()
    at_address = rows.filter(namespace=namespace, coordinate_key=coordinate.key).order_by()
    memory = condition.matching(at_address.first())
    if memory is None:
        raise NotFound(f"there is no memory at coordinate {coordinate}")
    earlier = _earlier(caller, memory, version)
    before = audit_state.state(memory)
    for name in CONTENT:
        setattr(memory, name, getattr(earlier, name))
    memory.deleted_at = None
    services.save_version(caller, memory, "memory.restore", before, [*CONTENT, "deleted_at"])
    return memory


def _earlier(caller: Caller, memory: Memory, version: int) -> MemoryVersion:
    if version == memory.version:
        raise Conflict(f"version {version} is already the current version")
    versions = MemoryVersion.objects.for_tenant(caller.tenant).filter(id=memory.id, version=version)
    earlier: MemoryVersion | None = versions.first()
    if earlier is None:
        raise NotFound(f"the memory's history has no version {version}")
    if earlier.deleted_at is not None:
        raise Conflict(f"version {version} is a deletion; choose another version")
    if earlier.has_expired(timezone.now()):
        raise Conflict(f"version {version} has expired; store its content as a new memory instead")
    return earlier
