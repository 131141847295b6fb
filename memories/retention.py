"""What time does to memories: after the retention time, deleted and expired ones are gone for good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import groupby

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from memories import audit_state
from memories.models import Memory, VectorEmbedding
from somamemory.scheduling import periodic
from tenants import audit, idempotency, usage
from tenants.caller import Caller
from tenants.models import Tenant

BATCH = 500
BATCH_BYTES = 32 * 1024 * 1024  # one memory may have ten of them
Forget = Callable[[Caller, Sequence[Memory]], None]

_others: list[Forget] = []


def when_removed(forget: Forget) -> None:
    """For what is kept elsewhere about memories: `forget` is called with whoever removes some for good, and those.

    It runs inside the transaction of their removal, so that neither is ever there without the other.
    """
    _others.append(forget)


@periodic("memories.purge", every_s=lambda: settings.PURGE_INTERVAL_S, thread="index")
def tidy() -> None:
    """All that is done now and then, by whoever feeds the index."""
    purge()
    idempotency.sweep()


def purge(limit: int = 100_000) -> int:
    """Remove up to about `limit` memories that were deleted, or expired, longer ago than the retention time."""
    before = timezone.now() - timedelta(days=settings.RETENTION_DAYS)
    old = Memory.all_tenants.filter(Q(deleted_at__lte=before) | Q(expires_at__lte=before))
    purged = 0
    while purged < limit:
        with transaction.atomic():
            batch = batch_of(old.select_for_update(skip_locked=True))
            tenants = Tenant.objects.in_bulk({memory.tenant_id for memory in batch})
            for id in sorted({memory.tenant_id for memory in batch}):
                # What a tenant that is being erased has left is nobody's, and goes all the same.
                caller = Caller.retention(tenants.get(id) or Tenant(id=id))
                remove(caller, [memory for memory in batch if memory.tenant_id == id])
        if not batch:
            break
        purged += len(batch)
    return purged


def batch_of(rows: QuerySet[Memory]) -> list[Memory]:
    """The first of these rows, without their words, as many as may be in memory at a time."""
    chosen: list[int] = []
    total = 0
    for seq, size in rows.values_list("seq", "size")[:BATCH]:
        total += size
        if chosen and total > BATCH_BYTES:
            break
        chosen.append(seq)
    return list(Memory.all_tenants.filter(seq__in=chosen).defer("terms").order_by("coordinate_key"))


def remove(caller: Caller, memories: Sequence[Memory]) -> None:
    """Delete rows of the caller's tenant for good, and write each of them down. Needs a transaction.

    Their outbox rows stay until the index has forgotten them.
    """
    take_out(memories)
    usage.add(caller.tenant, -len(memories), -sum(memory.size for memory in memories))
    in_order = sorted(memories, key=lambda memory: (memory.namespace, memory.coordinate_key))
    for namespace, group in groupby(in_order, key=lambda memory: memory.namespace):
        audit.record(caller, "memory.purge", [audit_state.purged(memory) for memory in group], namespace)
    for forget in _others:
        forget(caller, memories)


def take_out(memories: Sequence[Memory]) -> None:
    """Delete rows that are kept elsewhere: they still count against quotas, and their addresses keep their links."""
    Memory.all_tenants.filter(seq__in=[memory.seq for memory in memories]).delete()
    # The version moves on, so that a drain which has just read the memory cannot settle the row with it.
    VectorEmbedding.all_tenants.filter(memory_id__in=[memory.id for memory in memories]).update(
        wanted_version=F("wanted_version") + 1, due_at=timezone.now(), attempts=0
    )
