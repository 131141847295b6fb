"""Routes of the mem0 platform for memories."""

from __future__ import annotations

from uuid import uuid4

from django.http import HttpResponse
from ninja import Query

from api import throttle
from api.compat.layer import CompatRouter
from api.compat.mem0 import changing, inference, names, presenters, reading, storing
from api.compat.mem0.schemas import (
    AddBody,
    ListBody,
    MemoryParams,
    OwnedParams,
    PageParams,
    SearchBody,
    UpdateBody,
)
from api.json import reply
from api.request import Request
from memories import lookup
from memories.numbered_pages import numbered_page
from somamemory.errors import InvalidInput

PREFIX = "/mem0"
VERBATIM = "stored word for word, because no language model is configured (SOMA_LLM_PROVIDER)"

router = CompatRouter("mem0", prefix=PREFIX)


@router.get("/v1/ping/", out=None, limited=True)
def ping(request: Request) -> HttpResponse:
    """Report the tenant of the key. Clients call this first."""
    tenant = request.caller.tenant
    return reply({"status": "ok", "org_id": tenant.slug, "project_id": str(tenant.id), "user_email": None})


@router.post("/v3/memories/add/", out=None, limited=True)
def add(request: Request, body: AddBody) -> HttpResponse:
    """Store messages word for word or, with `infer` and a language model, extract their facts later."""
    body.refuse()
    if not body.named:
        raise InvalidInput("user_id", "at least one of user_id, agent_id, app_id and run_id is required")
    throttle.charge(request, len(body.said), per=50)
    if body.infer and inference.is_possible():
        id = inference.start(request.caller, body).id
        message = "Memory processing has been queued for background execution"
        return reply({"event_id": str(id), "status": "PENDING", "message": message}, headers=body.ignored)
    event = uuid4()
    stored = storing.verbatim(request.caller, body, event)
    message = VERBATIM if body.infer else "Memories stored word for word"
    answer = {"event_id": str(event), "status": "SUCCEEDED", "message": message, "results": presenters.added(stored)}
    return reply(answer, headers=body.ignored)


@router.post("/v3/memories/", out=None, kind="read", limited=True)
def list_memories(request: Request, query: Query[PageParams], body: ListBody) -> HttpResponse:
    """List the memories that match `filters`, newest first."""
    body.refuse()
    throttle.charge(request, query.page_size, per=100)
    narrowing = reading.narrowing(body.filters)
    page = numbered_page(request.caller, names.namespaces(request.caller), narrowing, query.page, query.page_size)
    items = [presenters.memory(memory) for memory in page.items]
    url = request.build_absolute_uri(request.path)
    return reply(presenters.page(page.count, items, url, query.page, query.page_size), headers=body.ignored)


@router.post("/v3/memories/search/", out=None, kind="search", limited=True)
def search(request: Request, body: SearchBody) -> HttpResponse:
    """Search the memories that match `filters`. The score is the relevance, from 0 to 1."""
    body.refuse()
    throttle.charge(request, body.top_k, per=100)
    results = reading.search(request.caller, body)
    return reply({"results": [presenters.hit(hit, body.fields) for hit in results.hits]}, headers=body.ignored)


@router.get("/v1/memories/{memory_id}/", out=None, limited=True)
def get(request: Request, memory_id: str, query: Query[MemoryParams]) -> HttpResponse:
    namespace, name = names.place(request.caller, names.parsed(memory_id))
    return reply(presenters.memory(lookup.get(request.caller, namespace, name)))


@router.put("/v1/memories/{memory_id}/", out=None, limited=True)
def update(request: Request, memory_id: str, body: UpdateBody) -> HttpResponse:
    """Change the text, add to the metadata, or set the expiry."""
    body.refuse()
    memory = changing.update(request.caller, names.parsed(memory_id), body.changes)
    return reply(presenters.memory(memory), headers=body.ignored)


@router.delete("/v1/memories/{memory_id}/", out=None, limited=True)
def delete(request: Request, memory_id: str, query: Query[MemoryParams]) -> HttpResponse:
    """Delete a memory. It can be restored during the retention period, with our own routes."""
    changing.delete(request.caller, names.parsed(memory_id), with_superseded=query.delete_linked)
    return reply({"message": "Memory deleted successfully!"})


@router.delete("/v1/memories/", out=None, limited=True)
def delete_all(request: Request, query: Query[OwnedParams]) -> HttpResponse:
    """Delete the memories of a user, an agent, an app or a run."""
    if not query.named:
        raise InvalidInput("user_id", "at least one of user_id, agent_id, app_id and run_id is required")
    changing.delete_owned(request.caller, query.named)
    return reply({"message": "Memories deleted successfully!"})


@router.get("/v1/memories/{memory_id}/history/", out=None, limited=True)
def history(request: Request, memory_id: str, query: Query[MemoryParams]) -> HttpResponse:
    """List the versions of a memory, oldest first."""
    id = names.parsed(memory_id)
    return reply(presenters.history(str(id), changing.history(request.caller, id)))
