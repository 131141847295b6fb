"""Retention: purge deleted and expired memories after the retention period."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import groupby

from django.conf import settings
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from memories import audit_state, history
from memories.models import Memory, VectorEmbedding
from somamemory.db.collisions import retrying
from somamemory.scheduling import periodic
from tenants import audit, idempotency, usage
from tenants.caller import Caller
from tenants.models import Tenant

BATCH = 500
BATCH_BYTES = 32 * 1024 * 1024  # the maximum total size of the memories in a batch; a single memory can take up 10 MiB
Forget = Callable[[Caller, Sequence[Memory]], None]

_others: list[Forget] = []


def when_removed(forget: Forget) -> None:
    """Register a function that removes other data about purged memories, such as their links.

    Each purge calls `forget` with the caller and the purged memories, in the transaction that removes the memories.
    """
    _others.append(forget)


@periodic("memories.purge", every_s=lambda: settings.PURGE_INTERVAL_S, thread="index")
def tidy() -> None:
    """Purge memories, earlier versions and idempotency keys whose retention periods have ended."""
    purge()
    history.prune()
    idempotency.sweep()


def purge(limit: int = 100_000) -> int:
    """Purge about `limit` memories whose retention period has ended, and return how many were purged."""
    before = timezone.now() - timedelta(days=settings.RETENTION_DAYS)
    old = Memory.all_tenants.filter(Q(deleted_at__lte=before) | Q(expires_at__lte=before))
    purged = 0
    while purged < limit and (count := retrying(lambda: _purge_batch(old))):
        purged += count
    return purged


def _purge_batch(old: QuerySet[Memory]) -> int:
    batch = batch_of(old.select_for_update(skip_locked=True))
    tenants = Tenant.objects.in_bulk({memory.tenant_id for memory in batch})
    for id in sorted({memory.tenant_id for memory in batch}):
        # If the tenant is being erased, its row may already be gone.
        caller = Caller.retention(tenants.get(id) or Tenant(id=id))
        remove(caller, [memory for memory in batch if memory.tenant_id == id])
    return len(batch)


def batch_of(rows: QuerySet[Memory]) -> list[Memory]:
    """Return the next rows, without their terms.

    There are at most BATCH rows, with a total size of at most BATCH_BYTES unless there is only one row.
    """
    chosen: list[int] = []
    total = 0
    for seq, size in rows.values_list("seq", "size")[:BATCH]:
        total += size
        if chosen and total > BATCH_BYTES:
            break
        chosen.append(seq)
    return list(Memory.all_tenants.filter(seq__among=chosen).defer("terms").order_by("coordinate_key"))


def remove(caller: Caller, memories: Sequence[Memory]) -> None:
    """Purge these memories of the caller's tenant, and audit each of them. Must be called in a transaction.

    The memories' outbox rows remain until the memories have been removed from the index.
    """
    in_order = sorted(memories, key=lambda memory: (memory.namespace, memory.coordinate_key))
    # Computed before the rows are deleted, because the content of large memories is read from them.
    changes = [(memory.namespace, audit_state.purged(memory)) for memory in in_order]
    take_out(memories)
    history.forget(caller, memories)
    usage.add(caller.tenant, -len(memories), -sum(memory.size for memory in memories))
    for namespace, group in groupby(changes, key=lambda change: change[0]):
        audit.record(caller, "memory.purge", [change for _, change in group], namespace)
    for forget in _others:
        forget(caller.unlimited(), memories)


def take_out(memories: Sequence[Memory]) -> None:
    """Delete the rows of these memories, and queue the memories for removal from the index.

    If the rows are stored elsewhere, they still count towards quotas, and their addresses keep their links.
    """
    Memory.all_tenants.filter(seq__among=[memory.seq for memory in memories]).delete()
    # The version is incremented so that a worker that has just read the memory cannot mark the row as done.
    VectorEmbedding.all_tenants.filter(memory_id__among=[memory.id for memory in memories]).update(
        wanted_version=F("wanted_version") + 1, due_at=timezone.now(), attempts=0
    )
