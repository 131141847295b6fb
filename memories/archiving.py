"""Archived memories: removed from the vector index, and for a while also from the database.

An archived memory is read, listed and changed like any other. The index does not contain it, and a search
includes it only on request: its words and its vector are in the database. Rows that are taken out
(`retention.take_out`) come back with the same ids; meanwhile they count against quotas as before, and the links of
their addresses stay.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from memories import payloads, retention
from memories.coordinates import Coordinate
from memories.index import notify, outbox
from memories.models import Memory
from memories.search import analyzer
from tenants.caller import Caller

# A restored row skips a version: the outbox recorded the one in between when the row was taken out.
_BEYOND = 2
KEPT = (
    "id", "coordinate_key", "payload", "metadata", "memory_type", "importance", "context", "version", "size",
    "created_at", "updated_at", "access_count", "last_accessed_at",
)  # fmt: skip


def archive_subtree(caller: Caller, namespace: str, root: Coordinate) -> int:
    """Remove the live memories below an address from the index; return how many. Requires a transaction."""
    return _moved(caller, namespace, root, timezone.now())


def wake_subtree(caller: Caller, namespace: str, root: Coordinate) -> int:
    """Return the archived memories below an address to the index; return how many. Requires a transaction."""
    return _moved(caller, namespace, root, None)


def _moved(caller: Caller, namespace: str, root: Coordinate, archived_at: datetime | None) -> int:
    low, high = root.subtree
    rows = Memory.objects.for_tenant(caller.tenant).filter(
        namespace=namespace,
        coordinate_key__gte=low,
        coordinate_key__lt=high,
        deleted_at=None,
        archived_at__isnull=archived_at is not None,
    )
    needed = ("seq", "id", "tenant_id", "version")
    ordered = rows.only(*needed).order_by("coordinate_key").select_for_update()
    moved = 0
    with transaction.atomic():
        while batch := list(ordered[: retention.BATCH]):  # moved rows no longer match
            mine = Memory.objects.for_tenant(caller.tenant).filter(seq__in=[row.seq for row in batch])
            # Without a new version, a drain that has just read the old state would settle the row.
            mine.update(archived_at=archived_at, version=F("version") + 1)
            for row in batch:
                row.version += 1
            outbox.enqueue(batch)
            moved += len(batch)
    return moved


@dataclass(frozen=True)
class Taken:
    """The `KEPT` columns of a removed row, as JSON values."""

    facts: dict[str, Any]

    @classmethod
    def of(cls, row: Memory) -> Taken:
        return cls({name: getattr(row, name) for name in KEPT})

    def memory(self, caller: Caller, namespace: str) -> Memory:
        """Return an unsaved memory, for display or to store it again."""
        facts = {name: self.facts[name] for name in KEPT}
        for name in ("created_at", "updated_at", "last_accessed_at"):
            if isinstance(facts[name], str):
                facts[name] = datetime.fromisoformat(facts[name])
        facts["id"] = uuid.UUID(str(facts["id"]))
        return Memory(tenant=caller.tenant, namespace=namespace, **facts)


def put_back(caller: Caller, memories: Sequence[Memory], archived_at: datetime) -> None:
    """Store removed rows again as archived. Requires a transaction. No other writer may use their addresses."""
    for start in range(0, len(memories), retention.BATCH):
        batch = memories[start : start + retention.BATCH]
        for row in batch:
            row.terms = analyzer.index_terms(payloads.text_of(row.payload), row.context)
            row.version += _BEYOND
            row.archived_at = archived_at
        Memory.objects.for_tenant(caller.tenant).bulk_create(batch)
        outbox.enqueue(batch)
    notify.on_commit()
