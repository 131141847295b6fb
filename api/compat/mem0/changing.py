"""Change and delete memories by their mem0 ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from api.compat.mem0 import inference, names
from api.compat.mem0.errors import NotSupported
from api.compat.mem0.filters import conditions
from conversations.enrichment import facts
from memories import deletion, lookup
from memories.addresses import Address
from memories.models import Memory
from memories.reserved_namespaces import FACTS
from memories.selectors import Narrowing
from somamemory import deadline
from somamemory.errors import NotFound
from tenants.caller import Caller


def update(caller: Caller, id: UUID, changes: dict[str, Any]) -> Memory:
    """Update a memory. Raises NotFound."""
    namespace, name = names.place(caller, id)
    if namespace == FACTS:
        return facts.correct(caller, id, changes)
    return lookup.patch(caller, namespace, name, changes)


def update_many(caller: Caller, changes: Sequence[tuple[UUID, dict[str, Any]]]) -> None:
    """Update memories one by one. Raises NotFound before the first change if any of them never existed."""
    for id, _ in changes:
        names.place(caller, id)
    for id, change in changes:
        deadline.check()
        update(caller, id, change)


def delete(caller: Caller, id: UUID, *, with_superseded: bool = False) -> None:
    """Soft-delete a memory. Raises NotFound."""
    if with_superseded:
        raise NotSupported("delete_linked is not supported by SomaMemory; delete the older memories by their ids")
    if not delete_many(caller, [id]):
        raise NotFound(f"there is no memory with id '{id}'")


def delete_many(caller: Caller, ids: Sequence[UUID]) -> int:
    """Soft-delete memories, and return how many were deleted. Raises NotFound if any of them never existed."""
    found: dict[tuple[str, type], list[Address]] = {}
    for id in dict.fromkeys(ids):
        namespace, name = names.place(caller, id)
        found.setdefault((namespace, type(name)), []).append(name)
    return sum(len(_delete(caller, namespace, addresses)) for (namespace, _), addresses in found.items())


def _delete(caller: Caller, namespace: str, addresses: list[Address]) -> set[Address]:
    if namespace == FACTS:
        return facts.withdraw(caller, [name for name in addresses if isinstance(name, UUID)])
    return lookup.delete_many(caller, namespace, addresses)


def delete_owned(caller: Caller, owners: dict[str, str]) -> None:
    """Delete these owners' memories, and the conversations that `inference` stored for them.

    At most 10,000 memories are deleted per transaction. `*` means any owner. If all four owners are `*`, all memories
    are deleted, even those without an owner.
    """
    every = set(owners) == set(names.OWNERS) and set(owners.values()) == {"*"}
    wanted = Narrowing() if every else Narrowing(filters=conditions(dict(owners)).filter)
    while not deletion.delete_matching(caller, [names.MEM0], wanted, every=every).is_complete:
        deadline.check()
    inference.forget(caller, {} if every else owners)
