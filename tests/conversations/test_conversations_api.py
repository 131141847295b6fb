"""Conversations over HTTP: valid requests are stored and returned, and invalid requests store nothing."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import quote

import pytest

from conversations import selectors
from conversations.models import Conversation
from graph.models import Link
from memories.models import Memory
from tests.conftest import Api, issue_key, problem_of
from tests.support.conversations import ROOT, begin, contents, link, said


def put(api: Api, id: str, what: str, body: Any = None) -> Any:
    response = api.request("PUT", f"{ROOT}/{id}/{what}", body)
    assert response.status_code == 200, response.content
    return response.json()


def listed(api: Api, query: str = "") -> list[str]:
    response = api.get(f"{ROOT}?{query}")
    assert response.status_code == 200, response.content
    return [item["label"] for item in response.json()["results"]]


def test_a_conversation_is_returned_as_it_was_created(api: Api) -> None:
    fields = {"label": "Trip", "folder": "/a/b", "metadata": {"x": 1}, "importance_score": 7.5}

    made = begin(api, "Where shall we go?", "To the sea", **fields)

    assert {name: made[name] for name in fields} == fields
    assert made["id"] == made["conversation_id"]
    assert (made["number"], made["status"], made["message_count"], made["word_count"]) == (1, "active", 2, 7)
    assert api.get(f"{ROOT}/{made['id']}").json() == made


def test_a_conversation_needs_neither_label_nor_folder_nor_messages(api: Api) -> None:
    made = begin(api, label=None, folder=None, metadata=None)

    assert (made["label"], made["folder"], made["message_count"], made["importance_score"]) == ("", "", 0, 5.0)


def test_every_tenant_has_its_own_conversation_numbers(api: Api, stranger: Api) -> None:
    assert [begin(api, "a")["number"] for _ in range(20)] == list(range(1, 21))
    assert begin(stranger, "a")["number"] == 1


def test_the_number_of_a_deleted_conversation_is_not_reused(api: Api) -> None:
    api.delete(f"{ROOT}/{begin(api, 'a')['id']}")

    assert begin(api, "b")["number"] == 2


def test_a_message_is_a_memory_at_its_conversation_and_turn(api: Api) -> None:
    begin(api, "first")
    made = begin(api, "where is the aardvark?", "in the garden")

    memory = api.get("/memories/2,2?namespace=conversations").json()["memory"]

    assert memory["payload"] == {"role": "user", "content": "in the garden"}
    assert memory["context"] == "where is the aardvark?"
    assert api.get(f"{ROOT}/{made['id']}/messages").json()["items"][1]["id"] == memory["id"]


def test_messages_are_appended_in_order_with_the_text_before_as_context(api: Api) -> None:
    made = begin(api, "one")

    response = api.post(f"{ROOT}/{made['id']}/messages", {"messages": said("two words", "three", role="assistant")})

    assert response.status_code == 201
    assert [(item["turn"], item["coord"]) for item in response.json()["items"]] == [(2, "1.0,2.0"), (3, "1.0,3.0")]
    assert contents(api, made["id"]) == ["one", "two words", "three"]
    now = api.get(f"{ROOT}/{made['id']}").json()
    assert (now["message_count"], now["word_count"]) == (3, 4)
    assert api.get("/memories/1,2?namespace=conversations").json()["memory"]["context"] == "one"


def test_a_message_keeps_its_own_time_and_metadata(api: Api) -> None:
    at = "2023-05-08T13:56:00Z"

    made = api.post(ROOT, {"messages": said("hello", timestamp=at, metadata={"a": [1]})}).json()

    [message] = api.get(f"{ROOT}/{made['id']}/messages").json()["items"]
    assert (message["timestamp"], message["metadata"], message["role"]) == (at, {"a": [1]}, "user")


def test_messages_come_in_pages(api: Api) -> None:
    made = begin(api, *map(str, range(5)))

    first = api.get(f"{ROOT}/{made['id']}/messages?limit=3").json()
    rest = api.get(f"{ROOT}/{made['id']}/messages?limit=3&cursor={first['next_cursor']}").json()

    assert [item["content"] for item in first["items"] + rest["items"]] == list("01234")
    assert (first["total"], rest["next_cursor"]) == (5, None)


def test_everything_about_a_conversation_can_be_changed(api: Api) -> None:
    id = begin(api, "a", metadata={"keep": 1, "drop": 2})["id"]
    changes = {"label": "L", "folder": "work", "status": "archived", "importance_score": 3}

    response = api.patch(f"{ROOT}/{id}", {**changes, "metadata": {"drop": None, "new": 3}})

    assert response.json()["success"] is True
    assert {name: response.json()[name] for name in changes} == changes
    assert api.get(f"{ROOT}/{id}").json()["metadata"] == {"keep": 1, "new": 3}


def test_the_metadata_of_a_conversation_has_a_maximum_size(api: Api) -> None:
    kept = {"a": "x" * 40_000}
    made = begin(api, metadata=kept)

    problem_of(api.patch(f"{ROOT}/{made['id']}", {"metadata": {"b": "x" * 40_000}}), 413, "payload_too_large")
    problem_of(api.post(ROOT, {"metadata": {"a": "x" * 70_000}}), 413, "payload_too_large")
    assert api.get(f"{ROOT}/{made['id']}").json()["metadata"] == kept


def test_the_error_for_a_long_message_gives_the_limit_in_characters(api: Api) -> None:
    refused = api.post(ROOT, {"messages": said("x" * 100_001)})

    [error] = problem_of(refused, 422)["errors"]
    assert "100000 characters" in error["message"]
    assert "item" not in error["message"]


def test_a_status_of_null_restores_the_default(api: Api) -> None:
    made = begin(api)
    api.request("PUT", f"{ROOT}/{made['id']}/pin")

    assert api.patch(f"{ROOT}/{made['id']}", {"status": None}).json()["status"] == "active"


def test_metadata_that_name_a_member_null_keep_it(api: Api) -> None:
    assert begin(api, metadata={"a": None})["metadata"] == {"a": None}


def test_an_empty_change_is_rejected(api: Api) -> None:
    problem_of(api.patch(f"{ROOT}/{begin(api, 'a')['id']}", {}), 422)


def test_sekhas_routes_change_one_thing_each(api: Api) -> None:
    id = begin(api, "a", label="old", folder="/old")["id"]

    assert put(api, id, "label", {"label": "new"})["folder"] == "/old"
    assert put(api, id, "label", {"label": "new", "folder": "/f"})["folder"] == "/f"
    assert put(api, id, "folder", {"folder": "/g"})["label"] == "new"
    assert put(api, id, "status", {"status": "archived"})["status"] == "archived"
    pinned = put(api, id, "pin")
    assert (pinned["status"], pinned["importance_score"], pinned["success"]) == ("pinned", 10.0, True)
    assert put(api, id, "archive")["status"] == "archived"


def test_a_deleted_conversation_is_not_found_and_neither_are_its_messages(api: Api) -> None:
    id = begin(api, "a", "b")["id"]

    assert api.delete(f"{ROOT}/{id}").json() == {"success": True, "id": id}

    for response in (api.get(f"{ROOT}/{id}"), api.get(f"{ROOT}/{id}/messages"), api.delete(f"{ROOT}/{id}")):
        problem_of(response, 404)
    problem_of(api.get("/memories/1,1?namespace=conversations"), 404)
    assert not Memory.objects.for_tenant(api.tenant).filter(deleted_at=None).exists()


@pytest.mark.parametrize("purge", [True, False])
def test_a_purge_leaves_neither_messages_nor_links_and_a_soft_delete_keeps_both(api: Api, purge: bool) -> None:
    made, other = begin(api, "one", "two"), begin(api, "three")
    for start, end in (("2,1", "1,1"), ("1,2", "2,1"), ("1,9", "2,1"), ("2,1", "2,2")):
        link(api, start, end, link_type="about")

    api.delete(f"{ROOT}/{made['id']}?purge={str(purge).lower()}")

    assert Memory.all_tenants.count() == (1 if purge else 3)
    assert Link.all_tenants.count() == (1 if purge else 4)
    assert api.get(f"{ROOT}/{made['id']}").status_code == 404
    assert contents(api, other["id"]) == ["three"]


def test_a_long_conversation_is_deleted_as_a_whole(api: Api) -> None:
    id = begin(api, *(f"message {n}" for n in range(700)))["id"]

    api.delete(f"{ROOT}/{id}")

    assert not Memory.objects.for_tenant(api.tenant).filter(deleted_at=None).exists()


@pytest.mark.parametrize("unknown", ["9f1c53a2-7c1e-4b6b-8a55-1d0e5f3b2c4d", "00000000-0000-0000-0000-000000000000"])
def test_an_unknown_conversation_is_404_on_every_route(api: Api, unknown: str) -> None:
    bodies: dict[str, Any] = {"label": {"label": "x"}, "folder": {"folder": "x"}, "status": {"status": "active"}}

    problem_of(api.get(f"{ROOT}/{unknown}"), 404)
    problem_of(api.get(f"{ROOT}/{unknown}/messages"), 404)
    problem_of(api.post(f"{ROOT}/{unknown}/messages", {"messages": said("x")}), 404)
    problem_of(api.patch(f"{ROOT}/{unknown}", {"label": "x"}), 404)
    for what in ("label", "folder", "status", "pin", "archive"):
        problem_of(api.request("PUT", f"{ROOT}/{unknown}/{what}", bodies.get(what)), 404)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["c", "B", "a"]),
        ("label=a", ["a"]),
        ("label=A", []),
        ("q=b", ["B"]),
        ("folder=/jobs", ["B", "a"]),
        ("folder=jobs", ["B", "a"]),
        ("folder=/jobs/x", ["B"]),
        ("folder=/", ["c", "B", "a"]),
        ("folder=/jobs&label=a", ["a"]),
        ("status=archived", ["a"]),
        ("archived=true", ["a"]),
        ("archived=false", ["c", "B"]),
        ("pinned=true", ["c"]),
        ("pinned=false", ["B", "a"]),
        ("page_size=2", ["c", "B"]),
        ("page_size=2&page=2", ["a"]),
        ("page=9", []),
    ],
)
def test_a_list_returns_the_matching_conversations(api: Api, query: str, found: list[str]) -> None:
    first = begin(api, label="a", folder="/jobs")
    begin(api, label="B", folder="/jobs/x")
    last = begin(api, label="c", folder="/jobs-old")
    put(api, first["id"], "archive")
    put(api, last["id"], "pin")
    Conversation.objects.for_tenant(api.tenant).filter(label="a").update(updated_at="2020-01-01T00:00:00Z")

    assert listed(api, query) == found


def test_a_list_returns_its_total_and_continues_from_a_cursor(api: Api) -> None:
    for number in range(5):
        begin(api, label=str(number))

    first = api.get(f"{ROOT}?limit=3").json()
    rest = api.get(f"{ROOT}?limit=3&cursor={first['next_cursor']}").json()

    assert [item["label"] for item in first["results"] + rest["results"]] == list("43210")
    assert (first["total"], rest["total"], rest["next_cursor"]) == (5, 5, None)


def test_a_cursor_is_valid_only_for_the_list_that_returned_it(api: Api) -> None:
    ids = [begin(api, "one", "two", label="a")["id"] for _ in range(2)]
    conversations = api.get(f"{ROOT}?limit=1").json()["next_cursor"]
    messages = api.get(f"{ROOT}/{ids[0]}/messages?limit=1").json()["next_cursor"]

    problem_of(api.get(f"{ROOT}?limit=1&label=a&cursor={conversations}"), 422, field="cursor")
    problem_of(api.get(f"{ROOT}/{ids[1]}/messages?limit=1&cursor={messages}"), 422, field="cursor")


def test_a_list_entry_has_the_fields_that_sekhas_client_needs(api: Api) -> None:
    made = begin(api, "a", label="L", folder="F")

    [entry] = api.get(f"{ROOT}?page=1&page_size=50").json()["results"]

    assert entry == {**made, **{name: entry[name] for name in ("message_id", "score", "content", "timestamp")}}
    assert uuid.UUID(entry["message_id"]).int == 0


def test_count_takes_label_and_folder_together(api: Api) -> None:
    begin(api, label="a", folder="/x")
    begin(api, label="a", folder="/y")

    assert api.get(f"{ROOT}/count").json()["count"] == 2
    assert api.get(f"{ROOT}/count?label=a&folder=/x").json() == {"count": 1, "label": "a", "folder": "/x"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/हिन्दी", "/हिन्दी"),
        ("/ภาษาไทย", "/ภาษาไทย"),
        ("/cafe\u0301", "/caf\u00e9"),
        ("/a/b/", "/a/b"),
        ("a/", "a"),
        ("/", "/"),
    ],
)
def test_a_folder_may_be_in_any_script_and_end_with_a_slash(api: Api, given: str, kept: str) -> None:
    assert begin(api, "a", label="it", folder=given)["folder"] == kept
    assert listed(api, f"folder={quote(given)}") == listed(api, f"folder={quote(kept)}") == ["it"]


@pytest.mark.parametrize("folder", ["/\u0301a", "/a//", "//", "/a /"])
def test_a_folder_with_an_empty_or_invalid_part_is_rejected(api: Api, folder: str) -> None:
    problem_of(api.post(ROOT, {"folder": folder}), 422, field="folder")


def test_an_empty_folder_lists_and_counts_the_conversations_without_one(api: Api) -> None:
    begin(api, "a", label="filed", folder="/a")
    begin(api, "a", label="loose")

    assert listed(api, "folder=") == ["loose"]
    assert api.get(f"{ROOT}/count?folder=").json()["count"] == 1
    assert api.get(f"{ROOT}/count?folder=/").json()["count"] == 2


def test_stats_count_conversations(api: Api) -> None:
    begin(api, "a")

    assert api.get("/stats").json()["conversations"] == 1


BAD_MESSAGES: dict[str, Any] = {
    "role": {"role": "king", "content": "x"},
    "empty": {"role": "user", "content": ""},
    "blank": {"role": "user", "content": " \n"},
    "none": {"role": "user"},
    "long": {"role": "user", "content": "x" * 100_001},
    "nul": {"role": "user", "content": "a\0b"},
    "time": {"role": "user", "content": "x", "timestamp": "yesterday"},
    "more": {"role": "user", "content": "x", "importance": 3},
}


@pytest.mark.parametrize("bad", BAD_MESSAGES.values(), ids=BAD_MESSAGES)
def test_a_batch_with_an_invalid_message_stores_nothing(api: Api, bad: Any) -> None:
    id = begin(api, "first")["id"]

    problem_of(api.post(f"{ROOT}/{id}/messages", {"messages": [*said("good"), bad]}), 422)
    problem_of(api.post(ROOT, {"messages": [*said("good"), bad]}), 422)

    assert contents(api, id) == ["first"]
    assert api.get(f"{ROOT}/{id}").json()["message_count"] == 1
    assert listed(api) == [""]


@pytest.mark.parametrize(
    "body",
    [
        {"folder": "/a/../b"}, {"folder": ".."}, {"folder": "/a//b"}, {"folder": "/a//"}, {"folder": "a\\b"},
        {"folder": "/a*"}, {"folder": "a\nb"}, {"folder": "/ a"}, {"folder": "x" * 501}, {"folder": "/a" * 40},
        {"label": "x" * 501}, {"label": "a\0b"}, {"label": 7}, {"importance_score": 0}, {"importance_score": 11},
        {"messages": {}}, {"messages": said(*["x"] * 1001)}, {"status": "pinned"}, {"metadata": []},
    ],
    ids=lambda body: str(body)[:40],
)  # fmt: skip
def test_an_invalid_conversation_is_rejected_and_not_stored(api: Api, body: dict[str, Any]) -> None:
    problem_of(api.post(ROOT, body), 422, field=next(iter(body)) if len(str(body)) < 1000 else None)

    assert listed(api) == []


@pytest.mark.parametrize(
    "query",
    ["page=0", "page_size=0", "page_size=201", "limit=1001", "status=gone", "folder=..", "page=1&limit=5",
     "page=1&cursor=x", "cursor=x", "page=1000000&page_size=200", "labels=x", "pinned=perhaps"],
)  # fmt: skip
def test_an_invalid_list_request_is_rejected(api: Api, query: str) -> None:
    problem_of(api.get(f"{ROOT}?{query}"), 422)


@pytest.mark.parametrize(
    ("what", "body"),
    [("status", {"status": "gone"}), ("status", {}), ("folder", {"folder": "a/.."}), ("label", {"folder": "/x"})],
)
def test_an_invalid_change_is_rejected(api: Api, what: str, body: Any) -> None:
    id = begin(api, "a")["id"]

    problem_of(api.request("PUT", f"{ROOT}/{id}/{what}", body), 422)


def test_a_long_list_with_large_metadata_ends_early_and_continues_from_its_cursor(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [begin(api, "a", metadata={"x": "y" * 500})["id"] for _ in range(5)]
    monkeypatch.setattr(selectors, "MAX_LISTED_BYTES", 1_200)

    seen: list[list[str]] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = api.get(f"{ROOT}?limit=1000{cursor and '&cursor=' + cursor}").json()
        seen.append([item["id"] for item in answer["results"]])
        assert answer["total"] == 5
        cursor = answer["next_cursor"]

    assert [len(item) for item in seen] == [2, 2, 1]
    assert sorted(id for page in seen for id in page) == sorted(made)


@pytest.mark.parametrize(("method", "what"), [("PUT", "/pin"), ("PUT", "/archive"), ("DELETE", "")])
def test_a_body_that_would_be_ignored_is_rejected(api: Api, method: str, what: str) -> None:
    path = f"{ROOT}/{begin(api, 'a')['id']}{what}"

    problem_of(api.request(method, path, {"purge": True}), 422, field="body")
    problem_of(api.request(method, path, raw=b"{"), 400, "malformed_request")
    assert api.request(method, path, {}).status_code == 200


def test_an_invalid_id_is_rejected(api: Api) -> None:
    problem_of(api.get(f"{ROOT}/7"), 422)


MEMORY_WRITES: list[tuple[str, str, Any]] = [
    ("POST", "/memories", {"coord": "1,1", "payload": {}, "namespace": "conversations"}),
    ("POST", "/memories", {"coord": "1,1", "payload": {}, "namespace": "summaries"}),
    ("PATCH", "/memories/1,1?namespace=conversations", {"importance": 1}),
    ("DELETE", "/memories/1,1?namespace=conversations", None),
    ("DELETE", "/memories/1,1?namespace=conversations&purge=true", None),
    ("POST", "/memories/1,1/restore?namespace=conversations", None),
    ("POST", "/memories/bulk/delete", {"coords": ["1,1"], "namespace": "conversations"}),
    ("POST", "/memories/bulk", {"atomic": True, "items": [{"coord": "1", "payload": {}, "namespace": "summaries"}]}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body"), MEMORY_WRITES, ids=lambda item: str(item)[:50])
def test_memory_routes_reject_messages_and_name_the_routes_to_use(api: Api, method: str, path: str, body: Any) -> None:
    id = begin(api, "mine")["id"]

    problem = problem_of(api.request(method, path, body), 422)

    assert "/api/v1/conversations" in str(problem["errors"])
    assert contents(api, id) == ["mine"]


def test_a_bulk_store_stores_the_rest_and_names_the_message_it_rejects(api: Api) -> None:
    items: Any = [{"coord": "1,1", "payload": {}, "namespace": name} for name in ("conversations", "elsewhere")]

    response = api.post("/memories/bulk", {"items": items})

    assert (response.status_code, [item["status"] for item in response.json()["results"]]) == (207, [422, 201])


def test_a_key_for_other_namespaces_has_no_conversations(api: Api) -> None:
    elsewhere = Api(issue_key(api.tenant, namespaces=["elsewhere"]), api.tenant)
    id = begin(api, "a")["id"]

    problem_of(elsewhere.get(f"{ROOT}/{id}"), 403)
    problem_of(elsewhere.post(ROOT, {}), 403)
    problem_of(elsewhere.post("/api/v1/context/assemble", {"query": "a"}), 403)


def test_a_key_for_conversations_alone_can_do_everything_with_them(api: Api) -> None:
    only = Api(issue_key(api.tenant, namespaces=["conversations"]), api.tenant)
    id = begin(only, "an aardvark")["id"]

    assert only.post("/api/v1/context/assemble", {"query": "aardvark"}).json()[0]["content"] == "an aardvark"
    assert only.delete(f"{ROOT}/{id}").status_code == 200


def test_the_same_conversation_sent_twice_is_one(api: Api) -> None:
    answers = [api.post(ROOT, {"messages": said("a")}, idempotency_key="k").json() for _ in range(2)]

    assert answers[0] == answers[1]
    assert len(listed(api)) == 1


def test_a_condition_that_would_be_ignored_is_rejected(api: Api) -> None:
    problem_of(api.patch(f"{ROOT}/{begin(api, 'a')['id']}", {"label": "x"}, if_match='"1"'), 400)
