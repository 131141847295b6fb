"""mem0 platform routes for memories."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Query

from api import throttle
from api.compat.changes import changes_of
from api.compat.layer import CompatRouter
from api.compat.mem0 import changing, names, presenters, reading, storing
from api.compat.mem0.schemas import (
    AddBody,
    ListBody,
    MemoryParams,
    OwnedParams,
    PageParams,
    SearchBody,
    SourceParams,
    UpdateBody,
)
from api.json import reply
from api.request import Request, absolute_url

PREFIX = "/mem0"

router = CompatRouter("mem0", prefix=PREFIX)


@router.get("/v1/ping/", out=None, limited=True)
def ping(request: Request, query: Query[SourceParams]) -> HttpResponse:
    """Report the key's tenant. Clients call this first."""
    tenant = request.caller.tenant
    return reply({"status": "ok", "org_id": tenant.slug, "project_id": str(tenant.id), "user_email": None})


@router.post("/v3/memories/add/", out=None, limited=True)
def add(request: Request, body: AddBody) -> HttpResponse:
    """Store messages word for word or, with `infer` and a language model, extract their facts later."""
    stored = added(request, body)
    results = {"results": presenters.added(stored.memories)} if stored.memories else {}
    return reply({**stored.event, **results})


def added(request: Request, body: AddBody) -> storing.Added:
    body.accept(changes_of(request))
    body.require_owner()
    throttle.charge(request, len(body.said), per=50)
    return storing.add(request.caller, body)


@router.post("/v3/memories/", out=None, kind="read", limited=True)
def list_memories(request: Request, query: Query[PageParams], body: ListBody) -> HttpResponse:
    """List the memories that match `filters`, newest first."""
    body.accept(changes_of(request))
    throttle.charge(request, query.page_size, per=100)
    page = reading.page(request.caller, body.all_filters, query.page, query.page_size)
    items = [presenters.memory(memory) for memory in page.items]
    url = absolute_url(request, request.path)
    return reply(presenters.page(page.count, items, url, query.page, query.page_size))


@router.post("/v3/memories/search/", out=None, kind="search", limited=True)
def search(request: Request, body: SearchBody) -> HttpResponse:
    """Search the memories that match `filters`. The score is the relevance, from 0 to 1."""
    changes = changes_of(request)
    body.accept(changes)
    throttle.charge(request, body.top_k, per=100)
    results = reading.search(request.caller, body, changes)
    return reply({"results": [presenters.hit(hit, body.fields) for hit in results.hits]})


@router.get("/v1/memories/{memory_id}/", out=None, limited=True)
def get(request: Request, memory_id: str, query: Query[MemoryParams]) -> HttpResponse:
    return reply(presenters.memory(reading.memory(request.caller, names.parsed(memory_id))))


@router.put("/v1/memories/{memory_id}/", out=None, limited=True)
def update(request: Request, memory_id: str, query: Query[SourceParams], body: UpdateBody) -> HttpResponse:
    """Change the text, add to the metadata, or set the expiry."""
    body.accept(changes_of(request))
    memory = changing.update(request.caller, names.parsed(memory_id), body.changes)
    return reply(presenters.memory(memory))


@router.delete("/v1/memories/{memory_id}/", out=None, limited=True)
def delete(request: Request, memory_id: str, query: Query[MemoryParams]) -> HttpResponse:
    """Delete a memory. Until the retention period ends, it can be restored through our own routes."""
    changing.delete(request.caller, names.parsed(memory_id), with_superseded=query.delete_linked)
    return reply({"message": "Memory deleted successfully!"})


@router.delete("/v1/memories/", out=None, limited=True)
def delete_all(request: Request, query: Query[OwnedParams]) -> HttpResponse:
    """Delete the memories of a user, an agent, an app or a run."""
    changing.delete_owned(request.caller, query.owners)
    return reply({"message": "Memories deleted successfully!"})


@router.get("/v1/memories/{memory_id}/history/", out=None, limited=True)
def history(request: Request, memory_id: str, query: Query[MemoryParams]) -> HttpResponse:
    """List the versions of a memory, oldest first."""
    return reply(reading.history(request.caller, names.parsed(memory_id)))
