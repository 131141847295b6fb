"""Conversations for tests."""

from __future__ import annotations

from typing import Any

from tests.conftest import Api

ROOT = "/api/v1/conversations"


def said(*contents: str, role: str = "user", **more: Any) -> list[dict[str, Any]]:
    return [{"role": role, "content": content, **more} for content in contents]


def begin(api: Api, *contents: str, **fields: Any) -> dict[str, Any]:
    """Begin a conversation of the user's messages, and expect it to work."""
    response = api.post(ROOT, {"messages": said(*contents), **fields})
    assert response.status_code == 201, response.content
    made: dict[str, Any] = response.json()
    return made


def contents(api: Api, id: str) -> list[str]:
    return [each["content"] for each in api.get(f"{ROOT}/{id}/messages?limit=1000").json()["items"]]


def query(api: Api, words: str, filters: dict[str, Any] | None = None, **more: Any) -> list[str]:
    """The messages that were found, best first."""
    response = api.post("/api/v1/query", {"query": words, "filters": filters, **more})
    assert response.status_code == 200, response.content
    return [each["content"] for each in response.json()["results"]]


def full_text(api: Api, words: str, **more: Any) -> list[str]:
    response = api.post("/api/v1/search/fts", {"query": words, **more})
    assert response.status_code == 200, response.content
    return [each["content"] for each in response.json()["results"]]


def assemble(api: Api, words: str, **more: Any) -> dict[str, Any]:
    """The manifest."""
    response = api.post("/api/v1/context/assemble?manifest=true", {"query": words, **more})
    assert response.status_code == 200, response.content
    made: dict[str, Any] = response.json()
    return made
