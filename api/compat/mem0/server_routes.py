"""Routes of mem0's open-source server."""

from __future__ import annotations

from uuid import uuid4

from django.http import HttpResponse
from ninja import Query

from api import throttle
from api.compat.layer import CompatRouter
from api.compat.mem0 import changing, inference, names, presenters, reading, storing
from api.compat.mem0.schemas import (
    AddBody,
    OwnedParams,
    ServerListParams,
    ServerSearchBody,
    UpdateBody,
)
from api.json import reply
from api.request import Request
from memories import lookup
from memories.numbered_pages import numbered_page
from somamemory.errors import InvalidInput

router = CompatRouter("mem0server", prefix="/mem0")


@router.post("/memories", out=None, limited=True)
def add(request: Request, body: AddBody) -> HttpResponse:
    body.refuse()
    if not body.named:
        raise InvalidInput("user_id", "at least one of user_id, agent_id and run_id is required")
    throttle.charge(request, len(body.said), per=50)
    if body.infer and inference.is_possible():
        id = inference.start(request.caller, body).id
        return reply({"results": [], "event_id": str(id), "status": "PENDING"}, headers=body.ignored)
    stored = storing.verbatim(request.caller, body, uuid4())
    results = [{"id": names.id_of(memory), "memory": presenters.text(memory), "event": "ADD"} for memory in stored]
    return reply({"results": results}, headers=body.ignored)


@router.get("/memories", out=None, limited=True)
def list_memories(request: Request, query: Query[ServerListParams]) -> HttpResponse:
    """List the newest memories of a user, an agent, an app or a run."""
    throttle.charge(request, query.top_k, per=100)
    narrowing = reading.narrowing(dict(query.named))
    page = numbered_page(request.caller, names.namespaces(request.caller), narrowing, 1, query.top_k)
    return reply({"results": [presenters.memory(memory) for memory in page.items]})


@router.post("/search", out=None, kind="search", limited=True)
def search(request: Request, body: ServerSearchBody) -> HttpResponse:
    body.refuse()
    throttle.charge(request, body.top_k, per=100)
    body.filters.update(body.named)
    results = reading.search(request.caller, body)
    return reply({"results": [presenters.hit(hit, None) for hit in results.hits]}, headers=body.ignored)


@router.get("/memories/{memory_id}", out=None, limited=True)
def get(request: Request, memory_id: str) -> HttpResponse:
    namespace, name = names.place(request.caller, names.parsed(memory_id))
    return reply(presenters.memory(lookup.get(request.caller, namespace, name)))


@router.put("/memories/{memory_id}", out=None, limited=True)
def update(request: Request, memory_id: str, body: UpdateBody) -> HttpResponse:
    body.refuse()
    changing.update(request.caller, names.parsed(memory_id), body.changes)
    return reply({"message": "Memory updated successfully!"}, headers=body.ignored)


@router.delete("/memories/{memory_id}", out=None, limited=True)
def delete(request: Request, memory_id: str) -> HttpResponse:
    changing.delete(request.caller, names.parsed(memory_id))
    return reply({"message": "Memory deleted successfully"})


@router.get("/memories/{memory_id}/history", out=None, limited=True)
def history(request: Request, memory_id: str) -> HttpResponse:
    id = names.parsed(memory_id)
    return reply(presenters.history(str(id), changing.history(request.caller, id)))


@router.delete("/memories", out=None, limited=True)
def delete_all(request: Request, query: Query[OwnedParams]) -> HttpResponse:
    if not query.named:
        raise InvalidInput("user_id", "at least one of user_id, agent_id and run_id is required")
    changing.delete_owned(request.caller, query.named)
    return reply({"message": "All relevant memories deleted"})


@router.post("/reset", out=None, limited=True)
def reset(request: Request) -> HttpResponse:
    """Delete all memories that mem0 clients have stored."""
    changing.delete_owned(request.caller, dict.fromkeys(names.OWNERS, "*"))
    return reply({"message": "All memories reset"})
