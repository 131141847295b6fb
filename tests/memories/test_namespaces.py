"""Namespaces: lists, prefixes, renaming, deletion, and deletion by filter."""

from __future__ import annotations

import re
from itertools import count
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graph.models import Link, LinkVersion
from memories import deletion, namespaces, services
from memories.coordinates import of
from memories.models import Memory, MemoryVersion
from memories.new_memory import NewMemory
from tenants.caller import Caller
from tenants.models import AuditEvent
from tests.conftest import Api, drain, issue_key, problem_of

NAMES = ["users", "users/ada", "users/ada-b", "users/ada/notes", "users/adam", "users_ada", "users/bob/a/b"]


def store_in_namespaces(api: Api, names: list[str] = NAMES) -> None:
    for name in names:
        api.store("1", f"tea in {name}", namespace=name)
    drain()


def listed(api: Api, query: str = "") -> list[tuple[str, int]]:
    response = api.get(f"/api/v1/namespaces?{query}")
    assert response.status_code == 200, response.content
    return [(item["namespace"], item["memories"]) for item in response.json()["items"]]


def test_namespaces_are_listed_by_name_with_their_live_memories(api: Api) -> None:
    store_in_namespaces(api, ["b", "a"])
    api.store("2", namespace="a")
    api.store("1", namespace="gone")
    api.delete("/memories/1?namespace=gone")

    assert listed(api) == [("a", 2), ("b", 1)]


def test_a_count_that_stops_early_is_marked_as_inexact(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "COUNTED", 2)
    for number in range(4):
        api.store(str(number), namespace="a")

    assert api.get("/api/v1/namespaces").json()["items"] == [{"namespace": "a", "memories": 2, "exact": False}]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("users/ada", ["users/ada", "users/ada/notes"]),
        ("users/ada/", ["users/ada", "users/ada/notes"]),
        ("users", ["users", "users/ada", "users/ada-b", "users/ada/notes", "users/adam", "users/bob/a/b"]),
        ("user", []),
        ("users/bob/a", ["users/bob/a/b"]),
        ("users_ada", ["users_ada"]),
    ],
)
def test_a_prefix_ends_at_a_segment_in_lists_and_searches(api: Api, prefix: str, expected: list[str]) -> None:
    store_in_namespaces(api)

    assert [name for name, _ in listed(api, f"prefix={prefix}")] == expected
    found = api.search("tea", namespace_prefix=prefix, top_k=50)
    assert sorted(hit["namespace"] for hit in found) == sorted(expected)


def test_a_depth_groups_the_namespaces_below(api: Api) -> None:
    store_in_namespaces(api)

    assert sorted(listed(api, "depth=1")) == [("users", 6), ("users_ada", 1)]
    groups = {"users": 1, "users/ada": 2, "users/ada-b": 1, "users/adam": 1, "users/bob": 1, "users_ada": 1}
    assert dict(listed(api, "depth=2")) == groups


@pytest.mark.parametrize("query", ["", "depth=1", "depth=2", "prefix=users", "prefix=users&depth=2"])
def test_pages_together_are_the_whole_list(api: Api, query: str) -> None:
    store_in_namespaces(api)
    whole, cursor, pages = listed(api, query), "", []
    for _ in count():
        page = api.get(f"/api/v1/namespaces?{query}&limit=1{cursor}").json()
        pages += [(item["namespace"], item["memories"]) for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert pages == whole


def test_a_cursor_belongs_to_its_list(api: Api) -> None:
    store_in_namespaces(api)
    cursor = api.get("/api/v1/namespaces?limit=1").json()["next_cursor"]

    problem_of(api.get(f"/api/v1/namespaces?prefix=users&cursor={cursor}"), 422, field="cursor")


def test_a_key_sees_its_own_namespaces_only(api: Api) -> None:
    store_in_namespaces(api)
    limited = Api(issue_key(api.tenant, ("read",), namespaces=["users/ada", "users/ada/notes", "z"]), api.tenant)

    assert [name for name, _ in listed(limited)] == ["users/ada", "users/ada/notes"]
    assert dict(listed(limited, "depth=1")) == {"users": 2}
    assert {hit["namespace"] for hit in limited.search("tea", namespace_prefix="users")} == {
        "users/ada",
        "users/ada/notes",
    }


def test_a_user_sees_the_namespaces_with_its_own_memories(api: Api) -> None:
    store_in_namespaces(api)
    api.store("7", namespace="users/ada", user_id="ada")
    ada = Api(issue_key(api.tenant, ("read",), user_id="ada"), api.tenant)

    assert listed(ada) == [("users/ada", 1)]


def test_too_many_namespaces_for_one_search_are_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "MAX_BELOW", 3)
    store_in_namespaces(api)

    response = api.post("/memories/search", {"query": "tea", "namespace_prefix": "users"})
    problem_of(response, 422, field="namespace_prefix")


def test_a_search_takes_a_namespace_or_a_prefix(api: Api) -> None:
    response = api.post("/memories/search", {"query": "tea", "namespace": "a", "namespace_prefix": "a"})
    problem_of(response, 422, field="namespace_prefix")


SEGMENTS = st.text(st.sampled_from("a_%-./"), min_size=1, max_size=6)


@given(prefix=SEGMENTS, name=SEGMENTS)
def test_the_prefix_rule_compares_whole_segments(prefix: str, name: str) -> None:
    stem = prefix.removesuffix("/").split("/")

    assert namespaces.covers(prefix, name) == (name.split("/")[: len(stem)] == stem)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(st.text(st.sampled_from("ab_-./:"), min_size=1, max_size=5), max_size=6), prefix=SEGMENTS)
def test_the_database_applies_the_prefix_rule(caller: Caller, names: set[str], prefix: str) -> None:
    Memory.objects.for_tenant(caller.tenant).delete()
    for name in names:
        services.store(caller, NewMemory(of([1]), {"text": "x"}, namespace=name))

    found = list(namespaces.names(caller, prefix))

    assert found == sorted(name for name in names if namespaces.covers(prefix, name))
    rows = Memory.objects.for_tenant(caller.tenant).filter(namespaces.covered(prefix))
    assert sorted(rows.values_list("namespace", flat=True)) == found


def rename(api: Api, old: str, new: str, **more: Any) -> Any:
    return api.post("/api/v1/namespaces/rename", {"namespace": old, "to": new, **more})


def test_a_renamed_namespace_keeps_memories_links_history_and_index(api: Api) -> None:
    first = api.store("1", "tea with milk", namespace="a")
    api.store("1", "tea with lemon", namespace="a")
    api.post("/api/v1/graph/link", {"from_coord": "1", "to_coord": "2", "namespace": "a"})
    drain()

    receipt = rename(api, "a", "b").json()
    drain()

    assert (receipt["namespaces"], receipt["memories"], receipt["links"]) == (["b"], 1, 1)
    assert api.get("/memories/1?namespace=b").json()["memory"]["id"] == first["id"]
    assert [hit["namespace"] for hit in api.search("tea with lemon", namespace="b", mode="semantic")] == ["b"]
    assert [hit["namespace"] for hit in api.search("lemon", namespace="b", mode="keyword")] == ["b"]
    assert listed(api) == [("b", 1)]
    assert set(Link.objects.for_tenant(api.tenant).values_list("namespace", flat=True)) == {"b"}
    assert set(MemoryVersion.objects.for_tenant(api.tenant).values_list("namespace", flat=True)) == {"b"}
    event = AuditEvent.objects.filter(request_id=receipt["request_id"]).latest("id")
    assert (event.action, event.target) == ("namespace.rename", "a -> b: 1 memories, 1 links")


def test_a_rename_takes_many_batches_and_deleted_memories_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "BATCH", 2)
    for number in range(5):
        api.store(str(number), namespace="a")
    api.delete("/memories/1?namespace=a")

    assert rename(api, "a", "b").json()["memories"] == 5
    assert api.post("/memories/1/restore?namespace=b").status_code == 200


def test_a_rename_into_a_namespace_with_memories_needs_consent(api: Api) -> None:
    store_in_namespaces(api, ["a"])
    api.store("2", namespace="b")

    assert "merge" in problem_of(rename(api, "a", "b"), 409)["detail"]
    assert rename(api, "a", "b", merge=True).json()["memories"] == 1
    assert listed(api) == [("b", 2)]


def test_a_taken_address_ends_a_merge_without_losing_anything(api: Api) -> None:
    store_in_namespaces(api, ["a", "b"])

    problem_of(rename(api, "a", "b", merge=True), 409)
    assert listed(api) == [("a", 1), ("b", 1)]


def test_the_error_for_a_merge_names_the_key_that_both_namespaces_use(api: Api) -> None:
    for name in ("a", "b"):
        api.post("/memories", {"key": "tea", "payload": {"text": "green"}, "namespace": name})

    detail = problem_of(rename(api, "a", "b", merge=True), 409)["detail"]

    assert detail == "key 'tea' is in use in both namespaces; delete one of the two memories permanently"


def test_a_merge_keeps_the_links_of_the_new_namespace(api: Api) -> None:
    for namespace, strength in (("a", 0.2), ("b", 0.8)):
        ends = {"from_coord": "8", "to_coord": "9", "namespace": namespace}
        api.post("/api/v1/graph/link", {**ends, "strength": strength})
    api.post("/api/v1/graph/link", {"from_coord": "9", "to_coord": "8", "namespace": "a"})

    assert rename(api, "a", "b", merge=True).json()["links"] == 2

    links = Link.objects.for_tenant(api.tenant).order_by("from_key")
    assert [(link.namespace, str(link.start), link.strength) for link in links] == [("b", "8.0", 0.8), ("b", "9.0", 1)]
    versions = LinkVersion.objects.for_tenant(api.tenant)
    assert [(version.namespace, version.strength) for version in versions] == [("b", 0.2)]
    assert AuditEvent.objects.filter(tenant=api.tenant, action="graph.unlink", namespace="a").count() == 1


@pytest.mark.parametrize("merge", [True, False])
def test_a_namespace_cannot_be_renamed_to_itself(api: Api, merge: bool) -> None:
    api.post("/api/v1/graph/link", {"from_coord": "1", "to_coord": "2", "namespace": "a"})

    problem_of(rename(api, "a", "a", merge=merge), 422, field="to")


@pytest.mark.parametrize(("old", "new"), [("conversations", "b"), ("a", "facts")])
def test_a_reserved_namespace_cannot_be_renamed(api: Api, old: str, new: str) -> None:
    store_in_namespaces(api, ["a"])

    problem_of(rename(api, old, new), 422, field="namespace")


def test_an_unknown_namespace_can_be_neither_renamed_nor_deleted(api: Api) -> None:
    problem_of(rename(api, "nowhere", "b"), 404)
    problem_of(api.post("/api/v1/namespaces/delete", {"namespace": "nowhere"}), 404)


def test_a_deleted_namespace_gives_a_receipt_and_can_be_restored(api: Api) -> None:
    store_in_namespaces(api, ["a", "a/b", "ab"])

    receipt = api.post("/api/v1/namespaces/delete", {"namespace": "a", "below": True}).json()

    assert (receipt["namespaces"], receipt["memories"]) == (["a", "a/b"], 2)
    assert AuditEvent.objects.filter(request_id=receipt["request_id"]).latest("id").action == "namespace.delete"
    assert listed(api) == [("ab", 1)]
    assert api.post("/memories/1/restore?namespace=a/b").status_code == 200


def test_a_purged_namespace_leaves_nothing(api: Api) -> None:
    store_in_namespaces(api, ["a"])
    api.store("2", namespace="a")
    api.delete("/memories/2?namespace=a")
    api.post("/api/v1/graph/link", {"from_coord": "8", "to_coord": "9", "namespace": "a"})

    receipt = api.post("/api/v1/namespaces/delete", {"namespace": "a", "purge": True}).json()

    assert (receipt["memories"], receipt["links"]) == (2, 1)
    assert not Memory.objects.for_tenant(api.tenant).exists()
    assert not Link.objects.for_tenant(api.tenant).exists()


def purge(api: Api, name: str, **options: bool) -> Any:
    return api.post("/api/v1/namespaces/delete", {"namespace": name, "purge": True, **options})


def link_in_namespaces(api: Api, *names: str) -> None:
    for name in names:
        api.post("/api/v1/graph/link", {"from_coord": "8", "to_coord": "9", "namespace": name})


def test_a_purge_removes_the_links_of_namespaces_below_without_memories(api: Api) -> None:
    store_in_namespaces(api, ["a/b"])
    link_in_namespaces(api, "a", "a/b", "a/c", "ab")

    receipt = purge(api, "a", below=True).json()

    assert (receipt["namespaces"], receipt["links"]) == (["a", "a/b", "a/c"], 3)
    assert [link.namespace for link in Link.objects.for_tenant(api.tenant)] == ["ab"]


def test_a_purge_of_few_namespaces_is_limited_to_those_of_the_key(api: Api) -> None:
    link_in_namespaces(api, "a", "a/b", "a/c")
    limited = Api(issue_key(api.tenant, ("read", "delete"), namespaces=["a", "a/b"]), api.tenant)

    assert purge(limited, "a", below=True).json()["namespaces"] == ["a", "a/b"]


def test_a_purge_of_too_many_namespaces_with_links_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "MAX_BELOW", 2)
    link_in_namespaces(api, "a", "a/b", "a/c")

    problem_of(purge(api, "a", below=True), 422, field="namespace_prefix")


def test_a_purge_below_a_prefix_reads_no_more_names_than_it_can_purge(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespaces, "MAX_BELOW", 2)
    link_in_namespaces(api, *(f"a/{number}" for number in range(20)))

    with CaptureQueriesContext(connection) as captured:
        assert purge(api, "a", below=True).status_code == 422

    read = [query["sql"] for query in captured if re.search(r"^SELECT\b.*\bFROM\b.*\bsfm_graph_link", query["sql"])]
    names: list[str] = []
    with connection.cursor() as cursor:
        for sql in read:
            cursor.execute(sql)
            names.extend(row[0] for row in cursor.fetchall())
    assert 0 < len(names) <= 2 * (namespaces.MAX_BELOW + 1)


@pytest.mark.parametrize("below", [True, False])
def test_a_purge_that_was_interrupted_before_the_history_of_links_can_continue(
    api: Api, monkeypatch: pytest.MonkeyPatch, below: bool
) -> None:
    link_in_namespaces(api, "a", "a")
    with monkeypatch.context() as interrupted:
        interrupted.setattr("graph.link_history.forget_batch", lambda caller, namespace: 1 / 0)
        assert purge(api, "a", below=below).status_code == 500
    assert not Link.objects.for_tenant(api.tenant).exists()

    assert purge(api, "a", below=below).status_code == 200

    assert not LinkVersion.objects.for_tenant(api.tenant).exists()


def delete(api: Api, **body: Any) -> Any:
    return api.post("/memories/delete", body)


def test_memories_are_deleted_by_a_filter_and_can_be_restored(api: Api) -> None:
    for number in range(4):
        api.post("/memories", {"coord": str(number), "payload": {"n": number}, "user_id": "ada"})

    assert delete(api, filters={"n": {"gte": 2}}, user_id="ada").json() == {
        "deleted": 2,
        "complete": True,
        "dry_run": False,
    }
    assert [row["coord"] for row in api.get("/memories").json()["items"]] == ["0.0", "1.0"]
    assert api.post("/memories/3/restore").status_code == 200
    assert AuditEvent.objects.filter(action="memory.delete").count() == 2


def test_a_dry_run_counts_and_deletes_nothing(api: Api) -> None:
    store_in_namespaces(api, ["a", "b"])

    answer = delete(api, namespace=["a", "b"], all=True, dry_run=True, limit=1).json()
    assert answer == {"deleted": 1, "complete": False, "dry_run": True}
    assert listed(api) == [("a", 1), ("b", 1)]


def test_a_deletion_is_bounded_and_says_whether_there_are_more(api: Api) -> None:
    for number in range(3):
        api.store(str(number))

    assert delete(api, all=True, limit=2).json() == {"deleted": 2, "complete": False, "dry_run": False}
    assert delete(api, all=True, limit=2).json() == {"deleted": 1, "complete": True, "dry_run": False}


NESTED = [{"AND": [{}]}, {"OR": [{}, {"a": 1}]}, {"NOT": []}, {"AND": [{}, {"NOT": [{"OR": []}]}]}]


@pytest.mark.parametrize(
    "body", [{}, {"namespace_prefix": "a"}, {"dry_run": True}, *({"filters": filters} for filters in [{}, *NESTED])]
)
def test_an_empty_filter_deletes_nothing_without_consent(api: Api, body: dict[str, Any]) -> None:
    store_in_namespaces(api, ["default"])

    problem_of(delete(api, **body), 422, field="filters")
    assert listed(api) == [("default", 1)]


@pytest.mark.parametrize("body", [{"limit": 0}, {"limit": deletion.MAX_DELETED + 1}, {"filters": [1]}, {"user_id": ""}])
def test_an_unusable_deletion_is_refused(api: Api, body: dict[str, Any]) -> None:
    problem_of(delete(api, all=True, **body), 422, field=next(iter(body)))


def test_messages_cannot_be_deleted_by_a_filter(api: Api) -> None:
    problem_of(delete(api, namespace="conversations", all=True), 422, field="namespace")


def test_a_limited_key_deletes_the_memories_of_its_user_only(api: Api) -> None:
    api.store("1", user_id="ada")
    api.store("2", user_id="bob")
    bob = Api(issue_key(api.tenant, ("read", "delete"), user_id="bob"), api.tenant)

    assert delete(bob, all=True).json()["deleted"] == 1
    assert [row["coord"] for row in api.get("/memories").json()["items"]] == ["1.0"]
