"""Restore an earlier version of a memory as a new version."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from memories import audit_state, reserved_namespaces, services
from memories.coordinates import Coordinate
from memories.index import backpressure
from memories.models import Memory, MemoryVersion
from memories.precondition import Precondition
from memories.versions import CONTENT
from somamemory.errors import Conflict, NotFound
from tenants.caller import Caller


def restore(
    caller: Caller,
    namespace: str,
    coordinate: Coordinate,
    version: int | None = None,
    precondition: Precondition | None = None,
) -> Memory:
    """Restore an earlier version, or undo a soft delete. Raises NotFound or Conflict."""
    condition = precondition or Precondition()
    if version is None:
        return services.restore(caller, namespace, coordinate, condition)
    return _restore_version(caller, namespace, coordinate, version, condition)


def _restore_version(
    caller: Caller, namespace: str, coordinate: Coordinate, version: int, condition: Precondition
) -> Memory:
    """Give a memory the content of an earlier version, and undo its deletion if it is deleted."""
    caller.require("write", [namespace])
    caller.require("read", [namespace])  # the response includes the memory
    reserved_namespaces.check_writable(caller, namespace)
    backpressure.check(caller.tenant)
    with transaction.atomic():
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
        services.save_version(caller, memory, "memory.restore", before)
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
