"""Supersession: a memory supersedes older ones, which remain valid only until the new one becomes valid.

The older memories can still be read by their addresses, in the history, and in searches with `valid_at` or
`include_superseded`. Packages that record supersessions, for example as links, register with `when_superseded`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from memories import audit_state, history, row_locks
from memories.addresses import Address, Key
from memories.coordinates import Coordinate
from memories.index import outbox
from memories.models import Memory
from memories.new_memory import NewMemory
from somamemory.errors import InvalidInput, SomaError
from somamemory.times import rfc3339
from tenants import audit, usage
from tenants.audit import Change
from tenants.caller import Caller

MAX_SUPERSEDED = 100  # the maximum number of memories that one memory can supersede
MAX_IN_BATCH = 1_000
Names = Sequence[Address]


@dataclass(frozen=True)
class Replacement:
    """A memory that supersedes an older one in the same namespace, and the reason to record, if there is one."""

    newer: Memory
    older: Memory
    reason: str = ""


Record = Callable[[Caller, Sequence[Replacement]], None]
_records: list[Record] = []


def when_superseded(record: Record) -> None:
    """Register a function that records replacements elsewhere. It is called within the same transaction."""
    _records.append(record)


def supersede(caller: Caller, superseding: Iterable[tuple[Memory, Names]], reason: str = "") -> list[Memory]:
    """End the validity of older memories, and return those that have changed. Must be called in a transaction.

    superseding: stored memories, each with the addresses of the memories that it supersedes.

    Raises InvalidInput if an address does not identify another memory in the same namespace, or if the validity of that
    memory does not start before that of the newer memory.
    """
    by_namespace: dict[str, list[tuple[Memory, Names]]] = {}
    for memory, names in superseding:
        if names:
            by_namespace.setdefault(memory.namespace, []).append((memory, names))
    ended = []
    for namespace in sorted(by_namespace):
        ended += _supersede_in(caller, namespace, by_namespace[namespace], reason)
    return ended


def reinstate(caller: Caller, newer: Memory, older: Memory, valid_to: datetime | None) -> None:
    """Undo a supersession: make the older memory valid until `valid_to` again. Must be called in a transaction.

    Does nothing if the older memory's validity no longer ends when that of the newer one starts, because another memory
    has superseded it.
    """
    row = _locked(older, row_locks.at(caller, older.namespace, [older.coordinate_key]))
    if row is not None and row.valid_to == newer.valid_from:
        before = {row.coordinate_key: audit_state.state(row)}
        row.valid_to = valid_to
        _save(caller, row.namespace, [row], before, "memory.reinstate")


def without_problems(caller: Caller, items: Sequence[NewMemory | SomaError]) -> list[NewMemory | SomaError]:
    """Return the items, with an InvalidInput in place of each item that `supersede` would reject.

    The others can then be stored. The superseded memories must already exist. Raises InvalidInput if more than
    `MAX_IN_BATCH` memories would be superseded.
    """
    results = list(items)
    new = [(at, item) for at, item in enumerate(items) if isinstance(item, NewMemory) and item.supersedes]
    if sum(len(item.supersedes) for _, item in new) > MAX_IN_BATCH:
        raise InvalidInput("items", f"can supersede at most {MAX_IN_BATCH:,} memories in total; split the request")
    for namespace in {item.namespace for _, item in new}:
        group = [(at, item) for at, item in new if item.namespace == namespace]
        named = _named(caller, namespace, [name for _, item in group for name in item.supersedes])
        starts = _starts([item for item in items if isinstance(item, NewMemory) and item.namespace == namespace])
        for older in named.values():  # another item may replace a memory before the memory is superseded
            times = [older.valid_from, *(starts.get(name) for name in _names_of(older))]
            older.valid_from = max(filter(None, times), default=None)
        for at, item in group:
            results[at] = _problem(item, named) or item
    return results


def _starts(items: Iterable[NewMemory]) -> dict[Address, datetime]:
    """Return, for each address, the latest `valid_from` of the memories to be stored there."""
    starts: dict[Address, datetime] = {}
    for item in items:
        for name in (item.coordinate, item.key):
            if name is not None and item.valid_from is not None:
                starts[name] = max(item.valid_from, starts.get(name, item.valid_from))
    return starts


def _problem(item: NewMemory, named: Mapping[Address, Memory]) -> InvalidInput | None:
    try:
        for name in item.supersedes:
            older = named.get(name)
            _check(older, name, item.valid_from or timezone.now(), is_itself=older is not None and item.names(older))
    except InvalidInput as error:
        return error
    return None


def _check(older: Memory | None, name: Address, begins: datetime, *, is_itself: bool) -> Memory:
    """Return the older memory if a memory that is valid from `begins` can supersede it. Raises InvalidInput if not."""
    if older is None or not older.is_live:
        raise InvalidInput("supersedes", f"does not identify a memory in this namespace: {_kind(name)} '{name}'")
    if is_itself:
        raise InvalidInput("supersedes", f"must not identify the memory itself: {_kind(name)} '{name}'")
    if older.valid_from is not None and older.valid_from >= begins:
        begun = rfc3339(older.valid_from)
        raise InvalidInput(
            "supersedes", f"identifies a memory that is not valid before {begun}: {_kind(name)} '{name}'"
        )
    return older


def _named(caller: Caller, namespace: str, names: Iterable[Address]) -> dict[Address, Memory]:
    """Return the memories at these addresses, including deleted ones, with only the fields that `_check` needs."""
    wanted = set(names)
    rows = Memory.objects.for_tenant(caller.tenant).filter(
        Q(id__among=[name for name in wanted if isinstance(name, UUID)])
        | Q(key__among=[name.text for name in wanted if isinstance(name, Key)])
        | Q(coordinate_key__among=[name.key for name in wanted if isinstance(name, Coordinate)]),
        namespace=namespace,
    )
    fields = ("id", "namespace", "coordinate_key", "key", "valid_from", "valid_to", "deleted_at", "expires_at")
    return {name: memory for memory in rows.only(*fields) for name in _names_of(memory) if name in wanted}


def _names_of(memory: Memory) -> list[Address]:
    key = [] if memory.key is None else [Key(memory.key)]
    return [memory.id, memory.coordinate, *key]


def _kind(name: Address) -> str:
    return "coordinate" if isinstance(name, Coordinate) else "key" if isinstance(name, Key) else "id"


def _supersede_in(
    caller: Caller, namespace: str, superseding: Sequence[tuple[Memory, Names]], reason: str
) -> list[Memory]:
    named = _named(caller, namespace, [name for _, names in superseding for name in names])
    locked = row_locks.at(caller, namespace, [memory.coordinate_key for memory in named.values()])
    before = {key: audit_state.state(memory) for key, memory in locked.items()}
    changed: dict[str, Memory] = {}
    replacements: dict[tuple[UUID, UUID], Replacement] = {}
    for newer, names in superseding:
        for name in names:
            there = _locked(named.get(name), locked)
            begins = newer.valid_from or timezone.now()
            older = _check(there, name, begins, is_itself=there is not None and there.id == newer.id)
            replacements[newer.id, older.id] = Replacement(newer, older, reason)
            if _end(older, begins):
                changed[older.coordinate_key] = older
    ended = [changed[key] for key in sorted(changed)]
    _save(caller, namespace, ended, before, "memory.supersede")
    for record in _records:
        record(caller, list(replacements.values()))
    return ended


def _locked(seen: Memory | None, locked: dict[str, Memory]) -> Memory | None:
    """Return a memory's locked row, or None if the memory is no longer at its address."""
    row = None if seen is None else locked.get(seen.coordinate_key)
    return row if row is not None and seen is not None and row.id == seen.id else None


def _end(memory: Memory, moment: datetime) -> bool:
    """End a memory's validity at this time, unless it ends earlier. Return whether its validity has changed."""
    if memory.valid_to is not None and memory.valid_to <= moment:
        return False
    memory.valid_to = moment
    return True


def _save(
    caller: Caller, namespace: str, memories: Sequence[Memory], before: dict[str, bytes | None], action: str
) -> None:
    """Save the rows as the next versions of their memories."""
    if not memories:
        return
    for memory in memories:
        memory.version += 1
        memory.updated_at = history.moment_after([memory])
        memory.written_by = caller.actor
    row_locks.save([], memories, ["valid_to", *row_locks.VERSION])
    outbox.enqueue(memories)  # without vectors, because the vectors stay the same
    usage.add(caller.tenant, 0, sum(memory.size for memory in memories))
    changes = [
        Change(memory.coordinate.text, before[memory.coordinate_key], audit_state.state(memory)) for memory in memories
    ]
    audit.record(caller, action, changes, namespace)
