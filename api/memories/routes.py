"""Routes for memories: store, fetch, patch, delete, restore, list, bulk, stats. See also `routes_by_name`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
from django.http import HttpResponse
from django.utils import timezone
from ninja import Path, Query

from api import bulk, filter_text, preconditions, throttle
from api.json import JsonObject, reply
from api.memories import presenters, responses
from api.memories.schemas import (
    BulkDeletedOut,
    BulkGotOut,
    BulkNamesBody,
    BulkStoreBody,
    BulkStoredOut,
    DeletedMatchingOut,
    DeletedOut,
    DeleteMatchingBody,
    DeleteParams,
    FetchParams,
    KeyedBody,
    ListParams,
    MemoryEnvelope,
    PageOut,
    PatchBody,
    RestoreBody,
    RestoreParams,
    StatsOut,
    StoreBody,
    StoredOut,
)
from api.request import Request
from api.routing import PolicyRouter
from api.schemas import CoordText, NamespaceParams
from conversations import selectors as conversations
from memories import coordinate_assignment, deletion, filters, lookup, point_in_time, selectors, services, supersession
from memories.addresses import Key
from memories.namespaces import below
from memories.new_memory import NewMemory, checked
from memories.selectors import Narrowing
from somamemory.errors import InvalidInput, SomaError

router = PolicyRouter("memories")


@router.post("/memories", out={200: StoredOut, 201: StoredOut}, conditional=True, limited=True)
def store(request: Request, body: StoreBody) -> HttpResponse:
    """Store a memory at its coordinate or under its key, replacing any existing memory.

    If the request contains neither a coordinate nor a key, create a new memory.
    """
    return responses.stored(services.store(request.caller, new_memory(body), preconditions.of_write(request)))


@router.get("/memories", out=PageOut, limited=True)
def list_memories(request: Request, query: Query[ListParams]) -> HttpResponse:
    """List the memories in a namespace, subtree or box, or around a point, page by page. `filters` is JSON text."""
    narrowing = _narrowing(query)
    if narrowing.ball and query.order:
        raise InvalidInput("order", "cannot be combined with near, which sorts by distance; remove one of them")
    throttle.charge(request, len(filters.leaves(narrowing.filters)) if narrowing.filters else 0, per=10)
    throttle.charge(request, query.limit, per=100)
    page = point_in_time.list_memories(
        request.caller,
        query.namespace,
        narrowing,
        query.as_of,
        order=query.order or "coordinate",
        include_deleted=query.include_deleted,
        limit=query.limit,
        cursor=query.cursor,
    )
    return reply({"items": [presenters.memory(memory) for memory in page.items], "next_cursor": page.next_cursor})


@router.post("/memories/bulk", out={200: BulkStoredOut, 207: BulkStoredOut}, limited=True)
def store_bulk(request: Request, body: BulkStoreBody) -> HttpResponse:
    """Store up to 1,000 memories. With `atomic`, store all or none; otherwise, store every valid memory."""
    throttle.charge(request, len(body.items), per=50)
    caller = request.caller
    items = [bulk.parsed(raw, StoreBody, lambda item: checked(caller, new_memory(item))) for raw in body.items]
    items = supersession.without_problems(caller, coordinate_assignment.without_conflicts(caller, items))
    if body.atomic:
        bulk.require_all(items, "items", ".coord")
    valid = [item for item in items if isinstance(item, NewMemory)]
    stored = iter(services.store_many(request.caller, valid) if valid else [])
    results = [
        _failed(index, body.items[index], item)
        if isinstance(item, SomaError)
        else presenters.bulk_stored(index, next(stored))
        for index, item in enumerate(items)
    ]
    failed = len(items) - len(valid)
    return reply({"results": results, "stored": len(valid), "failed": failed}, 207 if failed else 200)


@router.post("/memories/bulk/get", out=BulkGotOut, kind="read", limited=True)
def get_bulk(request: Request, body: BulkNamesBody) -> HttpResponse:
    """Fetch up to 1,000 memories by coordinate, key or id, in the order of the request.

    For each memory that does not exist, `memory` is null.
    """
    addresses = body.addresses()
    throttle.charge(request, len(addresses), per=100)
    memories = lookup.get_many(request.caller, body.namespace, addresses)
    pairs = zip(addresses, memories, strict=False)  # `memories` ends early if the memories are large
    return reply(presenters.bulk_got(pairs, len(memories) if len(memories) < len(addresses) else None))


@router.post("/memories/bulk/delete", out=BulkDeletedOut, limited=True)
def delete_bulk(request: Request, body: BulkNamesBody) -> HttpResponse:
    """Soft-delete up to 1,000 memories, by coordinate, key or id, in one transaction."""
    addresses = body.addresses()
    throttle.charge(request, len(addresses), per=50)
    deleted = lookup.delete_many(request.caller, body.namespace, addresses)
    results = [{**presenters.name(address), "deleted": address in deleted} for address in addresses]
    return reply({"results": results, "deleted": len(deleted)})


@router.post("/memories/restore", out=MemoryEnvelope, limited=True)
def restore_by_name(request: Request, body: RestoreBody) -> HttpResponse:
    """Restore a soft-deleted memory, identified by its coordinate, key or id, or restore an earlier `version`."""
    return responses.changed(lookup.restore(request.caller, body.namespace, body.address(), body.version))


@router.post("/memories/delete", out=DeletedMatchingOut, limited=True)
def delete_matching(request: Request, body: DeleteMatchingBody) -> HttpResponse:
    """Soft-delete the memories that match all conditions, but at most `limit` of them, in one transaction."""
    body.check_namespace()
    throttle.charge(request, body.limit, per=50)
    narrowing = Narrowing(
        memory_type=body.memory_type,
        filters=None if body.filters is None else filters.parse(body.filters),
        prefix=body.prefix,
        created_before=body.created_before,
        **body.ids,
    )
    names = [body.namespace] if isinstance(body.namespace, str) else body.namespace
    deleted = deletion.delete_matching(
        request.caller,
        names if body.namespace_prefix is None else below(request.caller, body.namespace_prefix),
        narrowing,
        every=body.all,
        limit=body.limit,
        dry_run=body.dry_run,
    )
    return reply({"deleted": deleted.count, "complete": deleted.is_complete, "dry_run": body.dry_run})


@router.get("/memories/{coord}", out={200: MemoryEnvelope, 304: None}, conditional=True, limited=True)
def fetch(request: Request, coord: Path[CoordText], query: Query[FetchParams]) -> HttpResponse:
    """Fetch the memory at a coordinate, as it is now or was at an earlier time (`as_of`)."""
    if query.as_of is None:
        return responses.fetched(request, selectors.get_memory(request.caller, query.namespace, coord))
    return responses.fetched(request, lookup.get(request.caller, query.namespace, coord, query.as_of))


@router.patch("/memories/{coord}", out=MemoryEnvelope, conditional=True, limited=True)
def patch(request: Request, coord: Path[CoordText], query: Query[NamespaceParams], body: PatchBody) -> HttpResponse:
    """Change parts of a memory with a JSON merge patch (RFC 7396)."""
    condition = preconditions.of_write(request)
    return responses.changed(services.patch(request.caller, query.namespace, coord, changes_in(body), condition))


@router.delete("/memories/{coord}", out=DeletedOut, conditional=True, limited=True)
def delete(request: Request, coord: Path[CoordText], query: Query[DeleteParams]) -> HttpResponse:
    """Delete a memory. It can be restored during the retention period, unless `purge` is true."""
    deleted = services.delete(
        request.caller, query.namespace, coord, purge=query.purge, precondition=preconditions.of_write(request)
    )
    return reply({"coord": coord.text, "deleted": deleted})


@router.post("/memories/{coord}/restore", out=MemoryEnvelope, limited=True)
def restore(request: Request, coord: Path[CoordText], query: Query[RestoreParams]) -> HttpResponse:
    """Restore a soft-deleted memory within the retention period, or restore an earlier `version` as a new one."""
    return responses.changed(lookup.restore(request.caller, query.namespace, coord, query.version))


@router.get("/stats", out=StatsOut, limited=True)
def stats(request: Request) -> HttpResponse:
    """Count the tenant's memories and show the state of the index."""
    return reply(conversations.stats(request.caller))


def _narrowing(query: ListParams) -> Narrowing:
    return Narrowing(
        memory_type=query.memory_type,
        filters=filter_text.parse(query.filters),
        prefix=query.prefix,
        ball=query.ball(),
        box=query.box,
        also=lookup.below(query.key_prefix.text) if query.key_prefix else None,
        created_after=query.created_after,
        created_before=query.created_before,
        valid_at=query.valid_at,
        updated_after=query.updated_after,
        **query.ids,
    )


def new_memory(body: StoreBody) -> NewMemory:
    return new_at(body, body.namespace, body.key)


def new_at(body: KeyedBody, namespace: str, key: Key | None) -> NewMemory:
    if body.ttl_seconds is not None and body.expires_at is not None:
        raise InvalidInput("ttl_seconds", "cannot be combined with expires_at; send only one of them")
    expires_at = body.expires_at
    if body.ttl_seconds is not None:
        expires_at = timezone.now() + timedelta(seconds=body.ttl_seconds)
    return NewMemory(
        coordinate=body.coord,
        payload=body.payload,
        namespace=namespace,
        key=key,
        memory_type=body.memory_type,
        metadata=body.metadata,
        importance=body.importance,
        context=body.context,
        expires_at=expires_at,
        **body.ids,
        valid_from=body.valid_from,
        valid_to=body.valid_to,
        source=body.source,
        trust=body.trust,
        supersedes=[name.address() for name in body.supersedes],
        embedding=None if body.embedding is None else np.array(body.embedding, dtype=np.float64),
    )


def changes_in(body: PatchBody) -> dict[str, Any]:
    changes = body.required_changes()
    for name in ("payload", "memory_type", "supersedes"):
        if name in changes and changes[name] is None:
            raise InvalidInput(name, "must not be null")
    if "supersedes" in changes:
        changes["supersedes"] = [name.address() for name in changes["supersedes"]]
    return changes


def _failed(index: int, item: JsonObject, error: SomaError) -> JsonObject:
    names = {name: text if isinstance(text := item.get(name), str) else None for name in ("coord", "key")}
    return {**bulk.failed(index, error), **names}
