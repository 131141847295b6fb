"""What time does to memories: after the retention time, deleted and expired ones are gone for good."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from memories.models import Memory, VectorEmbedding
from tenants import idempotency

BATCH = 500


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
            batch = list(old.select_for_update(skip_locked=True).values_list("seq", "id")[:BATCH])
            remove([seq for seq, _ in batch], [memory_id for _, memory_id in batch])
        purged += len(batch)
        if len(batch) < BATCH:
            break
    return purged


def remove(seqs: list[int], ids: list[UUID]) -> None:
    """Delete rows for good; their outbox rows stay until the index has forgotten them. Needs a transaction."""
    Memory.all_tenants.filter(seq__in=seqs).delete()
    # The version moves on, so that a drain which has just read the memory cannot settle the row with it.
    VectorEmbedding.all_tenants.filter(memory_id__in=ids).update(  # type: ignore[misc]
        wanted_version=F("wanted_version") + 1, due_at=timezone.now(), attempts=0
    )
