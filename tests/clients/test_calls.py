"""The client's methods, called against the application."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from somamemory_client import AsyncClient, Client, InvalidArgument, NotFound, PreconditionFailed, errors
from tests.clients.conftest import run


def test_a_stored_text_is_found_by_a_question(client: Client) -> None:
    client.memories.store("Ada drinks coffee", user_id="ada")
    client.memories.store("Bob drinks tea", user_id="bob")

    found = [hit["payload"]["text"] for hit in client.memories.search("What does Ada drink?", user_id="ada")]

    assert found == ["Ada drinks coffee"]


def test_a_memory_is_fetched_by_coordinate_key_or_id(client: Client) -> None:
    stored = client.memories.store({"text": "Tea", "cups": 2}, key="ada/tea", coord=[1, 2])

    for name in ({"coord": "1,2"}, {"coord": (1, 2)}, {"key": "ada/tea"}, {"id": stored["id"]}):
        assert client.memories.get(**name)["payload"] == {"text": "Tea", "cups": 2}


def test_an_update_leaves_other_fields_unchanged(client: Client) -> None:
    client.memories.store("Tea", key="tea", importance=2)

    changed = client.memories.update(key="tea", metadata={"hot": True})

    assert (changed["version"], changed["importance"], changed["metadata"]) == (2, 2, {"hot": True})


def test_a_condition_on_the_version_prevents_a_lost_update(client: Client) -> None:
    client.memories.store("Tea", key="tea")
    client.memories.update(key="tea", importance=1, if_match=1)

    with pytest.raises(PreconditionFailed):
        client.memories.update(key="tea", importance=2, if_match=1)


def test_a_deleted_memory_can_be_restored(client: Client) -> None:
    client.memories.store("Tea", key="tea")

    assert client.memories.delete(key="tea")["deleted"]
    with pytest.raises(NotFound):
        client.memories.get(key="tea")
    assert client.memories.restore(key="tea")["payload"] == {"text": "Tea"}


def test_the_history_begins_with_the_current_version(client: Client) -> None:
    client.memories.store("Tea", key="tea")
    client.memories.update(key="tea", payload={"text": "Green tea"})

    assert [version["version"] for version in client.memories.history(key="tea", limit=1)] == [2, 1]


def test_a_list_fetches_all_its_pages(client: Client) -> None:
    client.memories.store_many([f"Memory {number}" for number in range(5)])

    pages = client.memories.list(limit=2)

    assert [len(page) for page in pages.pages()] == [2, 2, 1]
    assert len({memory["id"] for memory in pages}) == 5
    assert len(pages.first_page()) == 2


def test_times_are_sent_as_rfc_3339(client: Client) -> None:
    client.memories.store("Tea", valid_from=datetime(2026, 1, 1, tzinfo=UTC), key="tea")

    assert client.memories.get(key="tea")["valid_from"] == "2026-01-01T00:00:00Z"
    assert len(client.memories.list(valid_at=datetime(2025, 1, 1, tzinfo=UTC)).first_page()) == 0


def test_a_user_scope_applies_to_writes_searches_and_lists(client: Client) -> None:
    ada, bob = client.user("ada"), client.user("bob")
    ada.memories.store("Ada drinks coffee")
    bob.memories.store_many(["Bob drinks tea", {"payload": {"text": "Shared"}, "user_id": "ada"}])

    assert [memory["user_id"] for memory in bob.memories.list()] == ["bob"]
    assert {memory["user_id"] for memory in ada.memories.list()} == {"ada"}
    assert {hit["user_id"] for hit in ada.memories.search("drinks")} == {"ada"}


def test_none_does_not_override_the_user_scope(client: Client) -> None:
    ada = client.user("ada")
    client.memories.store("Bob drinks tea", user_id="bob")
    ada.memories.store("Ada drinks coffee", user_id=None)
    ada.memories.store_many([{"payload": {"text": "Ada drinks water"}, "user_id": None}])

    assert [memory["user_id"] for memory in ada.memories.list(user_id=None)] == ["ada", "ada"]
    assert {hit["user_id"] for hit in ada.memories.search("drinks", user_id=None)} == {"ada"}


def test_none_removes_a_value_in_an_update_despite_the_scope(client: Client) -> None:
    session = client.session("s1")
    stored = session.memories.store("It rains", key="weather")

    assert stored["version"] == 1
    assert client.memories.get(key="weather")["session_id"] == "s1"
    assert session.memories.update(key="weather", session_id=None)["session_id"] is None


def test_none_does_not_override_the_namespace_scope(client: Client) -> None:
    notes = client.namespace("notes")
    none: Any = None
    notes.graph.link_many([{"from_coord": "1", "to_coord": "2", "namespace": none}])

    assert [neighbor["coord"] for neighbor in notes.graph.neighbors(coord="1", namespace=none)] == ["2.0"]


def test_a_namespace_prefix_overrides_the_namespace_scope(client: Client) -> None:
    notes = client.namespace("users/ada")
    notes.memories.store("Buy milk", key="milk")

    assert notes.memories.get(key="milk")["namespace"] == "users/ada"
    assert [hit["key"] for hit in notes.memories.search("milk", namespace_prefix="users")] == ["milk"]


def test_a_call_that_cannot_be_limited_to_the_scope_is_refused(client: Client) -> None:
    with pytest.raises(InvalidArgument, match=r"user_id: stats.get does not support this scope"):
        client.user("ada").memories.stats()


def test_a_bulk_helper_reports_rejected_items_by_their_position(client: Client) -> None:
    report = client.memories.store_all(
        ["one", "two", {"payload": {"text": "three"}, "importance": 99}, "four"], batch_size=2
    )

    assert (report.stored, report.done) == (3, 4)
    assert [failure["index"] for failure in report.failures] == [2]


def test_a_bulk_helper_sends_no_batch_with_too_many_values_for_the_server(client: Client) -> None:
    report = client.memories.store_all({"payload": {"readings": [0] * 3_000}} for _ in range(200))

    assert report.stored == 200


def test_a_conversation_is_recorded_and_assembled(client: Client) -> None:
    created = client.conversations.create(label="Breakfast", external_id="thread-1")
    client.conversations.append(
        [{"role": "user", "content": "Ada has stopped eating eggs."}, {"role": "assistant", "content": "Noted."}],
        id=created["id"],
    )

    assert client.conversations.get(external_id="thread-1")["message_count"] == 2
    assert [message["turn"] for message in client.conversations.messages(created["id"], limit=1)] == [1, 2]
    assert [listed["label"] for listed in client.conversations.list()] == ["Breakfast"]
    assert client.context.assemble("eggs")[0]["content"] == "Ada has stopped eating eggs."
    assert "eggs" in str(client.context.prompt("eggs")["text"])
    assert len(client.conversations.search("eggs")) >= 1


def test_links_are_followed(client: Client) -> None:
    client.memories.store("Ada", key="ada", coord=[1])
    client.memories.store("Bob", key="bob", coord=[2])
    client.graph.link(from_key="ada", to_key="bob", link_type="knows")

    assert [neighbor["coord"] for neighbor in client.graph.neighbors(key="ada")] == ["2.0"]
    assert client.graph.path(from_coord=[1], to_coord=[2])["found"]
    assert client.graph.unlink(from_coord=[1], to_coord=[2], link_type="knows")


def test_an_operator_manages_tenants_and_keys(operators_client: Client) -> None:
    admin = operators_client.admin
    admin.tenants.create("globex", name="Globex")
    key = admin.keys.create("globex", scopes=["read", "write"])

    globex = operators_client.with_options(headers={"Authorization": f"Bearer {key['key']}"})
    globex.memories.store("Theirs", key="theirs")

    assert operators_client.tenant("globex").memories.get(key="theirs")["payload"] == {"text": "Theirs"}
    assert [issued["prefix"] for issued in admin.keys.list("globex")] == [key["prefix"]]


def test_an_error_has_the_code_the_fields_and_the_request_id(client: Client) -> None:
    with pytest.raises(errors.ApiError) as caught:
        client.request("POST", "/memories", json={"payload": {}, "importance": 99})

    assert (caught.value.status, caught.value.code) == (422, "invalid_input")
    assert [error["field"] for error in caught.value.errors] == ["importance"]
    assert caught.value.request_id == caught.value.response.request_id != ""


def test_a_raw_response_has_the_status_and_the_headers(client: Client) -> None:
    client.memories.store("Tea", key="tea")

    response = client.raw("memories.get_by_key", key="tea")

    assert (response.status, response.headers["etag"]) == (200, '"1"')
    assert client.raw("memories.get_by_key", key="tea", if_none_match=1).status == 304


def test_the_client_sends_the_callers_idempotency_key(client: Client) -> None:
    once = client.with_options(idempotency_key="order-7")

    first, second = once.memories.store("Tea"), once.memories.store("Tea")

    assert first == second
    assert len(list(client.memories.list())) == 1


def test_the_asynchronous_client_has_the_same_methods(async_client: AsyncClient) -> None:
    async def calls() -> list[str]:
        ada = async_client.user("ada")
        await ada.memories.store("Ada drinks coffee", key="coffee")
        async with ada:
            hits = await ada.memories.search("What does Ada drink?")
            listed = [memory["key"] async for memory in ada.memories.list(limit=1)]
        return [*(hit["payload"]["text"] for hit in hits), *map(str, listed)]

    assert run(calls()) == ["Ada drinks coffee", "coffee"]
