"""`user_id`, `agent_id` and `session_id` of memories and conversations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from memories.models import IDS
from tests.conftest import Api, drain, problem_of

WHOSE = {"user_id": "ada", "agent_id": "planner", "session_id": "s-1"}


def test_a_memory_contains_its_owner_ids(api: Api) -> None:
    api.store("1", "tea", **WHOSE)
    api.store("2", "tea")

    one, other = api.get("/memories").json()["items"]
    assert {name: one[name] for name in IDS} == WHOSE
    assert {name: other[name] for name in IDS} == dict.fromkeys(IDS)


def test_storing_again_replaces_the_ids_and_a_patch_sets_or_removes_them(api: Api) -> None:
    api.store("1", "tea", **WHOSE)
    api.store("1", "tea", user_id="bob")

    patched = api.patch("/memories/1", {"user_id": None, "session_id": "s-2"}).json()["memory"]
    assert [patched[name] for name in IDS] == [None, None, "s-2"]


@pytest.mark.parametrize("name", IDS)
def test_lists_searches_and_maps_take_the_ids(api: Api, name: str) -> None:
    api.store("1", "tea with milk", **WHOSE)
    api.store("2", "tea with milk", **{**WHOSE, name: "other"})
    api.store("3", "tea with milk")
    drain()
    query = f"{name}={WHOSE[name]}"

    assert [row["coord"] for row in api.get(f"/memories?{query}").json()["items"]] == ["1.0"]
    assert [row["coord"] for row in api.get(f"/memories/search?query=tea&{query}").json()["memories"]] == ["1.0"]
    assert [row["coord"] for row in api.search("tea", **{name: WHOSE[name]})] == ["1.0"]
    assert [row["coord"] for row in api.search("tea", filters={name: WHOSE[name]})] == ["1.0"]
    assert [row["count"] for row in api.get(f"/memories/map?{query}").json()["cells"]] == [1]


@pytest.mark.parametrize(
    ("condition", "coords"),
    [
        ({"user_id": "ada"}, {"1.0"}),
        ({"user_id": {"in": ["ada", "bob"]}}, {"1.0", "2.0"}),
        ({"user_id": {"ne": "ada"}}, {"2.0"}),
        ({"user_id": {"nin": ["ada"]}}, {"2.0"}),
        ({"user_id": {"exists": True}}, {"1.0", "2.0"}),
        ({"user_id": {"exists": False}}, {"3.0"}),
        ({"NOT": [{"user_id": "ada"}]}, {"2.0", "3.0"}),
        ({"NOT": [{"user_id": "ada", "text": "tea"}]}, {"2.0", "3.0"}),
        ({"OR": [{"user_id": "ada"}, {"text": {"contains": "coffee"}}]}, {"1.0"}),
        ({"NOT": [{"OR": [{"user_id": "ada"}, {"text": "coffee"}]}]}, {"2.0", "3.0"}),
        ({"payload.user_id": "carol"}, {"3.0"}),
    ],
)
def test_a_filter_on_an_id_is_true_or_false_for_every_memory(api: Api, condition: Any, coords: set[str]) -> None:
    api.store("1", "tea", user_id="ada")
    api.store("2", "tea", user_id="bob")
    api.post("/memories", {"coord": "3", "payload": {"text": "tea", "user_id": "carol"}})

    assert {row["coord"] for row in api.search("tea", filters=condition, mode="keyword")} == coords


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("value", ["", "x" * 256, "a\nb", "a\u0000", " a", "a ", 7, ["ada"]])
def test_an_unusable_id_is_refused_and_nothing_stored(api: Api, name: str, value: Any) -> None:
    problem = problem_of(api.post("/memories", {"coord": "1", "payload": {}, name: value}), 422)

    assert problem["errors"][0]["field"] == name
    assert api.get("/memories").json()["items"] == []


@pytest.mark.parametrize("condition", [{"user_id": ""}, {"user_id": None}, {"user_id": 1}, {"user_id": {"gt": "a"}}])
def test_an_unusable_condition_on_an_id_is_refused(api: Api, condition: Any) -> None:
    response = api.post("/memories/search", {"query": "tea", "filters": condition})

    assert problem_of(response, 422)["errors"][0]["field"].startswith("filters.user_id")


def test_messages_inherit_the_ids_of_their_conversation(api: Api) -> None:
    talk = {"messages": [{"role": "user", "content": "Tea?"}], **WHOSE}
    made = api.post("/api/v1/conversations", talk).json()
    api.post(f"/api/v1/conversations/{made['id']}/messages", {"messages": [{"role": "user", "content": "Milk?"}]})
    assert {name: made[name] for name in IDS} == WHOSE
    listed = api.get("/memories?namespace=conversations&user_id=ada&session_id=s-1").json()["items"]
    assert [{name: row[name] for name in IDS} for row in listed] == [WHOSE, WHOSE]

    changed = api.patch(f"/api/v1/conversations/{made['id']}", {"user_id": "bob"}).json()

    assert (changed["user_id"], changed["agent_id"]) == ("bob", "planner")
    assert len(api.get("/memories?namespace=conversations&user_id=bob&agent_id=planner").json()["items"]) == 2


@pytest.mark.parametrize("name", IDS)
def test_conversations_are_listed_counted_exported_and_searched_by_id(api: Api, name: str) -> None:
    for whose in (WHOSE, {**WHOSE, name: "other"}, {}):
        api.post("/api/v1/conversations", {"messages": [{"role": "user", "content": "Tea with milk"}], **whose})
    drain()
    query = f"{name}={WHOSE[name]}"
    body = {"query": "tea milk", name: WHOSE[name]}

    assert api.get(f"/api/v1/conversations?{query}").json()["total"] == 1
    assert api.get(f"/api/v1/conversations/count?{query}").json()["count"] == 1
    assert [row[name] for row in json.loads(b"".join(api.get(f"/api/v1/export?{query}")))] == [WHOSE[name]]
    assert len(api.post("/api/v1/query", body).json()["results"]) == 1
    assert len(api.post("/api/v1/query", {"query": "tea", "filters": {name: WHOSE[name]}}).json()["results"]) == 1
    assert len(api.post("/api/v1/search/fts", body).json()["results"]) == 1
    assert len(api.post("/api/v1/context/assemble", body).json()) == 1


def test_an_export_can_be_imported_with_its_ids(api: Api, stranger: Api) -> None:
    api.post("/api/v1/conversations", {"messages": [{"role": "user", "content": "Tea"}], **WHOSE})
    exported = b"".join(api.get("/api/v1/export"))

    assert stranger.request("POST", "/api/v1/import", raw=exported).status_code == 200
    assert stranger.get("/api/v1/conversations?user_id=ada&agent_id=planner&session_id=s-1").json()["total"] == 1
