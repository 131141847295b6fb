"""Memories by coordinate, key and id: three names for the same memory."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from memories import addresses, namespaces, restoring, services
from memories.addresses import KeyPrefix
from memories.models import EmbeddingGeneration, Memory
from tenants.caller import Caller
from tenants.models import AuditEvent, Tenant
from tests.conftest import Api, issue_key, problem_of

KEYS = [
    "ada/seat",
    "users/ada/seat",
    "Überraschung/日本語/🦡",
    "a b/100%/x?y#z&w=1",
    "https://example.com//path/",
    "x/restore",
    "_%\\",
    "x" * 512,
]


def by_key(key: str, query: str = "") -> str:
    return f"/memories/by-key/{quote(key)}{query}"


def put(api: Api, key: str, text: str = "a memory", query: str = "", **fields: Any) -> Any:
    return api.request("PUT", by_key(key, query), {"payload": {"text": text}, **fields})


# --- Keys --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
@pytest.mark.parametrize("safe", ["/", ""], ids=["plain slashes", "encoded slashes"])
def test_any_text_without_control_characters_is_a_key(api: Api, key: str, safe: str) -> None:
    assert put(api, key, "here").status_code == 201

    memory = api.get(f"/memories/by-key/{quote(key, safe=safe)}").json()["memory"]

    assert (memory["key"], memory["payload"]) == (key, {"text": "here"})


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("", "must have 1 to 512 characters"),
        ("x" * 513, "must have 1 to 512 characters, not 513"),
        ("a\nb", "control characters"),
        ("a\x7f", "control characters"),
        ("a\u0085", "control characters"),
        ("a/../b", "segment"),
        ("./a", "segment"),
        (7, "must be text"),
    ],
)
def test_a_bad_key_is_refused_and_nothing_is_stored(api: Api, key: object, problem: str) -> None:
    response = api.post("/memories", {"key": key, "payload": {}})

    assert problem in problem_of(response, 422, "invalid_input", "key")["errors"][0]["message"]
    assert api.get("/stats").json()["total_memories"] == 0


@pytest.mark.parametrize("path", ["", "a%0Ab"])
def test_a_path_without_a_usable_key_is_refused(api: Api, path: str) -> None:
    problem_of(api.request("PUT", f"/memories/by-key/{path}", {"payload": {}}), 422, field="key")


def test_a_second_store_under_a_key_replaces_the_memory(api: Api) -> None:
    first = put(api, "ada/seat", "window").json()
    second = put(api, "ada/seat", "aisle")

    assert second.status_code == 200
    assert second.json() == {**first, "version": 2, "created": False}


def test_a_key_is_unique_in_its_namespace_only(api: Api) -> None:
    here, there = put(api, "k").json(), put(api, "k", query="?namespace=there").json()

    assert here["id"] != there["id"]
    assert api.get(by_key("k", "?namespace=there")).json()["memory"]["id"] == there["id"]


def test_a_key_keeps_the_coordinate_that_it_was_given(api: Api) -> None:
    stored = put(api, "k", coord="1,2").json()

    assert stored["coord"] == "1.0,2.0"
    assert put(api, "k").json()["coord"] == "1.0,2.0"
    assert put(api, "k", coord="1,2").status_code == 200


def test_a_memory_at_a_coordinate_can_be_given_a_key_later(api: Api) -> None:
    stored = api.store("1")
    keyed = api.post("/memories", {"coord": "1", "key": "k", "payload": {}}).json()

    assert (keyed["id"], keyed["key"], keyed["version"]) == (stored["id"], "k", 2)
    assert api.get(by_key("k")).json()["memory"]["id"] == stored["id"]


def test_a_store_at_the_coordinate_keeps_the_key(api: Api) -> None:
    put(api, "k", coord="1")

    assert api.store("1", "changed")["key"] == "k"
    assert api.get(by_key("k")).json()["memory"]["payload"] == {"text": "changed"}


@pytest.mark.parametrize(
    "body",
    [
        {"coord": "2", "key": "k"},
        {"coord": "9", "key": "k"},
        {"coord": "1", "key": "other"},
        {"coord": "2", "key": "j"},
    ],
    ids=["of two memories", "key of a memory elsewhere", "coordinate with another key", "key elsewhere, no key here"],
)
def test_a_key_and_a_coordinate_of_different_memories_conflict(api: Api, body: dict[str, str]) -> None:
    put(api, "k", coord="1")
    put(api, "j", coord="3")
    api.store("2")
    before = api.get("/memories?include_deleted=true").json()

    problem_of(api.post("/memories", {**body, "payload": {"text": "x"}}), 409, "conflict")

    assert api.get("/memories?include_deleted=true").json() == before


def test_a_conflict_fails_only_its_own_item_of_a_bulk(api: Api) -> None:
    put(api, "k", coord="1")
    items = [{"coord": "2", "key": "k", "payload": {}}, {"key": "new", "payload": {}}, {"key": "k", "payload": {}}]

    response = api.post("/memories/bulk", {"items": items})

    results = response.json()["results"]
    assert response.status_code == 207
    assert [(result["status"], result["key"]) for result in results] == [(409, "k"), (201, "new"), (200, "k")]


def test_an_atomic_bulk_with_a_conflict_stores_nothing(api: Api) -> None:
    put(api, "k", coord="1")
    items = [{"key": "new", "payload": {}}, {"coord": "2", "key": "k", "payload": {}}]

    problem_of(api.post("/memories/bulk", {"items": items, "atomic": True}), 422)

    assert api.get("/stats").json()["total_memories"] == 1


def test_one_key_twice_in_a_bulk_is_one_memory(api: Api) -> None:
    items = [{"key": "k", "payload": {"n": 1}}, {"key": "k", "payload": {"n": 2}}]

    results = api.post("/memories/bulk", {"items": items}).json()["results"]

    assert [(result["status"], result["version"]) for result in results] == [(201, 1), (200, 2)]
    assert len({result["id"] for result in results}) == 1


def test_a_store_under_the_key_of_a_deleted_memory_revives_it(api: Api) -> None:
    first = put(api, "k").json()
    api.delete(by_key("k"))

    second = put(api, "k")

    assert second.status_code == 201
    assert (second.json()["id"], second.json()["coord"]) == (first["id"], first["coord"])


def test_after_a_purge_a_key_names_a_new_memory(api: Api) -> None:
    first = put(api, "k").json()
    api.delete(by_key("k", "?purge=true"))

    assert put(api, "k").json()["id"] != first["id"]


def test_a_conditional_store_by_key_checks_the_version(api: Api) -> None:
    put(api, "k")
    body: dict[str, Any] = {"payload": {}}

    assert api.request("PUT", by_key("k"), body, if_match='"1"').status_code == 200
    problem_of(api.request("PUT", by_key("k"), body, if_match='"1"'), 412)
    problem_of(api.request("PUT", by_key("k"), body, if_none_match="*"), 412)
    problem_of(api.delete(by_key("none"), if_match='"1"'), 412)


def test_a_fetch_by_key_is_not_modified_while_its_version_is(api: Api) -> None:
    put(api, "k")

    assert api.get(by_key("k"), if_none_match='"1"').status_code == 304


def test_a_reserved_namespace_takes_no_keys(api: Api) -> None:
    problem_of(put(api, "k", query="?namespace=conversations"), 422, field="namespace")


def test_names_of_memories_that_are_not_there_are_404(api: Api) -> None:
    for path in (by_key("none"), f"/memories/by-id/{uuid.uuid4()}"):
        problem_of(api.get(path), 404, "not_found")
        problem_of(api.patch(path, {"importance": 1}), 404, "not_found")
        assert api.delete(path).json()["deleted"] is False


def test_a_key_restricted_to_a_namespace_finds_no_id_elsewhere(api: Api) -> None:
    stored = api.store("1", namespace="there")
    here = Api(issue_key(api.tenant, namespaces=["here"]), api.tenant)

    problem_of(here.get(f"/memories/by-id/{stored['id']}"), 404)
    problem_of(here.patch(f"/memories/by-id/{stored['id']}", {"importance": 1}), 404)
    assert here.post("/memories/bulk/delete", {"ids": [stored["id"]]}).json()["deleted"] == 0


# --- Lists and searches ------------------------------------------------------------------------------------------

LISTED = ["users/ada", "users/ada/seat", "users/ada/x/y", "users/adam", "users/ada-b", "users/ada0", "users", "u_e%"]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("users/ada", ["users/ada", "users/ada/seat", "users/ada/x/y"]),
        ("users/ada/", ["users/ada/seat", "users/ada/x/y"]),
        ("users", LISTED[:-1]),
        ("u_e%", ["u_e%"]),
        ("user_", []),
        ("%", []),
    ],
)
def test_a_key_prefix_ends_at_a_slash(api: Api, prefix: str, expected: list[str]) -> None:
    api.post("/memories/bulk", {"items": [{"key": key, "payload": {"text": "aardvark"}} for key in LISTED]})
    api.store("1", "aardvark without a key")

    listed = api.get(f"/memories?key_prefix={quote(prefix, safe='')}").json()["items"]
    found = api.search("aardvark", key_prefix=prefix, mode="keyword", top_k=50)

    assert {item["key"] for item in listed} == {hit["key"] for hit in found} == set(expected)


@given(st.text("a/0.", max_size=4), st.text("a/0.", min_size=1, max_size=4))
def test_the_range_of_a_prefix_includes_every_key_that_it_contains(key: str, text: str) -> None:
    prefix = KeyPrefix(text)
    low, high = prefix.range

    contains = key == text or key.startswith(text if text.endswith("/") else text + "/")
    in_conditions = low <= key < high and (key == text or key >= prefix.below)

    assert contains is prefix.contains(key) is in_conditions


@given(st.text(max_size=600))
def test_a_key_is_accepted_or_refused_with_a_reason(text: str) -> None:
    try:
        key = addresses.key(text).text
    except ValueError as error:
        key, reason = text, str(error)
        refused = reason.startswith("must ")
    else:
        refused = False

    assert key == text
    assert refused is (not 1 <= len(text) <= 512 or bool(re.search(r"[\x00-\x1f\x7f-\x9f]|(^|/)\.\.?(/|\Z)", text)))


# --- Several at once ---------------------------------------------------------------------------------------------


def test_a_bulk_get_takes_keys_and_ids(api: Api) -> None:
    keyed, other = put(api, "k").json(), api.store("1", namespace="there")

    by_keys = api.post("/memories/bulk/get", {"keys": ["none", "k"]}).json()["items"]
    by_ids = api.post("/memories/bulk/get", {"ids": [other["id"], keyed["id"]]}).json()["items"]

    assert [(item["key"], item["memory"] and item["memory"]["id"]) for item in by_keys] == [
        ("none", None),
        ("k", keyed["id"]),
    ]
    assert [item["memory"]["id"] for item in by_ids] == [other["id"], keyed["id"]]


def test_a_bulk_delete_takes_keys_and_ids(api: Api) -> None:
    put(api, "k")
    ids = [api.store("1", namespace=place)["id"] for place in ("b", "a")]

    by_keys = api.post("/memories/bulk/delete", {"keys": ["k", "none"]}).json()
    by_ids = api.post("/memories/bulk/delete", {"ids": ids}).json()

    assert [result["deleted"] for result in by_keys["results"]] == [True, False]
    assert by_ids["deleted"] == 2
    assert api.get("/stats").json()["total_memories"] == 0


@pytest.mark.parametrize("route", ["/memories/bulk/get", "/memories/bulk/delete"])
@pytest.mark.parametrize("body", [{}, {"coords": ["1"], "keys": ["k"]}, {"ids": ["x"]}, {"keys": []}])
def test_a_bulk_takes_exactly_one_list_of_names(api: Api, route: str, body: dict[str, Any]) -> None:
    problem_of(api.post(route, body), 422, "invalid_input")


@pytest.mark.parametrize(
    ("room", "name", "method", "path", "headers"),
    [
        (services, "patch", "PATCH", "", {}),
        (services, "patch", "PATCH", "", {"idempotency_key": "one"}),
        (services, "patch", "PATCH", "", {"if_match": "*"}),
        (services, "delete", "DELETE", "", {}),
        (services, "delete", "DELETE", "", {"if_match": "*"}),
        (services, "delete", "DELETE", "?purge=true", {}),
        (restoring, "restore", "POST", "/restore?version=1", {}),
    ],
)
def test_a_change_by_id_follows_a_rename_that_happens_at_the_same_time(
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
    room: Any,
    name: str,
    method: str,
    path: str,
    headers: dict[str, str],
) -> None:
    api.store("1", "first", namespace="old")
    id = api.store("1", "second", namespace="old")["id"]
    change, renames = getattr(room, name), ["new"]

    def renamed_first(*args: Any, **kwargs: Any) -> Any:
        if renames:
            namespaces.move_batch(Caller.command(api.tenant), "old", renames.pop())
        return change(*args, **kwargs)

    monkeypatch.setattr(room, name, renamed_first)

    body = {"payload": {"text": "after"}} if method == "PATCH" else None
    response = api.request(method, f"/memories/by-id/{id}{path}", body, None, **headers)
    assert response.status_code == 200, response.content
    assert list(Memory.all_tenants.values_list("version", flat=True)) == ([] if "purge" in path else [4])


def test_a_change_by_id_gives_up_on_a_memory_that_is_moved_again_and_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = api.store("1", "a memory", namespace="one")["id"]
    change, places = services.patch, ["one", "two"]

    def renamed_first(*args: Any, **kwargs: Any) -> Any:
        namespaces.move_batch(Caller.command(api.tenant), *places)
        places.reverse()
        return change(*args, **kwargs)

    monkeypatch.setattr(services, "patch", renamed_first)

    assert api.patch(f"/memories/by-id/{id}", {"importance": 1}).status_code == 404
    assert api.get(f"/memories/by-id/{id}").json()["memory"]["importance"] != 1


def test_the_namespace_of_ids_narrows_them(api: Api) -> None:
    stored = api.store("1", namespace="there")

    items = api.post("/memories/bulk/get", {"ids": [stored["id"]], "namespace": "default"}).json()["items"]

    assert items[0]["memory"] is None


# --- Links -------------------------------------------------------------------------------------------------------


def test_a_link_between_keys_and_ids_is_followed_from_both_ends(api: Api) -> None:
    ada, bern = put(api, "ada").json(), api.store("5")
    link = {"from_key": "ada", "to_id": bern["id"], "link_type": "lives_in"}

    linked = api.post("/graph/link", link).json()

    assert (linked["from_coord"], linked["to_coord"]) == (ada["coord"], bern["coord"])
    for path in ("/graph/neighbors?key=ada", f"/graph/neighbors?id={ada['id']}", f"/memories/by-id/{ada['id']}/links"):
        assert [neighbor["coord"] for neighbor in api.get(path).json()["neighbors"]] == ["5.0"]


def test_the_links_of_an_id_are_those_of_its_namespace(api: Api) -> None:
    stored = api.store("1", namespace="there")
    api.post("/graph/link", {"from_coord": "1", "to_coord": "2"})
    api.post("/graph/link", {"from_coord": "1", "to_coord": "3", "namespace": "there"})

    neighbors = api.get(f"/memories/by-id/{stored['id']}/links").json()["neighbors"]

    assert [neighbor["coord"] for neighbor in neighbors] == ["3.0"]


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        ({"from_key": "none", "to_coord": "1"}, 404),
        ({"from_coord": "1", "from_key": "k", "to_coord": "2"}, 422),
        ({"from_coord": "1"}, 422),
        ({"from_key": "a\n", "to_coord": "1"}, 422),
    ],
)
def test_an_end_of_a_link_is_named_exactly_once(api: Api, ends: dict[str, str], status: int) -> None:
    problem_of(api.post("/graph/link", ends), status)

    assert json.loads(api.get("/graph/export").getvalue())["links"] == []


# --- Any sequence ------------------------------------------------------------------------------------------------

coords = st.sampled_from(["1.0", "2.0", "3.0"])
keys = st.sampled_from(["a", "a/b", "ü"])
how = st.sampled_from(["coord", "key", "id"])


@dataclass(frozen=True)
class Row:
    id: str
    coord: str
    key: str | None
    version: int
    number: int
    deleted: bool = False


class Names(RuleBasedStateMachine):
    """The names of the memories in one namespace, compared with a list of rows."""

    def __init__(self) -> None:
        super().__init__()
        tenant = Tenant.objects.create(slug=f"t{uuid.uuid4().hex[:20]}")
        self.api = Api(issue_key(tenant), tenant)
        self.rows: list[Row] = []
        self.stores = 0

    def find(self, **names: str | None) -> Row | None:
        return next((row for row in self.rows if any(getattr(row, n) == v for n, v in names.items() if v)), None)

    def change(self, row: Row, **changes: Any) -> None:
        self.rows[self.rows.index(row)] = replace(row, version=row.version + 1, **changes)

    def path(self, how: str, row: Row) -> str:
        if how == "key" and row.key:
            return by_key(row.key)
        return f"/memories/{row.coord}" if how == "coord" else f"/memories/by-id/{row.id}"

    @rule(coord=st.none() | coords, key=st.none() | keys, in_path=st.booleans())
    def store(self, coord: str | None, key: str | None, in_path: bool) -> None:
        self.stores += 1
        body = {"payload": {"n": self.stores}, **({"coord": coord} if coord else {})}
        if key and in_path:
            response = self.api.request("PUT", by_key(key), body)
        else:
            response = self.api.post("/memories", {**body, **({"key": key} if key else {})})
        there, keyed = self.find(coord=coord), self.find(key=key)
        if key and ((keyed and coord and keyed is not there) or (there and there.key not in (None, key))):
            assert response.status_code == 409, response.content
            return
        row = keyed or there
        assert response.status_code == (200 if row and not row.deleted else 201), response.content
        self.stored(row, key, response.json())

    def stored(self, row: Row | None, key: str | None, answer: dict[str, Any]) -> None:
        if row is None:
            row = Row(answer["id"], answer["coord"], key, 0, 0)
            self.rows.append(row)
        self.change(row, key=row.key or key, number=self.stores, deleted=False)
        row = self.find(id=answer["id"])
        assert row is not None
        assert (answer["coord"], answer["key"], answer["version"]) == (row.coord, row.key, row.version)

    @rule(data=st.data(), how=how)
    def patch(self, data: st.DataObject, how: str) -> None:
        if row := self.some(data):
            response = self.api.patch(self.path(how, row), {"importance": 1})
            assert response.status_code == (404 if row.deleted else 200), response.content
            if not row.deleted:
                self.change(row)

    @rule(data=st.data(), how=how, purge=st.booleans())
    def delete(self, data: st.DataObject, how: str, purge: bool) -> None:
        if row := self.some(data):
            response = self.api.delete(self.path(how, row) + ("?purge=true" if purge else ""))
            assert response.json()["deleted"] is (purge or not row.deleted), response.content
            if purge:
                self.rows.remove(row)
            elif not row.deleted:
                self.change(row, deleted=True)

    @rule(data=st.data(), how=how)
    def restore(self, data: st.DataObject, how: str) -> None:
        if row := self.some(data):
            name = {"key": row.key} if how == "key" and row.key else {"id": row.id}
            if how == "coord":
                response = self.api.post(f"/memories/{row.coord}/restore")
            else:
                response = self.api.post("/memories/restore", name)
            assert response.status_code == (200 if row.deleted else 404), response.content
            if row.deleted:
                self.change(row, deleted=False)

    def some(self, data: st.DataObject) -> Row | None:
        return data.draw(st.sampled_from(self.rows)) if self.rows else None

    @invariant()
    def every_name_leads_to_the_same_memory(self) -> None:
        for row in self.rows[-2:]:
            expected = None if row.deleted else (row.id, row.coord, row.key, row.version, {"n": row.number})
            for how in ("coord", "key", "id"):
                memory = self.api.get(self.path(how, row)).json().get("memory")
                seen = memory and tuple(memory[name] for name in ("id", "coord", "key", "version", "payload"))
                assert seen == expected

    def teardown(self) -> None:
        items = self.api.get("/memories?include_deleted=true&limit=1000").json()["items"]
        assert {(item["id"], item["coord"], item["key"], item["version"]) for item in items} == {
            (row.id, row.coord, row.key, row.version) for row in self.rows
        }


@pytest.mark.usefixtures("db")
def test_coordinate_key_and_id_name_the_same_memory_after_any_sequence_of_operations(
    generation: EmbeddingGeneration,
) -> None:
    run_state_machine_as_test(
        Names,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


# --- Audit -------------------------------------------------------------------------------------------------------


def test_the_audit_log_records_a_change_by_key_at_its_coordinate(api: Api) -> None:
    stored = put(api, "k").json()
    api.patch(by_key("k"), {"importance": 1})

    targets = AuditEvent.objects.filter(tenant=api.tenant, action__startswith="memory.").values_list(
        "target", flat=True
    )

    assert set(targets) == {stored["coord"]}
    assert Memory.objects.for_tenant(api.tenant).get().key == "k"
