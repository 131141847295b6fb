"""Conversations for tests."""

from __future__ import annotations

from typing import Any

from graph import services as graph
from graph.services import NewLink
from memories import coordinates
from memories.reserved_namespaces import CONVERSATIONS
from tenants.caller import Caller
from tests.conftest import Api

ROOT = "/api/v1/conversations"


def said(*contents: str, role: str = "user", **more: Any) -> list[dict[str, Any]]:
    return [{"role": role, "content": content, **more} for content in contents]


def begin(api: Api, *contents: str, **fields: Any) -> dict[str, Any]:
    """Create a conversation with user messages, and return it."""
    response = api.post(ROOT, {"messages": said(*contents), **fields})
    assert response.status_code == 201, response.content
    conversation: dict[str, Any] = response.json()
    return conversation


def link(api: Api, start: str, end: str, **more: Any) -> None:
    """Link messages as the service does, because callers cannot write to the reserved namespace."""
    new = NewLink(coordinates.parse(start), coordinates.parse(end), namespace=CONVERSATIONS, **more)
    graph.link(Caller.command(api.tenant).writing_reserved(), new)


def contents(api: Api, id: str) -> list[str]:
    return [message["content"] for message in api.get(f"{ROOT}/{id}/messages?limit=1000").json()["items"]]


def query(api: Api, words: str, filters: dict[str, Any] | None = None, **more: Any) -> list[str]:
    """Return the texts of the hits, best first."""
    response = api.post("/api/v1/query", {"query": words, "filters": filters, **more})
    assert response.status_code == 200, response.content
    return [message["content"] for message in response.json()["results"]]


def full_text(api: Api, words: str, **more: Any) -> list[str]:
    response = api.post("/api/v1/search/fts", {"query": words, **more})
    assert response.status_code == 200, response.content
    return [message["content"] for message in response.json()["results"]]


def assemble(api: Api, words: str, **more: Any) -> dict[str, Any]:
    """Return the manifest of a context."""
    response = api.post("/api/v1/context/assemble?manifest=true", {"query": words, **more})
    assert response.status_code == 200, response.content
    manifest: dict[str, Any] = response.json()
    return manifest
