"""The requests of Sekha's published Python client, and the fields of its response models."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from pydantic import BaseModel

from tests.conftest import Api, drain


class Conversation(BaseModel):
    id: str
    label: str
    folder: str
    status: str
    message_count: int
    created_at: datetime


class Result(BaseModel):
    conversation_id: str
    message_id: str
    score: float
    content: str
    metadata: dict[str, Any] | None = None
    label: str
    folder: str
    timestamp: datetime


class Results(BaseModel):
    results: list[Result]
    total: int
    page: int
    page_size: int


class FtsMessage(BaseModel):
    id: str
    conversation_id: str
    role: str
    content: str
    timestamp: str
    rank: float


MESSAGE = {"role": "user", "content": "What is the token limit?", "metadata": None}


@pytest.fixture
def conversation(api: Api) -> Conversation:
    body = {"messages": [MESSAGE], "label": "default", "folder": "default", "metadata": None}
    response = api.post("/api/v1/conversations", body)
    drain()
    assert response.status_code == 201, response.content
    return Conversation(**response.json())


def test_it_creates_and_reads_a_conversation(api: Api, conversation: Conversation) -> None:
    assert (conversation.label, conversation.folder, conversation.message_count) == ("default", "default", 1)
    assert Conversation(**api.get(f"/api/v1/conversations/{conversation.id}").json()) == conversation


def test_it_lists_conversations_also_those_without_a_label(api: Api, conversation: Conversation) -> None:
    api.post("/api/v1/conversations", {"label": None, "folder": None, "messages": []})

    listed = Results(**api.get("/api/v1/conversations?page=1&page_size=50&pinned=false&archived=false").json())

    assert listed.total == len(listed.results) == 2
    assert listed.results[1].conversation_id == conversation.id


@pytest.mark.parametrize("path", ["/query", "/query/smart"])
def test_it_queries_with_nulls_for_what_it_was_not_given(api: Api, conversation: Conversation, path: str) -> None:
    body = {"query": "token limit", "limit": None, "offset": None, "filters": None}

    results = Results(**api.post(f"/api/v1{path}", body).json())

    assert [result.conversation_id for result in results.results] == [conversation.id]
    assert (results.page, results.page_size) == (1, 10)


def test_it_searches_full_text(api: Api, conversation: Conversation) -> None:
    answer = api.post("/api/v1/search/fts", {"query": "token limit", "limit": 10}).json()

    assert [FtsMessage(**message).conversation_id for message in answer["results"]] == [conversation.id]
    assert answer["total"] == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("label", {"label": "new", "folder": "/"}),
        ("folder", {"folder": "/new"}),
        ("pin", None),
        ("archive", None),
    ],
)
def test_it_changes_a_conversation(api: Api, conversation: Conversation, path: str, body: Any) -> None:
    assert api.request("PUT", f"/api/v1/conversations/{conversation.id}/{path}", body).status_code == 200


def test_it_counts_and_deletes(api: Api, conversation: Conversation) -> None:
    assert api.get("/api/v1/conversations/count?label=default&folder=default").json()["count"] == 1
    assert api.delete(f"/api/v1/conversations/{conversation.id}").status_code == 200
    assert api.get(f"/api/v1/conversations/{conversation.id}").status_code == 404


def test_it_assembles_context(api: Api, conversation: Conversation) -> None:
    body = {"query": "token limit", "preferred_labels": [], "context_budget": 4000, "excluded_folders": []}

    [message] = api.post("/api/v1/context/assemble", body).json()

    assert {"id", "conversation_id", "role", "content", "timestamp", "metadata"} <= set(message)
    assert set(message["metadata"]["citation"]) == {"label", "folder", "timestamp"}


def test_an_error_has_the_fields_that_sekhas_javascript_client_reads(api: Api) -> None:
    problem = api.post("/api/v1/conversations", {"label": "x" * 10_000}).json()
    assert problem["error"] == problem["message"] == problem["detail"]
