"""Compares what the index holds with what the database says it holds, and puts the differences into the outbox.

The drain cannot know of a loss in the index itself: after a power cut (Milvus Lite does not sync each write to the
disk), or when somebody has deleted its folder or brought back an old one.
"""

from __future__ import annotations

import logging
from uuid import UUID

from django.utils import timezone

from memories import index
from memories.index import generations
from memories.models import EmbeddingGeneration, VectorEmbedding

log = logging.getLogger("soma.index")

_BATCH = 500


def mark_differences() -> int:
    """Make every row due that the index contradicts, and take out what has no row; how many there were.

    Safe beside running drains: a row that has been settled meanwhile is done once more, that is all.
    Raises IndexUnavailable.
    """
    generation = generations.active()
    tenants = VectorEmbedding.all_tenants.filter(generation=generation).values_list("tenant_id", flat=True)
    different = sum(_of_tenant(generation, tenant) for tenant in tenants.order_by().distinct())
    if different:
        log.warning("the index differed from the database; it will catch up", extra={"rows": different})
    return different


def _of_tenant(generation: EmbeddingGeneration, tenant: UUID) -> int:
    target = index.of(generation)
    held = dict(target.scan(tenant))  # before the rows are read: what comes in later has a row already
    wrong: list[int] = []
    now = timezone.now()
    rows = VectorEmbedding.all_tenants.filter(generation=generation, tenant_id=tenant)
    for row, memory, version, due_at in rows.values_list("id", "memory_id", "indexed_version", "due_at").iterator():
        due = due_at is not None and due_at <= now
        if held.pop(memory, None) != version and not due:  # type: ignore[call-overload] # the stubs miss `to_field`
            wrong.append(row)
    for start in range(0, len(wrong), _BATCH):
        VectorEmbedding.all_tenants.filter(id__in=wrong[start : start + _BATCH]).update(due_at=now)
    target.delete(tenant, list(held))
    return len(wrong) + len(held)
