"""A conversation's page: what it shows, finds, changes and exports, and for whom."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from conversations import lookup
from conversations.enrichment import facts, summaries
from conversations.lifecycle import tiers
from conversations.llm.schemas import EntityAnswer, FactAnswer
from conversations.models import Conversation
from memories.models import Memory
from tenants.caller import Caller
from tenants.models import AuditEvent, Tenant
from tests.conftest import Api, drain, page, page_content
from tests.support.staff import sign_in_staff

CALL = {"id": "1", "type": "function", "function": {"name": "look_up", "arguments": '{"where": "Alfama"}'}}
SAID: list[dict[str, Any]] = [
    {"role": "user", "content": "Where does James's aardvark <b>sleep</b>?", "timestamp": "2026-03-01T12:00:00Z"},
    {"role": "assistant", "content": "", "tool_calls": [CALL], "timestamp": "2026-03-01T12:01:00Z"},
    {"role": "tool", "content": "in a burrow", "tool_call_id": "1", "timestamp": "2026-03-02T12:02:00Z"},
]


@pytest.fixture
def talk(api: Api) -> dict[str, Any]:
    body = {"label": "Zoo", "folder": "animals", "messages": SAID}
    created: dict[str, Any] = api.post("/api/v1/conversations", body).json()
    drain()
    return created


@pytest.fixture
def reader(superuser: Client, tenant: Tenant) -> Client:
    """A staff user who can only read acme's data."""
    return sign_in_staff(tenant, "view_memory", "view_conversation", name="reader")


def shown(client: Client, id: str, **query: str) -> str:
    return page_content(client, page("conversations_conversation_change", id, tenant="acme", **query))


def test_a_conversation_is_shown_as_a_chat_with_its_tool_calls(superuser: Client, talk: dict[str, Any]) -> None:
    text = shown(superuser, talk["id"])

    assert "aardvark &lt;b&gt;sleep" in text
    assert re.findall(r'id="turn-(\d+)"', text) == ["1", "2", "3"]
    assert '<time datetime="2026-03-01T12:00:00' in text
    assert "<code>look_up</code>" in text
    assert "&quot;where&quot;: &quot;Alfama&quot;" in text


@pytest.mark.parametrize(
    "function",
    [
        {"name": "f", "arguments": "[" * 5_000},
        {"name": "f", "arguments": "[" * 900 + "]" * 900},
        {"name": "f", "arguments": '"\\ud800"'},
        {"name": "f", "arguments": "9" * 5_000},
        {"name": "f", "arguments": None},
        "f",
        ["f"],
        None,
    ],
)
def test_no_stored_tool_call_makes_the_page_fail(superuser: Client, api: Api, function: Any) -> None:
    said = {"role": "assistant", "content": "look here", "tool_calls": [{"id": "1", "function": function}]}
    talk = api.post("/api/v1/conversations", {"label": "Zoo", "messages": [said]}).json()

    assert "look here" in shown(superuser, talk["id"])


def test_summaries_and_facts_are_shown_with_the_messages_they_come_from(
    superuser: Client, talk: dict[str, Any], caller: Caller
) -> None:
    conversation = lookup.find(caller, talk["id"])
    for day in (1, 2):
        summaries.summarize(caller, conversation.id, "daily", date(2026, 3, day))
    stated = FactAnswer(turn=1, fact="James keeps one.", entities=[EntityAnswer(name="James", kind="person")])
    excerpt = next(iter(facts._excerpts(caller, conversation, range(1, 2), 1_000)))
    facts._write(caller, conversation, [stated], {1: excerpt}, "a model")

    text = shown(superuser, talk["id"])

    assert text.index("Daily summary, 2026-03-01") < text.index("turn-1") < text.index("Daily summary, 2026-03-02")
    notes = text[text.index("Facts and links for turn 1") :]
    assert "James keeps one." in notes
    assert re.search(r'class="chat-entity" href="/admin/memories/memory/acme/[^"]+">James<', notes)


def test_a_long_conversation_is_shown_in_parts(superuser: Client, api: Api, talk: dict[str, Any]) -> None:
    more = [{"role": "user", "content": f"message {number}"} for number in range(4, 121)]
    api.post(f"/api/v1/conversations/{talk['id']}/messages", {"messages": more})

    first, third = shown(superuser, talk["id"]), shown(superuser, talk["id"], turn="119")

    assert ('href="?turn=51" rel="next"' in first, 'rel="prev"' in first) == (True, False)
    assert re.findall(r'id="turn-(\d+)"', third)[::19] == ["101", "120"]
    assert shown(superuser, talk["id"], turn="9" * 30).count('id="turn-') == 50


def test_reading_a_conversation_counts_as_no_read_and_leaves_it_in_cold_storage(
    superuser: Client, api: Api, talk: dict[str, Any], caller: Caller
) -> None:
    api.put(f"/api/v1/conversations/{talk['id']}/archive")
    Conversation.objects.for_tenant(api.tenant).update(summarise_at=None)  # its summaries are written first
    assert tiers.freeze(caller, lookup.find(caller, talk["id"]).id)

    assert "aardvark" in shown(superuser, talk["id"])

    assert lookup.find(caller, talk["id"]).tier == "cold"
    assert not Memory.objects.for_tenant(api.tenant).filter(access_count__gt=0).exists()


def test_messages_are_found_in_their_conversation_and_from_the_list(
    superuser: Client, api: Api, talk: dict[str, Any]
) -> None:
    other = api.post("/api/v1/conversations", {"label": "Invoice of JAMES", "messages": []}).json()
    found = shown(superuser, talk["id"], q="aardvark")
    listed = page_content(superuser, page("conversations_conversation_changelist", tenant="acme", q="james"))
    by_words = page_content(superuser, page("conversations_conversation_changelist", tenant="acme", q="aardvarks"))

    assert "turn=1#turn-1" in found
    assert {talk["id"], other["id"]} == set(re.findall(r"conversation/([0-9a-f-]{36})/change", listed))
    assert {talk["id"]} == set(re.findall(r"conversation/([0-9a-f-]{36})/change", by_words))


def test_the_label_and_the_folder_are_changed_as_the_api_does_it(
    superuser: Client, api: Api, talk: dict[str, Any]
) -> None:
    path = page("conversations_conversation_change", talk["id"], tenant="acme")
    superuser.post(path, {"label": "Burrows", "folder": "animals/wild"})
    refused = superuser.post(path, {"label": "x", "folder": "a/../b"}, follow=True).content.decode()

    changed = api.get(f"/api/v1/conversations/{talk['id']}").json()
    assert (changed["label"], changed["folder"]) == ("Burrows", "animals/wild")
    assert "must not contain a folder named" in refused
    assert AuditEvent.objects.get(action="conversation.change").actor.startswith("staff:")


def test_an_export_is_the_file_that_the_api_exports(superuser: Client, api: Api, talk: dict[str, Any]) -> None:
    response: Any = superuser.get(page("conversation_export", "acme", talk["id"], format="json"))
    exported = json.loads(b"".join(response.streaming_content))

    assert [message["content"] for message in exported[0]["messages"]] == [said["content"] for said in SAID]
    assert "attachment" in response["Content-Disposition"]
    assert superuser.get(page("conversation_export", "acme", talk["id"], format="exe")).status_code == 422


def test_a_reader_is_offered_no_changes(reader: Client, api: Api, talk: dict[str, Any]) -> None:
    text = shown(reader, talk["id"])
    response = reader.post(page("conversations_conversation_change", talk["id"], tenant="acme"), {"label": "Mine"})

    assert "aardvark" in text
    assert 'name="label"' not in text
    assert response.status_code == 302
    assert api.get(f"/api/v1/conversations/{talk['id']}").json()["label"] == "Zoo"


def test_staff_of_another_tenant_see_nothing(reader: Client, stranger: Api) -> None:
    theirs = stranger.post("/api/v1/conversations", {"label": "Secret", "messages": SAID}).json()["id"]

    for query in ({}, {"tenant": "stranger"}, {"tenant": "acme"}):
        response = reader.get(page("conversations_conversation_change", theirs, **query), follow=True)
        assert b"aardvark" not in response.content
    for slug in ("stranger", "acme"):
        assert reader.get(page("conversation_export", slug, theirs)).status_code == 404
    drain()
    listed = page_content(reader, page("conversations_conversation_changelist", tenant="acme", q="aardvark"))
    assert theirs not in listed


# --- Deleted conversations ---------------------------------------------------------------------------------------


def remove(client: Client, id: str) -> None:
    path = page("conversations_conversation_remove", id, tenant="acme")
    assert client.post(path, {"_form_submitted": "on"}).status_code == 200


def deleted_page(client: Client, **query: str) -> str:
    return page_content(client, page("deleted_conversations", **query))


def restore(client: Client, id: str, slug: str = "acme") -> Any:
    return client.post(page("deleted_conversations", tenant=slug), {"id": id}, follow=True)


def test_a_deleted_conversation_is_restored_from_the_console(superuser: Client, api: Api, talk: dict[str, Any]) -> None:
    remove(superuser, talk["id"])
    text = page_content(superuser, page("conversations_conversation_changelist", tenant="acme"))
    assert '<a href="/admin/deleted/?tenant=acme">restore it</a>' in text
    assert "Zoo" in deleted_page(superuser)

    restored = restore(superuser, talk["id"]).content.decode()

    assert "The conversation was restored." in restored
    assert "aardvark" in restored
    assert api.get(f"/api/v1/conversations/{talk['id']}").json()["label"] == "Zoo"
    assert AuditEvent.objects.get(action="conversation.restore").actor.startswith("staff:")


def test_the_page_of_a_deleted_conversation_redirects_to_the_deleted_conversations(
    superuser: Client, talk: dict[str, Any]
) -> None:
    remove(superuser, talk["id"])

    response = superuser.get(page("conversations_conversation_change", talk["id"], tenant="acme"))

    assert response["Location"] == page("deleted_conversations", tenant="acme")


def test_a_failed_restore_shows_the_reason(superuser: Client, talk: dict[str, Any]) -> None:
    assert f"conversation {talk['id']} does not exist" in restore(superuser, talk["id"]).content.decode()
    for id in ("x", "%00"):
        assert "unknown conversation" in restore(superuser, id).content.decode()


def test_a_wrong_cursor_shows_the_first_page_of_deleted_conversations(superuser: Client, talk: dict[str, Any]) -> None:
    remove(superuser, talk["id"])

    assert "Zoo" in deleted_page(superuser, cursor="abc")


def test_viewing_deleted_conversations_does_not_restore_any(superuser: Client, api: Api, talk: dict[str, Any]) -> None:
    remove(superuser, talk["id"])

    superuser.get(page("deleted_conversations", tenant="acme", id=talk["id"]))

    assert api.get(f"/api/v1/conversations/{talk['id']}").status_code == 404


def test_a_reader_sees_deleted_conversations_but_cannot_restore_them(
    reader: Client, api: Api, talk: dict[str, Any]
) -> None:
    api.delete(f"/api/v1/conversations/{talk['id']}")

    assert "Zoo" in deleted_page(reader)
    assert 'value="Restore' not in deleted_page(reader)
    assert "Restore Zoo" not in deleted_page(reader)
    assert restore(reader, talk["id"]).status_code == 403
    assert api.get(f"/api/v1/conversations/{talk['id']}").status_code == 404


def test_a_user_without_permission_to_change_is_offered_no_restore(
    api: Api, reader: Client, talk: dict[str, Any]
) -> None:
    User.objects.get(username="reader").user_permissions.add(Permission.objects.get(codename="delete_memory"))
    remove(reader, talk["id"])

    text = page_content(reader, page("conversations_conversation_changelist", tenant="acme"))

    assert "A user who may change memories can restore it until" in text
    assert "restore it</a>" not in text


def test_staff_of_another_tenant_cannot_see_or_restore_deleted_conversations(staff: Client, stranger: Api) -> None:
    theirs = stranger.post("/api/v1/conversations", {"label": "Secret", "messages": SAID}).json()["id"]
    stranger.delete(f"/api/v1/conversations/{theirs}")

    assert staff.get(page("deleted_conversations", tenant="stranger")).status_code == 404
    assert "Secret" not in deleted_page(staff, tenant="acme")
    for slug in ("stranger", "acme"):
        restore(staff, theirs, slug)
    assert b"Secret" not in restore(staff, theirs).content
    assert stranger.get(f"/api/v1/conversations/{theirs}").status_code == 404


def test_listing_deleted_conversations_takes_a_constant_number_of_statements(superuser: Client, api: Api) -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            deleted_page(superuser, tenant="acme")
        return len(captured)

    def delete_more(count: int) -> None:
        for _ in range(count):
            id = api.post("/api/v1/conversations", {"label": "x", "messages": []}).json()["id"]
            api.delete(f"/api/v1/conversations/{id}")

    delete_more(1)
    statements()
    few = statements()
    delete_more(8)
    assert statements() == few
