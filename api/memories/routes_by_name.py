"""Routes for a single memory, identified by its key or id.

Keys may contain slashes, so nothing can follow them in a path.
"""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Query

from api import preconditions
from api.json import reply
from api.memories import presenters, responses
from api.memories.routes import changes_in, new_at
from api.memories.schemas import (
    AsOfParams,
    DeletedOut,
    DeleteParams,
    FetchParams,
    KeyedBody,
    MemoryEnvelope,
    PatchBody,
    PurgeParams,
    StoredOut,
    VersionParams,
)
from api.request import Request
from api.routing import PolicyRouter
from api.schemas import Id, KeyText, NamespaceParams
from memories import lookup, services

router = PolicyRouter("memories")


@router.get("/memories/by-key/{text:key}", out={200: MemoryEnvelope, 304: None}, conditional=True, limited=True)
def get_by_key(request: Request, key: Path[KeyText], query: Query[FetchParams]) -> HttpResponse:
    """Fetch a memory by its key, as it is now or was at an earlier time (`as_of`)."""
    return responses.fetched(request, lookup.get(request.caller, query.namespace, key, query.as_of))


@router.put("/memories/by-key/{text:key}", out={200: StoredOut, 201: StoredOut}, conditional=True, limited=True)
def store_by_key(request: Request, key: Path[KeyText], query: Query[NamespaceParams], body: KeyedBody) -> HttpResponse:
    """Store a memory under a key, replacing any memory with this key."""
    condition = preconditions.of_write(request)
    return responses.stored(services.store(request.caller, new_at(body, query.namespace, key), condition))


@router.patch("/memories/by-key/{text:key}", out=MemoryEnvelope, conditional=True, limited=True)
def patch_by_key(request: Request, key: Path[KeyText], query: Query[NamespaceParams], body: PatchBody) -> HttpResponse:
    """Change parts of a memory, identified by its key, with a JSON merge patch (RFC 7396)."""
    condition = preconditions.of_write(request)
    return responses.changed(lookup.patch(request.caller, query.namespace, key, changes_in(body), condition))


@router.delete("/memories/by-key/{text:key}", out=DeletedOut, conditional=True, limited=True)
def delete_by_key(request: Request, key: Path[KeyText], query: Query[DeleteParams]) -> HttpResponse:
    """Delete a memory by its key. It can be restored during the retention period, unless `purge` is true."""
    condition = preconditions.of_write(request)
    deleted = lookup.delete(request.caller, query.namespace, key, purge=query.purge, precondition=condition)
    return reply({**presenters.name(key), "deleted": deleted})


@router.get("/memories/by-id/{id}", out={200: MemoryEnvelope, 304: None}, conditional=True, limited=True)
def get_by_id(request: Request, id: Path[Id], query: Query[AsOfParams]) -> HttpResponse:
    """Fetch a memory by its id, in any namespace that the key can access, as it is now or was at `as_of`."""
    return responses.fetched(request, lookup.get(request.caller, None, id, query.as_of))


@router.patch("/memories/by-id/{id}", out=MemoryEnvelope, conditional=True, limited=True)
def patch_by_id(request: Request, id: Path[Id], body: PatchBody) -> HttpResponse:
    """Change parts of a memory, identified by its id, with a JSON merge patch (RFC 7396)."""
    return responses.changed(lookup.patch(request.caller, None, id, changes_in(body), preconditions.of_write(request)))


@router.delete("/memories/by-id/{id}", out=DeletedOut, conditional=True, limited=True)
def delete_by_id(request: Request, id: Path[Id], query: Query[PurgeParams]) -> HttpResponse:
    """Delete a memory by its id. It can be restored during the retention period, unless `purge` is true."""
    condition = preconditions.of_write(request)
    deleted = lookup.delete(request.caller, None, id, purge=query.purge, precondition=condition)
    return reply({**presenters.name(id), "deleted": deleted})


@router.post("/memories/by-id/{id}/restore", out=MemoryEnvelope, limited=True)
def restore_by_id(request: Request, id: Path[Id], query: Query[VersionParams]) -> HttpResponse:
    """Restore a soft-deleted memory by its id, or restore an earlier `version` as a new one."""
    return responses.changed(lookup.restore(request.caller, None, id, query.version))
