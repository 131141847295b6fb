"""Concurrent writes to conversations."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from tests.conftest import Api
from tests.support.conversations import ROOT, begin, said

THREADS = 32
ROUNDS = 4

pytestmark = pytest.mark.django_db(transaction=True)


def together(work: Callable[[int], Any]) -> list[Any]:
    barrier = threading.Barrier(THREADS)

    def start(number: int) -> Any:
        try:
            barrier.wait(60)
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(start, range(THREADS)))


def test_concurrent_appends_to_one_conversation_leave_no_gap_and_share_no_turn(api: Api) -> None:
    id = begin(api)["id"]

    def append(number: int) -> list[int]:
        turns = []
        for at in range(ROUNDS):
            response = api.post(f"{ROOT}/{id}/messages", {"messages": said(f"{number} {at}", f"{number} {at} again")})
            assert response.status_code == 201, response.content
            turns += [item["turn"] for item in response.json()["items"]]
        return turns

    answered = together(append)

    messages = api.get(f"{ROOT}/{id}/messages?limit=1000").json()["items"]
    count = THREADS * ROUNDS * 2
    assert [item["turn"] for item in messages] == list(range(1, count + 1))
    assert sorted(turn for turns in answered for turn in turns) == list(range(1, count + 1))
    contents = [item["content"] for item in messages]
    assert len(set(contents)) == count
    for first, second in zip(contents[::2], contents[1::2], strict=True):  # messages of one request stay together
        assert second == f"{first} again"
    now = api.get(f"{ROOT}/{id}").json()
    assert (now["message_count"], now["word_count"]) == (count, count // 2 * (2 + 3))


def test_conversations_created_concurrently_have_distinct_numbers(api: Api) -> None:
    made = together(lambda number: [begin(api, f"{number} {at}") for at in range(2)])

    conversations = [item for some in made for item in some]
    assert len({item["number"] for item in conversations}) == 2 * THREADS
    for item in conversations[::16]:
        assert api.get(f"{ROOT}/{item['id']}/messages").json()["total"] == 1


def test_an_append_during_a_delete_is_not_found_and_leaves_nothing(api: Api) -> None:
    id = begin(api, "a")["id"]

    def work(number: int) -> int:
        if number == THREADS // 2:
            status: int = api.delete(f"{ROOT}/{id}").status_code
        else:
            status = api.post(f"{ROOT}/{id}/messages", {"messages": said("b")}).status_code
        return status

    assert set(together(work)) <= {200, 201, 404}
    assert api.get(f"{ROOT}/{id}").status_code == 404
    assert api.get("/memories?namespace=conversations").json()["items"] == []


def test_concurrent_requests_for_an_external_id_create_one_conversation(api: Api) -> None:
    path = f"{ROOT}/by-external-id/thread-7"

    ids = together(lambda number: api.put(path, {"messages": said("hello")}).json()["id"])

    assert len(set(ids)) == 1
    assert api.get(f"{ROOT}/count").json()["count"] == 1
