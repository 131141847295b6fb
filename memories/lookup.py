"""Find memories by their coordinates, keys or ids, and change them.

A coordinate or a key needs a namespace; if none is given, `default` is used. An id does not: without a namespace, it
can identify a memory in any namespace that the caller can access. Changes are made by `services`, at the coordinate
that was found, and only if the same memory is still there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import TypeVar
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from memories import (
    large_rows,
    point_in_time,
    prepared_reads,
    read_counts,
    reserved_namespaces,
    restoring,
    selectors,
    services,
    versions,
)
from memories.addresses import Address, Key, KeyPrefix
from memories.coordinates import Coordinate, from_key
from memories.models import Memory
from memories.payloads import Json
from memories.precondition import Precondition
from memories.versions import Versions
from somamemory.db.collisions import retrying
from somamemory.db.replicas import may_read_replica
from somamemory.errors import NotFound, PreconditionFailed
from tenants.caller import Caller

Result = TypeVar("Result")
DEFAULT_NAMESPACE = "default"
_MAX_MOVES = 10  # how many times a change follows a memory that keeps moving to other namespaces
Names = Sequence[Address]  # all of the same kind


def get(caller: Caller, namespace: str | None, name: Address, moment: datetime | None = None) -> Memory:
    """Return the memory with its `index_state` or, given a `moment`, the memory as it was at that time.

    Raises NotFound if there is none.
    """
    if moment is None:
        return _get_now(caller, namespace, name)
    place = _place(namespace, name)
    memory = point_in_time.get(caller, None if place is None else [place], _field([name]), _value(name), moment)
    if memory is None:
        raise _missing(name)
    return memory


def history(caller: Caller, namespace: str | None, name: Address, limit: int, cursor: str | None = None) -> Versions:
    """Return a page of a memory's versions, newest first. The memory may be deleted.

    Raises NotFound if there is no such memory.
    """
    found = versions.page(caller, _rows(caller, "read", namespace, [name]), limit, cursor)
    if found is None:
        raise _missing(name)
    return found


@may_read_replica
def _get_now(caller: Caller, namespace: str | None, name: Address) -> Memory:
    memory = selectors.with_index_state(_rows(caller, "read", namespace, [name])).order_by().first()
    if memory is None or not memory.is_live:
        raise _missing(name)
    read_counts.count([memory])
    return memory


@may_read_replica
def get_many(caller: Caller, namespace: str | None, names: Names) -> list[Memory | None]:
    """Return the memory (or None) for each name, in the order of `names`.

    The result ends early if the memories are too large for one response.
    """
    alive = _rows(caller, "read", namespace, names).filter(prepared_reads.alive(timezone.now()))
    rows = selectors.with_index_state(alive)
    memories = large_rows.in_order(rows, _field(names), [_value(name) for name in names])
    read_counts.count(set(filter(None, memories)))
    return memories


def coordinate(caller: Caller, namespace: str, name: Address) -> Coordinate:
    """Return a memory's coordinate, even if the memory is deleted. Raises NotFound if there is no such memory."""
    return name if isinstance(name, Coordinate) else place(caller, namespace, name).coordinate


Places = Mapping[Address, Coordinate | NotFound]


def coordinates(caller: Caller, namespace: str, names: Iterable[Address]) -> Places:
    """Return, for each name, the coordinate of its memory (deleted or not), or NotFound if there is no such memory.

    A name that is a coordinate is returned unchanged.
    """
    distinct = sorted(set(names), key=_kind)
    places: dict[Address, Coordinate | NotFound] = {}
    for kind, group in groupby(distinct, key=_kind):
        same = list(group)
        if kind == Coordinate.__name__:
            places |= {name: name for name in same if isinstance(name, Coordinate)}
            continue
        rows = _rows(caller, "read", namespace, same).order_by().values_list(_field(same), "coordinate_key")
        keys = dict(rows)
        places |= {name: from_key(keys[_value(name)]) if _value(name) in keys else _missing(name) for name in same}
    return places


def place(caller: Caller, namespace: str | None, name: Address) -> Memory:
    """Return a memory, even a deleted one, with only its address and id loaded. Raises NotFound if there is none."""
    memory = _find(caller, "read", namespace, name)
    if memory is None:
        raise _missing(name)
    return memory


def patch(
    caller: Caller, namespace: str | None, name: Address, changes: Json, precondition: Precondition | None = None
) -> Memory:
    """Update a memory, like `services.patch`. Raises NotFound if there is none."""

    def change(at: Memory) -> Memory:
        condition = replace(precondition or Precondition(), id=at.id)
        return services.patch(caller, at.namespace, at.coordinate, changes, condition)

    caller.require("read")  # the response includes the memory
    return _at_its_address(caller, "write", namespace, name, change)


def restore(caller: Caller, namespace: str | None, name: Address, version: int | None = None) -> Memory:
    """Undo a soft delete or, given a `version`, restore that version. Raises NotFound or Conflict, like `restoring`."""

    def change(at: Memory) -> Memory:
        return restoring.restore(caller, at.namespace, at.coordinate, version, Precondition(id=at.id))

    caller.require("read")  # the response includes the memory
    return _at_its_address(caller, "write", namespace, name, change)


def delete(
    caller: Caller,
    namespace: str | None,
    name: Address,
    *,
    purge: bool = False,
    precondition: Precondition | None = None,
) -> bool:
    """Soft-delete a memory or, if `purge`, delete it permanently. Return whether there was one to delete."""
    condition = precondition or Precondition()

    def change(at: Memory) -> None:
        expected = replace(condition, id=at.id)
        if not services.delete(caller, at.namespace, at.coordinate, purge=purge, precondition=expected):
            raise _missing(name)

    try:
        _at_its_address(caller, "delete", namespace, name, change)
    except NotFound:
        condition.check(None)
        return False
    return True


def delete_many(caller: Caller, namespace: str | None, names: Names) -> set[Address]:
    """Soft-delete memories in one transaction. Return the names that identified a memory."""
    field = _field(names)
    locked = _rows(caller, "delete", namespace, names).select_for_update().order_by("namespace", "coordinate_key")

    def once() -> set[Address]:
        live = [memory for memory in large_rows.without_large(locked.all()) if memory.is_live]
        for place, memories in groupby(live, key=lambda memory: memory.namespace):
            reserved_namespaces.check_writable(caller, place)
            services.remove(caller, place, list(memories), purge=False)
        gone = {getattr(memory, field) for memory in live}
        return {name for name in names if _value(name) in gone}

    return retrying(once)


def below(text: str) -> Q:
    """Return the condition for memories with this key or one below it (see `KeyPrefix`)."""
    prefix = KeyPrefix(text)
    low, high = prefix.range
    # The range is included so that the database can use its index.
    return Q(key__gte=low, key__lt=high) & (Q(key=prefix.text) | Q(key__gte=prefix.below))


def among(ids: Iterable[UUID]) -> Q:
    """Return the condition for memories with one of these ids."""
    return Q(id__among=list(ids))


def _at_its_address(
    caller: Caller, scope: str, namespace: str | None, name: Address, change: Callable[[Memory], Result]
) -> Result:
    """Change a memory at its address. If the memory moves to another namespace in the meantime, change it there.

    Raises NotFound if there is no such memory, or if it moves too often.
    """
    memory, moves = _find(caller, scope, namespace, name), 0
    while memory is not None:
        try:
            return change(memory)
        except (NotFound, PreconditionFailed):
            before, memory, moves = memory, _find(caller, scope, namespace, name), moves + 1
            if memory is None or memory.namespace == before.namespace or moves > _MAX_MOVES:
                raise
    raise _missing(name)


def _find(caller: Caller, scope: str, namespace: str | None, name: Address) -> Memory | None:
    """Return a memory, even a deleted or expired one, with only its address and id loaded.

    Returns None if there is none.
    """
    return _rows(caller, scope, namespace, [name]).only("id", "namespace", "coordinate_key").order_by().first()


def _rows(caller: Caller, scope: str, namespace: str | None, names: Names) -> QuerySet[Memory]:
    field, values = _field(names), [_value(name) for name in names]
    place = _place(namespace, names[0])
    caller.require(scope, [] if place is None else [place])
    if (
        scope != "read" and place is not None
    ):  # the services check the namespace of a memory that is identified by its id
        reserved_namespaces.check_writable(caller, place)
    rows = Memory.objects.for_tenant(caller.tenant).filter(**{f"{field}__in": values})
    if place is not None:
        return rows.filter(namespace=place)
    return rows.filter(namespace__in=caller.namespaces) if caller.namespaces else rows


def _place(namespace: str | None, name: Address) -> str | None:
    return DEFAULT_NAMESPACE if namespace is None and not isinstance(name, UUID) else namespace


_FIELDS = {Coordinate: "coordinate_key", Key: "key", UUID: "id"}


def _field(names: Names) -> str:
    """Return the column that contains these names, which are all of the same kind."""
    return _FIELDS[type(names[0])]


def _kind(name: Address) -> str:
    return type(name).__name__


def _value(name: Address) -> str | UUID:
    if isinstance(name, UUID):
        return name
    return name.text if isinstance(name, Key) else name.key


def _missing(name: Address) -> NotFound:
    if isinstance(name, Coordinate):
        return NotFound(f"there is no memory at coordinate {name}")
    kind = "key" if isinstance(name, Key) else "id"
    return NotFound(f"there is no memory with {kind} '{name}'")
