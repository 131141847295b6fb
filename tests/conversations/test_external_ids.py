"""Conversations identified by the caller's own ids."""

from __future__ import annotations

import pytest

from tests.conftest import Api, problem_of
from tests.support.conversations import ROOT, contents, said

BY_ID = f"{ROOT}/by-external-id"


def test_a_conversation_is_created_once_for_an_external_id(api: Api) -> None:
    first = api.put(f"{BY_ID}/thread-7", {"label": "Trip", "messages": said("hello")})
    again = api.put(f"{BY_ID}/thread-7", {"label": "Other", "messages": said("ignored")})

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert first.json()["external_id"] == "thread-7"
    assert contents(api, first.json()["id"]) == ["hello"]


def test_a_conversation_needs_no_body(api: Api) -> None:
    first, again = (api.request("PUT", f"{BY_ID}/thread-7") for _ in range(2))

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["external_id"] == "thread-7"


def test_messages_are_appended_and_listed_by_external_id(api: Api) -> None:
    api.put(f"{BY_ID}/thread-7", {"messages": said("hello")})

    added = api.post(f"{BY_ID}/thread-7/messages", {"messages": said("again")})

    assert added.status_code == 201
    listed = api.get(f"{BY_ID}/thread-7/messages").json()["items"]
    assert [message["content"] for message in listed] == ["hello", "again"]
    assert api.get(f"{BY_ID}/thread-7").json()["message_count"] == 2


def test_an_unknown_external_id_is_not_found(api: Api) -> None:
    for response in (
        api.get(f"{BY_ID}/unknown"),
        api.get(f"{BY_ID}/unknown/messages"),
        api.post(f"{BY_ID}/unknown/messages", {"messages": said("x")}),
    ):
        assert "PUT" in problem_of(response, 404)["detail"]


def test_the_external_id_of_a_deleted_conversation_is_free_again(api: Api) -> None:
    old = api.put(f"{BY_ID}/thread-7", {}).json()["id"]
    api.delete(f"{ROOT}/{old}")

    new = api.put(f"{BY_ID}/thread-7", {})

    assert new.status_code == 201
    assert new.json()["id"] != old


def test_an_external_id_can_contain_any_printable_character_but_a_slash(api: Api) -> None:
    assert api.put(f"{BY_ID}/Grüße%20%25_%3F%23", {}).json()["external_id"] == "Grüße %_?#"
    problem_of(api.put(f"{BY_ID}/a%2Fb", {}), 404)


@pytest.mark.parametrize("bad", ["%00", "%0a", "%20x", "x" * 256])
def test_an_external_id_that_is_too_long_or_has_control_characters_is_rejected(api: Api, bad: str) -> None:
    problem_of(api.put(f"{BY_ID}/{bad}", {}), 422, field="external_id")


@pytest.mark.parametrize("bad", [".", "..", "%2e%2e"])
def test_an_external_id_that_clients_resolve_in_a_path_is_rejected(api: Api, bad: str) -> None:
    problem_of(api.put(f"{BY_ID}/{bad}", {}), 422, field="external_id")


def test_each_tenant_has_its_own_external_ids(api: Api, stranger: Api) -> None:
    ours = api.put(f"{BY_ID}/thread-7", {}).json()["id"]

    problem_of(stranger.get(f"{BY_ID}/thread-7"), 404)
    assert stranger.put(f"{BY_ID}/thread-7", {}).json()["id"] != ours
