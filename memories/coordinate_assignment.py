"""Assign a coordinate to each memory in a batch: the given one, the one that belongs to its key, or a new one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from django.db.models import Q

from memories import coordinates
from memories.allocation import allocate
from memories.coordinates import Coordinate
from memories.models import Memory
from memories.new_memory import NewMemory, Prepared
from somamemory.errors import Conflict, SomaError
from tenants.caller import Caller


def placed(caller: Caller, namespace: str, items: Sequence[Prepared]) -> list[Prepared]:
    """Return the items, which are all in one namespace, with a coordinate assigned to each.

    Reads the database only if an item has a key. Raises Conflict if a key and a coordinate belong to different
    memories.
    """
    prepared = []
    for new, item in zip(items, _placed(caller, namespace, [new.item for new in items]), strict=True):
        if isinstance(item, Conflict):
            raise item
        prepared.append(new if item is new.item else replace(new, item=item))
    return prepared


def without_conflicts(caller: Caller, items: Sequence[NewMemory | SomaError]) -> list[NewMemory | SomaError]:
    """Return the items, with a Conflict in place of each item whose key or coordinate cannot be used.

    This applies to items that `placed` or `refuse_coordinates_of_others` would reject. The others can then be stored.
    Reads the database only if an item has a key or the caller is limited to a user.
    """
    results = list(items)
    new = [(at, item) for at, item in enumerate(items) if isinstance(item, NewMemory)]
    for namespace in {item.namespace for _, item in new}:
        group = [(at, item) for at, item in new if item.namespace == namespace]
        taken = _of_others(caller, namespace, {item.coordinate.key for _, item in group if item.coordinate is not None})
        for at, item in group:
            if item.coordinate is not None and item.coordinate.key in taken:
                results[at] = _is_in_use(item.coordinate)
        keyed = [(at, item) for at, item in group if item.key is not None and results[at] is item]
        for (at, item), result in zip(keyed, _placed(caller, namespace, [item for _, item in keyed]), strict=True):
            results[at] = result if isinstance(result, Conflict) else item
    return results


def refuse_coordinates_of_others(caller: Caller, namespace: str, places: Collection[str]) -> None:
    """Raise Conflict if the caller is limited to a user and any of these coordinates belongs to another user."""
    if taken := _of_others(caller, namespace, places):
        raise _is_in_use(coordinates.from_key(min(taken)))


def _of_others(caller: Caller, namespace: str, places: Collection[str]) -> set[str]:
    """Return the coordinates that the caller cannot use because they belong to other users."""
    if caller.user_id is None or not places:
        return set()
    everyone = Memory.objects.for_tenant(caller.unlimited().tenant)
    taken = everyone.filter(namespace=namespace, coordinate_key__among=places).exclude(user_id=caller.user_id)
    return set(taken.values_list("coordinate_key", flat=True))


def key_of(current: Memory | None, item: NewMemory) -> str | None:
    """Return the key that the memory will have: the current memory's key if it has one, otherwise the new one.

    Raises Conflict if the keys differ, which can happen if another writer stored a key after `placed` had read the
    database.
    """
    key = None if item.key is None else item.key.text
    if current is None or current.key is None:
        return key
    if key not in (None, current.key):
        raise _has_another_key(current.coordinate)
    own: str = current.key
    return own


def _placed(caller: Caller, namespace: str, items: Sequence[NewMemory]) -> list[NewMemory | Conflict]:
    keyed = [item for item in items if item.key is not None]
    owners = _Owners(caller, namespace, keyed) if keyed else None
    return [
        owners.placed(item, item.key.text) if owners is not None and item.key is not None else _with_coordinate(item)
        for item in items
    ]


def _with_coordinate(item: NewMemory) -> NewMemory:
    return item if item.coordinate is not None else replace(item, coordinate=allocate(), allocated=True)


def _is_in_use(at: Coordinate) -> Conflict:
    return Conflict(f"coordinate {at} is already in use in this namespace; use another one")


def _has_another_key(at: Coordinate) -> Conflict:
    return Conflict(f"the memory at coordinate {at} has a different key; omit key, or use another coord")


class _Owners:
    """The coordinates of the memories whose keys occur in a batch.

    They include the coordinates of deleted memories, of other users' memories, and of earlier items in the batch.
    """

    def __init__(self, caller: Caller, namespace: str, keyed: Sequence[NewMemory]) -> None:
        keys = {item.key.text for item in keyed if item.key is not None}
        places = {item.coordinate.key for item in keyed if item.coordinate is not None}
        rows = Memory.objects.for_tenant(caller.unlimited().tenant).filter(
            Q(key__among=keys) | Q(coordinate_key__among=places, key__isnull=False), namespace=namespace
        )
        self._place_of: dict[str, str] = {}
        self._of_others: set[str] = set()
        for key, place, user_id in rows.values_list("key", "coordinate_key", "user_id"):
            if key is not None:
                self._place_of[key] = place
            if key is not None and caller.user_id not in (None, user_id):
                self._of_others.add(key)
        self._key_at = {place: key for key, place in self._place_of.items()}

    def placed(self, item: NewMemory, key: str) -> NewMemory | Conflict:
        if key in self._of_others:
            return Conflict(f"key '{key}' is already in use in this namespace; use another one")
        place = self._place_of.get(key)
        if place is None:
            return self._new(item, key)
        if item.coordinate is not None and item.coordinate.key != place:
            return Conflict(f"key '{key}' belongs to a memory at another coordinate; omit coord, or use another key")
        return replace(item, coordinate=coordinates.from_key(place))

    def _new(self, item: NewMemory, key: str) -> NewMemory | Conflict:
        at = item.coordinate or allocate()
        if at.key in self._key_at:
            return _has_another_key(at)
        self._place_of[key], self._key_at[at.key] = at.key, key
        return replace(item, coordinate=at, allocated=item.coordinate is None)
