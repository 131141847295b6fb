"""Supersession: a new memory ends the validity of the memories that it replaces."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from graph.models import Link
from memories.models import Memory
from somamemory.times import rfc3339
from tenants import keys
from tenants.models import AuditEvent, Tenant
from tests.conftest import Api, issue_key, problem_of

pytestmark = pytest.mark.django_db

MISSING = "6f1c1f0e-0000-4000-8000-000000000001"


def store(api: Api, key: str, text: str, **fields: Any) -> dict[str, Any]:
    response = api.post("/memories", {"key": key, "payload": {"text": text}, **fields})
    assert response.status_code in (200, 201), response.content
    stored: dict[str, Any] = response.json()
    return stored


def memory(api: Api, key: str, query: str = "") -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/memories/by-key/{key}{query}").json()["memory"]
    return found


def hits(api: Api, **fields: Any) -> list[str]:
    return sorted(hit["key"] for hit in api.search("home", mode="keyword", **fields))


@pytest.fixture
def old(api: Api) -> dict[str, Any]:
    return store(api, "old", "home is Zurich")


@pytest.mark.parametrize("name", ["coord", "key", "id"])
def test_a_memory_supersedes_one_by_coordinate_key_or_id(api: Api, old: dict[str, Any], name: str) -> None:
    store(api, "new", "home is Bern", supersedes=[{name: old[name]}])

    older, newer = memory(api, "old"), memory(api, "new")
    assert older["valid_to"] == newer["valid_from"] is not None
    assert (older["version"], older["payload"]) == (2, {"text": "home is Zurich"})
    assert hits(api) == ["new"]
    assert hits(api, include_superseded=True) == ["new", "old"]


def test_the_older_memory_is_valid_until_the_new_one_begins(api: Api, old: dict[str, Any]) -> None:
    begins = "2999-01-01T00:00:00Z"
    store(api, "new", "home is Bern", valid_from=begins, supersedes=[{"key": "old"}])

    assert memory(api, "old")["valid_to"] == begins
    assert hits(api) == ["old"]
    assert hits(api, valid_at=begins) == ["new"]


def test_a_memory_whose_validity_has_ended_keeps_its_valid_to(api: Api) -> None:
    end = "2001-01-01T00:00:00Z"
    store(api, "old", "home is Zurich", valid_to=end)

    store(api, "new", "home is Bern", supersedes=[{"key": "old"}])

    assert (memory(api, "old")["valid_to"], memory(api, "old")["version"]) == (end, 1)


def test_a_link_leads_from_the_newer_memory_to_the_older_one(api: Api, old: dict[str, Any]) -> None:
    new = store(api, "new", "home is Bern", supersedes=[{"key": "old"}])

    neighbours = api.get(f"/memories/by-id/{new['id']}/links?link_type=supersedes").json()["neighbors"]

    assert [neighbour["coord"] for neighbour in neighbours] == [old["coord"]]


def test_as_of_and_the_history_return_the_older_memory(api: Api, old: dict[str, Any]) -> None:
    then = rfc3339(timezone.now())
    store(api, "new", "home is Bern", supersedes=[{"key": "old"}])

    assert hits(api, as_of=then) == ["old"]
    assert memory(api, "old", f"?as_of={then}")["valid_to"] is None
    [latest, _] = api.get("/memories/history?key=old").json()["items"]
    assert (latest["action"], latest["changed"]) == ("update", ["valid_to"])


def test_a_supersession_is_in_the_audit_log(api: Api, old: dict[str, Any]) -> None:
    store(api, "new", "home is Bern", supersedes=[{"key": "old"}])

    event = AuditEvent.objects.get(tenant=api.tenant, action="memory.supersede")
    assert event.target == old["coord"]


def test_the_closed_version_counts_towards_the_quota(api: Api, old: dict[str, Any]) -> None:
    rows = Memory.objects.for_tenant(api.tenant)
    size = rows.get().size
    Tenant.objects.filter(id=api.tenant.id).update(quota_bytes=3 * size - 10)
    keys.forget_cached()

    problem_of(
        api.post("/memories", {"payload": {"text": "home is Bern"}, "supersedes": [{"key": "old"}]}),
        403,
        "quota_exceeded",
    )

    assert (rows.count(), memory(api, "old")["version"]) == (1, 1)


def test_a_store_by_key_supersedes(api: Api, old: dict[str, Any]) -> None:
    body = {"payload": {"text": "home is Bern"}, "supersedes": [{"key": "old"}]}

    assert api.request("PUT", "/memories/by-key/new", body).status_code == 201

    assert hits(api) == ["new"]


@pytest.mark.parametrize("by", ["coord", "key", "id"])
def test_a_patch_supersedes(api: Api, old: dict[str, Any], by: str) -> None:
    new = store(api, "new", "home is Bern")
    path = {"coord": f"/memories/{new['coord']}", "key": "/memories/by-key/new", "id": f"/memories/by-id/{new['id']}"}

    changed = api.patch(path[by], {"supersedes": [{"key": "old"}]}).json()["memory"]

    assert memory(api, "old")["valid_to"] == changed["valid_from"] is not None
    assert (changed["version"], changed["payload"]) == (2, {"text": "home is Bern"})


def test_a_bulk_item_can_supersede_several_memories(api: Api, old: dict[str, Any]) -> None:
    store(api, "older", "home is Basel")
    item = {"key": "new", "payload": {"text": "home is Bern"}, "supersedes": [{"key": "old"}, {"key": "older"}]}

    assert api.post("/memories/bulk", {"items": [item]}).status_code == 200

    assert hits(api) == ["new"]


def test_a_bulk_store_returns_the_versions_after_supersession(api: Api, old: dict[str, Any]) -> None:
    items = [
        {"key": "old", "payload": {"text": "home is Basel"}},
        {"key": "old", "payload": {"text": "home is Geneva"}},
        {"key": "new", "payload": {"text": "home is Bern"}, "supersedes": [{"key": "old"}]},
    ]

    results = api.post("/memories/bulk", {"items": items}).json()["results"]

    assert [result["version"] for result in results] == [2, 4, 1]
    assert memory(api, "old")["version"] == 4


def test_an_invalid_name_fails_only_its_own_item_of_a_bulk_request(api: Api, old: dict[str, Any]) -> None:
    items = [
        {"key": "a", "payload": {"text": "home"}, "supersedes": [{"key": "old"}, {"key": "none"}]},
        {"key": "b", "payload": {"text": "home"}},
        {"key": "old", "payload": {"text": "home"}, "supersedes": [{"id": old["id"]}]},
    ]

    response = api.post("/memories/bulk", {"items": items})

    assert (response.status_code, response.json()["failed"]) == (207, 2)
    assert [result["status"] for result in response.json()["results"]] == [422, 201, 422]
    assert response.json()["results"][0]["error"]["errors"][0]["field"].endswith("supersedes")
    assert hits(api) == ["b", "old"]


def test_an_item_that_supersedes_a_memory_that_another_item_makes_valid_later_fails_alone(
    api: Api, old: dict[str, Any]
) -> None:
    items = [
        {"key": "old", "payload": {"text": "home is Geneva"}, "valid_from": "2999-01-01T00:00:00Z"},
        {"key": "new", "payload": {"text": "home is Bern"}, "supersedes": [{"id": old["id"]}]},
    ]

    response = api.post("/memories/bulk", {"items": items})
    whole = problem_of(api.post("/memories/bulk", {"items": items, "atomic": True}), 422)

    assert [result["status"] for result in response.json()["results"]] == [200, 422]
    assert [error["field"] for error in whole["errors"]] == ["items.1.supersedes"]


def test_of_two_items_that_supersede_each_other_only_the_later_is_stored(api: Api, old: dict[str, Any]) -> None:
    store(api, "older", "home is Basel")
    items = [
        {"key": "old", "payload": {"text": "home is Geneva"}, "supersedes": [{"key": "older"}]},
        {"key": "older", "payload": {"text": "home is Bern"}, "supersedes": [{"key": "old"}]},
    ]

    response = api.post("/memories/bulk", {"items": items})

    assert [result["status"] for result in response.json()["results"]] == [422, 200]
    assert hits(api) == ["older"]


INVALID = {
    "unknown key": ({"key": "none"}, "does not identify a memory in this namespace: key 'none'"),
    "unknown id": ({"id": MISSING}, f"does not identify a memory in this namespace: id '{MISSING}'"),
    "unknown coordinate": ({"coord": "9"}, "does not identify a memory in this namespace: coordinate '9.0'"),
    "of another namespace": ({"key": "elsewhere"}, "does not identify a memory in this namespace: key 'elsewhere'"),
    "deleted": ({"key": "deleted"}, "does not identify a memory in this namespace: key 'deleted'"),
    "itself": ({"key": "new"}, "must not identify the memory itself: key 'new'"),
    "later": ({"key": "later"}, "identifies a memory that is not valid before 2999-01-01T00:00:00Z: key 'later'"),
    "nothing": ({}, "must identify each memory by exactly one of coord, key and id"),
    "two names": ({"key": "old", "coord": "9"}, "must identify each memory by exactly one of coord, key and id"),
}


@pytest.mark.parametrize(("name", "message"), INVALID.values(), ids=INVALID.keys())
@pytest.mark.parametrize("how", ["store", "put", "patch", "bulk"])
def test_an_invalid_name_is_refused_and_nothing_is_stored(api: Api, name: Any, message: str, how: str) -> None:
    store(api, "old", "home")
    store(api, "elsewhere", "home", namespace="n")
    store(api, "deleted", "home")
    api.delete("/memories/by-key/deleted")
    store(api, "later", "home", valid_from="2999-01-01T00:00:00Z")
    store(api, "new", "home")
    body = {"payload": {"text": "changed"}, "supersedes": [{"key": "old"}, name]}
    send = {
        "store": lambda: api.post("/memories", {"key": "new", **body}),
        "put": lambda: api.request("PUT", "/memories/by-key/new", body),
        "patch": lambda: api.patch("/memories/by-key/new", body),
        "bulk": lambda: api.post("/memories/bulk", {"items": [{"key": "new", **body}], "atomic": True}),
    }

    problem = problem_of(send[how](), 422, "invalid_input")

    [error] = problem["errors"]
    assert error["field"].endswith("supersedes")
    assert error["message"] == message
    assert {row.version for row in Memory.objects.for_tenant(api.tenant).filter(deleted_at=None)} == {1}
    assert not Link.objects.for_tenant(api.tenant).exists()


def test_a_memory_cannot_supersede_more_than_100_memories(api: Api) -> None:
    names = [{"coord": str(number)} for number in range(101)]

    problem = problem_of(api.post("/memories", {"payload": {}, "supersedes": names}), 422)

    assert problem["errors"][0]["field"] == "supersedes"


def test_a_bulk_supersedes_at_most_a_thousand_memories(api: Api) -> None:
    names = [{"coord": str(number)} for number in range(100)]
    items = [{"payload": {}, "supersedes": names} for _ in range(11)]

    problem_of(api.post("/memories/bulk", {"items": items}), 422)


def test_a_patch_with_null_is_refused(api: Api, old: dict[str, Any]) -> None:
    problem = problem_of(api.patch("/memories/by-key/old", {"supersedes": None}), 422)

    assert problem["errors"] == [{"field": "supersedes", "message": "must not be null"}]


def test_a_memory_of_another_tenant_is_unknown(api: Api, old: dict[str, Any]) -> None:
    tenant = Tenant.objects.create(slug="globex")
    stranger = Api(issue_key(tenant), tenant)

    problem_of(stranger.post("/memories", {"payload": {}, "supersedes": [{"id": old["id"]}]}), 422)

    assert memory(api, "old")["version"] == 1


def test_a_key_limited_to_a_user_supersedes_only_memories_of_this_user(api: Api, old: dict[str, Any]) -> None:
    store(api, "ada", "home is Zurich", user_id="ada")
    ada = Api(issue_key(api.tenant, ("read", "write"), user_id="ada"), api.tenant)

    problem_of(ada.post("/memories", {"payload": {}, "supersedes": [{"id": old["id"]}]}), 422)
    store(ada, "ada/new", "home is Bern", supersedes=[{"key": "ada"}])

    assert memory(api, "old")["valid_to"] is None
    assert memory(api, "ada")["valid_to"] is not None
    assert Link.objects.for_tenant(api.tenant).get().user_id == "ada"
