"""Delete the memories that match conditions, or all memories in a namespace, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from django.db.models import QuerySet
from django.utils import timezone

from memories import coordinates, prepared_reads, reserved_namespaces, retention, services
from memories.models import Memory
from memories.selectors import Narrowing
from somamemory import deadline
from somamemory.db.collisions import retrying
from somamemory.errors import InvalidInput
from tenants.caller import Caller

# The maximum number of memories that one request can delete, in one transaction.
MAX_DELETED = 10_000


@dataclass(frozen=True)
class Deletion:
    """The number of memories that were deleted or, in a dry run, would be deleted.

    is_complete: whether no more memories match.
    """

    count: int
    is_complete: bool


def delete_matching(
    caller: Caller,
    namespaces: Sequence[str],
    narrowing: Narrowing,
    *,
    every: bool = False,
    limit: int = MAX_DELETED,
    dry_run: bool = False,
) -> Deletion:
    """Soft-delete up to `limit` live memories, ordered by address, in one transaction.

    every: allow a deletion without any conditions, which otherwise raises InvalidInput.
    """
    caller.require("delete", namespaces)
    caller.require("read", namespaces)  # the returned count reveals something about the memories
    for namespace in namespaces:
        reserved_namespaces.check_writable(caller, namespace)
    if narrowing.is_empty and not every:
        raise InvalidInput("filters", "must contain a condition; to delete every memory, send all: true")
    alive = prepared_reads.alive(timezone.now())
    rows = narrowing.apply(Memory.objects.for_tenant(caller.tenant).filter(alive, namespace__in=namespaces))
    if dry_run:
        matching = rows.order_by()[: limit + 1].count()
        return Deletion(min(matching, limit), matching <= limit)

    def once() -> Deletion:
        seqs = list(rows.order_by("namespace", "coordinate_key").values_list("seq", flat=True)[: limit + 1])
        within_limit = seqs[:limit]
        starts = range(0, len(within_limit), retention.BATCH)
        count = sum(_delete(caller, rows.filter(seq__among=within_limit[at : at + retention.BATCH])) for at in starts)
        return Deletion(count, len(seqs) <= limit)

    return retrying(once)


def delete_batch(caller: Caller, namespace: str, *, purge: bool) -> int:
    """Delete up to 500 memories from a namespace in one transaction. Return 0 only if none are left."""
    rows = Memory.objects.for_tenant(caller.tenant).filter(namespace=namespace)
    if not purge:
        rows = rows.filter(prepared_reads.alive(timezone.now()))
    addresses = rows.order_by("coordinate_key").values_list("coordinate_key", "size")
    keys = list(_within_size(addresses[: retention.BATCH]))
    gone = services.delete_many(caller, namespace, map(coordinates.from_key, keys), purge=purge)
    return len(gone) or len(keys)  # another caller may have deleted all of them


def _delete(caller: Caller, rows: QuerySet[Memory]) -> int:
    """Delete the rows that still match once they are locked."""
    deadline.check()
    locked = rows.order_by("namespace", "coordinate_key").select_for_update().values_list("namespace", "coordinate_key")
    count = 0
    for namespace, group in groupby(list(locked), key=lambda row: row[0]):
        at = [coordinates.from_key(key) for _, key in group]
        count += len(services.delete_many(caller, namespace, at))
    return count


def _within_size(rows: Iterable[tuple[str, int]]) -> Iterable[str]:
    total = 0
    for number, (key, size) in enumerate(rows):
        total += size
        if number and total > retention.BATCH_BYTES:
            return
        yield key
