"""Allocated coordinates: they sort by time, and writers do not wait for each other."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from memories import allocation, coordinates
from memories.allocation import Allocator
from memories.coordinates import Coordinate
from memories.models import Memory
from tests.conftest import POSTGRESQL, Api

DAY_US = 86_400_000_000
NOON_US = 1_795_867_200_000_000  # 2026-11-28 12:00 UTC
WRITERS = 32


def test_an_allocated_coordinate_is_the_day_the_microsecond_of_the_day_and_the_writer() -> None:
    assert Allocator(7).next(NOON_US).numbers == (20261128, DAY_US // 2, 7)


def test_the_last_microsecond_of_a_day_is_followed_by_the_first_of_the_next() -> None:
    allocator = Allocator(7)
    last_us = NOON_US + DAY_US // 2 - 1

    assert [allocator.next(last_us).numbers, allocator.next(last_us).numbers] == [
        (20261128, DAY_US - 1, 7),
        (20261129, 0, 7),
    ]


@given(st.lists(st.integers(NOON_US - 1_000, NOON_US + 1_000), min_size=2, max_size=50))
def test_each_coordinate_sorts_after_the_previous_one_even_if_the_clock_goes_back(clock: list[int]) -> None:
    allocator = Allocator(7)

    keys = [allocator.next(now).key for now in clock]

    assert keys == sorted(set(keys))


def test_threads_share_a_writer_without_a_collision() -> None:
    barrier = threading.Barrier(WRITERS)

    def work(_: int) -> list[str]:
        barrier.wait(60)
        return [allocation.allocate().key for _ in range(200)]

    with ThreadPoolExecutor(WRITERS) as pool:
        keys = [key for some in pool.map(work, range(WRITERS)) for key in some]

    assert len(set(keys)) == WRITERS * 200


@pytest.mark.skipif(not hasattr(os, "fork"), reason="NOT CHECKED: this system has no fork")
def test_a_forked_process_is_another_writer() -> None:
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.write(writing, allocation.allocate().text.encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = coordinates.parse(os.read(reading, 100).decode())
    os.close(reading)
    os.close(writing)

    assert theirs.numbers[2] != allocation.allocate().numbers[2]


def test_a_day_is_a_prefix(api: Api) -> None:
    stored = api.post("/memories", {"payload": {"text": "an aardvark"}}).json()

    items = api.get(f"/memories?prefix={stored['coordinate'][0]:.0f}").json()["items"]

    assert [item["id"] for item in items] == [stored["id"]]


def test_a_taken_coordinate_is_never_replaced(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.store("20261128,5,7", "mine")
    clock = iter([5, 5, 6])
    monkeypatch.setattr("memories.coordinate_assignment.allocate", lambda: coordinates.of([20261128, next(clock), 7]))

    stored = api.post("/memories", {"payload": {"text": "new"}})

    assert (stored.status_code, stored.json()["coord"]) == (201, "20261128.0,6.0,7.0")
    assert api.get("/memories/20261128,5,7").json()["memory"]["payload"] == {"text": "mine"}


def test_a_bulk_gets_increasing_coordinates(api: Api) -> None:
    body = {"items": [{"payload": {"number": number}} for number in range(50)]}

    results = api.post("/memories/bulk", body).json()["results"]

    coords = [coordinates.parse(result["coord"]) for result in results]
    assert {result["status"] for result in results} == {201}
    assert coords == sorted(set(coords))


def test_a_repeated_request_gets_the_coordinate_of_the_first(api: Api) -> None:
    answers = [api.post("/memories", {"payload": {"text": "once"}}, idempotency_key="k").json() for _ in range(2)]

    assert answers[0] == answers[1]
    assert api.get("/stats").json()["total_memories"] == 1


@pytest.mark.django_db(transaction=True)
def test_concurrent_writers_all_get_a_coordinate_at_the_first_attempt(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[Coordinate] = []

    def allocate() -> Coordinate:
        attempts.append(allocation.allocate())
        return attempts[-1]

    monkeypatch.setattr("memories.coordinate_assignment.allocate", allocate)
    writers = WRITERS if POSTGRESQL else 8
    barrier = threading.Barrier(writers)

    def work(number: int) -> list[int]:
        try:
            barrier.wait(60)
            return [api.post("/memories", {"payload": {"n": at}}).status_code for at in range(5)]
        finally:
            connection.close()

    with ThreadPoolExecutor(writers) as pool:
        statuses = [status for some in pool.map(work, range(writers)) for status in some]

    assert set(statuses) == {201}
    assert Memory.objects.for_tenant(api.tenant).count() == len(statuses) == len(attempts)
