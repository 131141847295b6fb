"""A memory's payload can be edited as a form or as JSON, and saving does not overwrite a concurrent change."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from console import memory_edit
from memories import payloads
from somamemory.errors import InvalidInput
from tenants.models import AuditEvent
from tests.conftest import Api, page, page_content
from tests.support.staff import sign_in_staff

PAYLOAD = {"text": "Ada\nlives in Bern", "tags": ["a"], "deep": {"n": 7, "m": 1}}
VALUES = st.recursive(
    st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


@pytest.fixture
def stored(api: Api) -> Any:
    return api.post("/memories", {"coord": "1", "payload": PAYLOAD}).json()


def address(slug: str, id: str, **query: str) -> str:
    return page("memories_memory_change", f"{slug}/{id}", **query)


def payload_of(api: Api) -> Any:
    return api.get("/memories/1").json()["memory"]["payload"]


def save(client: Client, id: str, slug: str = "acme", **fields: Any) -> Any:
    form = {"do": "edit", "version": "1", "mode": "form", **fields}
    return client.post(address(slug, id), {name.replace("_", "-"): value for name, value in form.items()})


def as_shown(text: str) -> dict[str, str]:
    """Return the fields that a browser would send for the form, with CR LF line breaks."""
    text = text[text.index('class="memory-edit"') :].partition("</form>")[0]
    fields = dict(re.findall(r'type="hidden" name="([a-z]+-\w+|version|mode)" value="([^"]*)"', text))
    areas = re.findall(r'<textarea name="([\w-]+)"[^>]*>\n(.*?)</textarea>', text, re.S)
    areas_sent = {name: value.replace("\n", "\r\n") for name, value in areas}
    return {name: html.unescape(value) for name, value in (fields | areas_sent).items()} | {"do": "edit"}


# --- As a form ---------------------------------------------------------------------------------------------------


def test_saving_an_unchanged_form_changes_nothing(superuser: Client, api: Api, stored: Any) -> None:
    form = as_shown(page_content(superuser, address("acme", stored["id"], edit="form")))

    superuser.post(address("acme", stored["id"]), form)

    memory = api.get("/memories/1").json()["memory"]
    assert (memory["payload"], memory["version"]) == (PAYLOAD, 1)


def test_a_form_changes_removes_and_adds_members(superuser: Client, api: Api, stored: Any) -> None:
    form = as_shown(page_content(superuser, address("acme", stored["id"], edit="form")))
    number = {name: at for at, name in ((key[5:], form[key]) for key in form if key.startswith("name-"))}
    form |= {f"value-{number['text']}": "Ada\r\nlives in Rome", f"remove-{number['tags']}": "on"}
    form |= {f"value-{number['deep']}": '{"n": 8}', "name-new": "note", "value-new": "moved"}

    superuser.post(address("acme", stored["id"]), form)

    assert payload_of(api) == {"text": "Ada\nlives in Rome", "deep": {"n": 8}, "note": "moved"}
    event = AuditEvent.objects.filter(action="memory.patch").get()
    assert event.actor.startswith("staff:")


def test_line_breaks_of_unchanged_text_are_preserved(superuser: Client, api: Api) -> None:
    payload = {"text": "\nfirst\r\nsecond", "n": 1}
    id = api.post("/memories", {"coord": "1", "payload": payload}).json()["id"]
    form = as_shown(page_content(superuser, address("acme", id, edit="form")))
    number = next(key[5:] for key in form if form[key] == "n")

    superuser.post(address("acme", id), form | {f"value-{number}": "2"})

    assert payload_of(api) == {"text": "\nfirst\r\nsecond", "n": 2}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"name_0": "tags", "kind_0": "json", "value_0": "[1"}, "tags: must be JSON"),
        ({"name_0": "tags", "kind_0": "json", "value_0": '1, "b": 2'}, "tags: must be JSON"),
        ({"name_0": "text", "value_0": "x", "name_new": "text"}, "is already a member"),
        ({"value_new": "x"}, "is required for a new member"),
        ({"mode": "json", "payload": "[]"}, "must be a JSON object"),
        ({"mode": "json", "payload": '{"a": 1'}, "is not valid JSON"),
        ({"mode": "json", "payload": '{"a": null}'}, "remove the member instead"),
        ({"mode": "json", "payload": '{"a": 1, "a": 2}'}, "more than once"),
        ({"mode": "json", "payload": '{"a": "\\u0000"}'}, "NUL"),
    ],
)
def test_an_invalid_change_is_shown_again_with_the_reason(
    superuser: Client, api: Api, stored: Any, fields: dict[str, str], problem: str
) -> None:
    response = save(superuser, stored["id"], **fields)

    assert response.status_code == 200
    text = html.unescape(response.content.decode())
    assert problem in text
    for value in fields.values():
        assert value in text
    assert payload_of(api) == PAYLOAD


# --- As JSON -----------------------------------------------------------------------------------------------------


def test_json_replaces_the_payload(superuser: Client, api: Api, stored: Any) -> None:
    shown = page_content(superuser, address("acme", stored["id"], edit="json"))
    assert json.loads(as_shown(shown)["payload"]) == PAYLOAD

    save(superuser, stored["id"], mode="json", payload='{"text": "x", "deep": {"m": 1, "k": [null]}}')

    assert payload_of(api) == {"text": "x", "deep": {"m": 1, "k": [None]}}


def test_a_payload_with_many_members_is_edited_as_json(superuser: Client, api: Api) -> None:
    payload = {f"member {number}": number for number in range(memory_edit.MAX_FIELDS + 1)}
    id = api.post("/memories", {"coord": "1", "payload": payload}).json()["id"]

    assert json.loads(as_shown(page_content(superuser, address("acme", id, edit="form")))["payload"]) == payload


def test_a_payload_that_is_too_long_cannot_be_edited(superuser: Client, api: Api) -> None:
    id = api.post("/memories", {"coord": "1", "payload": {"text": "x" * memory_edit.MAX_LENGTH}}).json()["id"]

    assert "memory-edit" not in page_content(superuser, address("acme", id, edit="json"))


@given(OBJECTS, OBJECTS)
def test_the_merge_patch_between_two_payloads_turns_one_into_the_other(old: Any, new: Any) -> None:
    patched = payloads.merge_patch(old, memory_edit.merge_patch_from(old, new))

    assert json.dumps(patched, sort_keys=True) == json.dumps(new, sort_keys=True)


def test_no_merge_patch_sets_a_member_to_null() -> None:
    with pytest.raises(InvalidInput):
        memory_edit.merge_patch_from({"a": 1}, {"a": {"b": None}})
    assert memory_edit.merge_patch_from({"a": None, "b": 1}, {"a": None}) == {"b": None}


# --- Concurrent changes and rights -------------------------------------------------------------------------------


def test_a_concurrent_change_is_shown_and_not_overwritten(superuser: Client, api: Api, stored: Any) -> None:
    api.patch("/memories/1", {"payload": {"text": "Ada lives in Paris"}})

    text = save(superuser, stored["id"], mode="json", payload='{"text": "Ada lives in Rome"}').content.decode()

    assert "was changed after you opened it" in text
    assert "Ada lives in Paris" in text
    assert "Ada lives in Rome" in text
    assert payload_of(api)["text"] == "Ada lives in Paris"
    again = as_shown(text)
    assert again["version"] == "2"
    superuser.post(address("acme", stored["id"]), again)
    assert payload_of(api) == {"text": "Ada lives in Rome"}


@pytest.mark.parametrize("version", ["", "x", "9" * 30, "2"])
def test_a_form_without_the_right_version_saves_nothing(superuser: Client, api: Api, stored: Any, version: str) -> None:
    save(superuser, stored["id"], version=version, mode="json", payload="{}")

    assert payload_of(api) == PAYLOAD


def test_opening_the_editor_changes_nothing(superuser: Client, api: Api, stored: Any) -> None:
    superuser.get(address("acme", stored["id"], edit="json", do="edit", version="1", mode="json", payload="{}"))

    assert payload_of(api) == PAYLOAD


def test_a_message_of_a_conversation_cannot_be_edited_or_restored_here(superuser: Client, api: Api) -> None:
    made = api.post("/api/v1/conversations", {"messages": [{"role": "user", "content": "hello"}]}).json()
    message = api.get(f"/api/v1/conversations/{made['id']}/messages").json()["items"][0]["id"]
    live = page_content(superuser, address("acme", message, edit="form"))
    response = save(superuser, message, mode="json", payload='{"content": "other"}')
    api.delete(f"/api/v1/conversations/{made['id']}")

    assert "memory-edit" not in live
    assert response.status_code == 200
    assert 'value="restore"' not in page_content(superuser, address("acme", message))
    assert 'value="delete"' not in live


def test_a_reader_is_offered_no_editor_and_cannot_save(api: Api, stored: Any) -> None:
    reader = sign_in_staff(api.tenant, "view_memory")
    text = page_content(reader, address("acme", stored["id"], edit="form"))

    assert "memory-edit" not in text
    assert "?edit=" not in text
    save(reader, stored["id"], mode="json", payload="{}")
    assert payload_of(api) == PAYLOAD


def test_a_user_without_permission_to_change_is_offered_no_restore(api: Api, stored: Any) -> None:
    deleter = sign_in_staff(api.tenant, "view_memory", "delete_memory")
    deleter.post(address("acme", stored["id"]), {"do": "delete"})

    text = page_content(deleter, address("acme", stored["id"]))

    assert "The memory was deleted." in text
    assert "You can restore it" not in text
    assert 'value="restore"' not in text


def test_staff_of_another_tenant_cannot_save(staff: Client, stranger: Api) -> None:
    id = stranger.post("/memories", {"coord": "1", "payload": PAYLOAD}).json()["id"]

    for slug in ("stranger", "acme"):
        assert save(staff, id, slug, mode="json", payload="{}").status_code == 302
    assert payload_of(stranger) == PAYLOAD
