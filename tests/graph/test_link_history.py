"""Link history: `as_of` follows the links that existed at that time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from graph import link_history
from graph.models import Link, LinkVersion
from memories import history, storage_usage
from somamemory.times import rfc3339
from tenants import keys, usage
from tenants.caller import Caller
from tenants.models import Tenant
from tests.conftest import Api, issue_key

pytestmark = pytest.mark.django_db


def link(api: Api, start: str, end: str, **fields: Any) -> None:
    assert api.post("/graph/link", {"from_coord": start, "to_coord": end, **fields}).status_code == 200


def unlink(api: Api, start: str, end: str) -> None:
    assert api.delete(f"/graph/link?from_coord={start}&to_coord={end}").json() == {"deleted": True}


def neighbours_of_1(api: Api, **query: Any) -> list[tuple[str, float]]:
    found = api.get(f"/graph/neighbors?{urlencode({'coord': '1', **query})}").json()["neighbors"]
    return [(neighbour["coord"], neighbour["strength"]) for neighbour in found]


def now() -> str:
    return rfc3339(timezone.now())


def test_a_removed_link_is_followed_in_the_past(api: Api) -> None:
    link(api, "1", "2")
    then = now()
    unlink(api, "1", "2")

    assert neighbours_of_1(api) == []
    assert neighbours_of_1(api, as_of=then) == [("2.0", 1.0)]
    assert api.get(f"/graph/path?from_coord=1&to_coord=2&as_of={then}").json()["found"]
    assert not api.get("/graph/path?from_coord=1&to_coord=2").json()["found"]


def test_a_replaced_link_has_its_former_strength_in_the_past(api: Api) -> None:
    link(api, "1", "2", strength=0.25)
    then = now()
    link(api, "1", "2", strength=0.75)

    assert neighbours_of_1(api, as_of=then) == [("2.0", 0.25)]
    assert neighbours_of_1(api) == neighbours_of_1(api, as_of=now()) == [("2.0", 0.75)]


def test_a_later_link_is_not_followed_in_the_past(api: Api) -> None:
    then = now()
    link(api, "1", "2")

    assert neighbours_of_1(api, as_of=then) == []


def test_the_links_of_a_memory_can_be_read_as_of_a_past_time(api: Api) -> None:
    id = api.store("1", "one")["id"]
    link(api, "1", "2")
    then = now()
    unlink(api, "1", "2")

    found = api.get(f"/memories/by-id/{id}/links?as_of={then}").json()["neighbors"]

    assert [neighbour["coord"] for neighbour in found] == ["2.0"]


def test_neighbours_have_the_memories_of_the_same_past_time(api: Api) -> None:
    api.store("2", "before")
    link(api, "1", "2")
    then = now()
    api.store("2", "after")

    [neighbour] = api.get(f"/graph/neighbors?coord=1&include_memory=true&as_of={then}").json()["neighbors"]

    assert neighbour["memory"]["payload"] == {"text": "before"}


def test_valid_at_applies_to_the_links_of_the_past(api: Api) -> None:
    link(api, "1", "2", valid_to="2999-01-01T00:00:00Z")
    then = now()
    unlink(api, "1", "2")

    assert neighbours_of_1(api, as_of=then, valid_at="2998-01-01T00:00:00Z") == [("2.0", 1.0)]
    assert neighbours_of_1(api, as_of=then, valid_at="2999-01-01T00:00:00Z") == []


def test_a_purge_removes_the_history_of_its_links(api: Api) -> None:
    api.store("1", "one")
    for end in ("2", "3"):
        link(api, "1", end)
        link(api, "1", end)
    unlink(api, "1", "2")
    then = now()

    api.delete("/memories/1?purge=true")

    assert neighbours_of_1(api, as_of=then) == []
    assert not LinkVersion.objects.for_tenant(api.tenant).exists()


def test_renaming_a_namespace_keeps_the_history_of_its_links(api: Api) -> None:
    link(api, "1", "2", namespace="a")
    then = now()
    api.delete("/graph/link?from_coord=1&to_coord=2&namespace=a")
    link(api, "1", "3", namespace="a")

    assert api.post("/api/v1/namespaces/rename", {"namespace": "a", "to": "b"}).status_code == 200

    assert neighbours_of_1(api, namespace="b", as_of=then) == [("2.0", 1.0)]


def merge(api: Api, old: str, new: str) -> None:
    assert api.post("/api/v1/namespaces/rename", {"namespace": old, "to": new, "merge": True}).status_code == 200


def test_a_merge_never_changes_what_the_new_namespace_had_at_a_past_time(api: Api) -> None:
    link(api, "1", "2", strength=0.9, namespace="a")
    only_old = now()
    link(api, "1", "2", strength=0.25, namespace="b")
    both = now()
    link(api, "1", "2", strength=0.8, namespace="a")
    link(api, "1", "2", strength=0.5, namespace="b")
    after = now()

    merge(api, "a", "b")

    assert neighbours_of_1(api, namespace="b", as_of=only_old) == [("2.0", 0.9)]
    assert neighbours_of_1(api, namespace="b", as_of=both) == [("2.0", 0.25)]
    assert neighbours_of_1(api, namespace="b", as_of=after) == neighbours_of_1(api, namespace="b") == [("2.0", 0.5)]


def test_a_moved_link_and_a_removed_one_are_followed_at_their_own_times(api: Api) -> None:
    link(api, "1", "2", strength=0.9, namespace="a")
    before = now()
    link(api, "1", "2", strength=0.25, namespace="b")
    both = now()
    api.delete("/graph/link?from_coord=1&to_coord=2&namespace=b")
    after = now()

    merge(api, "a", "b")

    strengths = [neighbours_of_1(api, namespace="b", as_of=moment) for moment in (before, both, after)]
    assert strengths == [[("2.0", 0.9)], [("2.0", 0.25)], [("2.0", 0.9)]]
    assert neighbours_of_1(api, namespace="b") == [("2.0", 0.9)]


def test_a_moved_version_is_split_around_the_times_at_which_the_new_namespace_had_the_link(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph.link_history.BATCH", 1)
    moments = []
    link(api, "1", "2", strength=0.9, namespace="a")
    for strength in (0.25, 0.5):
        moments.append(now())
        link(api, "1", "2", strength=strength, namespace="b")
        moments.append(now())
        api.delete("/graph/link?from_coord=1&to_coord=2&namespace=b")
    moments.append(now())
    api.delete("/graph/link?from_coord=1&to_coord=2&namespace=a")

    merge(api, "a", "b")

    strengths = [neighbours_of_1(api, namespace="b", as_of=moment) for moment in moments]
    assert strengths == [[("2.0", strength)] for strength in (0.9, 0.25, 0.9, 0.5, 0.9)]
    assert neighbours_of_1(api, namespace="b") == []


def test_a_link_that_is_replaced_during_a_merge_keeps_its_own_history(api: Api) -> None:
    link(api, "1", "2", strength=0.25, namespace="b")
    link(api, "1", "2", strength=0.9, namespace="a")
    then = now()
    api.delete("/graph/link?from_coord=1&to_coord=2&namespace=a")
    reads = count(1)

    def replace_before_the_second_read(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        if sql.startswith("SELECT") and '"updated_at" <' in sql and next(reads) == 2:
            link(api, "1", "2", strength=0.5, namespace="b")
        return execute(sql, *arguments)

    with connection.execute_wrapper(replace_before_the_second_read):
        assert link_history.move_batch(Caller.command(api.tenant), "a", "b") == 1

    assert neighbours_of_1(api, namespace="b", as_of=then) == [("2.0", 0.25)]
    assert next(reads) == 3


def test_the_usage_is_exact_after_a_merge_of_histories(api: Api) -> None:
    Tenant.objects.filter(id=api.tenant.id).update(quota_bytes=1_000_000)
    keys.forget_cached()
    api.tenant.refresh_from_db()
    usage.forget(api.tenant)
    link(api, "1", "2", namespace="a")
    link(api, "1", "2", namespace="b")
    for namespace in ("a", "b", "a"):
        api.delete(f"/graph/link?from_coord=1&to_coord=2&namespace={namespace}")
        link(api, "1", "2", namespace="a")

    merge(api, "a", "b")

    _, stored, _, noted = storage_usage.count(api.tenant)
    assert stored == noted > 0


def test_a_purged_namespace_leaves_no_past_links(api: Api) -> None:
    link(api, "1", "2", namespace="a")
    link(api, "1", "2", namespace="a")

    assert api.post("/api/v1/namespaces/delete", {"namespace": "a", "purge": True}).status_code == 200

    assert not LinkVersion.objects.for_tenant(api.tenant).exists()


def test_versions_of_links_count_towards_the_quota_until_they_are_pruned(api: Api) -> None:
    Tenant.objects.filter(id=api.tenant.id).update(quota_bytes=1_000_000)
    keys.forget_cached()
    api.tenant.refresh_from_db()
    usage.forget(api.tenant)
    link(api, "1", "2", metadata={"note": "x" * 100})
    link(api, "1", "2")
    unlink(api, "1", "2")
    _, stored, _, noted = storage_usage.count(api.tenant)
    assert stored == noted > 100

    LinkVersion.objects.for_tenant(api.tenant).update(until=F("until") - timedelta(days=400))

    assert history.prune() == 2
    assert storage_usage.count(api.tenant)[1::2] == (0, 0)


def test_a_key_limited_to_a_user_follows_only_its_own_past_links(api: Api) -> None:
    ada = Api(issue_key(api.tenant, ("read", "write", "delete"), user_id="ada"), api.tenant)
    link(api, "1", "2")
    link(ada, "1", "3")
    then = now()
    unlink(api, "1", "2")
    unlink(ada, "1", "3")

    assert neighbours_of_1(ada, as_of=then) == [("3.0", 1.0)]
    assert neighbours_of_1(api, as_of=then) == [("2.0", 1.0), ("3.0", 1.0)]


# --- Ends by key and id ------------------------------------------------------------------------------------------


@pytest.fixture
def named(api: Api) -> Api:
    api.store("1", "one", key="one")
    api.store("2", "two", key="two")
    return api


def test_a_bulk_links_keys_and_ids(named: Api) -> None:
    id = named.get("/memories/2").json()["memory"]["id"]
    links = [
        {"from_key": "one", "to_id": id},
        {"from_key": "one", "to_coord": "3"},
        {"from_key": "none", "to_coord": "3"},
        {"from_key": "one", "from_coord": "1", "to_coord": "3"},
    ]

    response = named.post("/graph/links/bulk", {"links": links})

    assert [result["status"] for result in response.json()["results"]] == [201, 201, 404, 422]
    assert sorted(end for end, _ in neighbours_of_1(named)) == ["2.0", "3.0"]


def test_an_atomic_bulk_with_an_unknown_key_creates_nothing(named: Api) -> None:
    links = [{"from_key": "one", "to_key": "two"}, {"from_key": "none", "to_coord": "3"}]

    assert named.post("/graph/links/bulk", {"links": links, "atomic": True}).status_code == 422

    assert not Link.objects.for_tenant(named.tenant).exists()


def test_a_path_can_start_and_end_at_keys_and_ids(named: Api) -> None:
    link(named, "1", "2")
    id = named.get("/memories/2").json()["memory"]["id"]

    found = named.get(f"/graph/path?from_key=one&to_id={id}").json()

    assert (found["path"], found["from_coord"]) == (["1.0", "2.0"], "1.0")
    assert named.get("/graph/path?from_key=none&to_coord=1").status_code == 404
    assert named.get("/graph/path?to_coord=1").status_code == 422


def test_a_link_between_keys_is_removed(named: Api) -> None:
    link(named, "1", "2")

    assert named.delete("/graph/link?from_key=one&to_key=two").json() == {"deleted": True}
    assert named.delete("/graph/link?from_key=one&to_key=none").status_code == 404
    assert neighbours_of_1(named) == []
