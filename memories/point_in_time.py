"""Read memories as they were at an earlier time (`as_of`).

A version was current from its own `updated_at` until the `updated_at` of the next version. Current rows and earlier
versions are read in one statement, so a concurrent change cannot hide a memory. Purged memories are also removed from
the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial, reduce
from operator import or_
from typing import Any, TypedDict, Unpack
from uuid import UUID

from django.db.models import Case, F, Q, QuerySet, When
from django.utils import timezone

from memories import history, large_rows, prepared_reads, selectors
from memories.models import JsonField, Memory, MemoryColumns, MemoryVersion
from memories.selectors import Narrowing, Page
from somamemory import cursors
from somamemory.db.replicas import may_read_replica
from somamemory.errors import HistoryGone, InvalidInput
from somamemory.response_size import fitting
from somamemory.times import rfc3339
from tenants.caller import Caller
from tenants.models import Tenant

DOCUMENTS = ("payload", "metadata")
_COLUMNS = [
    field.attname
    for field in MemoryVersion._meta.concrete_fields
    if field.name not in ("seq", "until", "terms", *DOCUMENTS)
]
_MAX_NAMED = 500  # the maximum number of rows in one statement; SQLite nests their conditions, at most 1,000 deep
Arms = tuple[QuerySet[Any], QuerySet[Any]]  # queries for current rows and for earlier versions
Row = dict[str, Any]


class ListOptions(TypedDict, total=False):
    order: str
    include_deleted: bool
    limit: int
    cursor: str | None


def check(tenant: Tenant, moment: datetime) -> None:
    """Raise InvalidInput if a time is in the future, and HistoryGone if it is before the tenant's history begins."""
    now = timezone.now()
    if moment > now:
        raise InvalidInput("as_of", "must not be in the future")
    earliest = history.earliest(tenant, now)
    if moment < earliest:
        raise HistoryGone("as_of", rfc3339(earliest))


def at(
    caller: Caller,
    namespaces: Sequence[str] | None,
    moment: datetime,
    narrowing: Narrowing,
    *,
    include_deleted: bool = False,
) -> Arms:
    """Return queries for the rows and earlier versions that were current at this time and match the conditions.

    namespaces: the namespaces to read, or None for all namespaces that the caller can access.
    """
    caller.require("read", namespaces or [])
    check(caller.tenant, moment)
    then = Q(updated_at__lte=moment)
    if namespaces is not None or caller.namespaces:
        then &= Q(namespace__in=sorted(caller.namespaces) if namespaces is None else namespaces)
    if not include_deleted:
        then &= prepared_reads.alive(moment)
    current = Memory.objects.for_tenant(caller.tenant).filter(then)
    earlier = MemoryVersion.objects.for_tenant(caller.tenant).filter(then, until__gt=moment)
    return narrowing.apply(current), narrowing.apply(earlier)


@may_read_replica
def get(
    caller: Caller, namespaces: Sequence[str] | None, field: str, value: str | UUID, moment: datetime
) -> Memory | None:
    """Return the memory that had this value in a unique field at this time. This does not count as a read."""
    [memory] = in_order(caller, at(caller, namespaces, moment, Narrowing()), field, [value])
    return memory


def list_memories(
    caller: Caller, namespace: str, narrowing: Narrowing, moment: datetime | None, **options: Unpack[ListOptions]
) -> Page:
    """Return a page of a namespace's memories, as they were at `moment` or, without it, as they are now.

    See `selectors.list_memories`.
    """
    if moment is None:
        return selectors.list_memories(caller, namespace, narrowing, **options)
    return _list_at(caller, namespace, narrowing, moment, **options)


@may_read_replica
def _list_at(
    caller: Caller,
    namespace: str,
    narrowing: Narrowing,
    moment: datetime,
    *,
    order: str = "coordinate",
    include_deleted: bool = False,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    arms = at(caller, [namespace], moment, narrowing, include_deleted=include_deleted)
    of_list = cursors.list_id(moment, namespace, narrowing, include_deleted, order)
    if narrowing.ball is not None:
        current, earlier = (rows.order_by().values_list("coordinate_key", flat=True) for rows in arms)
        rows_at = partial(in_order, caller, arms, "coordinate_key")
        return selectors.nearest_page(current.union(earlier, all=True), rows_at, narrowing.ball, of_list, limit, cursor)
    if cursor:
        position = selectors.position_of(cursor, of_list, prepared_reads.time_of(order))
        arms = filtered(arms, prepared_reads.after(order, **position))
    rows = list(prepared_reads.sorted_by(_outlines(arms), order)[: limit + 1])
    count = min(limit, fitting(row["size"] for row in rows))
    items = _filled(caller, rows[:count])
    if len(rows) <= count:
        return Page(items)
    last, time = rows[count - 1], prepared_reads.time_of(order)
    return Page(items, cursors.encode(of_list, last["coordinate_key"], *([last[time]] if time else [])))


def filtered(arms: Arms, condition: Q) -> Arms:
    current, earlier = arms
    return current.filter(condition), earlier.filter(condition)


def _outlines(arms: Arms) -> QuerySet[Any, Row]:
    """Return the rows of both queries, with the payload and metadata of small rows only (see `large_rows`)."""
    small: dict[str, Any] = {
        f"small_{name}": Case(When(size__lte=large_rows.SMALL, then=F(name)), output_field=JsonField())
        for name in DOCUMENTS
    }
    current, earlier = (rows.order_by().values(*_COLUMNS, **small) for rows in arms)
    return current.union(earlier, all=True)


def in_order(caller: Caller, arms: Arms, field: str, values: Sequence[Any]) -> list[Memory | None]:
    """Return the memory (or None) for each value of a unique field.

    The list ends early if the memories are too large for one response.
    """
    rows = {row[field]: row for row in _outlines(filtered(arms, Q(**{f"{field}__in": list(values)})))}
    count = fitting(rows[value]["size"] if value in rows else 0 for value in values)
    chosen = [rows[value] for value in dict.fromkeys(values[:count]) if value in rows]
    memories = {getattr(memory, field): memory for memory in _filled(caller, chosen)}
    return [memories.get(value) for value in values[:count]]


def _filled(caller: Caller, rows: Sequence[Row]) -> list[Memory]:
    documents = _documents(caller, [row for row in rows if row["size"] > large_rows.SMALL])
    memories = []
    for row in rows:
        small = tuple(row.pop(f"small_{name}") for name in DOCUMENTS)
        found = documents.get((row["id"], row["version"])) if row["size"] > large_rows.SMALL else small
        if found is not None:  # otherwise, it has been purged in the meantime
            memories.append(_memory(row, found))
    return memories


def _memory(row: Row, documents: Sequence[Any]) -> Memory:
    memory = Memory(**row, **dict(zip(DOCUMENTS, documents, strict=True)))
    memory.past = True
    return memory


def _documents(caller: Caller, rows: Iterable[Row]) -> dict[tuple[UUID, int], Sequence[Any]]:
    """Return the payload and metadata of large rows, by id and version.

    Both tables are read, because a row that was current may have become an earlier version in the meantime.
    """
    named = [Q(id=row["id"], version=row["version"]) for row in rows]
    parts = [named[at : at + _MAX_NAMED] for at in range(0, len(named), _MAX_NAMED)]
    models: tuple[type[MemoryColumns], ...] = (Memory, MemoryVersion)
    return {
        (id, version): documents
        for part in parts
        for model in models
        for id, version, *documents in model.objects.for_tenant(caller.tenant)
        .filter(reduce(or_, part))
        .values_list("id", "version", *DOCUMENTS)
    }
