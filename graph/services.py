"""Create, replace, move and remove links. Each change is a single transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count

import orjson
from django.db import connection, transaction
from django.db.models import QuerySet

from graph import audit_state, link_history
from graph.models import IDENTITY, Key, Link
from graph.query_conditions import RowAmong
from memories import history, reserved_namespaces
from memories.coordinates import Coordinate
from memories.payloads import Json
from somamemory.db.collisions import retrying
from somamemory.errors import Conflict, InvalidInput
from tenants import audit, usage
from tenants.audit import Change
from tenants.caller import Caller

DEFAULT_TYPE = "related"
MAX_METADATA_BYTES = 65_536  # as JSON; limited because traversals and exports read the metadata of many links
_MOVED = 500


@dataclass(frozen=True)
class NewLink:
    """A link to be stored. `strength` is from 0 to 1. `metadata` is stored unchanged."""

    start: Coordinate
    end: Coordinate
    link_type: str = DEFAULT_TYPE
    strength: float = 1.0
    namespace: str = "default"
    metadata: Json = field(default_factory=dict)
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    user_id: str | None = None  # the conversation's user, if the link belongs to a conversation

    @property
    def key(self) -> Key:
        return self.start.key, self.end.key, self.link_type


@dataclass(frozen=True)
class Linked:
    link: Link
    created: bool


def checked(caller: Caller, new: NewLink) -> NewLink:
    """Return the link unchanged if it can be stored. Raises InvalidInput if it cannot."""
    reserved_namespaces.check_writable(caller, new.namespace)
    if (size := len(orjson.dumps(new.metadata))) > MAX_METADATA_BYTES:
        raise InvalidInput("metadata", f"is {size:,} bytes long as JSON; the maximum is {MAX_METADATA_BYTES:,}")
    if new.valid_from is not None and new.valid_to is not None and new.valid_to <= new.valid_from:
        raise InvalidInput("valid_to", "must be after valid_from; otherwise the link would never be valid")
    return new


def link(caller: Caller, new: NewLink) -> Linked:
    """Connect two addresses, replacing any existing link of the same type.

    Raises InvalidInput if the link cannot be stored, Forbidden if the caller may not write to its namespace, and
    Conflict if the caller is limited to a user and the existing link is not that user's.
    """
    return link_many(caller, [new])[0]


def link_many(caller: Caller, items: Sequence[NewLink]) -> list[Linked]:
    """Store all `items` in one transaction, or none. If a link is given more than once, the last one wins."""
    caller.require("write", {item.namespace for item in items})
    for item in items:
        checked(caller, item)
    tries = count()
    return retrying(lambda: _link(caller, items, again=next(tries) > 0))


def unlink(caller: Caller, namespace: str, start: Coordinate, end: Coordinate, link_type: str = DEFAULT_TYPE) -> bool:
    """Remove a link, and return whether there was one."""
    caller.require("delete", [namespace])
    reserved_namespaces.check_writable(caller, namespace)
    with transaction.atomic():
        return remove(caller, namespace, start, end, link_type)


def remove(caller: Caller, namespace: str, start: Coordinate, end: Coordinate, link_type: str) -> bool:
    """Remove a link as part of another change, and return whether there was one.

    The caller of this function must already have checked the scopes and opened the transaction.
    """
    there = Link.objects.for_tenant(caller.tenant).filter(
        namespace=namespace, from_key=start.key, to_key=end.key, link_type=link_type
    )
    link = there.select_for_update().first()
    if link is None:
        return False
    _remove(caller, link)
    return True


def move_batch(caller: Caller, old: str, new: str) -> int:
    """Move up to 500 links to another namespace in one transaction, and return how many were moved.

    If the other namespace already has the same link, that one stays, and the moved link becomes an earlier version.
    """
    caller.require("write", [old, new])
    for namespace in (old, new):
        reserved_namespaces.check_writable(caller, namespace)
    links = Link.objects.for_tenant(caller.tenant).filter(namespace=old).order_by(*IDENTITY)

    def once() -> int:
        ids = {tuple(key): id for id, *key in links.select_for_update().values_list("id", *IDENTITY)[:_MOVED]}
        if ids:
            for link in _rows(caller, old, _rows(caller, new, ids)).values():
                _remove(caller, link)
            _begin_after(caller, old, link_history.last_ends(caller, new, ids))
            # A move is not a change, so `updated_at` stays the same. `link_history.move_batch` moves the versions.
            links.order_by().filter(id__among=list(ids.values())).update(namespace=new)
            audit.record(caller, "namespace.rename", [f"{old} -> {new}: {len(ids)} links"], new)
        return len(ids)

    return retrying(once)


def _link(caller: Caller, items: Sequence[NewLink], again: bool) -> list[Linked]:
    by_namespace: dict[str, list[NewLink]] = {}
    for item in items:
        by_namespace.setdefault(item.namespace, []).append(item)
    made: dict[int, Linked] = {}
    for namespace in sorted(by_namespace):  # always in the same order, so that two batches cannot deadlock
        group = by_namespace[namespace]
        made.update(zip(map(id, group), _link_in(caller, namespace, group, again), strict=True))
    return [made[id(item)] for item in items]


def _link_in(caller: Caller, namespace: str, items: Sequence[NewLink], again: bool) -> list[Linked]:
    if again:
        _take_turns(caller, namespace)
    keys = {item.key for item in items}
    _refuse_links_of_others(caller, namespace, keys)
    known = _rows(caller, namespace, keys)
    rows: dict[Key, Link] = {}
    results, changes = [], []
    for item in items:
        before = rows.get(item.key) or known.get(item.key)
        rows[item.key] = row = _row(caller, item, before)
        results.append(Linked(row, before is None))
        changes.append(Change(audit_state.name(row), audit_state.state(before), audit_state.state(row)))
    link_history.keep((row, rows[key].updated_at) for key, row in known.items())
    # If another writer has just created one of these links, this raises IntegrityError, and `retrying` starts over.
    Link.all_tenants.bulk_create([rows[key] for key in sorted(rows) if key not in known])
    Link.all_tenants.bulk_create(
        [rows[key] for key in sorted(rows) if key in known],
        update_conflicts=True,
        unique_fields=["tenant", "namespace", "from_key", "to_key", "link_type"],
        update_fields=["strength", "metadata", "valid_from", "valid_to", "updated_at", "bytes"],
    )
    usage.add(caller.tenant, 0, sum(row.bytes for row in rows.values()))  # replaced versions still count
    audit.record(caller, "graph.link", changes, namespace)
    return results


def _take_turns(caller: Caller, namespace: str) -> None:
    """Let writers that have collided on the same links take turns, so that they do not collide again."""
    if connection.vendor == "postgresql":  # SQLite allows only one writer anyway
        with connection.cursor() as cursor:
            whose = f"links of {caller.tenant.id} in {namespace}"
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [whose])


def _remove(caller: Caller, link: Link) -> None:
    link_history.keep([(link, history.moment_after([link]))])  # its version still counts towards the quota
    audit.record(caller, "graph.unlink", [audit_state.removed(link)], link.namespace)
    link.delete()


def _begin_after(caller: Caller, namespace: str, ends: dict[Key, datetime]) -> None:
    """Let each of these links begin at the given time, and keep what it was before as an earlier version."""
    for link in _rows(caller, namespace, ends).values():
        if link.updated_at < (begin := ends[link.key]):
            link_history.keep([(link, begin)])
            usage.add(caller.tenant, 0, link.bytes, enforced=False)
            link.updated_at = begin
            link.save(update_fields=["updated_at"])


def _refuse_links_of_others(caller: Caller, namespace: str, keys: Iterable[Key]) -> None:
    """Raise Conflict if the caller is limited to a user and any of these links exists but is not that user's."""
    if caller.user_id is None:
        return
    taken = _links(caller.unlimited(), namespace, keys).exclude(user_id=caller.user_id).first()
    if taken is not None:
        raise Conflict(f"link {audit_state.name(taken)} already exists in this namespace; use another link_type")


def _rows(caller: Caller, namespace: str, keys: Iterable[Key]) -> dict[Key, Link]:
    """Return the existing links with these keys, locked in key order."""
    rows = _links(caller, namespace, keys).select_for_update()
    return {row.key: row for row in rows}


def _links(caller: Caller, namespace: str, keys: Iterable[Key]) -> QuerySet[Link]:
    links: QuerySet[Link] = Link.objects.for_tenant(caller.tenant).filter(namespace=namespace)
    return links.filter(RowAmong(IDENTITY, sorted(keys))).order_by(*IDENTITY)


def _row(caller: Caller, item: NewLink, before: Link | None) -> Link:
    now = history.moment_after([before] if before else [])
    row = Link(
        tenant=caller.tenant,
        namespace=item.namespace,
        from_key=item.start.key,
        to_key=item.end.key,
        link_type=item.link_type,
        strength=item.strength,
        metadata=item.metadata,
        valid_from=item.valid_from,
        valid_to=item.valid_to,
        created_at=now,
        updated_at=now,
        user_id=caller.user_id or item.user_id,
    )
    row.bytes = row.size()
    return row
