"""Many memories in one request."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memories.index import backpressure
from memories.models import Memory
from tests.conftest import Api, drain, problem_of


def item(coord: Any, text: str = "a memory", **fields: Any) -> dict[str, Any]:
    return {"coord": coord, "payload": {"text": text}, **fields}


def bulk(api: Api, items: list[Any], status: int = 200, **fields: Any) -> dict[str, Any]:
    response = api.post("/memories/bulk", {"items": items, **fields})
    assert response.status_code == status, response.content
    answer: dict[str, Any] = response.json()
    return answer


def coords(api: Api) -> list[str]:
    return [memory["coord"] for memory in api.get("/memories?limit=1000").json()["items"]]


def test_bulk_items_are_stored_and_answered_in_order(api: Api) -> None:
    api.store("2")

    answer = bulk(api, [item("3"), item("2"), item([1, 5], key="k")])

    ids = {memory["coord"]: memory["id"] for memory in api.get("/memories").json()["items"]}
    assert answer == {
        "results": [
            {"index": 0, "status": 201, "coord": "3.0", "id": ids["3.0"], "key": None, "version": 1},
            {"index": 1, "status": 200, "coord": "2.0", "id": ids["2.0"], "key": None, "version": 2},
            {"index": 2, "status": 201, "coord": "1.0,5.0", "id": ids["1.0,5.0"], "key": "k", "version": 1},
        ],
        "stored": 3,
        "failed": 0,
    }
    assert coords(api) == ["1.0,5.0", "2.0", "3.0"]


def test_an_item_may_say_all_that_a_store_may(api: Api) -> None:
    fields: dict[str, Any] = {
        "memory_type": "semantic",
        "metadata": {"a": 1},
        "importance": 3.5,
        "context": "c",
        "namespace": "n",
    }
    bulk(api, [item("1", expires_at="2999-01-01T00:00:00Z", **fields), item("1", ttl_seconds=60)])

    memory = api.get("/memories/1?namespace=n").json()["memory"]

    assert {name: memory[name] for name in fields} == fields
    assert memory["expires_at"] == "2999-01-01T00:00:00Z"
    assert api.get("/memories/1").json()["memory"]["expires_at"]


def test_one_bad_item_does_not_spoil_the_others(api: Api) -> None:
    bad = [item("x"), item("2", surprise=1), {"coord": "3"}, item("4", importance=11), item("5", embedding=[1.0]), {}]

    answer = bulk(api, [item("1"), *bad, item("6")], 207)

    assert [result["status"] for result in answer["results"]] == [201, 400, 422, 422, 422, 422, 422, 201]
    assert [result["index"] for result in answer["results"]] == list(range(8))
    assert (answer["stored"], answer["failed"]) == (2, 6)
    assert coords(api) == ["1.0", "6.0"]


def test_the_error_of_an_item_says_what_is_wrong_with_it(api: Api) -> None:
    answer = bulk(api, [item("1,nan"), item("2", importance=11, surprise=1)], 207)

    coordinate, fields = (result["error"] for result in answer["results"])
    assert coordinate["code"] == "invalid_coordinate"
    assert "coordinate" in coordinate["detail"]
    assert {error["field"] for error in fields["errors"]} == {"importance", "surprise"}
    assert answer["results"][1]["coord"] == "2"


def test_all_bad_is_207_too_and_stores_nothing(api: Api) -> None:
    answer = bulk(api, [item("x"), item("y")], 207)

    assert (answer["stored"], answer["failed"]) == (0, 2)
    assert coords(api) == []


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (item("x"), "items.1.coord"),
        (item("2", importance=11), "items.1.importance"),
        (item("2", embedding=[0.0] * 256), "items.1.embedding"),
        (item("2", expires_at="2020-01-01T00:00:00Z"), "items.1.expires_at"),
    ],
)
def test_atomic_is_all_or_nothing(api: Api, bad: dict[str, Any], field: str) -> None:
    response = api.post("/memories/bulk", {"items": [item("1"), bad, item("3")], "atomic": True})

    problem_of(response, 422, field=field)
    assert coords(api) == []


def test_atomic_stores_all_that_is_good(api: Api) -> None:
    assert bulk(api, [item("1"), item("2")], atomic=True)["stored"] == 2
    assert coords(api) == ["1.0", "2.0"]


def test_the_last_of_duplicate_coordinates_wins_and_both_count(api: Api) -> None:
    answer = bulk(api, [item("1", "first"), item("2"), item("1.0", "second"), item([1], "third")])

    assert [(result["status"], result["version"]) for result in answer["results"]] == [
        (201, 1),
        (201, 1),
        (200, 2),
        (200, 3),
    ]
    memory = api.get("/memories/1").json()["memory"]
    assert (memory["payload"], memory["version"]) == ({"text": "third"}, 3)
    assert Memory.objects.for_tenant(api.tenant).count() == 2


def test_one_coordinate_in_two_namespaces_is_two_memories(api: Api) -> None:
    bulk(api, [item("1", "here", namespace="a"), item("1", "there", namespace="b")])

    assert api.get("/memories/1?namespace=a").json()["memory"]["payload"] == {"text": "here"}
    assert api.get("/memories/1?namespace=b").json()["memory"]["payload"] == {"text": "there"}


def test_a_deleted_memory_can_be_stored_again(api: Api) -> None:
    api.store("1")
    api.delete("/memories/1")

    (result,) = bulk(api, [item("1")])["results"]
    assert (result["status"], result["coord"], result["version"]) == (201, "1.0", 3)
    assert coords(api) == ["1.0"]


def test_memories_stored_in_bulk_are_found(api: Api) -> None:
    bulk(api, [item("1", "an aardvark"), item("2", "a zebra")])
    drain()

    assert [found["coord"] for found in api.search("aardvark", mode="keyword")] == ["1.0"]
    assert api.search("aardvark", mode="semantic", top_k=1)[0]["coord"] == "1.0"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "items"),
        ({"items": []}, "items"),
        ({"items": "x"}, "items"),
        ({"items": [1]}, "items.0"),
        ({"items": [{}] * 1001}, "items"),
        ({"items": [{}], "atomic": "yes"}, "atomic"),
        ({"items": [{}], "namespace": "n"}, "namespace"),
    ],
)
def test_a_bad_batch_is_refused(api: Api, body: dict[str, Any], field: str) -> None:
    problem_of(api.post("/memories/bulk", body), 422, field=field)


def test_a_thousand_fit_one_batch(api: Api) -> None:
    assert bulk(api, [item([number, 1]) for number in range(1000)])["stored"] == 1000


# --- Get and delete ----------------------------------------------------------------------------------------------


def test_many_memories_are_fetched_in_the_requested_order(api: Api) -> None:
    bulk(api, [item("1", "one"), item("2", "two"), item("3", "three")])
    api.delete("/memories/3")

    items = api.post("/memories/bulk/get", {"coords": ["2", [1], "9", "3", "2.0"]}).json()["items"]

    assert [(memory["coord"], memory["memory"] and memory["memory"]["payload"]["text"]) for memory in items] == [
        ("2.0", "two"),
        ("1.0", "one"),
        ("9.0", None),
        ("3.0", None),
        ("2.0", "two"),
    ]
    assert items[1]["memory"] == api.get("/memories/1").json()["memory"]


def test_many_are_deleted_and_each_says_whether_it_was_there(api: Api) -> None:
    bulk(api, [item("1"), item("2"), item("3")])

    answer = api.post("/memories/bulk/delete", {"coords": ["1", "9", [2]]}).json()

    assert answer == {
        "results": [
            {"coord": "1.0", "deleted": True},
            {"coord": "9.0", "deleted": False},
            {"coord": "2.0", "deleted": True},
        ],
        "deleted": 2,
    }
    assert coords(api) == ["3.0"]
    assert api.post("/memories/1/restore").status_code == 200


@pytest.mark.parametrize("route", ["get", "delete"])
@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"coords": []}, 422, "coords"),
        ({"coords": ["1"] * 1001}, 422, "coords"),
        ({"coords": "1"}, 422, "coords"),
        ({"coords": ["1"], "namespace": "a b"}, 422, "namespace"),
        ({"coords": ["1"], "purge": True}, 422, "purge"),
        ({"coords": ["1", "x"]}, 400, None),
    ],
)
def test_a_bad_list_of_coordinates_is_refused_and_deletes_nothing(
    api: Api, route: str, body: dict[str, Any], status: int, field: str | None
) -> None:
    api.store("1")

    problem_of(api.post(f"/memories/bulk/{route}", body), status, field=field)

    assert coords(api) == ["1.0"]


# --- Statements --------------------------------------------------------------------------------------------------

MANY = 40  # Django passes at most 999 values per statement to SQLite, so a batch of 1000 takes a few more


def statements(api: Api, path: str, body: Any) -> int:
    with CaptureQueriesContext(connection) as captured:
        response = api.post(path, body)
    assert response.status_code == 200, response.content
    return len(captured)


def test_a_batch_of_any_size_takes_the_same_statements(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backpressure, "check", lambda tenant: None)  # one more every two seconds
    api.get("/stats")  # fills the caches of keys and generations

    def new(start: int, count: int) -> int:
        return statements(api, "/memories/bulk", {"items": [item([start + at]) for at in range(count)]})

    first = new(0, 2)
    assert new(100, MANY) == first
    again = new(0, 2)
    assert new(100, MANY) == again


@pytest.mark.parametrize("route", ["get", "delete"])
def test_a_list_of_coordinates_takes_a_constant_number_of_statements(api: Api, route: str) -> None:
    bulk(api, [item([at]) for at in range(2 + MANY)])

    def count(start: int, end: int) -> int:
        return statements(api, f"/memories/bulk/{route}", {"coords": [[at] for at in range(start, end)]})

    assert count(0, 2) == count(2, 2 + MANY)
