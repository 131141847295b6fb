"""Archive memories: remove them from the vector index, and optionally from the database for a while.

An archived memory can be read, listed and changed like any other. It is not in the vector index, and a search includes
it only on request, using the text and the vector stored in the database. Rows removed with `retention.take_out` are
restored with the same ids. Until then, they count towards quotas, and their addresses keep their links.
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
from memories.models import IDS, Memory
from memories.new_memory import terms_of
from tenants.caller import Caller

# Added to the version of a restored row, to skip the version that the outbox recorded when the row was removed.
_BEYOND = 2
KEPT = (
    "id", "coordinate_key", "payload", "metadata", "memory_type", "importance", "context", "version", "size",
    "created_at", "updated_at", "access_count", "last_accessed_at",
)  # fmt: skip
# Archive files from earlier releases do not contain these columns.
NEWER = ("valid_from", "valid_to", "source", "trust", "written_by", *IDS)
_TIMES = ("created_at", "updated_at", "last_accessed_at", "valid_from", "valid_to")


def archive_subtree(caller: Caller, namespace: str, root: Coordinate) -> int:
    """Archive the memories at or below an address, except deleted ones, and return how many were archived.

    Must be called in a transaction.
    """
    return _moved(caller, namespace, root, timezone.now())


def wake_subtree(caller: Caller, namespace: str, root: Coordinate) -> int:
    """Put the archived memories at or below an address back into the index, and return how many were put back.

    Must be called in a transaction.
    """
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
        while batch := list(ordered[: retention.BATCH]):  # rows that have been updated no longer match
            mine = Memory.objects.for_tenant(caller.tenant).filter(seq__among=[row.seq for row in batch])
            # Increment the version. Otherwise, a worker that has just read the old state would mark the row as done.
            mine.update(archived_at=archived_at, version=F("version") + 1)
            for row in batch:
                row.version += 1
            outbox.enqueue(batch)
            moved += len(batch)
    return moved


@dataclass(frozen=True)
class Taken:
    """A row removed from the table, or about to be removed, with the values of its `KEPT` and `NEWER` columns."""

    facts: dict[str, Any]

    @classmethod
    def of(cls, row: Memory) -> Taken:
        return cls({name: getattr(row, name) for name in KEPT + NEWER})

    def memory(self, caller: Caller, namespace: str) -> Memory:
        """Return the row as an unsaved memory, which can be displayed or stored."""
        facts = {name: self.facts[name] for name in KEPT} | {name: self.facts.get(name) for name in NEWER}
        for name in _TIMES:
            if isinstance(facts[name], str):
                facts[name] = datetime.fromisoformat(facts[name])
        facts["id"] = uuid.UUID(str(facts["id"]))
        return Memory(tenant=caller.tenant, namespace=namespace, **facts)


def put_back(caller: Caller, memories: Sequence[Memory], archived_at: datetime) -> None:
    """Store removed rows again, as archived memories.

    Must be called in a transaction, while nothing else can write to the rows' addresses.
    """
    for start in range(0, len(memories), retention.BATCH):
        batch = memories[start : start + retention.BATCH]
        for row in batch:
            row.terms = terms_of(row, payloads.text_of(row.payload))
            row.version += _BEYOND
            row.archived_at = archived_at
        Memory.objects.for_tenant(caller.tenant).bulk_create(batch)
        outbox.enqueue(batch)
    notify.on_commit()
