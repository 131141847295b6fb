"""ETag, If-Match and If-None-Match prevent lost updates."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Api, problem_of

BODY = {"coord": "1", "payload": {"text": "new"}}
GARBAGE = [
    "",
    "1",
    "x",
    '"x"',
    '"1',
    '1"',
    '"1" ,',
    '"-1"',
    '"1.0"',
    '"12345678901"',
    '"1", "2"',
    "W/1",
    '""',
    '"\u0661"',
]


def changes(api: Api, **condition: str) -> list[Any]:
    """Try every write that supports conditions, one after the other."""
    return [
        api.post("/memories", BODY, **condition),
        api.patch("/memories/1", {"importance": 9}, **condition),
        api.delete("/memories/1", **condition),
        api.delete("/memories/1?purge=true", **condition),
    ]


def state(api: Api) -> Any:
    return api.get("/memories?include_deleted=true").json()


def test_every_answer_with_a_memory_carries_its_version(api: Api) -> None:
    api.store("1")

    assert api.get("/memories/1")["ETag"] == '"1"'
    assert api.post("/memories", BODY)["ETag"] == '"2"'
    assert api.patch("/memories/1", {"importance": 1})["ETag"] == '"3"'
    api.delete("/memories/1")
    assert api.post("/memories/1/restore")["ETag"] == '"5"'


def test_a_memory_that_has_not_changed_is_not_sent_again(api: Api) -> None:
    api.store("1")

    response = api.get("/memories/1", if_none_match='"1"')

    assert (response.status_code, response.content, response["ETag"]) == (304, b"", '"1"')


@pytest.mark.parametrize("tag", ['"1"', 'W/"1"', "*", '"7", "1"', '"7", W/"1"', '  "1"  '])
def test_any_tag_that_names_the_version_will_do(api: Api, tag: str) -> None:
    api.store("1")

    assert api.get("/memories/1", if_none_match=tag).status_code == 304


@pytest.mark.parametrize("tag", ['"2"', '"11"', '"01"', "1", "x", "", '"x1"'])
def test_any_other_tag_gets_the_memory(api: Api, tag: str) -> None:
    api.store("1")

    assert api.get("/memories/1", if_none_match=tag).status_code == 200


def test_a_missing_memory_is_404_with_any_etag(api: Api) -> None:
    problem_of(api.get("/memories/1", if_none_match="*"), 404)


@pytest.mark.parametrize("tag", ['"1"', 'W/"1"', "*", ' "1" '])
def test_a_fresh_if_match_lets_a_write_through(api: Api, tag: str) -> None:
    api.store("1")

    assert api.patch("/memories/1", {"importance": 1}, if_match=tag).status_code == 200


def test_each_write_may_name_the_version_it_has_seen(api: Api) -> None:
    api.store("1")

    assert api.post("/memories", BODY, if_match='"1"').json()["version"] == 2
    assert api.patch("/memories/1", {"importance": 1}, if_match='"2"').json()["memory"]["version"] == 3
    assert api.delete("/memories/1", if_match='"3"').json()["deleted"] is True


def test_a_stale_if_match_is_refused_and_changes_nothing(api: Api) -> None:
    api.store("1")
    api.patch("/memories/1", {"importance": 5})
    before = state(api)

    for response in changes(api, if_match='"1"'):
        problem_of(response, 412, "precondition_failed")

    assert state(api) == before


@pytest.mark.parametrize("tag", ['"1"', "*"])
def test_an_if_match_on_nothing_is_refused_and_stores_nothing(api: Api, tag: str) -> None:
    store, patch, delete, purge = changes(api, if_match=tag)

    for response in (store, delete, purge):
        problem_of(response, 412, "precondition_failed")
    problem_of(patch, 404)
    assert state(api)["items"] == []


def test_a_deleted_memory_has_no_version_to_match(api: Api) -> None:
    api.store("1")
    api.delete("/memories/1")
    before = state(api)

    for tag in ('"1"', '"2"', "*"):
        store, _, delete, purge = changes(api, if_match=tag)
        for response in (store, delete, purge):
            problem_of(response, 412, "precondition_failed")

    assert state(api) == before


def test_if_none_match_star_stores_only_what_is_not_there(api: Api) -> None:
    assert api.post("/memories", BODY, if_none_match="*").status_code == 201
    before = state(api)

    problem_of(api.post("/memories", BODY, if_none_match="*"), 412, "precondition_failed")

    assert state(api) == before


def test_if_none_match_star_may_store_where_one_was_deleted(api: Api) -> None:
    api.store("1")
    api.delete("/memories/1")

    assert api.post("/memories", BODY, if_none_match="*").status_code == 201


@pytest.mark.parametrize("value", GARBAGE)
def test_garbage_in_if_match_is_400_and_changes_nothing(api: Api, value: str) -> None:
    api.store("1")
    before = state(api)

    for response in changes(api, if_match=value):
        problem_of(response, 400, "malformed_request")

    assert state(api) == before


@pytest.mark.parametrize("value", ["", "x", '"1"', "**"])
def test_if_none_match_on_a_write_must_be_a_star(api: Api, value: str) -> None:
    for response in changes(api, if_none_match=value):
        problem_of(response, 400, "malformed_request")

    assert state(api)["items"] == []


def test_both_conditions_must_hold(api: Api) -> None:
    api.store("1")
    before = state(api)

    problem_of(api.post("/memories", BODY, if_match='"1"', if_none_match="*"), 412)

    assert state(api) == before


def test_the_weak_etag_of_a_compressed_response_is_the_same_version(api: Api) -> None:
    api.store("1", "x" * 5000)
    tag = api.get("/memories/1", accept_encoding="gzip")["ETag"]
    assert tag == 'W/"1"'

    assert api.get("/memories/1", if_none_match=tag).status_code == 304
    assert api.patch("/memories/1", {"importance": 1}, if_match=tag).status_code == 200


@pytest.mark.parametrize("path", ["/memories/bulk", "/memories/bulk/delete", "/memories/1/restore"])
@pytest.mark.parametrize("header", [{"if_match": '"77"'}, {"if_none_match": "*"}])
def test_a_condition_is_never_ignored(api: Api, path: str, header: dict[str, str]) -> None:
    api.store("1", "as it was")
    body = {
        "/memories/bulk": {"items": [{"coord": "1", "payload": {"text": "overwritten"}}]},
        "/memories/bulk/delete": {"coords": ["1"]},
    }.get(path)

    problem_of(api.post(path, body, **header), 400, "malformed_request")

    assert api.get("/memories/1").json()["memory"]["payload"] == {"text": "as it was"}
