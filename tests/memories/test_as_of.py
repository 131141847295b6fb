"""Reading the past: `as_of` returns what the service returned at that time."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

import graph.selectors
import graph.services
from graph.selectors import LinkFilter
from graph.services import NewLink
from memories import history as earlier_versions
from memories import large_rows, lookup, point_in_time, restoring, selectors, services
from memories.coordinates import Ball, Coordinate, parse
from memories.models import Memory, MemoryVersion
from memories.new_memory import NewMemory
from memories.search import as_of
from memories.search.query import KEYWORD, Search
from memories.selectors import Narrowing
from somamemory.errors import NotFound, SomaError
from somamemory.times import rfc3339
from tenants.caller import Caller
from tenants.models import Tenant
from tests.conftest import Api, drain, issue_key, problem_of

pytestmark = pytest.mark.django_db

MOMENTS = int(os.environ.get("SOMA_TEST_MOMENTS", "100"))
COORDS = [parse(text) for text in ("1", "1,1", "1,2", "2", "2,2")]
WORDS = ("tea", "coffee", "water")
NOWHERE = Narrowing()
NARROWINGS = {
    "all": NOWHERE,
    "below": Narrowing(prefix=parse("1")),
    "near": Narrowing(ball=Ball(parse("1,1"), 1.5)),
    "box": Narrowing(memory_type="semantic"),
}
Content = tuple[str, int, Any]


def content(memory: Memory) -> Content:
    return memory.coordinate.text, memory.version, (memory.payload, memory.importance, memory.valid_to)


@dataclass
class Snapshot:
    """The service's responses at one point in time."""

    at: datetime
    fetched: dict[Coordinate, Content | None]
    lists: dict[str, list[Content]]
    hits: dict[str, list[Content]]
    neighbours: dict[Coordinate, list[Any]]


@dataclass
class Model:
    """A small namespace, with the responses after each of its changes."""

    caller: Caller
    random: random.Random
    snapshots: list[Snapshot] = field(default_factory=list)

    def change(self) -> None:
        coordinate = self.random.choice(COORDS)
        act = self.random.choice(
            [
                *[self.store, self.store, self.patch, self.patch, self.delete, self.restore, self.back],
                *[self.supersede, self.link, self.link, self.unlink],
            ]
        )
        try:
            act(coordinate)
        except SomaError:  # nothing to change
            return

    def store(self, at: Coordinate) -> None:
        word = self.random.choice(WORDS)
        kind = self.random.choice(["episodic", "semantic"])
        services.store(self.caller, NewMemory(at, {"text": f"{word} {self.random.random()}"}, memory_type=kind))

    def patch(self, at: Coordinate) -> None:
        closed = timezone.now() if self.random.random() < 0.2 else None
        changes = {"importance": self.random.random(), "valid_to": closed}
        services.patch(self.caller, "default", at, changes)

    def delete(self, at: Coordinate) -> None:
        services.delete(self.caller, "default", at)

    def restore(self, at: Coordinate) -> None:
        restoring.restore(self.caller, "default", at)

    def back(self, at: Coordinate) -> None:
        restoring.restore(self.caller, "default", at, self.random.randint(1, 5))

    def supersede(self, at: Coordinate) -> None:
        older = self.random.choice(COORDS)
        services.store(self.caller, NewMemory(at, {"text": self.random.choice(WORDS)}, supersedes=[older]))

    def link(self, at: Coordinate) -> None:
        closed = timezone.now() if self.random.random() < 0.2 else None
        new = NewLink(at, self.random.choice(COORDS), strength=self.random.random(), valid_to=closed)
        graph.services.link(self.caller, new)

    def unlink(self, at: Coordinate) -> None:
        graph.services.unlink(self.caller, "default", at, self.random.choice(COORDS))

    def record(self) -> None:
        at = timezone.now()
        lists = {name: self.listed(name) for name in NARROWINGS}
        self.snapshots.append(Snapshot(at, self.fetched(), lists, self.found(), self.neighbours_of_all()))

    def neighbours_of_all(self, moment: datetime | None = None) -> dict[Coordinate, list[Any]]:
        """Return the neighbours of every coordinate, with their paths and memories."""
        link_filter = LinkFilter("both", as_of=moment)
        walks = {
            start: graph.selectors.neighbours(self.caller, "default", start, link_filter, hops=2, include_memory=True)
            for start in COORDS
        }
        return {
            start: [
                (neighbour, memory and content(memory))
                for neighbour, memory in zip(found.neighbours, found.memories or (), strict=True)
            ]
            for start, found in walks.items()
        }

    def fetched(self, moment: datetime | None = None) -> dict[Coordinate, Content | None]:
        return {coordinate: self.fetch(coordinate, moment) for coordinate in COORDS}

    def fetch(self, coordinate: Coordinate, moment: datetime | None) -> Content | None:
        try:
            return content(lookup.get(self.caller, "default", coordinate, moment))
        except NotFound:
            return None

    def listed(self, name: str, moment: datetime | None = None) -> list[Content]:
        """Return all pages of a list, with two memories per page."""
        items: list[Content] = []
        cursor: str | None = None
        while True:
            page = point_in_time.list_memories(
                self.caller, "default", NARROWINGS[name], moment, limit=2, cursor=cursor, include_deleted=name == "all"
            )
            items += [content(memory) for memory in page.items]
            cursor = page.next_cursor
            if cursor is None:
                return items

    def found(self, moment: datetime | None = None) -> dict[str, list[Content]]:
        searches = {word: Search(word, mode=KEYWORD, top_k=50, as_of=moment, shown=False) for word in WORDS}
        return {
            word: sorted(content(hit.memory) for hit in as_of.search(self.caller, search).hits)
            for word, search in searches.items()
        }


def test_every_answer_about_the_past_equals_the_one_given_then(api: Api) -> None:
    """Set SOMA_TEST_MOMENTS=1000 to test 1,000 points in time."""
    model = Model(Caller.command(api.tenant), random.Random(MOMENTS))
    for _ in range(MOMENTS):
        model.change()
        model.record()

    for snapshot in model.random.sample(model.snapshots, len(model.snapshots)):
        assert model.fetched(snapshot.at) == snapshot.fetched
        assert {name: model.listed(name, snapshot.at) for name in NARROWINGS} == snapshot.lists
        assert model.found(snapshot.at) == snapshot.hits
        assert model.neighbours_of_all(snapshot.at) == snapshot.neighbours
    assert MemoryVersion.objects.for_tenant(api.tenant).count() > MOMENTS / 4


@pytest.fixture
def changed(api: Api) -> tuple[Api, str]:
    """A memory that mentioned tea at an earlier time and mentions coffee now."""
    api.store("1", "she drinks tea")
    drain()
    then = rfc3339(timezone.now())
    api.store("1", "she drinks coffee")
    drain()
    return api, then


def texts(response: Any, items: str = "memories") -> list[str]:
    assert response.status_code == 200, response.content
    return [memory["payload"]["text"] for memory in response.json()[items]]


def test_a_fetch_returns_the_version_of_that_moment(changed: tuple[Api, str]) -> None:
    api, then = changed

    memory = api.get(f"/memories/1?as_of={then}").json()["memory"]

    assert (memory["payload"]["text"], memory["version"], memory["index_state"]) == ("she drinks tea", 1, "past")


def test_a_list_returns_the_versions_of_that_moment(changed: tuple[Api, str]) -> None:
    api, then = changed

    assert texts(api.get(f"/memories?as_of={then}"), "items") == ["she drinks tea"]


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "keyword"])
def test_a_search_finds_what_was_true_then(changed: tuple[Api, str], mode: str) -> None:
    api, then = changed

    past_hits = api.post("/memories/search", {"query": "tea", "mode": mode, "as_of": then})
    present = api.post("/memories/search", {"query": "coffee", "mode": mode})

    assert texts(past_hits) == ["she drinks tea"]
    assert past_hits.json()["degraded"] == []
    assert texts(present) == ["she drinks coffee"]


def test_a_search_merges_changed_and_unchanged_memories_by_score(
    changed: tuple[Api, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, _ = changed
    api.store("2", "tea is what he drinks, tea and more tea")
    api.store("3", "tea")
    then = rfc3339(timezone.now())
    api.patch("/memories/3", {"payload": {"text": "nothing"}})
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)  # the memories do not age between the two searches

    body = {"query": "tea", "mode": "keyword", "as_of": then, "explain": True}
    hits = api.post("/memories/search", body).json()["memories"]
    second = api.post("/memories/search", {**body, "offset": 1, "top_k": 1}).json()["memories"]

    assert sorted(hit["coord"] for hit in hits) == ["2.0", "3.0"]
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    assert second == hits[1:2]


def test_a_prefix_covers_the_versions_of_its_namespaces_only(api: Api) -> None:
    then = changed_in(api, "team/a", "default")

    assert texts(search_team(api, then)) == ["green tea in team/a"]


def test_a_key_restricted_to_a_namespace_searches_its_past_by_prefix(api: Api) -> None:
    then = changed_in(api, "team/a", "team/b")
    restricted = Api(issue_key(api.tenant, namespaces=["team/a"]), api.tenant)

    assert texts(search_team(restricted, then)) == ["green tea in team/a"]


def test_a_prefix_covers_namespaces_that_are_empty_now(api: Api) -> None:
    then = changed_in(api, "team/a")
    assert api.delete("/memories/by-key/k?namespace=team/a").status_code == 200

    assert texts(search_team(api, then)) == ["green tea in team/a"]


def test_a_prefix_without_namespaces_finds_nothing_in_the_past(api: Api) -> None:
    then = changed_in(api, "default")

    assert texts(search_team(api, then)) == []


def changed_in(api: Api, *namespaces: str) -> str:
    """Store a memory in each namespace, change each memory, and return the time before the changes."""
    for name in namespaces:
        api.post("/memories", {"payload": {"text": f"green tea in {name}"}, "namespace": name, "key": "k"})
    then = rfc3339(timezone.now())
    for name in namespaces:
        api.post("/memories", {"payload": {"text": f"black coffee in {name}"}, "namespace": name, "key": "k"})
    drain()
    return then


def search_team(api: Api, then: str) -> Any:
    body = {"query": "green tea", "mode": "keyword", "namespace_prefix": "team", "as_of": then}
    return api.post("/memories/search", body)


def test_a_search_of_the_past_continues_from_the_next_offset(api: Api, settings: Any) -> None:
    settings.MAX_RESPONSE_BYTES = 10_000
    for number in range(8):
        api.store(f"1,{number}", "tea " * number + "x" * 3_000)
    then = rfc3339(timezone.now())
    for number in (0, 3, 5):
        api.store(f"1,{number}", "coffee")

    found: list[str] = []
    offset: int | None = 0
    while offset is not None:
        body = {"query": "tea", "mode": "keyword", "top_k": 6, "offset": offset, "as_of": then}
        page = api.post("/memories/search", body).json()
        assert 0 < len(page["memories"]) <= 3
        found += [hit["coord"] for hit in page["memories"]]
        offset = page.get("next_offset")

    assert sorted(found) == [f"1.0,{number}.0" for number in range(1, 8)]


def test_a_memory_that_has_expired_since_is_found_in_the_past(api: Api) -> None:
    api.store("1", "tea", ttl_seconds=3600)
    then = rfc3339(timezone.now())
    Memory.objects.for_tenant(api.tenant).update(expires_at=timezone.now())

    assert texts(api.post("/memories/search", {"query": "tea", "mode": "keyword"})) == []
    assert texts(api.post("/memories/search", {"query": "tea", "mode": "keyword", "as_of": then})) == ["tea"]


def test_large_memories_of_the_past_are_read_whole(api: Api) -> None:
    api.store("1", "a" * 40_000)
    then = rfc3339(timezone.now())
    api.store("1", "b" * 40_000)

    assert texts(api.get(f"/memories?as_of={then}"), "items") == ["a" * 40_000]


def test_a_list_of_the_past_can_contain_a_thousand_large_memories(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_rows, "SMALL", 0)
    items = [{"coord": [number], "payload": {"n": number}} for number in range(1_000)]
    api.post("/memories/bulk", {"items": items})

    response = api.get(f"/memories?limit=1000&as_of={rfc3339(timezone.now())}")

    assert [item["payload"]["n"] for item in response.json()["items"]] == list(range(1_000))


def test_a_deleted_memory_is_there_before_its_deletion(api: Api) -> None:
    api.store("1", "one")
    then = rfc3339(timezone.now())
    api.delete("/memories/1")

    assert api.get(f"/memories/1?as_of={then}").status_code == 200
    assert api.get(f"/memories/1?as_of={rfc3339(timezone.now())}").status_code == 404


ROUTES = [
    "/memories/1?as_of=",
    "/memories?as_of=",
    "/memories/search?query=x&as_of=",
    "/graph/neighbors?coord=1&as_of=",
    "/graph/path?from_coord=1&to_coord=2&as_of=",
]


@pytest.mark.parametrize("route", ROUTES)
def test_a_moment_in_the_future_is_refused(api: Api, route: str) -> None:
    problem = problem_of(api.get(f"{route}2999-01-01T00:00:00Z"), 422)

    assert problem["errors"] == [{"field": "as_of", "message": "must not be in the future"}]


@pytest.mark.parametrize("route", ROUTES)
def test_a_moment_before_the_history_gets_the_earliest_one(api: Api, route: str) -> None:
    since = timezone.now() - timedelta(days=3)
    Tenant.objects.filter(id=api.tenant.id).update(history_since=since)

    problem = problem_of(api.get(f"{route}2001-01-01T00:00:00Z"), 410, "history_gone")

    assert rfc3339(since) in problem["detail"]
    assert problem["errors"][0]["field"] == "as_of"


def test_related_memories_of_the_past_are_refused(api: Api) -> None:
    body = {"query": "x", "as_of": rfc3339(timezone.now()), "expand": {"hops": 1}}

    problem_of(api.post("/memories/search", body), 422)


def test_the_cursor_of_one_moment_does_not_serve_another(api: Api) -> None:
    for coord in ("1", "2"):
        api.store(coord, "x")
    first, second = (rfc3339(timezone.now()) for _ in range(2))
    cursor = api.get(f"/memories?limit=1&as_of={first}").json()["next_cursor"]

    assert api.get(f"/memories?limit=1&as_of={first}&cursor={cursor}").status_code == 200
    problem_of(api.get(f"/memories?limit=1&as_of={second}&cursor={cursor}"), 422)


# --- The history of one memory -------------------------------------------------------------------------------------


def history(api: Api, coord: str = "1", query: str = "") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = api.get(f"/memories/{coord}/history?{query}").json()["items"]
    return items


def test_the_history_says_who_changed_what_and_when(api: Api) -> None:
    api.store("1", "one", metadata={"a": 1, "b": 2})
    api.patch("/memories/1", {"payload": {"text": "two"}, "metadata": {"a": 3, "b": None}, "importance": 4})
    api.delete("/memories/1")
    api.post("/memories/1/restore")

    items = history(api)

    assert [(item["version"], item["action"]) for item in items] == [
        (4, "restore"),
        (3, "delete"),
        (2, "update"),
        (1, "create"),
    ]
    assert items[2]["changed"] == ["payload.text", "metadata.a", "metadata.b", "importance"]
    assert [item["until"] for item in items] == [None, items[0]["at"], items[1]["at"], items[2]["at"]]
    assert items[0]["by"].startswith("key:")


def test_a_move_to_another_namespace_is_not_a_change_in_the_history(api: Api) -> None:
    api.post("/memories", {"coord": "1", "payload": {"text": "one"}, "namespace": "a"})
    api.post("/api/v1/namespaces/rename", {"namespace": "a", "to": "b"})

    [item] = history(api, query="namespace=b")

    assert (item["action"], item["changed"]) == ("create", [])


def test_a_version_after_that_of_another_user_is_not_a_creation(api: Api) -> None:
    ada = Api(issue_key(api.tenant, ("read",), user_id="ada"), api.tenant)
    for user in ("bob", "ada"):
        api.store("1", "one", user_id=user)

    [item] = history(ada)

    assert (item["action"], item["changed"]) == ("update", None)


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        (1, True, ["metadata.a"]),
        ([{"b": 0}], [{"b": False}], ["metadata.a"]),
        (1, 1.0, []),
        ({"b": 1, "c": [True]}, {"c": [True], "b": 1.0}, []),
    ],
)
def test_the_history_compares_values_as_json(api: Api, before: Any, after: Any, changed: list[str]) -> None:
    for value in (before, after):
        api.post("/memories", {"coord": "1", "payload": {}, "metadata": {"a": value}})

    assert history(api)[0]["changed"] == changed


def test_the_history_lists_changed_fields_by_name(api: Api) -> None:
    for number in (1, 2):
        api.post("/memories", {"coord": "1", "payload": {"zz": number, "aaa": number, "b": number}})

    assert history(api)[0]["changed"] == ["payload.aaa", "payload.b", "payload.zz"]


def test_the_history_comes_in_pages(api: Api) -> None:
    for n in range(5):
        api.store("1", str(n))

    whole = api.get("/memories/1/history").json()
    first = api.get("/memories/1/history?limit=2").json()
    second = api.get(f"/memories/1/history?limit=2&cursor={first['next_cursor']}").json()
    third = api.get(f"/memories/1/history?limit=2&cursor={second['next_cursor']}").json()

    assert (whole["next_cursor"], third["next_cursor"]) == (None, None)
    assert first["items"] + second["items"] + third["items"] == whole["items"]


def test_a_change_while_the_history_is_read_repeats_no_version(api: Api) -> None:
    api.store("1", "one")
    api.store("1", "two")
    changes = iter([{"payload": {"text": "three"}}])

    def change_first(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        if "sfm_memory_versions" in sql and (change := next(changes, None)):
            assert api.patch("/memories/1", change).status_code == 200
        return execute(sql, *arguments)

    with connection.execute_wrapper(change_first):
        items = history(api)

    assert [item["version"] for item in items] == [2, 1]
    assert next(changes, None) is None


def test_the_history_of_an_id_is_that_of_its_coordinate(api: Api) -> None:
    id = api.store("1", "one")["id"]
    api.store("1", "two")

    assert api.get(f"/memories/by-id/{id}/history").json() == api.get("/memories/1/history").json()


def test_a_key_names_a_memory_of_the_past_too(api: Api) -> None:
    api.post("/memories", {"key": "ada/seat", "payload": {"text": "window"}})
    then = rfc3339(timezone.now())
    api.patch("/memories/by-key/ada/seat", {"payload": {"text": "aisle"}})
    id = api.get("/memories/by-key/ada/seat").json()["memory"]["id"]

    by_key = api.get(f"/memories/by-key/ada/seat?as_of={then}").json()
    history = api.get("/memories/history?key=ada/seat").json()

    assert by_key["memory"]["payload"] == {"text": "window"}
    assert by_key == api.get(f"/memories/by-id/{id}?as_of={then}").json()
    assert history == api.get(f"/memories/by-id/{id}/history").json()
    assert api.post("/memories/restore", {"key": "ada/seat", "version": 1}).json()["memory"]["version"] == 3
    assert api.post(f"/memories/by-id/{id}/restore?version=2").json()["memory"]["payload"] == {"text": "aisle"}


def test_a_version_after_a_pruned_one_lists_no_changes(api: Api) -> None:
    for text in ("one", "two", "three"):
        api.store("1", text)
    past = timezone.now() - timedelta(days=400)
    versions = MemoryVersion.objects.for_tenant(api.tenant)
    versions.filter(version=1).update(until=past)
    versions.filter(version=2).update(updated_at=past)
    assert earlier_versions.prune() == 1

    assert [item["changed"] for item in history(api)] == [["payload.text"], None]


def test_a_missing_memory_has_no_history(api: Api, stranger: Api) -> None:
    id = stranger.store("1", "theirs")["id"]

    problem_of(api.get("/memories/1/history"), 404)
    problem_of(api.get(f"/memories/by-id/{id}/history"), 404)


def test_a_restored_version_is_a_new_version(api: Api) -> None:
    api.store("1", "one", importance=3, source="ada")
    api.store("1", "two")

    memory = api.post("/memories/1/restore?version=1").json()["memory"]

    assert (memory["version"], memory["payload"], memory["importance"]) == (3, {"text": "one"}, 3)
    assert memory["source"] == "ada"
    drain()
    assert [hit["coord"] for hit in api.search("one", mode="keyword")] == ["1.0"]


def test_a_deleted_memory_can_return_to_an_earlier_version(api: Api) -> None:
    api.store("1", "one")
    api.store("1", "two")
    api.delete("/memories/1")

    assert api.post("/memories/1/restore?version=1").status_code == 200
    assert api.get("/memories/1").json()["memory"]["payload"] == {"text": "one"}


@pytest.mark.parametrize(("version", "status"), [(9, 404), (4, 409), (2, 409), (0, 422), ("x", 422)])
def test_a_version_that_cannot_be_restored_changes_nothing(api: Api, version: Any, status: int) -> None:
    api.store("1", "one")
    api.delete("/memories/1")
    api.post("/memories/1/restore")
    api.store("1", "two")

    problem_of(api.post(f"/memories/1/restore?version={version}"), status)

    assert api.get("/memories/1").json()["memory"]["version"] == 4


def test_an_expired_version_cannot_be_restored(api: Api) -> None:
    api.store("1", "one", ttl_seconds=3600)
    api.store("1", "two")
    MemoryVersion.objects.for_tenant(api.tenant).update(expires_at=timezone.now())

    problem_of(api.post("/memories/1/restore?version=1"), 409)


def test_selectors_and_the_past_agree_about_now(api: Api) -> None:
    api.store("1", "one")
    caller = Caller.command(api.tenant)

    now = point_in_time.list_memories(caller, "default", NOWHERE, None)

    assert [memory.id for memory in now.items] == [
        memory.id for memory in selectors.list_memories(caller, "default", NOWHERE).items
    ]
