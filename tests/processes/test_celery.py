"""A real web server, Celery worker and beat with PostgreSQL and two Redis servers, during outages of each."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest
from pytest_django import Settings

from memories import embeddings, index
from memories.models import EmbeddingGeneration
from testing.otlp_collector import Collector
from testing.processes import Installation, broker_of_the_leg, installation, wait_for
from testing.server import free_port

pytestmark = [pytest.mark.server, pytest.mark.postgresql, pytest.mark.long]

# The maximum delay of a write if the broker is down.
DUE = "SELECT count(*) FROM sfm_vector_embeddings WHERE due_at IS NOT NULL"
LEASED = "SELECT count(*) FROM sfm_vector_embeddings WHERE lease IS NOT NULL"
BEHIND = "SELECT count(*) FROM sfm_vector_embeddings WHERE indexed_version IS DISTINCT FROM wanted_version"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Installation]:
    """An installation with all processes running."""
    more = {"SOMA_WORKER_METRICS_PORT": str(free_port()), "SOMA_TRACING_ENDPOINT": collector.url}
    with installation(tmp_path_factory.mktemp("place"), broker_of_the_leg(), **more) as made:
        made.start("web", "worker", "beat")
        yield made


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("fragile"), SOMA_INDEX_LEASE_S="3") as made:
        yield made


@pytest.fixture
def alone(fragile: Installation) -> Iterator[Installation]:
    """An installation to break, with its own Redis servers. Only the web server is running."""
    for server in (fragile.cache, fragile.broker):
        server.kill()
        server.start()  # empty
    if "web" not in fragile.processes:
        fragile.start("web")
    yield fragile
    for service in {"worker", "beat"} & set(fragile.processes):
        fragile.kill(service)


def test_a_worker_serves_the_metrics_of_its_processes(place: Installation) -> None:
    place.store("7", "counted")
    place.settle()

    with urlopen(f"http://127.0.0.1:{place.more['SOMA_WORKER_METRICS_PORT']}/metrics", timeout=60) as answer:
        exposition = answer.read().decode()

    settled = re.search(r'^soma_index_rows_total\{outcome="settled"\} ([0-9.]+)$', exposition, re.MULTILINE)
    assert settled is not None
    assert float(settled[1]) >= 1


def test_a_trace_leads_from_the_request_through_the_worker_to_the_index(
    place: Installation, collector: Collector
) -> None:
    wanted = {"send memories.drain", "memories.drain", "index: store vectors"}

    def traced() -> bool:
        place.store(
            "6", "to be traced"
        )  # once more, because the beat may run before the message and leave no work for it
        return wanted <= collector.of_the_trace("POST api/v1/memories")

    wait_for(traced, pause_s=1)


def by_meaning(place: Installation, query: str, kind: str) -> list[str]:
    """Find a memory by meaning: the query shares no words with it.

    The filter makes the search compare stored vectors.
    """
    wanted = {"query": query, "mode": "semantic", "filters": {"kind": kind}}
    status, answer = place.call("POST", "/memories/search", wanted)
    assert status == 200, answer
    return [found["coord"] for found in answer["memories"]]


def store_many(place: Installation, count: int) -> None:
    items = [{"coord": [9, n], "payload": {"text": f"memory number {n} of many"}} for n in range(count)]
    for start in range(0, count, 1000):
        assert place.call("POST", "/memories/bulk", {"items": items[start : start + 1000]})[0] == 200


def store_some(place: Installation, first: int, count: int = 30) -> None:
    for number in range(first, first + count):
        place.store(f"8,{number}", "written while the broker may be gone")


def test_a_stored_memory_is_indexed_by_the_worker_and_found_by_meaning(place: Installation) -> None:
    place.store("1", "The cat sleeps on the warm sofa", kind="animals")
    place.store("2", "Interest rates were raised by the central bank", kind="animals")

    wait_for(lambda: place.index_state("2") == "ready")

    assert by_meaning(place, "kitten napping", "animals")[0] == "1.0"
    assert by_meaning(place, "monetary policy", "animals")[0] == "2.0"


def test_words_are_found_before_the_worker_has_indexed_them(place: Installation) -> None:
    place.store("3", "An aardvark digs", kind="digger")
    wanted = {"query": "aardvark", "filters": {"kind": "digger"}}  # without memories from other tests
    status, answer = place.call("POST", "/memories/search", wanted)
    assert status == 200
    assert answer["degraded"] == []  # the web server shares the worker's index
    assert [found["coord"] for found in answer["memories"]] == ["3.0"]


def test_a_change_and_a_deletion_reach_the_index_too(place: Installation) -> None:
    place.store("4", "first")
    place.store("4", "second")
    place.store("5", "gone soon")
    place.call("DELETE", "/memories/5")

    place.settle()

    assert place.rows(BEHIND + " AND memory_id IN (SELECT id FROM sfm_memories WHERE deleted_at IS NULL)") == [(0,)]
    gone = "SELECT indexed_version FROM sfm_vector_embeddings e JOIN sfm_memories m ON m.id = e.memory_id"
    assert place.rows(gone + " WHERE m.deleted_at IS NOT NULL") == [(None,)]


def test_reads_are_counted_and_written_back_without_another_version(place: Installation) -> None:
    place.store("6", "often read")
    before = place.get("/memories/6")["memory"]
    for _ in range(9):
        place.get("/memories/6")

    wait_for(lambda: place.get("/memories/6")["memory"]["access_count"] >= 10)

    after = place.get("/memories/6")["memory"]
    assert after["last_accessed_at"] > before["created_at"]
    for name in ("version", "updated_at", "payload"):
        assert after[name] == before[name]


def test_a_task_delivered_many_times_does_no_harm(place: Installation) -> None:
    place.store("7", "delivered again and again")
    place.settle()
    rows = place.rows("SELECT * FROM sfm_vector_embeddings ORDER BY id")

    send = (
        "from somamemory.celery import send\n"
        "for _ in range(20):\n"
        "    send('memories.drain', 60); send('memories.purge', 60); send('memories.write_back_accesses', 60)\n"
    )
    place.run([*place.command("migrate")[:1], "-c", f"import django; django.setup()\n{send}"], "web")
    place.store("7,1", "comes after all of them")
    wait_for(lambda: place.index_state("7,1") == "ready")

    assert place.rows("SELECT * FROM sfm_vector_embeddings ORDER BY id")[: len(rows)] == rows


def is_ready_or_stored(place: Installation, coord: str) -> bool:
    """Return whether a memory is indexed. If not, store it: a message expires while the worker starts."""
    if place.call("GET", f"/memories/{coord}")[0] == 200 and place.index_state(coord) == "ready":
        return True
    place.store(coord, "wakes the worker")
    return False


def test_a_commit_nudges_the_worker_without_any_beat(alone: Installation) -> None:
    alone.start("worker")
    wait_for(lambda: is_ready_or_stored(alone, "1"), pause_s=1)

    alone.store("2", "no beat is running")
    wait_for(lambda: alone.index_state("2") == "ready")


def test_lost_nudges_cost_a_beat(alone: Installation) -> None:
    alone.stop("web")
    alone.more["SOMA_INDEXER"] = "none"  # this web server notifies no one
    try:
        alone.start("web", "worker", "beat")
        alone.store("3", "no process was notified")
        wait_for(lambda: alone.index_state("3") == "ready")
    finally:
        del alone.more["SOMA_INDEXER"]
        alone.stop("web")


def test_the_work_of_a_killed_worker_is_done_after_its_leases_expire(alone: Installation, settings: Settings) -> None:
    store_many(alone, 3000)
    alone.start("worker", "beat")
    wait_for(lambda: halted_over_leases(alone), pause_s=0.005)
    alone.kill("worker")

    alone.start("worker")

    wait_for(lambda: alone.rows(DUE) == [(0,)], 60)
    assert alone.rows(BEHIND) == [(0,)]
    assert alone.rows(LEASED) == [(0,)]
    alone.stop("worker")
    assert found_in_the_index(alone, settings, "memory number 77 of many", 3000) == 3000


def halted_over_leases(place: Installation) -> bool:
    """Halt the worker. If it holds no lease at this point, resume it."""
    worker = place.processes["worker"]
    worker.send(signal.SIGSTOP)
    halted = place.rows(LEASED) != [(0,)] and place.rows(DUE) != [(0,)]
    if not halted:
        worker.send(signal.SIGCONT)
    return halted


def found_in_the_index(place: Installation, settings: Settings, query: str, limit: int) -> int:
    """Return how many different memories are in the index that the worker left behind."""
    settings.VECTOR_FOLDER = place.folder / "data" / "vectors"
    collection, tenant = place.rows(
        "SELECT g.collection, t.id FROM sfm_embedding_generations g, sfm_tenants t WHERE t.slug = 'default'"
    )[0]
    generation = EmbeddingGeneration(collection=collection, dimension=256)
    try:
        return len({hit.id for hit in everything(generation, tenant, query, limit)})
    finally:
        index.close_all()


def everything(generation: EmbeddingGeneration, tenant: Any, query: str, limit: int) -> Any:
    from memories.index.base import Where

    vector = embeddings.current().embed([query])[0]
    return index.of(generation).search(tenant, vector, Where(("default",)), limit)


def test_writes_need_no_broker_and_the_beat_catches_up(alone: Installation) -> None:
    alone.start("worker", "beat")
    store_some(alone, 0)
    alone.settle()
    alone.broker.kill()

    store_some(alone, 100)

    alone.broker.start()
    alone.settle(180)
    assert alone.rows(BEHIND) == [(0,)]


def test_without_any_worker_everything_is_stored_and_found_by_its_words(alone: Installation) -> None:
    alone.store("4", "An aardvark digs")

    assert alone.index_state("4") == "pending"
    status, answer = alone.call("POST", "/memories/search", {"query": "aardvark", "mode": "keyword"})
    assert status == 200
    assert [found["coord"] for found in answer["memories"]] == ["4.0"]


def test_writes_need_no_cache_and_it_is_used_again_when_it_is_back(alone: Installation) -> None:
    def cache_is(state: str) -> bool:
        return bool(alone.get("/health")["checks"]["cache"]["status"] == state)

    store_some(alone, 0)
    wait_for(lambda: cache_is("healthy"))
    alone.cache.kill()

    store_some(alone, 100)
    wait_for(lambda: cache_is("unhealthy"))

    alone.cache.start()
    wait_for(lambda: cache_is("healthy"))
