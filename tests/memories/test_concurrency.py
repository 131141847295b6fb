"""Concurrent callers: none of them is rejected, and no version is lost or assigned twice."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from graph.models import Link
from memories import index
from memories.index import drain as sync
from memories.index import generations
from memories.models import Memory
from tests.conftest import Api, drain

THREADS = 16

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def together() -> Iterator[Callable[[Callable[[int], Any]], list[Any]]]:
    """Run a function in 16 threads that start at the same time, and return their results in order."""
    with ThreadPoolExecutor(THREADS) as pool:

        def run(work: Callable[[int], Any]) -> list[Any]:
            barrier = threading.Barrier(THREADS)

            def begin(number: int) -> Any:
                try:
                    barrier.wait(60)
                    return work(number)
                finally:
                    connection.close()

            return [future.result(60) for future in [pool.submit(begin, number) for number in range(THREADS)]]

        yield run


Together = Callable[[Callable[[int], Any]], list[Any]]


def test_stores_at_one_address_get_all_versions_without_a_gap(api: Api, together: Together) -> None:
    def work(number: int) -> list[tuple[int, int]]:
        answers = [api.post("/memories", {"coord": "1", "payload": {"text": f"{number} {at}"}}) for at in range(10)]
        return [(answer.status_code, answer.json().get("version", 0)) for answer in answers]

    answers = [answer for some in together(work) for answer in some]
    assert Counter(status for status, _ in answers) == {201: 1, 200: 16 * 10 - 1}
    assert sorted(version for _, version in answers) == list(range(1, 161))


def test_stores_at_different_addresses_all_succeed(api: Api, together: Together) -> None:
    def work(number: int) -> list[int]:
        return [
            api.post("/memories", {"coord": [number, at], "payload": {"text": f"{number} {at}"}}).status_code
            for at in range(10)
        ]

    assert {status for some in together(work) for status in some} == {201}
    assert Memory.objects.for_tenant(api.tenant).count() == 160


def test_patches_of_one_memory_lose_none(api: Api, together: Together) -> None:
    api.store("1")

    def work(number: int) -> list[int]:
        return [api.patch("/memories/1", {"metadata": {f"{number}.{at}": True}}).status_code for at in range(5)]

    assert {status for some in together(work) for status in some} == {200}
    memory = api.get("/memories/1").json()["memory"]
    assert memory["version"] == 1 + 16 * 5
    assert len(memory["metadata"]) == 16 * 5


def test_exactly_one_of_many_concurrent_writers_creates_a_link(api: Api, together: Together) -> None:
    for round_ in range(5):
        body = {"from_coord": [round_], "to_coord": [7]}

        def link(_: int, body: dict[str, Any] = body) -> bool:
            created: bool = api.post("/graph/link", body).json()["created"]
            return created

        assert Counter(together(link)) == {True: 1, False: 15}
    assert Link.objects.for_tenant(api.tenant).count() == 5


def test_batches_of_the_same_links_in_any_order_all_succeed(api: Api, together: Together) -> None:
    links = [{"from_coord": [n], "to_coord": [n + 1]} for n in range(50)]

    def work(number: int) -> set[int]:
        mixed = random.Random(number).sample(links, len(links))
        return {api.post("/graph/links/bulk", {"links": mixed, "atomic": True}).status_code for _ in range(3)}

    assert together(work) == [{200}] * THREADS
    assert Link.objects.for_tenant(api.tenant).count() == 50


def test_exactly_one_of_many_concurrent_writers_creates_an_address(api: Api, together: Together) -> None:
    for round_ in range(5):
        body = {"coord": [round_], "payload": {"text": "mine"}}

        def create(_: int, body: dict[str, Any] = body) -> int:
            status: int = api.post("/memories", body, if_none_match="*").status_code
            return status

        assert Counter(together(create)) == {201: 1, 412: 15}


def test_exactly_one_of_many_concurrent_writers_replaces_a_version(api: Api, together: Together) -> None:
    api.store("1")
    statuses = together(lambda n: api.patch("/memories/1", {"importance": n / 4}, if_match='"1"').status_code)
    assert Counter(statuses) == {200: 1, 412: 15}


def test_a_counter_kept_with_if_match_counts_right(api: Api, together: Together) -> None:
    api.post("/memories", {"coord": "1", "payload": {"count": 0}})

    def increment(_: int) -> int:
        for tries in range(1, 1000):
            response = api.get("/memories/1")
            count = response.json()["memory"]["payload"]["count"]
            changed = api.patch("/memories/1", {"payload": {"count": count + 1}}, if_match=response["ETag"])
            assert changed.status_code in (200, 412), changed.content
            if changed.status_code == 200:
                return tries
        raise AssertionError("never succeeded")

    together(increment)
    assert api.get("/memories/1").json()["memory"]["payload"] == {"count": THREADS}


def test_batches_over_the_same_addresses_in_any_order_do_not_deadlock(api: Api, together: Together) -> None:
    """Drains run at the same time."""
    stop = threading.Event()

    def keep_draining() -> None:
        try:
            while not stop.is_set():
                sync.drain(limit=30)
                stop.wait(0.01)
        finally:
            connection.close()

    def work(number: int) -> set[int]:
        dice = random.Random(number)
        statuses = set()
        for _ in range(4):
            coords = dice.sample(range(60), 40)
            items = [
                {"coord": [at], "payload": {"text": f"{number} {at}"}, "namespace": dice.choice(["a", "b"])}
                for at in coords
            ]
            statuses.add(api.post("/memories/bulk", {"items": items, "atomic": dice.random() < 0.5}).status_code)
            gone = {"coords": [[at] for at in dice.sample(coords, 10)], "namespace": dice.choice(["a", "b"])}
            statuses.add(api.post("/memories/bulk/delete", gone).status_code)
            purged = f"/memories/{dice.choice(coords)}?purge=true&namespace={dice.choice(['a', 'b'])}"
            statuses.add(api.delete(purged).status_code)
        return statuses

    drains = [threading.Thread(target=keep_draining) for _ in range(2)]
    for thread in drains:
        thread.start()
    try:
        assert set().union(*together(work)) == {200}
    finally:
        stop.set()
        for thread in drains:
            thread.join(60)
    drain()
    live = Memory.objects.for_tenant(api.tenant).filter(deleted_at=None)
    held = dict(index.of(generations.active()).scan(api.tenant.id))
    assert held == dict(live.values_list("id", "version"))


def test_readers_are_served_while_writers_write(api: Api, together: Together) -> None:
    api.store("0", "a steady memory")

    def work(number: int) -> set[int]:
        if number % 2:
            return {api.post("/memories", {"coord": [number], "payload": {"n": at}}).status_code for at in range(10)}
        return {api.get(path).status_code for at in range(5) for path in ("/memories/0", "/memories", "/stats")}

    assert set().union(*together(work)) <= {200, 201}


def test_no_writer_is_refused_under_load(api: Api, together: Together) -> None:
    """Without a writer queue, SQLite makes some writers wait until they time out."""

    def work(number: int) -> set[int]:
        items = ({"coord": [number, at % 20], "payload": {"text": f"{number} {at}"}} for at in range(40))
        return {api.post("/memories", item).status_code for item in items}

    assert set().union(*together(work)) <= {200, 201}


def test_purges_of_linked_memories_succeed_while_links_are_created(api: Api, together: Together) -> None:
    def work(number: int) -> set[int]:
        chosen = random.Random(number)
        links = [{"from_coord": [chosen.randrange(8)], "to_coord": [chosen.randrange(8)]} for _ in range(20)]
        answers = set()
        for _ in range(3):
            at = chosen.randrange(8)
            answers |= {
                api.post("/graph/links/bulk", {"links": links, "atomic": True}).status_code,
                api.post("/memories", {"coord": [at], "payload": {"text": "x"}}).status_code,
                api.delete(f"/memories/{at}?purge=true").status_code,
            }
        return answers

    assert {status for some in together(work) for status in some} <= {200, 201}
