"""Storing, fetching, changing and deleting memories over HTTP."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memories import large_rows, retention
from memories.models import Memory, VectorEmbedding
from tenants.models import AuditEvent
from tests.api.test_json import texts, values
from tests.conftest import Api, drain, problem_of

DIMENSION = 256
FAR_AWAY = "2999-01-01T00:00:00Z"


def memory_at(api: Api, coord: str, query: str = "") -> dict[str, Any]:
    """Return the memory at a coordinate. It must exist."""
    response = api.get(f"/memories/{coord}{query}")
    assert response.status_code == 200, response.content
    found: dict[str, Any] = response.json()["memory"]
    return found


def rows(api: Api) -> int:
    return Memory.objects.for_tenant(api.tenant).count()


def audited(api: Api) -> list[tuple[str, str]]:
    events = AuditEvent.objects.filter(tenant=api.tenant, action__startswith="memory.").order_by("id")
    return list(events.values_list("action", "target"))


# --- Store -------------------------------------------------------------------------------------------------------


def test_a_stored_memory_is_returned_unchanged(api: Api) -> None:
    answer = api.store("1,2,3", "hello", metadata={"tag": "x"}, importance=3)

    memory = api.get("/memories/1.0,2.0,3.0").json()["memory"]

    assert answer["created"] is True
    assert memory["payload"] == {"text": "hello"}
    assert memory["metadata"] == {"tag": "x"}
    assert memory["coordinate"] == [1.0, 2.0, 3.0]


def test_the_answer_to_a_store_says_what_and_where(api: Api) -> None:
    response = api.post("/memories", {"coord": [1, -0.0, 2.5], "payload": {}})

    assert response.status_code == 201
    answer = response.json()
    assert answer.pop("id")
    assert answer == {
        "ok": True,
        "coord": "1.0,0.0,2.5",
        "coordinate": [1.0, 0.0, 2.5],
        "key": None,
        "namespace": "default",
        "memory_type": "episodic",
        "version": 1,
        "created": True,
        "index_state": "pending",
    }
    assert response["ETag"] == '"1"'


def test_a_memory_has_every_field_of_the_contract(api: Api) -> None:
    stored = api.store("1", "hello", context="said at breakfast", expires_at="2999-01-01T02:00:00.5+02:00")

    memory = memory_at(api, "1")

    assert memory["created_at"] == memory["updated_at"]
    assert memory["created_at"].endswith("Z")
    expected = {
        "id": stored["id"],
        "coord": "1.0",
        "coordinate": [1.0],
        "namespace": "default",
        "payload": {"text": "hello"},
        "memory_type": "episodic",
        "metadata": {},
        "importance": 0.0,
        "context": "said at breakfast",
        "version": 1,
        "index_state": "pending",
        "expires_at": "2999-01-01T00:00:00.500000Z",
    }
    assert {name: memory[name] for name in expected} == expected


def test_a_second_store_replaces_the_whole_memory(api: Api) -> None:
    first = api.store("1", "old", metadata={"tag": "x"}, importance=7, context="c", memory_type="semantic")
    before = memory_at(api, "1")

    response = api.post("/memories", {"coord": "1.0", "payload": {"b": 2}})

    assert response.status_code == 200
    answer = response.json()
    assert (answer["id"], answer["version"], answer["created"]) == (first["id"], 2, False)
    after = memory_at(api, "1")
    assert after["payload"] == {"b": 2}
    assert (after["metadata"], after["importance"], after["context"]) == ({}, 0.0, "")
    assert (after["memory_type"], after["created_at"]) == ("episodic", before["created_at"])
    assert after["updated_at"] > before["updated_at"]


def test_equal_spellings_are_one_address(api: Api) -> None:
    for coord in ("1,2,3", "1.0,2.0,3.0", "+1,02,3e0", [1, 2.0, 3]):
        api.post("/memories", {"coord": coord, "payload": {}})

    assert memory_at(api, "1.00,2.,30e-1")["version"] == 4
    assert rows(api) == 1


def test_namespaces_are_apart(api: Api) -> None:
    api.store("1", "here", namespace="a/b:c.d_e-f")
    api.store("1", "there", namespace="other")

    assert memory_at(api, "1", "?namespace=a/b:c.d_e-f")["payload"] == {"text": "here"}
    assert memory_at(api, "1", "?namespace=other")["payload"] == {"text": "there"}
    problem_of(api.get("/memories/1"), 404, "not_found")


def test_a_deleted_memory_can_be_stored_again(api: Api) -> None:
    first = api.store("1", "old")
    api.delete("/memories/1")

    answer = api.store("1", "new")

    assert (answer["id"], answer["created"], answer["version"]) == (first["id"], True, 3)
    assert memory_at(api, "1")["payload"] == {"text": "new"}


def test_ttl_and_expires_at_say_until_when(api: Api) -> None:
    api.store("1", ttl_seconds=60)

    expires_at = Memory.objects.for_tenant(api.tenant).get().expires_at

    assert expires_at is not None
    assert timedelta(seconds=50) < expires_at - timezone.now() <= timedelta(seconds=60)


def test_an_expired_memory_is_not_there(api: Api) -> None:
    api.store("1", ttl_seconds=60)
    Memory.objects.for_tenant(api.tenant).update(expires_at=timezone.now() - timedelta(seconds=1))

    problem_of(api.get("/memories/1"), 404)
    problem_of(api.patch("/memories/1", {"importance": 1}), 404)
    assert api.delete("/memories/1").json()["deleted"] is False
    problem_of(api.post("/memories/1/restore"), 404)
    assert api.store("1")["created"] is True


def test_a_supplied_vector_is_stored_unchanged(api: Api) -> None:
    api.store("1", embedding=[1, *[0.0] * (DIMENSION - 1)])

    row = VectorEmbedding.objects.for_tenant(api.tenant).get()

    assert row.own is True
    assert len(bytes(row.vector or b"")) == 4 * DIMENSION


def test_a_store_and_its_audit_row_are_atomic(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenants.audit.events", lambda *_: 1 / 0)

    problem_of(api.post("/memories", {"coord": "1", "payload": {}}), 500, "internal_error")

    assert rows(api) == 0
    assert VectorEmbedding.objects.for_tenant(api.tenant).count() == 0


def test_each_change_is_audited_in_its_order(api: Api) -> None:
    api.store("1", namespace="n")
    api.patch("/memories/1?namespace=n", {"importance": 2})
    api.delete("/memories/1?namespace=n")
    api.delete("/memories/1?namespace=n")  # nothing to delete or to record
    api.post("/memories/1/restore?namespace=n", x_request_id="my-id")
    api.delete("/memories/1?namespace=n&purge=true")

    assert audited(api) == [
        ("memory.store", "1.0"),
        ("memory.patch", "1.0"),
        ("memory.delete", "1.0"),
        ("memory.restore", "1.0"),
        ("memory.purge", "1.0"),
    ]
    event = AuditEvent.objects.get(action="memory.restore")
    assert (event.namespace, event.request_id) == ("n", "my-id")
    assert event.actor.startswith("key:")


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.dictionaries(texts, values, max_size=4))
def test_any_payload_is_returned_unchanged(api: Api, payload: dict[str, Any]) -> None:
    stored = api.post("/memories", {"coord": "1", "payload": payload, "metadata": payload})
    assert stored.status_code in (200, 201), stored.content

    memory = memory_at(api, "1")

    assert same(memory["payload"], payload)
    assert same(memory["metadata"], payload)


def same(one: Any, other: Any) -> bool:
    """Compare as JSON, because PostgreSQL writes the number 1e20 with all its digits."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(other, float) and not isinstance(one, bool):
        return float(one) == other
    return type(one) is type(other) and bool(one == other)


BAD_TEXTS = [
    *["", " ", ",", "1,", ",1", "1,,2", "1, 2", " 1", "1 ", "1,2;3", "[1,2]", "1e", "--1", "text", "1_0", "0x1"],
    *["nan", "1,nan", "inf", "-inf", "Infinity", "1e400", "-1e400", "\u0661", "\u00b2"],
    *["1" * 3000, ",".join(["1"] * 33)],
]
BAD_LISTS = [[], [[1]], ["1"], [None], [True], [1, {}], [1] * 33]


@pytest.mark.parametrize("coord", [*BAD_TEXTS, *BAD_LISTS, 10**18, 1.5, True, None, {}, {"x": 1}])
def test_a_bad_coordinate_is_refused_and_nothing_is_stored(api: Api, coord: Any) -> None:
    problem = problem_of(api.post("/memories", {"coord": coord, "payload": {}}), 400, "invalid_coordinate")

    assert "coordinate" in problem["detail"]
    assert rows(api) == 0


@pytest.mark.parametrize("number", ["9007199254740993", "9007199254740993.0", "0.1000000000000000001"])
def test_a_coordinate_that_would_be_rounded_is_refused_in_every_request(api: Api, number: str) -> None:
    api.store("9007199254740992,1", "the first")
    stored = f'"payload": {{"coord": [{number}]}}'  # only an address must be exact
    bodies = {
        "/memories": f'{{"coord": [{number}, 1], {stored}}}',
        "/memories/bulk": f'{{"items": [{{"coord": [{number}, 1], {stored}}}], "atomic": true}}',
        "/memories/bulk/get": f'{{"coords": [[1, 1], [{number}, 1]]}}',
        "/memories/search": f'{{"query": "first", "prefix": [{number}]}}',
        "/graph/link": f'{{"from_coord": [1], "to_coord": [{number}]}}',
        "/graph/links/bulk": f'{{"links": [{{"from_coord": [1], "to_coord": [{number}]}}], "atomic": true}}',
    }
    for path, body in bodies.items():
        response = api.request("POST", path, raw=body.encode())
        problem = response.json()
        assert response.status_code in (400, 422), (path, problem)
        assert "significant digits" in problem["detail"]
        assert problem["errors"][0]["field"].rpartition(".")[2] in ("coord", "coords", "prefix", "to_coord")
    for path in (f"/memories/{number},1", f"/memories?prefix={number}", f"/memories?box={number};{number}"):
        problem_of(api.get(path), 400, "invalid_coordinate", field=None)

    assert api.get("/memories/9007199254740992,1").json()["memory"]["payload"] == {"text": "the first"}
    assert api.request("POST", "/memories", raw=f'{{"coord": [1], {stored}}}'.encode()).status_code == 201


@pytest.mark.parametrize(
    "coord", ["x", "1,nan", "1e400", "1,", "%20", "1%002", "%ff", ",".join(["1"] * 33), "1" * 3000]
)
def test_a_bad_coordinate_in_the_path_is_refused_by_every_method(api: Api, coord: str) -> None:
    for response in (
        api.get(f"/memories/{coord}"),
        api.patch(f"/memories/{coord}", {"importance": 1}),
        api.delete(f"/memories/{coord}"),
        api.post(f"/memories/{coord}/restore"),
    ):
        assert "coordinate" in problem_of(response, 400, "invalid_coordinate")["detail"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"surprise": 1}, "surprise"),
        ({"id": "x"}, "id"),
        ({"tenant": "other"}, "tenant"),
        ({"payload": None}, "payload"),
        ({"payload": []}, "payload"),
        ({"payload": "text"}, "payload"),
        ({"metadata": None}, "metadata"),
        ({"metadata": [1]}, "metadata"),
        ({"memory_type": "procedural"}, "memory_type"),
        ({"memory_type": 1}, "memory_type"),
        ({"memory_type": None}, "memory_type"),
        ({"namespace": ""}, "namespace"),
        ({"namespace": "with space"}, "namespace"),
        ({"namespace": "line\n"}, "namespace"),
        ({"namespace": "\u00e9"}, "namespace"),
        ({"namespace": "n" * 256}, "namespace"),
        ({"namespace": ["a"]}, "namespace"),
        ({"importance": -0.1}, "importance"),
        ({"importance": 10.1}, "importance"),
        ({"importance": "3"}, "importance"),
        ({"importance": True}, "importance"),
        ({"importance": None}, "importance"),
        ({"context": 1}, "context"),
        ({"context": "c" * 32_769}, "context"),
        ({"ttl_seconds": 0}, "ttl_seconds"),
        ({"ttl_seconds": -1}, "ttl_seconds"),
        ({"ttl_seconds": 1.5}, "ttl_seconds"),
        ({"ttl_seconds": "60"}, "ttl_seconds"),
        ({"ttl_seconds": 2**62}, "ttl_seconds"),
        ({"ttl_seconds": 1, "expires_at": FAR_AWAY}, "ttl_seconds"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2999-01-01T00:00:00"}, "expires_at"),
        ({"expires_at": "2999-01-01"}, "expires_at"),
        ({"expires_at": "2999-02-30T00:00:00Z"}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at"),
        ({"expires_at": 32503680000}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"embedding": []}, "embedding"),
        ({"embedding": [1.0]}, "embedding"),
        ({"embedding": [1.0] * (DIMENSION + 1)}, "embedding"),
        ({"embedding": [0.0] * DIMENSION}, "embedding"),
        ({"embedding": [1e300] * DIMENSION}, "embedding"),
        ({"embedding": [1e-300] * DIMENSION}, "embedding"),
        ({"embedding": [True] * DIMENSION}, "embedding.0"),
        ({"embedding": ["1"] * DIMENSION}, "embedding.0"),
        ({"embedding": "1,2"}, "embedding"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_stored(api: Api, fields: dict[str, Any], field: str) -> None:
    problem_of(api.post("/memories", {"coord": "1", "payload": {}, **fields}), 422, field=field)

    assert rows(api) == 0


@pytest.mark.parametrize(
    ("raw", "status", "field"),
    [
        (b'{"coord": "1", "payload": {"a": NaN}}', 422, "body"),
        (b'{"coord": "1", "payload": {"a": 1e400}}', 422, "body"),
        (b'{"coord": "1", "payload": {"a": 9223372036854775808}}', 422, "body"),
        (b'{"coord": "1", "payload": {"a": 1, "a": 2}}', 422, "a"),
        (b'{"coord": "1", "coord": "2", "payload": {}}', 422, "coord"),
        (b'{"coord": "1", "payload": {"a": "\\u0000"}}', 422, "payload.a"),
        (b'{"coord": "1", "payload": {"a": "\\ud800"}}', 422, "payload.a"),
        (b'{"coord": "1", "payload": {"\\ud800": 1}}', 422, "payload"),
        (b'{"coord": "1", "payload": ' + b'{"a":' * 32 + b"1" + b"}" * 33, 422, "body"),
        (b'{"coord": "1", "payload": ' + b"[" * 100_000, 422, "body"),
        (b'{"coord": "1"}', 422, "payload"),
        (b"[]", 422, "body"),
        (b"null", 422, "body"),
        (b'"text"', 422, "body"),
        (b"", 422, "body"),
        (b"{", 400, ""),
        (b'{"coord": "1", "payload": {}} x', 400, ""),
        (b'{"coord": "1", "payload": {"a": "\xff"}}', 400, ""),
    ],
)
def test_a_body_that_is_not_strict_json_is_refused_and_nothing_is_stored(
    api: Api, raw: bytes, status: int, field: str
) -> None:
    problem_of(api.request("POST", "/memories", raw=raw), status, field=field or None)

    assert rows(api) == 0


def test_all_invalid_fields_are_reported_together(api: Api) -> None:
    response = api.post("/memories", {"coord": "1", "importance": 11, "surprise": 1})

    problem = problem_of(response, 422, "invalid_input")

    assert {error["field"] for error in problem["errors"]} == {"payload", "importance", "surprise"}


# --- Fetch -------------------------------------------------------------------------------------------------------


def test_nothing_stored_is_404(api: Api) -> None:
    problem_of(api.get("/memories/1,2"), 404, "not_found")


def test_the_state_of_the_index_is_returned(api: Api) -> None:
    api.store("1", "words")
    api.post("/memories", {"coord": "2", "payload": {"number": 1}})
    assert memory_at(api, "1")["index_state"] == "pending"
    drain()

    assert memory_at(api, "1")["index_state"] == "ready"
    assert memory_at(api, "2")["index_state"] == "empty"


# --- Patch -------------------------------------------------------------------------------------------------------


def test_a_patch_merges_the_payload_and_leaves_the_rest(api: Api) -> None:
    body = {"coord": "1", "payload": {"a": 1, "b": {"c": 1, "d": [1, 2]}}, "metadata": {"m": 1}, "importance": 5}
    api.post("/memories", body)

    response = api.patch("/memories/1", {"payload": {"a": None, "b": {"c": 2, "e": None}, "f": {"g": None}}})

    memory = response.json()["memory"]
    assert memory["payload"] == {"b": {"c": 2, "d": [1, 2]}, "f": {}}
    assert (memory["metadata"], memory["importance"], memory["version"]) == ({"m": 1}, 5, 2)
    assert memory_at(api, "1") == memory
    assert response["ETag"] == '"2"'


def test_a_patch_changes_each_of_its_members(api: Api) -> None:
    api.store("1", "hello", metadata={"a": 1, "b": 2})

    changes = {"importance": 7, "memory_type": "semantic", "context": "c", "expires_at": FAR_AWAY, "metadata": {"a": 3}}
    api.patch("/memories/1", changes)

    memory = memory_at(api, "1")
    assert {name: memory[name] for name in changes} == {**changes, "metadata": {"a": 3, "b": 2}}


def test_null_in_a_patch_sets_a_member_back(api: Api) -> None:
    api.store("1", "hello", metadata={"a": 1}, importance=7, context="c", expires_at=FAR_AWAY)

    api.patch("/memories/1", {"metadata": None, "importance": None, "context": None, "expires_at": None})

    memory = memory_at(api, "1")
    assert (memory["metadata"], memory["importance"], memory["context"]) == ({}, 0.0, "")
    assert memory["expires_at"] is None
    assert memory["payload"] == {"text": "hello"}


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        ({}, "body"),
        ({"payload": None}, "payload"),
        ({"memory_type": None}, "memory_type"),
        ({"coord": "2"}, "coord"),
        ({"namespace": "n"}, "namespace"),
        ({"version": 9}, "version"),
        ({"importance": 11}, "importance"),
        ({"payload": []}, "payload"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ([], "body"),
    ],
)
def test_a_wrong_patch_is_refused_and_changes_nothing(api: Api, patch: Any, field: str) -> None:
    api.store("1", "hello")
    before = memory_at(api, "1")

    problem_of(api.patch("/memories/1", patch), 422, field=field)

    assert memory_at(api, "1") == before


def test_a_patch_of_nothing_is_404(api: Api) -> None:
    problem_of(api.patch("/memories/1", {"importance": 1}), 404, "not_found")


def test_a_patched_text_is_what_is_found(api: Api) -> None:
    api.store("1", "an aardvark")
    drain()
    api.patch("/memories/1", {"payload": {"text": "a zebra"}})
    drain()

    assert api.search("aardvark", mode="keyword") == []
    assert [found["coord"] for found in api.search("zebra", mode="keyword")] == ["1.0"]


# --- Delete and restore ------------------------------------------------------------------------------------------


def test_a_deleted_memory_is_not_found_and_can_be_restored(api: Api) -> None:
    api.store("1", "hello", importance=4)
    before = memory_at(api, "1")

    assert api.delete("/memories/1").json() == {"coord": "1.0", "deleted": True}
    problem_of(api.get("/memories/1"), 404)
    problem_of(api.patch("/memories/1", {"importance": 1}), 404)
    restored = api.post("/memories/1/restore").json()["memory"]

    assert memory_at(api, "1")["payload"] == before["payload"]
    assert (restored["version"], restored["id"], restored["importance"]) == (3, before["id"], 4)


def test_deleting_nothing_is_not_an_error(api: Api) -> None:
    assert api.delete("/memories/1").json() == {"coord": "1.0", "deleted": False}


def test_a_second_delete_finds_nothing(api: Api) -> None:
    api.store("1")
    api.delete("/memories/1")

    assert api.delete("/memories/1").json()["deleted"] is False


@pytest.mark.parametrize("deleted_before", [False, True])
def test_a_purged_memory_cannot_be_restored(api: Api, deleted_before: bool) -> None:
    api.store("1")
    if deleted_before:
        api.delete("/memories/1")

    assert api.delete("/memories/1?purge=true").json()["deleted"] is True

    problem_of(api.post("/memories/1/restore"), 404)
    assert rows(api) == 0


def test_a_large_memory_can_be_purged(api: Api) -> None:
    api.store("1", payload={"text": "x" * (large_rows.SMALL + 1)})

    assert api.delete("/memories/1?purge=true").json()["deleted"] is True

    assert rows(api) == 0


def test_a_live_memory_cannot_be_restored(api: Api) -> None:
    api.store("1")

    problem_of(api.post("/memories/1/restore"), 404, "not_found")


def test_a_memory_cannot_be_restored_after_the_retention_time(api: Api) -> None:
    api.store("1")
    api.delete("/memories/1")
    Memory.objects.for_tenant(api.tenant).update(deleted_at=timezone.now() - timedelta(days=31))
    retention.purge()

    problem_of(api.post("/memories/1/restore"), 404, "not_found")


@pytest.mark.parametrize("value", ["maybe", "", "2"])
def test_purge_must_be_true_or_false(api: Api, value: str) -> None:
    api.store("1")

    problem_of(api.delete(f"/memories/1?purge={value}"), 422, field="purge")

    assert rows(api) == 1


# --- Stats -------------------------------------------------------------------------------------------------------


def test_stats_count_what_the_tenant_has(api: Api, stranger: Api) -> None:
    api.store("1", "one")
    api.store("2", "two", memory_type="semantic", namespace="n")
    api.store("3", "three")
    api.delete("/memories/3")
    stranger.store("9")

    stats = api.get("/stats").json()

    assert (stats["total_memories"], stats["episodic"], stats["semantic"], stats["deleted"]) == (2, 1, 1, 1)
    assert stats["namespaces"] == {"default": 1, "n": 1}
    assert stats["index"]["dimension"] == DIMENSION


def test_stats_say_how_far_the_index_has_come(api: Api) -> None:
    api.store("1", "one")
    assert api.get("/stats").json()["index"]["pending"] == 1
    drain()

    index = api.get("/stats").json()["index"]

    assert (index["pending"], index["failed"], index["ready"]) == (0, 0, 1)


# --- Search ------------------------------------------------------------------------------------------------------


def test_a_memory_is_found_by_meaning_once_it_is_indexed(api: Api) -> None:
    api.store("1", "The capital of France is Paris")
    api.store("2", "Bread is baked in an oven")
    drain()

    assert [found["coord"] for found in api.search("city in France", mode="semantic", top_k=1)] == ["1.0"]


def test_a_memory_is_found_by_keyword_immediately(api: Api) -> None:
    api.store("1", "The aardvark sleeps")

    assert [found["coord"] for found in api.search("aardvarks")] == ["1.0"]


def test_the_text_of_a_body_may_be_any_unicode(api: Api) -> None:
    text = "\u65e5\u672c\u8a9e \U0001f600 \u202e e\u0301 \x7f \x01 '; DROP TABLE sfm_memories; -- \\ \" %s {} \u2028"
    api.store("1", text)

    assert memory_at(api, "1")["payload"] == {"text": text}
    assert json.loads(api.get("/memories").content)["items"][0]["payload"] == {"text": text}


def test_patches_do_not_let_a_memory_grow_beyond_a_body(api: Api, settings: Any) -> None:
    api.store("1", "small")
    settings.MAX_BODY_BYTES = 1000

    for name in "abc":
        answer = api.patch("/memories/1", {"payload": {name: "x" * 400}})

    problem_of(answer, 413, "payload_too_large")
    assert set(api.get("/memories/1").json()["memory"]["payload"]) == {"text", "a", "b"}
