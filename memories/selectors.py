"""Read and list memories, without search. Every read is limited to the caller's tenant."""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Length, Substr
from django.db.models.lookups import Exact, GreaterThanOrEqual, LessThanOrEqual
from django.utils import timezone

from memories import large_rows, prepared_reads, read_counts, validity
from memories.coordinates import DIGITS_PER_NUMBER, Ball, Box, Coordinate
from memories.filters import Filter, constant, to_q
from memories.index import generations
from memories.models import Memory
from memories.prepared_reads import PageShape
from somamemory import cursors
from somamemory.db import replicas
from somamemory.db.replicas import may_read_replica
from somamemory.errors import InvalidInput, NotFound
from somamemory.response_size import fitting
from tenants.caller import Caller

# The maximum number of memories in a ball, because `near` sorts them by distance outside the database.
MAX_NEAR = 50_000
# A function that returns the memory (or None) at each coordinate key. The result ends early if the memories are too
# large for one response.
RowsAt = Callable[[Sequence[str]], Sequence[Memory | None]]
ORDERS = ("coordinate", "-coordinate", "created_at", "-created_at", "updated_at", "-updated_at")


@dataclass(frozen=True)
class Places:
    """Subtrees selected by data outside the memories, such as the conversations in a folder."""

    condition: Q  # the condition for memories in one of the subtrees
    share: float = 1.0  # the estimated fraction of the namespaces' memories that are in the subtrees
    # If there are only a few memories in the subtrees, a condition that lists their addresses.
    few: Q | None = None


@dataclass(frozen=True)
class Narrowing:
    """The conditions that a read applies in addition to tenant and namespace, all of which a memory must meet."""

    memory_type: str | None = None
    filters: Filter | None = None
    prefix: Coordinate | None = None
    ball: Ball | None = None
    box: Box | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    updated_after: datetime | None = None
    valid_at: datetime | None = None
    places: Places | None = None
    also: Q | None = None  # an additional condition on Memory that never evaluates to NULL
    user_id: str | None = None
    agent_id: str | None = None
    session_id: str | None = None

    @property
    def index_can_apply_all(self) -> bool:
        """Return whether the vector index, which can apply only a condition on the type, can apply all conditions."""
        return self == Narrowing(memory_type=self.memory_type)

    @property
    def is_empty(self) -> bool:
        """Return whether every memory meets the conditions, as when there are none or only an empty AND."""
        return replace(self, filters=None) == Narrowing() and (self.filters is None or constant(self.filters) is True)

    def of(self, caller: Caller) -> Narrowing:
        """Return the conditions. If they name no user, add the user to whom the caller is limited, if any."""
        return self if caller.user_id is None or self.user_id else replace(self, user_id=caller.user_id)

    @property
    def lookups(self) -> dict[str, Any]:
        """Return the conditions that compare a column with a value, as arguments for `filter`."""
        low, high = self.prefix.subtree if self.prefix else (None, None)
        lookups = {
            "memory_type": self.memory_type,
            "created_at__gt": self.created_after,
            "created_at__lt": self.created_before,
            "updated_at__gt": self.updated_after,
            "coordinate_key__gte": low,
            "coordinate_key__lt": high,
            "user_id": self.user_id,
            "agent_id": self.agent_id,
            "session_id": self.session_id,
        }
        return {name: value for name, value in lookups.items() if value is not None}

    @property
    def has_only_lookups(self) -> bool:
        others = (self.filters, self.ball, self.box, self.places, self.also, self.valid_at)
        return all(condition is None for condition in others)

    def apply(self, memories: QuerySet[Memory]) -> QuerySet[Memory]:
        """Return the matching memories. A `ball` is only approximated, by its bounding box (see `in_ball`)."""
        memories = memories.filter(**self.lookups)
        if self.valid_at is not None:
            memories = memories.filter(validity.valid_at(self.valid_at))
        if self.filters is not None:
            memories = memories.filter(to_q(self.filters))
        if self.places is not None:
            memories = memories.filter(self.places.condition)
        if self.also is not None:
            memories = memories.filter(self.also)
        for box in filter(None, (self.box, self.ball.bounds() if self.ball else None)):
            memories = memories.filter(*_in_box(box))
        return memories

    def in_ball(self, coordinate_key: str) -> bool:
        return self.ball is None or self.ball.distance(coordinate_key) <= self.ball.radius


@dataclass(frozen=True)
class Page:
    items: Sequence[Memory]
    next_cursor: str | None = None


def live(caller: Caller, namespaces: Sequence[str]) -> QuerySet[Memory]:
    """Return the caller's memories in these namespaces that are neither deleted nor expired."""
    return stored(caller, namespaces).filter(prepared_reads.alive(timezone.now()))


def stored(caller: Caller, namespaces: Sequence[str]) -> QuerySet[Memory]:
    """Return the caller's memories in these namespaces, including deleted ones that have not been purged yet."""
    caller.require("read", namespaces)
    return Memory.objects.for_tenant(caller.tenant).filter(namespace__in=namespaces)


@may_read_replica
def get_memory(caller: Caller, namespace: str, coordinate: Coordinate) -> Memory:
    """Return the memory at a coordinate, with its `index_state`. Raises NotFound if there is none."""
    caller.require("read", [namespace])
    memory = prepared_reads.memory_at(replicas.connection(), caller.tenant, namespace, coordinate.key)
    if memory is None or not memory.is_live:
        raise NotFound(f"there is no memory at coordinate {coordinate}")
    read_counts.count([memory])
    return memory


@may_read_replica
def get_many(caller: Caller, namespace: str, coordinates: Iterable[Coordinate]) -> list[Memory | None]:
    """Return the memory (or None) at each coordinate, in the order of `coordinates`.

    The result ends early if the memories are too large for one response.
    """
    keys = [coordinate.key for coordinate in coordinates]
    memories = large_rows.in_order(with_index_state(live(caller, [namespace])), "coordinate_key", keys)
    read_counts.count(set(filter(None, memories)))
    return memories


@may_read_replica
def list_memories(
    caller: Caller,
    namespace: str,
    narrowing: Narrowing,
    *,
    order: str = "coordinate",
    include_deleted: bool = False,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Return a page of the memories in a namespace, sorted by `order`.

    If there is a `narrowing.ball`, they are sorted by distance instead, nearest first, and `memory.distance` is set.
    """
    caller.require("read", [namespace])
    if narrowing.ball is not None:
        of_list = cursors.list_id(namespace, narrowing, include_deleted)
        memories = narrowing.apply((stored if include_deleted else live)(caller, [namespace]))
        rows_at = partial(large_rows.in_order, with_index_state(memories), "coordinate_key")
        keys = memories.values_list("coordinate_key", flat=True)
        return nearest_page(keys, rows_at, narrowing.ball, of_list, limit, cursor)
    of_list = cursors.list_id(namespace, narrowing, include_deleted, order)
    position = position_of(cursor, of_list, prepared_reads.time_of(order)) if cursor else {}

    def source() -> QuerySet[Memory]:
        memories = narrowing.apply((stored if include_deleted else live)(caller, [namespace]))
        return with_index_state(memories.filter(prepared_reads.after(order, **position)) if position else memories)

    if narrowing.has_only_lookups:
        values = {"namespace": namespace, **narrowing.lookups}
        shape = PageShape(tuple(values), order, limit + 1, include_deleted, bool(position))
        rows = prepared_reads.page(replicas.connection(), shape, caller.tenant, values | position)
    else:
        rows = list(prepared_reads.sorted_by(large_rows.outline(source()), order)[: limit + 1])
    count = min(limit, fitting(row.size for row in rows))
    items = large_rows.filled(rows[:count], source)
    if len(rows) <= count:
        return Page(items)
    last = rows[count - 1]
    time = prepared_reads.time_of(order)
    return Page(items, cursors.encode(of_list, last.coordinate_key, *([getattr(last, time)] if time else [])))


def page_of(
    memories: Sequence[Memory], namespace: str, narrowing: Narrowing, *, limit: int = 50, cursor: str | None = None
) -> Page:
    """Return a page of the given memories, which are stored elsewhere, in the same form as `list_memories`.

    A cursor from either function can be used with the other.
    """
    of_list = cursors.list_id(namespace, narrowing, False, "coordinate")
    if cursor:
        made_for, key = cursors.decode(cursor, str, str)
        if made_for != of_list:
            raise cursors.invalid()
        after = _key(key)
        memories = [row for row in memories if row.coordinate_key > after]
    page = memories[: min(limit, fitting(row.size for row in memories[:limit]))]
    return Page(page, cursors.encode(of_list, page[-1].coordinate_key) if len(memories) > len(page) else None)


@may_read_replica
def namespaces(caller: Caller, limit: int = 200) -> list[str]:
    """Return the first `limit` namespaces of the caller's tenant, by name.

    This takes one index lookup per namespace, not per memory.
    """
    caller.require("read")
    if caller.namespaces:
        mine = Memory.objects.for_tenant(caller.tenant).filter(namespace__in=caller.namespaces)
        return list(mine.order_by("namespace").values_list("namespace", flat=True).distinct()[:limit])
    connection = replicas.connection()
    tenant = caller.tenant.id if connection.features.has_native_uuid_field else caller.tenant.id.hex
    with connection.cursor() as cursor:
        cursor.execute(_NAMESPACES, [tenant, tenant, limit])
        return [row[0] for row in cursor.fetchall()]


_NAMESPACES = """
    WITH RECURSIVE names(name) AS (
        SELECT (SELECT min(namespace) FROM sfm_memories WHERE tenant_id = %s)
        UNION ALL
        SELECT (SELECT min(namespace) FROM sfm_memories WHERE tenant_id = %s AND namespace > names.name)
        FROM names WHERE names.name IS NOT NULL
    )
    SELECT name FROM names WHERE name IS NOT NULL LIMIT %s
"""


@may_read_replica
def inspect(caller: Caller, id: UUID) -> Memory:
    """Return a memory by its id, even if it is deleted or expired. This does not count as a read.

    Raises NotFound if there is no such memory.
    """
    caller.require("read")
    rows = Memory.objects.for_tenant(caller.tenant)
    if caller.namespaces:
        rows = rows.filter(namespace__in=caller.namespaces)
    memory = with_index_state(rows).filter(id=id).order_by().first()
    if memory is None:
        raise NotFound("there is no memory with this id")
    return memory


def with_index_state(memories: QuerySet[Memory]) -> QuerySet[Memory]:
    """Return the query with the columns that `Memory.index_state` needs."""
    return prepared_reads.with_index_state(memories, generations.active())


def _in_box(box: Box) -> list[Any]:
    """Return the conditions for memories in a box.

    They compare the digits of coordinate keys, so the database does not convert any numbers. The first condition can
    use the index.
    """
    ranges = box.key_ranges
    conditions: list[Any] = [
        Q(coordinate_key__gte=ranges[0][0], coordinate_key__lt=ranges[0][1] + "g"),
        Exact(Length("coordinate_key"), len(ranges) * DIGITS_PER_NUMBER),
    ]
    for axis, (low, high) in enumerate(ranges[1:], start=1):
        digits = Substr("coordinate_key", axis * DIGITS_PER_NUMBER + 1, DIGITS_PER_NUMBER)
        conditions += [GreaterThanOrEqual(digits, Value(low)), LessThanOrEqual(digits, Value(high))]
    return conditions


def nearest_page(
    every_key: QuerySet[Any, str], rows_at: RowsAt, ball: Ball, of_list: str, limit: int, cursor: str | None
) -> Page:
    """Return a page of the memories in a ball, ordered by distance and then by coordinate.

    every_key: the coordinate keys of the memories in the ball, and possibly of others near it.
    """
    keys = list(every_key[: MAX_NEAR + 1])
    if len(keys) > MAX_NEAR:
        raise InvalidInput("radius", f"matches more than {MAX_NEAR} memories; use a smaller radius")
    after = _last_seen(cursor, of_list) if cursor else (-1.0, "")
    measured = ((ball.distance(key), key) for key in keys)
    nearest = heapq.nsmallest(limit + 1, (item for item in measured if item[0] <= ball.radius and item > after))
    rows = rows_at([key for _, key in nearest[:limit]])
    page = nearest[: len(rows)]
    items = []
    for row, (distance, _) in zip(rows, page, strict=True):
        if row is not None:
            row.distance = distance
            items.append(row)
    return Page(items, cursors.encode(of_list, *page[-1]) if len(nearest) > len(page) else None)


def _last_seen(cursor: str, of_list: str) -> tuple[float, str]:
    made_for, distance, key = cursors.decode(cursor, str, float, str)
    if made_for != of_list or not math.isfinite(distance):
        raise cursors.invalid()
    return distance, _key(key)


def position_of(cursor: str, of_list: str, time: str | None) -> dict[str, Any]:
    """Return the position in a cursor: the `key` of the last row and, if the list is sorted by time, its `moment`."""
    kinds = (str, str, datetime) if time else (str, str)
    made_for, key, *moments = cursors.decode(cursor, *kinds)
    if made_for != of_list:
        raise cursors.invalid()
    return {"key": _key(key), "moment": moments[0] if moments else None}


def _key(text: str) -> str:
    if not re.fullmatch(r"(?:[0-9a-f]{16}){1,32}", text):
        raise cursors.invalid()
    return text
