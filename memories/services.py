"""Store, change, delete and restore memories. Each change is a single transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from memories import (
    audit_state,
    coordinate_assignment,
    history,
    payloads,
    reserved_namespaces,
    retention,
    row_locks,
    storage_usage,
    supersession,
    validity,
)
from memories.coordinates import Coordinate
from memories.index import backpressure, notify, outbox
from memories.models import Memory, VectorEmbedding
from memories.new_memory import NewMemory, Prepared, check_expiry, check_size, checked, prepared, terms_of
from memories.payloads import Json
from memories.precondition import Precondition
from somamemory.db import replicas, rows
from somamemory.db.collisions import retrying
from somamemory.errors import NotFound
from somamemory.json_pieces import is_small
from tenants import audit, usage
from tenants.audit import Change
from tenants.caller import Caller

_TERM_FIELDS = frozenset({"payload", "context", "metadata"})  # the fields from which terms are computed


@dataclass(frozen=True)
class Stored:
    memory: Memory
    created: bool


def store(caller: Caller, new: NewMemory, precondition: Precondition | None = None) -> Stored:
    """Store a memory at its coordinate, replacing any memory that is already there.

    Raises PreconditionFailed if the precondition is not met, and the same errors as `new_memory.checked`.
    """
    return store_many(caller, [new], precondition)[0]


def store_many(
    caller: Caller,
    items: Sequence[NewMemory],
    precondition: Precondition | None = None,
) -> list[Stored]:
    """Store all `items` in one transaction, or none. If several have the same coordinate, the last one wins."""
    caller.require("write", {item.namespace for item in items})
    backpressure.check(caller.tenant)
    new = prepared([checked(caller, item) for item in items])
    condition = precondition or Precondition()
    may_be_new = len(new) == 1 and items[0].key is None and not condition.present and condition.version is None
    may_be_new = may_be_new and is_small(items[0].payload)  # because an attempt makes several copies of the row
    if may_be_new and not items[0].supersedes and not usage.is_limited(caller.tenant):
        return _store_one(caller, new[0], condition)
    return retrying(lambda: _store(caller, new, condition))


def patch(
    caller: Caller,
    namespace: str,
    coordinate: Coordinate,
    changes: Json,
    precondition: Precondition | None = None,
) -> Memory:
    """Update a memory. Payload and metadata are merged (RFC 7396); other fields are replaced.

    In `changes`, None resets a field to its default. `supersedes` contains the addresses of the memories that this one
    supersedes (see `supersession`).
    """
    caller.require("write", [namespace])
    caller.require("read", [namespace])  # the response includes the memory
    reserved_namespaces.check_writable(caller, namespace)
    if "user_id" in changes:
        caller.require_user(changes["user_id"])
    backpressure.check(caller.tenant)
    condition = precondition or Precondition()
    return retrying(lambda: _patch(caller, namespace, coordinate, changes, condition))


def _patch(caller: Caller, namespace: str, coordinate: Coordinate, changes: Json, condition: Precondition) -> Memory:
    """Make the changes passed to `patch` in one transaction."""
    memory = _live_for_update(caller, namespace, coordinate, condition)
    condition.check(memory)
    before = audit_state.state(memory)
    fields = {name: value for name, value in changes.items() if name != "supersedes"}
    for name, value in fields.items():
        setattr(memory, name, _patched(name, getattr(memory, name), value))
    superseded = changes.get("supersedes", ())
    memory.valid_from = validity.start(memory.valid_from, supersedes=bool(superseded))
    check_expiry(changes.get("expires_at"))
    validity.check(memory.valid_from, memory.valid_to)
    check_size(memory)
    save_version(caller, memory, "memory.patch", before, {*fields, "valid_from"})
    supersession.supersede(caller, [(memory, superseded)])
    return memory


def save_version(caller: Caller, memory: Memory, action: str, before: bytes | None, changed: Collection[str]) -> None:
    """Save a locked row as the next version of its memory.

    before: the memory's state before the change, for the audit log.
    changed: the fields that have been changed.
    """
    text = payloads.text_of(memory.payload)
    if not _TERM_FIELDS.isdisjoint(changed):
        memory.terms = terms_of(memory, text)
    memory.size = storage_usage.size(memory)
    memory.version += 1
    memory.updated_at = history.moment_after([memory])
    memory.written_by = caller.actor
    vectors = outbox.vector_of_changed(memory, text)
    usage.add(caller.tenant, 0, memory.size)  # the earlier version counts, too
    with rows.in_one_round_trip():
        row_locks.save([], [memory], sorted({*changed, "terms", "size", *row_locks.VERSION}))
        outbox.enqueue([memory], vectors)
        change = Change(memory.coordinate.text, before, audit_state.state(memory))
        audit.record(caller, action, [change], memory.namespace)


def delete(
    caller: Caller,
    namespace: str,
    coordinate: Coordinate,
    *,
    purge: bool = False,
    precondition: Precondition | None = None,
) -> bool:
    """Soft-delete a memory or, if `purge`, delete it permanently. Return whether there was one to delete."""
    caller.require("delete", [namespace])
    reserved_namespaces.check_writable(caller, namespace)

    def once() -> bool:
        # The memory is read only once, for both the condition and the deletion. Otherwise, another memory could be
        # stored between the two reads and be deleted without having been checked.
        condition = precondition or Precondition()
        memory = condition.matching(row_locks.outlines(caller, namespace, [coordinate.key]).get(coordinate.key))
        live = memory if memory is not None and memory.is_live else None
        condition.check(live)
        gone = memory if purge else live
        remove(caller, namespace, [gone] if gone else [], purge)
        return gone is not None

    return retrying(once)


def delete_many(
    caller: Caller,
    namespace: str,
    coordinates: Iterable[Coordinate],
    *,
    purge: bool = False,
) -> set[Coordinate]:
    """Delete the memories at these coordinates in one transaction. Return the coordinates at which there was one."""
    caller.require("delete", [namespace])
    reserved_namespaces.check_writable(caller, namespace)
    at = list(coordinates)
    return retrying(lambda: _delete_many(caller, namespace, at, purge))


def _delete_many(caller: Caller, namespace: str, coordinates: Iterable[Coordinate], purge: bool) -> set[Coordinate]:
    """Delete the memories passed to `delete_many` in one transaction."""
    known = row_locks.outlines(caller, namespace, [coordinate.key for coordinate in coordinates])
    gone = [memory for memory in known.values() if purge or memory.is_live]
    remove(caller, namespace, gone, purge)
    return {memory.coordinate for memory in gone}


def delete_subtree(caller: Caller, namespace: str, root: Coordinate, *, purge: bool = False) -> int:
    """Delete the memory at a coordinate and all memories below it in one transaction, and return how many there were.

    If `purge`, they are deleted permanently, including memories that were already soft-deleted.
    """
    caller.require("delete", [namespace])
    reserved_namespaces.check_writable(caller, namespace)
    low, high = root.subtree
    below = Memory.objects.for_tenant(caller.tenant).filter(
        namespace=namespace, coordinate_key__gte=low, coordinate_key__lt=high
    )
    if not purge:
        below = below.filter(deleted_at=None)
    ordered = below.order_by("coordinate_key").select_for_update()
    gone = 0
    with transaction.atomic():
        while batch := retention.batch_of(ordered):  # rows that have been deleted no longer match the condition
            remove(caller, namespace, batch, purge)
            gone += len(batch)
    return gone


def restore(caller: Caller, namespace: str, coordinate: Coordinate, condition: Precondition) -> Memory:
    """Undo a memory's soft delete. Must be called in a transaction. Raises NotFound if it is not deleted."""
    caller.require("write", [namespace])
    caller.require("read", [namespace])  # the response includes the memory
    reserved_namespaces.check_writable(caller, namespace)
    memory = condition.matching(row_locks.at(caller, namespace, [coordinate.key]).get(coordinate.key))
    if memory is None or memory.deleted_at is None or memory.has_expired(timezone.now()):
        raise NotFound(f"there is no deleted memory at coordinate {coordinate}")
    before = audit_state.state(memory)
    memory.deleted_at = None
    save_version(caller, memory, "memory.restore", before, ["deleted_at"])
    return memory


def retry_failed(caller: Caller) -> int:
    """Retry indexing the tenant's failed memories now, and return how many there are."""
    caller.require("admin")
    failed = VectorEmbedding.objects.for_tenant(caller.tenant).filter(due_at__isnull=False, attempts__gt=0)
    with transaction.atomic():
        count = failed.update(due_at=timezone.now(), attempts=0)
        if count:
            audit.record(caller, "index.retry", [f"{count} memories"])
        notify.on_commit()
    return count


def _store_one(caller: Caller, item: Prepared, condition: Precondition) -> list[Stored]:
    """Store a memory. If there is none at its address, this takes a single statement on PostgreSQL."""
    if rows.one_statement() and (created := retrying(lambda: _created(caller, item), within=nullcontext)):
        return [created]

    def once() -> list[Stored]:
        created = None if rows.one_statement() else _created(caller, item)
        return [created] if created else _store(caller, [item], condition)

    return retrying(once)


def _created(caller: Caller, new: Prepared) -> Stored | None:
    """Store a new memory in one statement. Return None if there is already one at its address, even a deleted one."""
    (new,) = coordinate_assignment.placed(caller, new.item.namespace, [new])
    memory = _replaced(caller, None, True, new)
    change = Change(memory.coordinate.text, None, audit_state.state(memory))
    vectors = {memory.id: new.vector}
    is_new = rows.insert_if_new(
        rows.Part(row_locks.TABLE, [vars(memory)]),
        row_locks.ADDRESS,
        [
            *outbox.parts([memory], vectors),
            audit.events(caller, "memory.store", [change], memory.namespace),
        ],
    )
    if not is_new:
        return None
    outbox.on_commit([memory], vectors)
    replicas.wrote(caller)
    return Stored(memory, created=True)


def _store(caller: Caller, items: Sequence[Prepared], precondition: Precondition) -> list[Stored]:
    """Store the memories passed to `store_many` in one transaction."""
    by_namespace: dict[str, list[Prepared]] = {}
    for new in items:
        by_namespace.setdefault(new.item.namespace, []).append(new)
    stored: dict[int, Stored] = {}  # by the identity of the item
    for namespace in sorted(by_namespace):  # always in the same order, so that two batches cannot deadlock
        group = by_namespace[namespace]
        stored.update(zip(map(id, group), _store_in(caller, namespace, group, precondition), strict=True))
    results = [stored[id(new)] for new in items]
    superseding = [(result.memory, new.item.supersedes) for result, new in zip(results, items, strict=True)]
    if not (ended := supersession.supersede(caller, superseding)):
        return results
    # An item can supersede a memory that another item of the batch has stored, which changes that memory's version
    # again.
    latest = {(memory.id, memory.version - 1): memory for memory in ended}
    return [
        replace(result, memory=latest.get((result.memory.id, result.memory.version), result.memory))
        for result in results
    ]


def _store_in(caller: Caller, namespace: str, items: Sequence[Prepared], precondition: Precondition) -> list[Stored]:
    items = coordinate_assignment.placed(caller, namespace, items)
    keys = {new.item.place.key for new in items if not new.item.allocated}
    known = row_locks.outlines(caller, namespace, keys)
    coordinate_assignment.refuse_coordinates_of_others(caller, namespace, keys - known.keys())
    after = dict(known)
    results: list[Stored] = []
    changes: list[Change] = []
    for new in items:
        key = new.item.place.key
        current = after.get(key)
        live = current if current is not None and current.is_live else None
        precondition.check(live)
        after[key] = memory = _replaced(caller, current, live is None, new)
        results.append(Stored(memory, created=live is None))
        changes.append(Change(new.item.place.text, audit_state.state(current), audit_state.state(memory)))
    final = {new.item.place.key: new for new in items}
    usage.add(
        caller.tenant, *storage_usage.difference([known.get(key) for key in final], [after[key] for key in final])
    )
    with rows.in_one_round_trip():
        row_locks.save(
            new=[after[key] for key in sorted(final) if key not in known],
            old=[after[key] for key in sorted(final) if key in known],
        )
        vectors = {after[key].id: new.vector for key, new in final.items()}
        outbox.enqueue([after[key] for key in final], vectors, replaced=True)
        audit.record(caller, "memory.store", changes, namespace)
    return results


def _replaced(caller: Caller, current: Memory | None, created: bool, new: Prepared) -> Memory:
    """Return the row to store, which replaces the `current` one if there is one.

    It is always a new object, so that each result of a batch keeps its own version.
    """
    item, now = new.item, history.moment_after([current] if current else [])
    memory = Memory(
        tenant=caller.tenant,
        namespace=item.namespace,
        coordinate_key=item.place.key,
        payload=item.payload,
        metadata=item.metadata,
        memory_type=item.memory_type,
        importance=item.importance,
        context=item.context,
        terms=new.terms,
        expires_at=item.expires_at,
        user_id=item.user_id,
        agent_id=item.agent_id,
        session_id=item.session_id,
        valid_from=item.valid_from,
        valid_to=item.valid_to,
        source=item.source,
        trust=item.trust,
        key=coordinate_assignment.key_of(current, item),
        created_at=item.created_at or now,
        updated_at=now,
        written_by=caller.actor,
    )
    memory.size = storage_usage.size(memory)
    if current is not None:
        memory.seq, memory.id, memory.version = current.seq, current.id, current.version + 1
        if not created:
            memory.created_at = current.created_at
            memory.access_count, memory.last_accessed_at = current.access_count, current.last_accessed_at
            if memory.created_at.date() != (item.created_at or now).date():  # terms contain the date of creation
                memory.terms = terms_of(memory, payloads.text_of(memory.payload))
    return memory


def _patched(name: str, old: Any, value: Any) -> Any:
    if value is None:
        return getattr(Memory(), name)
    return payloads.merge_patch(old, value) if name in ("payload", "metadata") else value


def remove(caller: Caller, namespace: str, memories: Sequence[Memory], purge: bool) -> None:
    """Remove locked rows in one namespace, and audit each of them."""
    if purge:
        retention.remove(caller, memories)
    else:
        _soft_delete(caller, namespace, memories)
    notify.on_commit()


def _soft_delete(caller: Caller, namespace: str, memories: Sequence[Memory]) -> None:
    if not memories:
        return
    before = [audit_state.state(memory) for memory in memories]
    now = history.moment_after(memories)
    Memory.objects.for_tenant(caller.tenant).filter(seq__among=[memory.seq for memory in memories]).update(
        deleted_at=now, updated_at=now, version=F("version") + 1, written_by=caller.actor
    )
    for memory in memories:
        memory.version += 1
        memory.deleted_at = now
    outbox.enqueue(memories)
    # Quotas are not enforced, so that a deletion is always possible, although the earlier versions count towards them.
    usage.add(caller.tenant, 0, sum(memory.size for memory in memories), enforced=False)
    changes = [
        Change(memory.coordinate.text, was, audit_state.state(memory))
        for memory, was in zip(memories, before, strict=True)
    ]
    audit.record(caller, "memory.delete", changes, namespace)


def _live_for_update(caller: Caller, namespace: str, coordinate: Coordinate, condition: Precondition) -> Memory:
    row = row_locks.at(caller, namespace, [coordinate.key]).get(coordinate.key)
    memory = condition.matching(row if row is not None and row.is_live else None)
    if memory is None:
        raise NotFound(f"there is no memory at coordinate {coordinate}")
    return memory
