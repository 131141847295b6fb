"""Earlier versions of memories and links: when each was current, their storage usage and their retention.

`version_trigger` writes the memory versions. A version was current from its `updated_at` until that of the next
version.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from memories.coordinates import Coordinate
from memories.models import Memory, MemoryVersion
from somamemory.db.collisions import retrying
from tenants import usage
from tenants.caller import Caller
from tenants.models import Tenant
from tenants.scoping import TenantOwned

USAGE_SQL = "SELECT 0 AS memories, COALESCE(SUM(size), 0) AS bytes FROM sfm_memory_versions WHERE tenant_id = %s"
BATCH = 500
_STEP = timedelta(microseconds=1)


class Versioned(Protocol):
    """A row whose current version has been valid since `updated_at`."""

    @property
    def updated_at(self) -> datetime: ...


@dataclass(frozen=True)
class Versions:
    """A table of earlier versions. `size` names the column with the number of bytes that count towards quotas."""

    model: type[TenantOwned]
    size: str


_MEMORIES = Versions(MemoryVersion, "size")
_pruned = [_MEMORIES]


def also_prune(model: type[TenantOwned], size: str) -> None:
    """Register another table of earlier versions, to be pruned after the same period as memory versions."""
    if (versions := Versions(model, size)) not in _pruned:
        _pruned.append(versions)


def moment_after(rows: Iterable[Versioned]) -> datetime:
    """Return the current time, or a time just after the current versions of `rows` began, if that is later.

    Servers' clocks differ, but every version must begin after the previous one, so that only one is current at
    any time.
    """
    return max([timezone.now(), *(row.updated_at + _STEP for row in rows)])


def days(tenant: Tenant) -> int:
    """Return how many days a tenant's versions are kept after they are replaced."""
    return settings.HISTORY_DAYS if tenant.history_days is None else tenant.history_days


def earliest(tenant: Tenant, now: datetime) -> datetime:
    """Return the earliest time from which a tenant's history is complete."""
    return max(tenant.history_since or tenant.created_at, now - timedelta(days=days(tenant)))


def forget(caller: Caller, memories: Sequence[Memory]) -> None:
    """Remove the history of purged memories. Must be called in the transaction that purges them."""
    versions = _versions(caller).filter(id__in=[memory.id for memory in memories])
    remove(caller.tenant, versions, _MEMORIES.size)


def forget_subtree(caller: Caller, namespace: str, root: Coordinate) -> None:
    """Remove the history of the memories at or below an address, even if they are in cold storage.

    Must be called in the transaction that purges the memories.
    """
    low, high = root.subtree
    versions = _versions(caller).filter(namespace=namespace)
    below = versions.filter(coordinate_key__gte=low, coordinate_key__lt=high).order_by("pk")  # locked in this order
    while numbers := list(below.values_list("pk", flat=True)[:BATCH]):
        remove(caller.tenant, versions.filter(pk__in=numbers), _MEMORIES.size)


def _versions(caller: Caller) -> QuerySet[MemoryVersion]:
    """Return the earlier versions of all users' memories, because a memory may have belonged to another user."""
    versions: QuerySet[MemoryVersion] = MemoryVersion.objects.for_tenant(caller.unlimited().tenant)
    return versions


def prune() -> int:
    """Remove versions whose retention period has ended, and return how many were removed."""
    return sum(_prune(versions, tenant) for tenant in Tenant.objects.iterator() for versions in _pruned)


def _prune(versions: Versions, tenant: Tenant) -> int:
    before = timezone.now() - timedelta(days=days(tenant))
    rows = versions.model.objects.for_tenant(tenant)
    old = rows.filter(until__lte=before).order_by("until")
    pruned = 0
    while numbers := list(old.values_list("pk", flat=True)[:BATCH]):
        batch = rows.filter(pk__in=numbers)
        pruned += retrying(partial(_prune_batch, versions, tenant, batch, before))
    return pruned


def _prune_batch(versions: Versions, tenant: Tenant, batch: QuerySet[Any], before: datetime) -> int:
    # Update `history_since` first, so that no reader expects a version that is about to be removed.
    since = max(before, tenant.history_since or tenant.created_at)
    Tenant.objects.filter(id=tenant.id).update(history_since=since)
    return remove(tenant, batch, versions.size)


def remove(tenant: Tenant, versions: QuerySet[Any], size: str) -> int:
    """Remove earlier versions, and return how many were removed. Must be called in a transaction.

    size: the column that contains each version's size in bytes. The sizes are subtracted from the tenant's usage.
    """
    if usage.is_limited(tenant):
        # Locked, so that no other process removes the same versions and subtracts their bytes again.
        locked = versions.order_by("pk").select_for_update()
        usage.add(tenant, 0, -sum(locked.values_list(size, flat=True)))
    removed: int = versions.delete()[0]
    return removed
