"""Sekha's clients work under `/sekha`. A response header lists what the layer changed in a request."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import pytest

from operations import jobs
from tests.conftest import Api, drain, issue_key, problem_of

TEXT = "The secret aardvark sleeps in the vault"
CHANGES = "X-Compat-Changes"


@pytest.fixture
def talk(api: Api) -> dict[str, Any]:
    return created(
        api, label="Vault", folder="/vault", importance_score=8, messages=[{"role": "user", "content": TEXT}]
    )


def created(api: Api, **body: Any) -> dict[str, Any]:
    response = api.post("/sekha/api/v1/conversations", body)
    assert response.status_code == 201, response.content
    drain()
    return {**response.json(), "changes": response.headers.get(CHANGES, "")}


def messages_of(api: Api, id: str) -> list[dict[str, Any]]:
    data = api.post("/sekha/mcp/tools/memory_get_context", {"conversation_id": id}).json()["data"]
    messages: list[dict[str, Any]] = data["messages"]
    return messages


def test_a_request_that_needs_no_change_has_no_header(talk: dict[str, Any]) -> None:
    assert talk["changes"] == ""


def test_input_that_our_routes_reject_is_translated_and_reported(api: Api) -> None:
    messages = [
        {"role": "developer", "content": "Answer briefly"},
        {"role": "human", "content": "Hello", "timestamp": "2026-01-02T03:04:05"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": ["Look", {"type": "image_url", "image_url": {"url": "data:,x"}}]},
    ]

    talk = created(api, label="x", folder="//x/ y/", importanceScore=0, session_count=2, messages=messages)

    assert (talk["folder"], talk["importance_score"], talk["message_count"]) == ("/x/y", 1, 3)
    assert set(talk["changes"].split("; ")) == {
        "session_count: unknown, dropped",
        "importance_score: limited to the range from 1 to 10",
        "folder: slashes and spaces removed",
        "messages.1.role: unknown, stored as user",
        "messages.1.timestamp: read as UTC",
        "messages.2: empty, dropped",
    }
    _, hello, look = messages_of(api, talk["id"])
    assert (hello["role"], hello["timestamp"]) == ("user", "2026-01-02T03:04:05Z")
    assert (look["content"], look["content_parts"][1]["type"]) == ("Look", "image_url")


@pytest.mark.parametrize(
    ("folder", "stored"), [(" / a b / / c/ ", "/a b/c"), ("/ /x", "/x"), ("a\t/\n b", "a/b"), ("  x  ", "x")]
)
def test_slashes_and_spaces_in_a_folder_are_removed(api: Api, folder: str, stored: str) -> None:
    assert created(api, label="x", folder=folder, messages=[])["folder"].removesuffix("/") == stored


def test_a_folder_with_many_spaces_is_rejected_fast(api: Api) -> None:
    body = {"label": "x", "folder": "/a" + " " * 60_000 + "b", "messages": []}
    started = time.thread_time()

    problem_of(api.post("/sekha/api/v1/conversations", body), 400, field="folder")
    assert time.thread_time() - started < 1


def test_more_than_a_thousand_messages_are_stored_in_order(api: Api) -> None:
    talk = created(api, label="long", messages=[{"role": "user", "content": f"number {n}"} for n in range(1003)])

    assert talk["message_count"] == 1003
    assert api.get(f"/sekha/api/v1/conversations/{talk['id']}").json()["message_count"] == 1003


def test_many_messages_are_stored_completely_or_not_at_all(api: Api) -> None:
    messages = [{"role": "user", "content": "x"}] * 1000 + [{"role": "user", "content": 7}]

    response = api.post("/sekha/api/v1/conversations", {"label": "x", "messages": messages})

    assert response.status_code == 400
    assert api.get("/sekha/api/v1/conversations/count").json()["count"] == 0


def test_a_long_message_becomes_several(api: Api) -> None:
    talk = created(api, label="x", messages=[{"role": "user", "content": "a" * 100_000 + "b" * 50}])

    assert [len(message["content"]) for message in messages_of(api, talk["id"])] == [100_000, 50]
    assert talk["changes"] == "messages.0: stored as 2 messages, because of its length"


def test_a_list_has_a_limit_and_an_offset(api: Api) -> None:
    ids = [created(api, label=f"talk {number}", messages=[])["id"] for number in range(5)]

    page = api.get("/sekha/api/v1/conversations?limit=2&offset=1&sort=x")

    assert [row["id"] for row in page.json()["results"]] == [ids[3], ids[2]]
    assert page.json()["total"] == 5
    assert page.headers[CHANGES] == "sort: unknown, dropped"


@pytest.mark.parametrize(
    "body",
    [
        {"query": "aardvark", "filters": {"labels": ["Vault"]}},
        {
            "query": [{"type": "text", "text": "aardvark"}],
            "filters": {"folders": "/vault", "date_from": "2026-01-01T00:00:00"},
        },
        {"query": "aardvark", "filter_labels": ["Vault"], "filters": None},
        {"query": "aardvark", "filters": {"importance_min": 8, "importance_max": 9}},
    ],
)
def test_filters_of_clients_select(api: Api, talk: dict[str, Any], body: dict[str, Any]) -> None:
    created(api, label="Other", folder="/other", messages=[{"role": "user", "content": "An aardvark"}])

    found = api.post("/sekha/api/v1/query", body).json()["results"]

    assert [hit["conversation_id"] for hit in found] == [talk["id"]]


def test_an_unknown_filter_is_rejected(api: Api) -> None:
    response = api.post("/sekha/api/v1/query", {"query": "x", "filters": {"mood": "good"}})

    assert response.status_code == 400
    assert response.json()["error"] == response.json()["message"]
    assert "mood" in response.json()["error"]


def test_invalid_input_is_reported_with_400(api: Api) -> None:
    response = api.get("/sekha/api/v1/conversations/none")

    assert (response.status_code, response.json()["success"]) == (400, False)
    assert api.get(f"/sekha/api/v1/conversations/{UUID(int=1)}").status_code == 404


@pytest.mark.parametrize("format", ["json", "markdown"])
def test_an_export_is_one_text(api: Api, talk: dict[str, Any], format: str) -> None:
    other = created(api, label="Other", messages=[{"role": "user", "content": "Other"}])

    all_of_them = api.get(f"/sekha/api/v1/export?format={format}").json()
    one = api.get(f"/sekha/api/v1/export?format={format}&conversation_id={other['id']}").json()

    assert TEXT in all_of_them["content"]
    assert (all_of_them["conversation_count"], one["conversation_count"]) == (2, 1)
    assert TEXT not in one["content"]


def test_a_tool_reports_that_its_results_are_incomplete(api: Api) -> None:
    words = [f"word{number}" for number in range(65)]  # one more than a keyword search uses

    for tool in ("memory_search", "memory_query"):
        found = api.post(f"/sekha/mcp/tools/{tool}", {"query": " ".join(words)}).json()["data"]
        assert found["degraded"] == ["keyword"]


def test_the_tools_answer_in_sekhas_envelope(api: Api) -> None:
    body = {"label": "Tool", "folder": "/t", "messages": [{"role": "user", "content": TEXT}], "importance_score": 3}
    stored = api.post("/sekha/mcp/tools/memory_store", body).json()
    drain()
    id = stored["data"]["conversation_id"]

    assert (stored["success"], stored["error"]) == (True, None)
    found = api.post("/sekha/mcp/tools/memory_search", {"query": "aardvark", "filter_labels": ["Tool"]}).json()["data"]
    assert [(hit["content"], type(hit["similarity"])) for hit in found["results"]] == [(TEXT, float)]
    changed = api.post("/sekha/mcp/tools/memory_update", {"conversation_id": id, "folder": "/u", "label": None}).json()
    assert changed["data"]["updated_fields"] == ["folder"]
    assert api.get("/sekha/api/v1/stats").json()["data"] == {
        "total_conversations": 1,
        "average_importance": 3.0,
        "folders": ["/u"],
    }
    export = api.post("/sekha/mcp/tools/memory_export", {"conversation_id": id, "format": "markdown"}).json()["data"]
    assert TEXT in export["content"]
    assert {tool["name"] for tool in api.get("/sekha/mcp/tools").json()} >= {"memory_store", "memory_stats"}


def test_suggested_labels_carry_the_folder(api: Api, talk: dict[str, Any]) -> None:
    suggested = api.post("/sekha/api/v1/labels/suggest", {"conversation_id": talk["id"]}).json()["suggestions"]

    assert {suggestion["folder"] for suggestion in suggested} == {"/vault"}


def test_a_message_is_scored_by_its_id(api: Api, talk: dict[str, Any]) -> None:
    id = messages_of(api, talk["id"])[0]["id"]

    score = api.post("/sekha/api/v1/messages/score", {"message_id": id}).json()

    assert (score["message_id"], 1 <= score["importance_score"] <= 10) == (id, True)


def test_a_rebuild_while_one_runs_is_the_same_job(operator: Api) -> None:
    first, second = (operator.post("/sekha/api/v1/rebuild-embeddings") for _ in range(2))

    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["job_id"] == second.json()["job_id"]
    assert jobs.advance()


def test_the_layer_accepts_keys_of_both_styles(api: Api) -> None:
    for style in ("soma", "sekha"):
        assert Api(issue_key(api.tenant, style=style), api.tenant).get("/sekha/api/v1/stats").status_code == 200
