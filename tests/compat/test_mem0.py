"""The contract of mem0's clients: translation, isolation and scopes. `make test-compat` runs the clients themselves."""

# ruff: noqa: F811 - the fixture
from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone

from api.compat.mem0 import older_routes
from api.compat.mem0.unsupported import UNSUPPORTED
from conversations.enrichment import worker
from conversations.models import Chore
from memories.models import Memory
from operations.isolation.compat_cases import MEM0
from tenants.caller import SCOPES
from testing.chat_provider import ChatProvider, says
from tests.conftest import Api, drain, issue_key
from tests.conversations.enrichment.test_summaries import provider  # noqa: F401 - a fixture
from tests.support.every_route import NAMES, Route

SECRET = "The secret aardvark of acme sleeps in the vault"
REFUSED = {(method, "/mem0" + path) for method, path in UNSUPPORTED} | {
    (method, "/mem0/{a}") for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
}


def add(api: Api, text: Any = SECRET, **fields: Any) -> dict[str, Any]:
    body = {"messages": text, "infer": False, **({"user_id": "vault"} if "user_id" not in fields else {}), **fields}
    added: dict[str, Any] = ok(api.post("/mem0/v3/memories/add/", body))
    return added


def ok(response: Any) -> Any:
    assert response.status_code == 200, response.content
    return response.json()


def refused(response: Any, status: int = 400) -> str:
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/json"
    detail: str = response.json()["detail"]
    return detail


def texts(api: Api, filters: dict[str, Any], **more: Any) -> list[str]:
    found = ok(api.post("/mem0/v3/memories/", {"filters": filters, **more}))
    assert found["count"] == len(found["results"])
    return sorted(memory["memory"] for memory in found["results"])


# --- Adding ------------------------------------------------------------------------------------------------------


def test_each_message_becomes_a_memory_and_system_messages_do_not(api: Api) -> None:
    said = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "I sow beans in May."},
        {"role": "assistant", "content": [{"type": "text", "text": "Noted."}]},
    ]
    added = add(api, said, user_id="ada", agent_id="gardener", app_id="shed", run_id="r1", metadata={"a": 1})

    assert [result["data"]["memory"] for result in added["results"]] == ["I sow beans in May.", "Noted."]
    memory = ok(api.get(f"/mem0/v1/memories/{added['results'][0]['id']}/"))
    owners = {"user_id": "ada", "agent_id": "gardener", "app_id": "shed", "run_id": "r1"}
    assert {name: memory[name] for name in owners} == owners
    assert (memory["metadata"], memory["categories"]) == ({"a": 1}, [])
    assert ok(api.get(f"/mem0/v1/event/{added['event_id']}/"))["results"] == added["results"]


def test_without_a_language_model_an_inference_is_stored_word_for_word_and_reported(api: Api) -> None:
    added = add(api, infer=True)

    assert (added["status"], len(added["results"])) == ("SUCCEEDED", 1)
    assert "no language model" in added["message"]


def test_with_a_language_model_facts_are_extracted(api: Api, provider: ChatProvider) -> None:
    fact = {"turn": 1, "fact": "Ada keeps a key in the vault.", "entities": [{"name": "Ada", "kind": "person"}]}
    provider.default = says({"facts": [fact]})
    added = add(api, infer=True, app_id="bank", metadata={"kind": "habit"})
    assert added["status"] == "PENDING"
    assert ok(api.get(f"/mem0/v1/event/{added['event_id']}/"))["status"] == "PENDING"

    Chore.objects.for_tenant(api.tenant).update(due_at=timezone.now())
    worker.run()

    event = ok(api.get(f"/mem0/v1/event/{added['event_id']}/"))
    assert (event["status"], [item["data"]["memory"] for item in event["results"]]) == ("SUCCEEDED", [fact["fact"]])
    wanted = {"AND": [{"user_id": "vault"}, {"app_id": "bank"}, {"metadata": {"kind": "habit"}}]}
    assert texts(api, wanted) == [fact["fact"]]
    path = f"/mem0/v1/memories/{event['results'][0]['id']}/"
    assert ok(api.put(path, {"text": "Ada keeps two keys."}))["memory"] == "Ada keeps two keys."
    ok(api.delete(path))
    assert texts(api, wanted) == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_entity_is_not_a_mem0_memory(api: Api, provider: ChatProvider, method: str) -> None:
    entity = {"name": "Ada", "kind": "person"}
    provider.default = says({"facts": [{"turn": 1, "fact": "Ada keeps a key in the vault.", "entities": [entity]}]})
    add(api, infer=True)
    Chore.objects.for_tenant(api.tenant).update(due_at=timezone.now())
    worker.run()
    row = Memory.objects.for_tenant(api.tenant).get(payload__title="Ada")

    response = api.request(method, f"/mem0/v1/memories/{row.id}/", {"text": "Bob"} if method == "PUT" else None)

    assert response.status_code == 404, response.content
    assert Memory.objects.for_tenant(api.tenant).get(id=row.id).version == 1


def test_facts_expire_with_the_memory_that_they_come_from(api: Api, provider: ChatProvider) -> None:
    provider.default = says({"facts": [{"turn": 1, "fact": "Ada keeps a key in the vault.", "entities": []}]})
    tomorrow = (timezone.now() + timedelta(days=1)).date().isoformat()
    event = add(api, infer=True, expiration_date=tomorrow)["event_id"]
    Chore.objects.for_tenant(api.tenant).update(due_at=timezone.now())
    worker.run()

    [fact] = ok(api.get(f"/mem0/v1/event/{event}/"))["results"]

    assert ok(api.get(f"/mem0/v1/memories/{fact['id']}/"))["expiration_date"] == tomorrow


def test_messages_that_have_expired_are_not_sent_to_a_language_model(api: Api, provider: ChatProvider) -> None:
    provider.default = says({"facts": []})
    past = {"messages": SECRET, "user_id": "vault", "expiration_date": "2020-01-01"}
    assert "must be in the future" in refused(api.post("/mem0/v3/memories/add/", past))
    event = add(api, infer=True, expiration_date=(timezone.now() + timedelta(days=1)).date().isoformat())["event_id"]
    expired = {"for_facts": {"expires_at": "2026-01-01T00:00:00Z"}}
    ok(api.request("PATCH", f"/api/v1/conversations/{event}", {"metadata": expired}))
    Chore.objects.for_tenant(api.tenant).update(due_at=timezone.now())
    worker.run()

    assert ok(api.get(f"/mem0/v1/event/{event}/"))["status"] == "SUCCEEDED"
    assert provider.requests == []


@pytest.mark.parametrize("inherited", [5, {"source": "x"}, {"metadata": [], "expires_at": 1}, {"expires_at": "soon"}])
def test_metadata_of_any_form_neither_ends_an_extraction_nor_a_deletion(
    api: Api, provider: ChatProvider, inherited: Any
) -> None:
    provider.default = says({"facts": [{"turn": 1, "fact": "Ada keeps a key in the vault.", "entities": []}]})
    event = add(api, infer=True)["event_id"]
    ok(api.request("PATCH", f"/api/v1/conversations/{event}", {"metadata": {"for_facts": inherited}}))
    Chore.objects.for_tenant(api.tenant).update(due_at=timezone.now())
    worker.run()

    assert len(ok(api.get(f"/mem0/v1/event/{event}/"))["results"]) == 1
    ok(api.delete("/mem0/v2/entities/user/vault/"))
    assert ok(api.get("/api/v1/conversations"))["total"] == 0


def test_deleting_a_user_deletes_the_messages_that_facts_come_from(api: Api, provider: ChatProvider) -> None:
    provider.default = says({"facts": []})
    add(api, infer=True)

    ok(api.delete("/mem0/v2/entities/user/vault/"))

    assert ok(api.get("/api/v1/conversations"))["total"] == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"messages": "x"}, 400),
        ({"messages": [], "user_id": "u"}, 400),
        ({"messages": [{"role": "system", "content": "x"}], "user_id": "u"}, 400),
        ({"messages": "x", "user_id": "u", "expiration_date": "2020-01-01"}, 400),
        ({"messages": "x", "user_id": "u", "expiration_date": "soon"}, 400),
        ({"messages": "x", "user_id": "u", "infer": False, "timestamp": -62_135_596_800}, 400),  # in the year 1
        ({"messages": "x", "user_id": "u", "infer": False, "timestamp": "0001-12-31T23:59:59"}, 400),
        ({"messages": "x", "user_id": "u", "infer": False, "timestamp": "9999-01-01"}, 400),
        ({"messages": "x", "user_id": "u", "infer": False, "timestamp": 253_402_300_800}, 400),  # in the year 10000
        ({"messages": "x", "user_id": "u", "infer": False, "timestamp": 1e300}, 400),
        ({"messages": "x", "user_id": "u", "immutable": True}, 501),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}], "user_id": "u"}, 501),
    ],
)
def test_an_add_that_cannot_be_carried_out_is_refused(api: Api, body: dict[str, Any], status: int) -> None:
    refused(api.post("/mem0/v3/memories/add/", body), status)

    assert not Memory.objects.for_tenant(api.tenant).exists()


def test_options_without_effect_are_named(api: Api) -> None:
    body = {"messages": "x", "user_id": "u", "infer": False, "output_format": "v1.1", "custom_categories": []}
    response = api.post("/mem0/v3/memories/add/", body)

    assert response["X-Compat-Changes"] == "output_format: dropped; custom_categories: dropped"


def test_a_memory_can_be_used_on_the_day_on_which_it_expires(api: Api) -> None:
    today = timezone.now().date().isoformat()
    [added] = add(api, expiration_date=today)["results"]

    assert ok(api.get(f"/mem0/v1/memories/{added['id']}/"))["expiration_date"] == today


@pytest.mark.parametrize("never", ["9999-12-31", "9999-12-31T23:59:59", "9998-12-31"])
def test_an_expiration_date_at_the_end_of_the_calendar_means_never(api: Api, never: str) -> None:
    [added] = add(api, expiration_date=never)["results"]
    path = f"/mem0/v1/memories/{added['id']}/"
    assert ok(api.get(path))["expiration_date"] is None

    ok(api.put(path, {"expiration_date": "2999-01-31"}))

    assert ok(api.put(path, {"expiration_date": never}))["expiration_date"] is None


# --- Filters -----------------------------------------------------------------------------------------------------


@pytest.fixture
def filed(api: Api) -> Api:
    add(api, "one", user_id="ada", app_id="shop", metadata={"kind": "a", "note": "Green"}, timestamp=1_700_000_000)
    add(api, "Two", user_id="ada", run_id="r", metadata={"kind": "b"})
    add(api, "three", user_id="bob", agent_id="x")
    return api


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"user_id": "ada"}, ["Two", "one"]),
        ({"user_id": "*"}, ["Two", "one", "three"]),
        ({"user_id": {"in": ["bob", "eve"]}}, ["three"]),
        ({"user_id": {"ne": "bob"}}, ["Two", "one"]),
        ({"user_id": "ada", "app_id": "*"}, ["one"]),
        ({"AND": [{"user_id": "ada"}, {"NOT": {"app_id": "shop"}}]}, ["Two"]),
        ({"AND": [{"user_id": "ada"}, {"NOT": [{"run_id": "*"}, {"app_id": "*"}]}]}, []),
        ({"OR": [{"run_id": "r"}, {"agent_id": "x"}]}, ["Two", "three"]),
        ({"user_id": "ada", "metadata": {"kind": "a"}}, ["one"]),
        ({"user_id": "ada", "metadata": {"kind": {"ne": "a"}}}, ["Two"]),
        ({"user_id": "ada", "metadata": {"note": {"contains": "ree"}}}, ["one"]),
        ({"user_id": "ada", "keywords": {"icontains": "TWO"}}, ["Two"]),
        ({"user_id": "ada", "keywords": {"contains": "TWO"}}, []),
        ({"user_id": "ada", "created_at": {"gte": "2023-01-01", "lt": "2024-01-01T00:00:00Z"}}, ["one"]),
        ({"user_id": "ada", "timestamp": {"gt": "2024-01-01 00:00:00"}}, ["Two"]),
        ({"user_id": "ada", "categories": {"in": ["x"]}}, []),
        ({"user_id": "ada", "memory_ids": [str(UUID(int=9))]}, []),
    ],
    ids=str,
)
def test_filters_select_what_they_select_in_mem0(filed: Api, filters: dict[str, Any], expected: list[str]) -> None:
    assert texts(filed, filters) == expected


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"metadata": {"kind": "a"}},
        {"user_id": "ada", "bogus": 1},
        {"user_id": {"gt": "ada"}},
        {"user_id": ["ada"]},
        {"user_id": "ada", "metadata": {"kind": {"in": ["a"]}}},
        {"user_id": "ada", "metadata": {"a.b": 1}},
        {"user_id": "ada", "created_at": {"gte": "yesterday"}},
        {"user_id": "ada", "memory_ids": ["nope"]},
        {"user_id": "ada", "memory_ids": None},
        {"user_id": "ada", "memory_ids": {"in": [], "ne": str(UUID(int=9))}},
        {"AND": [{"user_id": "ada"}, {"memory_ids": None}]},
        {"user_id": "ada", "OR": [{"memory_ids": []}]},
        {"AND": "x"},
    ],
    ids=str,
)
def test_a_filter_that_cannot_be_applied_is_refused(filed: Api, filters: dict[str, Any]) -> None:
    assert "filters" in refused(filed.post("/mem0/v3/memories/", {"filters": filters}))
    assert "filters" in refused(filed.post("/mem0/v3/memories/search/", {"query": "x", "filters": filters}))


def test_a_list_of_ids_selects_among_the_filtered_memories(filed: Api) -> None:
    ids = [memory["id"] for memory in ok(filed.post("/mem0/v3/memories/", {"filters": {"user_id": "*"}}))["results"]]

    assert len(texts(filed, {"AND": [{"user_id": "*"}, {"memory_ids": ids[:2]}]})) == 2
    assert texts(filed, {"user_id": "bob", "memory_ids": {"in": ids}}) == ["three"]


def test_several_lists_of_ids_select_the_memories_that_are_in_all_of_them(filed: Api) -> None:
    found = ok(filed.post("/mem0/v3/memories/", {"filters": {"user_id": "*"}}))["results"]
    (first, second, third), text = (memory["id"] for memory in found), found[1]["memory"]

    lists: list[Any] = [{"memory_ids": [first, second]}, {"memory_ids": {"in": [second, third]}}]
    assert texts(filed, {"AND": [{"user_id": "*"}, *lists]}) == [text]
    assert texts(filed, {**lists[0], "AND": [{"user_id": "*"}, lists[1]]}) == [text]
    assert texts(filed, {"AND": [{"user_id": "*"}, {"memory_ids": [first]}, {"memory_ids": [third]}]}) == []


def test_pages_are_numbered_and_linked(filed: Api) -> None:
    pages = [
        ok(filed.post(f"/mem0/v3/memories/?page={page}&page_size=2", {"filters": {"user_id": "*"}})) for page in (1, 2)
    ]

    assert [[memory["memory"] for memory in page["results"]] for page in pages] == [["three", "Two"], ["one"]]
    assert (pages[0]["previous"], pages[1]["next"], {page["count"] for page in pages}) == (None, None, {3})
    assert pages[0]["next"].endswith("/mem0/v3/memories/?page_size=2&page=2")


@pytest.mark.parametrize("path", ["/mem0/v1/memories/?user_id=ada&", "/mem0/v1/entities/?", "/mem0/v1/events/?"])
def test_pages_are_linked_even_if_the_name_of_the_server_is_not_valid(
    filed: Api, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "ALLOWED_HOSTS", ["*"])

    first = ok(filed.get(path + "page=1&page_size=1", host="soma_web:9595"))

    assert first["next"].startswith("/mem0/v1/")
    assert ok(filed.get(first["next"]))["previous"] is not None


@pytest.mark.parametrize(
    "path", ["/mem0/v1/memories/search/", "/mem0/v2/memories/search/", "/mem0/v3/memories/search/", "/mem0/search"]
)
def test_a_search_reports_that_its_results_are_incomplete(api: Api, path: str) -> None:
    words = [f"word{number}" for number in range(65)]  # one more than a keyword search uses
    incomplete, complete = (
        api.post(path, {"query": " ".join(query), "filters": {"user_id": "ada"}}) for query in (words, words[:64])
    )

    assert incomplete["X-Compat-Changes"] == "results: incomplete, because parts of the search are degraded: keyword"
    assert "X-Compat-Changes" not in complete


def test_a_search_scores_by_relevance_and_respects_the_threshold(filed: Api) -> None:
    drain()
    body = {"query": "three", "filters": {"user_id": "*"}, "fields": ["memory", "score"]}
    found = ok(filed.post("/mem0/v3/memories/search/", {**body, "threshold": 0.5}))["results"]

    assert [hit["memory"] for hit in found] == ["three"]
    assert set(found[0]) == {"id", "memory", "score"}
    assert 0.5 <= found[0]["score"] <= 1
    assert ok(filed.post("/mem0/v3/memories/search/", {**body, "filters": {"user_id": "eve"}}))["results"] == []


# --- Changing ----------------------------------------------------------------------------------------------------


def test_the_history_has_every_change_oldest_first(api: Api) -> None:
    [added] = add(api, "one")["results"]
    path = f"/mem0/v1/memories/{added['id']}/"
    ok(api.put(path, {"text": "two"}))
    ok(api.delete(path))

    changes = [(entry["event"], entry["old_memory"], entry["new_memory"]) for entry in ok(api.get(path + "history/"))]
    assert changes == [("ADD", None, "one"), ("UPDATE", "one", "two"), ("DELETE", "two", None)]
    assert "no memory" in refused(api.get(path), 404)


def test_metadata_is_merged_and_an_expiry_can_be_removed(api: Api) -> None:
    [added] = add(api, metadata={"a": 1}, expiration_date="2999-01-31")["results"]
    changed = ok(api.put(f"/mem0/v1/memories/{added['id']}/", {"metadata": {"b": 2}, "expiration_date": None}))

    assert (changed["metadata"], changed["expiration_date"], changed["memory"]) == ({"a": 1, "b": 2}, None, SECRET)


def test_a_batch_with_an_unknown_memory_changes_nothing(api: Api) -> None:
    ids = [add(api, text)["results"][0]["id"] for text in ("one", "two")]
    unknown = {"memory_id": NAMES["id"], "text": "x"}

    refused(api.put("/mem0/v1/batch/", {"memories": [{"memory_id": ids[0], "text": "x"}, unknown]}), 404)
    refused(api.request("DELETE", "/mem0/v1/batch/", {"memories": [{"memory_id": ids[0]}, unknown]}), 404)
    assert texts(api, {"user_id": "vault"}) == ["one", "two"]
    ok(api.request("DELETE", "/mem0/v1/batch/", {"memories": [{"memory_id": id} for id in ids]}))
    assert texts(api, {"user_id": "vault"}) == []


def test_owners_are_listed_with_their_memories_and_deleted_by_name(filed: Api) -> None:
    found = ok(filed.get("/mem0/v1/entities/"))
    named = {(entity["type"], entity["name"]): entity["total_memories"] for entity in found["results"]}

    expected = {("user", "ada"): 2, ("user", "bob"): 1, ("agent", "x"): 1, ("app", "shop"): 1, ("run", "r"): 1}
    assert named == expected
    ok(filed.delete("/mem0/v2/entities/app/shop/"))
    assert texts(filed, {"user_id": "*"}) == ["Two", "three"]
    ok(filed.delete("/mem0/v1/memories/?user_id=*&agent_id=*&app_id=*&run_id=*"))
    assert texts(filed, {"user_id": "*"}) == []
    assert "at least one" in refused(filed.delete("/mem0/v1/memories/"))


def test_the_open_source_server_has_its_routes(api: Api) -> None:
    said = [{"role": "user", "content": "I sow beans in May."}]
    [added] = ok(api.post("/mem0/memories", {"messages": said, "user_id": "ada"}))["results"]
    path = f"/mem0/memories/{added['id']}"

    assert (added["memory"], added["event"]) == ("I sow beans in May.", "ADD")
    assert ok(api.get("/mem0/memories?user_id=ada"))["results"][0]["id"] == added["id"]
    assert ok(api.post("/mem0/search", {"query": "beans", "user_id": "ada"}))["results"][0]["id"] == added["id"]
    ok(api.put(path, {"text": "I sow beans in June."}))
    assert ok(api.get(path))["memory"] == "I sow beans in June."
    assert [entry["event"] for entry in ok(api.get(path + "/history"))] == ["ADD", "UPDATE"]
    ok(api.delete(path))
    ok(api.delete("/mem0/memories?user_id=ada"))
    ok(api.post("/mem0/reset"))


# --- Older clients -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/memories/?user_id=ada&org_id=acme&project_id=x", None),
        ("GET", "/v1/memories/user/ada/", None),
        ("POST", "/v2/memories/", {"filters": {"user_id": "ada"}}),
        ("POST", "/v2/memories/", {"filters": {"user_id": "*"}, "user_id": "ada"}),
    ],
    ids=str,
)
def test_older_lists_are_arrays(filed: Api, method: str, path: str, body: Any) -> None:
    listed = ok(filed.request(method, "/mem0" + path, body))

    assert [memory["memory"] for memory in listed] == ["Two", "one"]


@pytest.mark.parametrize(
    ("version", "body"),
    [("v1", {"user_id": "bob"}), ("v1", {"user_id": "bob", "filters": {}}), ("v2", {"filters": {"user_id": "bob"}})],
    ids=str,
)
def test_an_older_search_is_an_array_or_has_results(filed: Api, version: str, body: Any) -> None:
    drain()
    path = f"/mem0/{version}/memories/search/"

    assert [hit["memory"] for hit in ok(filed.post(path, {"query": "three", **body}))] == ["three"]
    found = ok(filed.post(path, {"query": "three", "output_format": "v1.1", **body}))
    assert [hit["memory"] for hit in found["results"]] == ["three"]


def test_an_older_add_returns_what_was_stored(api: Api) -> None:
    body = {"messages": [{"role": "user", "content": "one"}], "user_id": "ada", "org_id": "acme", "async_mode": True}
    response = api.post("/mem0/v1/memories/", body)

    [added] = ok(response)
    assert (added["memory"], added["data"], added["event"]) == ("one", {"memory": "one"}, "ADD")
    assert response["X-Compat-Changes"] == "org_id: dropped; async_mode: dropped"
    assert ok(api.post("/mem0/v1/memories/", {**body, "output_format": "v1.1"}))["results"][0]["memory"] == "one"
    assert "user_id" in refused(api.post("/mem0/v1/memories/", {"messages": "x"}))


def test_pages_of_an_older_list_are_linked(filed: Api) -> None:
    first = ok(filed.get("/mem0/v1/memories/?user_id=ada&page=1&page_size=1"))

    assert (first["count"], [memory["memory"] for memory in first["results"]]) == (2, ["Two"])
    assert ok(filed.get(first["next"].removeprefix("http://testserver")))["results"][0]["memory"] == "one"


def test_a_page_of_an_entity_with_special_characters_in_its_name_links_to_the_next(api: Api) -> None:
    for text in ("one", "two"):
        add(api, text, user_id="a?b%23#é")

    first = ok(api.get("/mem0/v1/memories/user/a%3Fb%2523%23%C3%A9/?page=1&page_size=1"))

    assert ok(api.get(first["next"].removeprefix("http://testserver")))["results"][0]["memory"] == "one"


def test_an_older_list_is_never_shortened_silently(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(older_routes, "MAX_PAGE_SIZE", 1)
    add(api, "one")
    add(api, "two")

    assert "page_size" in refused(api.get("/mem0/v1/memories/?user_id=vault"))


def test_an_entity_is_fetched_by_its_name_and_deleted_by_its_id(filed: Api) -> None:
    ada = ok(filed.get("/mem0/v2/entities/user/ada/"))

    assert (ada["type"], ada["name"], ada["total_memories"]) == ("user", "ada", 2)
    refused(filed.get("/mem0/v2/entities/agent/ada/"), 404)
    ok(filed.delete(f"/mem0/v1/entities/agent/{ada['id']}/"))
    assert texts(filed, {"user_id": "ada"}) == ["Two", "one"]
    ok(filed.delete(f"/mem0/v1/entities/user/{ada['id']}/"))
    assert texts(filed, {"user_id": "*"}) == ["three"]


# --- Isolation and scopes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), sorted(REFUSED))
def test_an_unsupported_route_returns_501_and_names_an_alternative(api: Api, method: str, path: str) -> None:
    at = path.replace("{a}", "1").replace("{b}", "2") + "?fields=x&fields=y"

    assert "is not supported by SomaMemory" in refused(api.request(method, at, {"any": "thing"}), 501)
    refused(api.request(method, at, None, None, Authorization="Token wrong"), 401)


@pytest.mark.parametrize("path", ["/v9/nothing/", "/api/v1/orgs/organizations/acme/projects/shop/"])
def test_the_error_of_an_unsupported_route_names_the_requested_path(api: Api, path: str) -> None:
    assert refused(api.get("/mem0" + path), 501).startswith(f"GET {path} is not supported by SomaMemory")


@pytest.mark.parametrize("route", sorted(MEM0.keys() - {("GET", "/mem0/v1/ping/")}), ids=str)
def test_a_key_of_another_namespace_is_refused(api: Api, route: Route) -> None:
    narrow = Api(issue_key(api.tenant, SCOPES, namespaces=["mine"]), api.tenant)

    for case in (case.filled(NAMES) for case in MEM0[route]):
        refused(narrow.request(route[0], case.url, case.body), 403)


def test_a_key_of_the_namespace_reads_and_writes(api: Api) -> None:
    narrow = Api(issue_key(api.tenant, SCOPES, namespaces=["mem0"]), api.tenant)
    add(narrow, "mine")

    assert texts(narrow, {"user_id": "vault"}) == ["mine"]
    ok(narrow.delete("/mem0/v1/memories/?user_id=vault"))
    assert texts(narrow, {"user_id": "vault"}) == []


# --- Import ------------------------------------------------------------------------------------------------------

OLD_ID = "0b7c1f0e-3a52-4b6e-9d2f-1c5a7e8d9f01"
EXPORT: list[dict[str, Any]] = [
    {"id": OLD_ID, "memory": "Ada sits at the window", "user_id": "ada", "app_id": "travel", "run_id": "r",
     "metadata": {"a": 1}, "categories": ["Travel"], "created_at": "2026-03-01T10:00:00-08:00", "hash": "x"},
    {"id": str(UUID(int=7)), "memory": "expired", "user_id": "ada", "expiration_date": "2020-01-01"},
]  # fmt: skip


def test_an_imported_memory_keeps_its_id_and_a_repeated_import_adds_nothing(
    api: Api, tmp_path: Path, capsys: Any
) -> None:
    for content in (json.dumps(EXPORT), json.dumps({"results": EXPORT}), "\n".join(map(json.dumps, EXPORT))):
        (tmp_path / "export").write_text(content)
        call_command("import_mem0", str(tmp_path / "export"), tenant="acme")

    outputs = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Stored")]
    assert outputs[0] == "Stored 1 memories; 0 were already there, and 1 had expired."
    assert set(outputs[1:]) == {"Stored 0 memories; 1 were already there, and 1 had expired."}
    memory = ok(api.get(f"/mem0/v1/memories/{OLD_ID}/"))
    assert {name: memory[name] for name in ("id", "memory", "app_id", "run_id", "metadata", "categories")} == {
        name: EXPORT[0][name] for name in ("id", "memory", "app_id", "run_id", "metadata", "categories")
    }
    assert memory["created_at"] == "2026-03-01T18:00:00Z"
    assert texts(api, {"user_id": "ada", "categories": {"in": ["travel"]}}) == ["Ada sits at the window"]
    ok(api.put(f"/mem0/v1/memories/{OLD_ID}/", {"text": "changed"}))
    with pytest.raises(CommandError, match="have been changed"):
        call_command("import_mem0", str(tmp_path / "export"), tenant="acme")


@pytest.mark.parametrize("content", [json.dumps(EXPORT), "\n".join(map(json.dumps, EXPORT))])
def test_an_imported_file_may_begin_with_a_byte_order_mark(api: Api, tmp_path: Path, content: str) -> None:
    (tmp_path / "export").write_text(content, encoding="utf-8-sig")

    call_command("import_mem0", str(tmp_path / "export"), tenant="acme")

    assert texts(api, {"user_id": "ada"}) == ["Ada sits at the window"]


def test_a_file_that_is_not_an_export_is_rejected_and_an_invalid_memory_is_named(
    api: Api, tmp_path: Path, capsys: Any
) -> None:
    file = tmp_path / "export"
    file.write_text("no JSON")
    with pytest.raises(CommandError, match="one JSON object per line"):
        call_command("import_mem0", str(file), tenant="acme")
    file.write_text(json.dumps([{"id": OLD_ID}, EXPORT[0]]))
    with pytest.raises(CommandError, match="memories not imported: 1"):
        call_command("import_mem0", str(file), tenant="acme")

    assert "memory 1: memory: is required" in capsys.readouterr().out
