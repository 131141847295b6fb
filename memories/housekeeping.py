"""What time does to memories: after the retention time, deleted and expired ones are gone for good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from memories.models import Memory, VectorEmbedding
from tenants import idempotency, usage
from tenants.models import Tenant

BATCH = 500
Forget = Callable[[Sequence[Memory]], None]

_others: list[Forget] = []


def when_removed(forget: Forget) -> None:
    """For what is kept elsewhere about memories: `forget` is called with those that are removed for good.

    It runs inside the transaction of their removal, so that neither is ever there without the other.
    """
    _others.append(forget)


def tidy() -> None:
    """All that is done now and then, by whoever feeds the index."""
    purge()
    idempotency.sweep()


def purge(limit: int = 100_000) -> int:
    """Remove up to `limit` memories that were deleted, or expired, longer ago than the retention time."""
    before = timezone.now() - timedelta(days=settings.RETENTION_DAYS)
    old = Memory.all_tenants.filter(Q(deleted_at__lte=before) | Q(expires_at__lte=before))
    purged = 0
    while purged < limit:
        with transaction.atomic():
            address = ("tenant_id", "namespace", "coordinate_key")
            batch = list(old.select_for_update(skip_locked=True).only("seq", "id", "size", *address)[:BATCH])
            remove(batch)
        purged += len(batch)
        if len(batch) < BATCH:
            break
    return purged


def remove(memories: Sequence[Memory]) -> None:
    """Delete rows for good; their outbox rows stay until the index has forgotten them. Needs a transaction."""
    take_out(memories)
    _note(memories)
    for forget in _others:
        forget(memories)


def take_out(memories: Sequence[Memory]) -> None:
    """Delete rows that are kept elsewhere: they still count against quotas, and their addresses keep their links."""
    Memory.all_tenants.filter(seq__in=[memory.seq for memory in memories]).delete()
    # The version moves on, so that a drain which has just read the memory cannot settle the row with it.
    VectorEmbedding.all_tenants.filter(memory_id__in=[memory.id for memory in memories]).update(
        wanted_version=F("wanted_version") + 1, due_at=timezone.now(), attempts=0
    )


def _note(gone: Sequence[Memory]) -> None:
    """Their tenants keep less now."""
    tenants = Tenant.objects.in_bulk({memory.tenant_id for memory in gone})
    for id in sorted(tenants):
        sizes = [memory.size for memory in gone if memory.tenant_id == id]
        usage.add(tenants[id], -len(sizes), -sum(sizes))
