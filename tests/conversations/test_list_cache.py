"""Conversations are cached, but changes are visible immediately."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from conversations import list_cache
from somamemory import caching
from tests.conftest import Api
from tests.support.conversations import ROOT, begin, said

pytestmark = pytest.mark.django_db(transaction=True)


def get_and_count(api: Api, path: str) -> tuple[Any, int]:
    """Return the response and the number of statements about conversations."""
    with CaptureQueriesContext(connection) as captured:
        answer = api.get(path).json()
    return answer, sum("sfm_conversations" in query["sql"] for query in captured)


@pytest.mark.parametrize("path", ["/{id}", "?folder=/f&page=1", "?limit=1"])
def test_a_repeated_request_is_answered_without_the_database(api: Api, path: str) -> None:
    made = begin(api, "a", folder="/f", metadata={"x": [1.5]})
    where = ROOT + path.format(id=made["id"])
    first, statements = get_and_count(api, where)

    again, none = get_and_count(api, where)

    assert again == first
    assert statements > none == 0


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "", {"label": "new"}),
        ("PUT", "/pin", None),
        ("POST", "/messages", {"messages": said("b")}),
        ("DELETE", "", None),
    ],
)
def test_a_change_is_visible_immediately_in_the_conversation_and_in_lists(
    api: Api, method: str, path: str, body: Any
) -> None:
    id = begin(api, "a")["id"]
    one, several = api.get(f"{ROOT}/{id}").json(), api.get(ROOT).json()

    assert api.request(method, f"{ROOT}/{id}{path}", body).status_code < 300

    assert api.get(f"{ROOT}/{id}").json() != one
    assert api.get(ROOT).json() != several


def test_a_reader_slower_than_a_write_leaves_no_outdated_entry(api: Api) -> None:
    id = begin(api, "a", label="old")["id"]
    api.get(f"{ROOT}/{id}")
    list_cache._forget(api.tenant, id)  # anything cached now is outdated

    def slowly() -> str:
        api.patch(f"{ROOT}/{id}", {"label": "new"})
        return "what was read before that"

    assert list_cache.conversation(api.tenant, id, slowly) == "what was read before that"
    assert api.get(f"{ROOT}/{id}").json()["label"] == "new"


def test_tenants_never_share_entries(api: Api, stranger: Api) -> None:
    id = begin(api, "a")["id"]
    api.get(f"{ROOT}/{id}")
    api.get(ROOT)

    assert stranger.get(f"{ROOT}/{id}").status_code == 404
    assert stranger.get(ROOT).json()["total"] == 0


def test_without_a_shared_cache_the_change_of_a_command_is_visible_after_seconds(
    api: Api, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WORKERS, settings.REDIS_URL, settings.INDEXER = 1, "", "thread"
    lifetimes: list[float] = []
    monkeypatch.setattr(caching, "get_many", lambda *_: {})

    def remember(*_: Any, lifetime_s: float, **__: Any) -> None:
        lifetimes.append(lifetime_s)

    monkeypatch.setattr(caching, "set", remember)
    api.get(f"{ROOT}/{begin(api, 'a')['id']}")

    _, of_the_entry = lifetimes  # the stamp comes first
    assert of_the_entry <= 10


def test_several_processes_without_a_shared_cache_cache_nothing(api: Api, settings: Any) -> None:
    settings.WORKERS, settings.REDIS_URL = 2, ""
    id = begin(api, "a")["id"]
    api.get(f"{ROOT}/{id}")

    assert get_and_count(api, f"{ROOT}/{id}")[1] == 1
