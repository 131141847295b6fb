"""The number of SQL statements in each request; reads write nothing."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from conversations.context import gather
from memories.index import generations
from tests.conftest import Api, drain, problem_of
from tests.support.conversations import ROOT, begin, said
from tests.support.every_route import CASES, NEEDS

WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE|REPLACE|MERGE|CREATE|DROP|ALTER|SAVEPOINT|BEGIN)", re.IGNORECASE)
BOOKKEEPING = re.compile(r"\s*(SAVEPOINT|RELEASE|BEGIN|COMMIT|ROLLBACK)", re.IGNORECASE)


def statements(api: Api, method: str, path: str, body: Any = None) -> list[str]:
    """Return the SQL statements of a successful request, without those that begin and end transactions."""
    with CaptureQueriesContext(connection) as captured:
        response = api.request(method, path, body)
    assert response.status_code < 300, response.content
    return [query["sql"] for query in captured if not BOOKKEEPING.match(query["sql"])]


@pytest.fixture
def warm(api: Api, django_capture_on_commit_callbacks: Any) -> Api:
    """Fill the caches of keys, generations and namespaces."""
    with django_capture_on_commit_callbacks(execute=True):  # a generation is cached after its commit
        generations.active()
    api.store("0", "warm")
    api.search("warm")
    return api


def fill(api: Api, start: int, count: int) -> None:
    items = [{"coord": [n], "payload": {"text": f"aardvark {n}"}} for n in range(start, start + count)]
    assert api.post("/memories/bulk", {"items": items}).status_code == 200
    drain()


def test_a_fetch_is_one_statement(warm: Api) -> None:
    assert len(statements(warm, "GET", "/memories/0")) == 1


def test_a_list_is_one_statement(warm: Api) -> None:
    fill(warm, 1, 30)

    assert len(statements(warm, "GET", "/memories?limit=1000")) == 1
    assert len(statements(warm, "GET", "/memories?order=-created_at&prefix=1&memory_type=episodic")) == 1


def test_a_store_takes_the_same_few_statements_each_time(warm: Api) -> None:
    counts = [len(statements(warm, "POST", "/memories", {"coord": [n], "payload": {}})) for n in range(10, 13)]
    again = [len(statements(warm, "POST", "/memories", {"coord": [n], "payload": {}})) for n in range(10, 13)]

    # PostgreSQL writes the memory, its outbox row and its audit row in one statement.
    assert counts == [1 if connection.vendor == "postgresql" else 3] * 3
    assert max(again) <= 5
    assert len(set(again)) == 1


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "keyword"])
@pytest.mark.parametrize("more", [{}, {"filters": {"text": {"exists": True}}}, {"consistency": "strong"}], ids=str)
def test_a_search_takes_a_constant_number_of_statements(warm: Api, mode: str, more: dict[str, Any]) -> None:
    def count(top_k: int) -> int:
        body = {"query": "aardvark", "mode": mode, "top_k": top_k, **more}
        return len(statements(warm, "POST", "/memories/search", body))

    fill(warm, 1, 3)
    few = count(3)
    fill(warm, 10, 60)

    assert count(3) == count(50) == few
    assert few <= 8


def test_a_list_near_a_point_takes_a_constant_number_of_statements(warm: Api) -> None:
    fill(warm, 1, 3)
    few = len(statements(warm, "GET", "/memories?near=0&radius=1000"))
    fill(warm, 10, 60)

    assert len(statements(warm, "GET", "/memories?near=0&radius=1000&limit=1000")) == few <= 2


def test_a_list_of_conversations_takes_a_constant_number_of_statements(warm: Api) -> None:
    def count(path: str) -> int:
        return len(statements(warm, "GET", path))

    def counts() -> list[int]:
        return [
            count(f"{ROOT}?page_size=200"),
            count(f"{ROOT}?folder=/f&q=l&limit=200"),
            count(f"{ROOT}/{id}/messages"),
        ]

    id = begin(warm, "one", label="l", folder="/f")["id"]
    few = counts()
    for _ in range(15):
        begin(warm, "another", label="l", folder="/f")
    warm.post(f"{ROOT}/{id}/messages", {"messages": said(*map(str, range(40)))})

    assert counts() == few == [2, 2, 2]


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/query", {}),
        ("/query", {"filters": {"folder": "/f"}}),
        ("/search/fts", {}),
        ("/context/assemble", {}),
        ("/context/assemble?manifest=true", {"preferred_labels": ["l"], "excluded_folders": ["/x"]}),
    ],
)
def test_a_search_over_messages_takes_a_constant_number_of_statements(
    warm: Api, monkeypatch: pytest.MonkeyPatch, path: str, more: dict[str, Any]
) -> None:
    # Optional work happens both times: some turns are not proposed, all messages are in the pools of both legs, and
    # they are too few for their count to be cached.
    monkeypatch.setattr(gather, "_PROPOSED", (2, 2))

    def count() -> int:
        return len(statements(warm, "POST", f"/api/v1{path}", {"query": "aardvark", **more}))

    for label in ("l", "pinned", "archived"):
        words = ("an aardvark", "and another aardvark", "aardvark again", "aardvark at last")
        id = begin(warm, *words, label=label, folder="/f")["id"]
        if label != "l":
            warm.request("PUT", f"{ROOT}/{id}/status", {"status": label})
    drain()
    few = count()
    for number in range(8):
        begin(warm, *(f"aardvark {number} {at}" for at in range(9)), label="l", folder="/f")
    drain()

    assert count() == few <= 25


READS = [(route, case) for route, cases in CASES.items() if NEEDS[route] in ("read", "nothing") for case in cases]


@pytest.mark.parametrize(("route", "case"), READS, ids=lambda value: str(value)[:60])
def test_reading_writes_nothing(warm: Api, route: Any, case: Any) -> None:
    fill(warm, 1, 3)
    names = {"coord": "1", "deleted": "8", "expired": "9", "text": "aardvark", "key": "x", "deleted_id": str(uuid4())}
    names["id"] = warm.get("/memories/1").json()["memory"]["id"]
    talk = {"label": "Vault", "messages": [{"role": "user", "content": "an aardvark"}]}
    names["conversation"] = warm.post("/api/v1/conversations", talk).json()["id"]
    warm.post("/api/v1/conversations", talk)
    messages = warm.get(f"/api/v1/conversations/{names['conversation']}/messages").json()
    names["message"] = messages["items"][0]["id"]
    names["conversations_cursor"] = warm.get("/api/v1/conversations?limit=1").json()["next_cursor"]
    for name, query in (("cursor", ""), ("time_cursor", "order=created_at"), ("near_cursor", "near=1&radius=10")):
        names[name] = warm.get(f"/memories?limit=1&{query}").json()["next_cursor"]
    filled = case.filled(names)

    with CaptureQueriesContext(connection) as captured:
        response = warm.request(route[0], "/api/v1" + filled.path, filled.body)

    assert response.status_code in (200, 404), response.content
    assert [query["sql"] for query in captured if WRITES.match(query["sql"])] == []


def test_a_refused_request_writes_nothing(warm: Api) -> None:
    with CaptureQueriesContext(connection) as captured:
        problem_of(warm.post("/memories", {"coord": "x", "payload": {}}), 400)
        problem_of(warm.post("/memories", {"coord": "1"}), 422)
        problem_of(warm.get("/memories?limit=0"), 422)

    assert len(captured) == 0
