"""The routes of mem0's open-source server."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Query

from api import throttle
from api.compat.changes import changes_of
from api.compat.layer import CompatRouter
from api.compat.mem0 import changing, names, presenters, reading, routes
from api.compat.mem0.schemas import (
    AddBody,
    OwnedParams,
    OwnedSearchBody,
    ServerListParams,
    UpdateBody,
)
from api.json import reply
from api.request import Request

router = CompatRouter("mem0server", prefix="/mem0")


@router.post("/memories", out=None, limited=True)
def add(request: Request, body: AddBody) -> HttpResponse:
    added = routes.added(request, body)
    results = [
        {"id": names.id_of(memory), "memory": presenters.text(memory), "event": "ADD"} for memory in added.memories
    ]
    return reply({"results": results} if results else {"results": [], **added.event})


@router.get("/memories", out=None, limited=True)
def list_memories(request: Request, query: Query[ServerListParams]) -> HttpResponse:
    """List the newest memories of a user, an agent, an app or a run."""
    throttle.charge(request, query.top_k, per=100)
    page = reading.page(request.caller, query.owners, 1, query.top_k)
    return reply({"results": [presenters.memory(memory) for memory in page.items]})


@router.post("/search", out=None, kind="search", limited=True)
def search(request: Request, body: OwnedSearchBody) -> HttpResponse:
    changes = changes_of(request)
    body.accept(changes)
    throttle.charge(request, body.top_k, per=100)
    results = reading.search(request.caller, body, changes)
    return reply({"results": [presenters.hit(hit, None) for hit in results.hits]})


@router.get("/memories/{memory_id}", out=None, limited=True)
def get(request: Request, memory_id: str) -> HttpResponse:
    return reply(presenters.memory(reading.memory(request.caller, names.parsed(memory_id))))


@router.put("/memories/{memory_id}", out=None, limited=True)
def update(request: Request, memory_id: str, body: UpdateBody) -> HttpResponse:
    body.accept(changes_of(request))
    changing.update(request.caller, names.parsed(memory_id), body.changes)
    return reply({"message": "Memory updated successfully!"})


@router.delete("/memories/{memory_id}", out=None, limited=True)
def delete(request: Request, memory_id: str) -> HttpResponse:
    changing.delete(request.caller, names.parsed(memory_id))
    return reply({"message": "Memory deleted successfully"})


@router.get("/memories/{memory_id}/history", out=None, limited=True)
def history(request: Request, memory_id: str) -> HttpResponse:
    return reply(reading.history(request.caller, names.parsed(memory_id)))


@router.delete("/memories", out=None, limited=True)
def delete_all(request: Request, query: Query[OwnedParams]) -> HttpResponse:
    changing.delete_owned(request.caller, query.owners)
    return reply({"message": "All relevant memories deleted"})


@router.post("/reset", out=None, limited=True)
def reset(request: Request) -> HttpResponse:
    """Delete all memories that mem0 clients have stored."""
    changing.delete_owned(request.caller, dict.fromkeys(names.OWNERS, "*"))
    return reply({"message": "All memories reset"})
