"""Reads are counted without writing, and written back in batches that do not disturb other writers."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from memories import coordinates, read_counts
from memories.models import Memory, VectorEmbedding
from somamemory import caching
from testing.processes import RedisServer
from tests.conftest import Api, patient_caches_in

POSTGRESQL = connection.vendor == "postgresql"


@pytest.fixture(autouse=True)
def _nothing_counted(settings: Settings) -> Iterator[None]:
    settings.REDIS_URL = ""
    read_counts._take()
    yield
    read_counts._take()


@pytest.fixture
def counting_in_redis(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    settings.REDIS_URL = server.url
    settings.CACHES = patient_caches_in(server.url)
    monkeypatch.setattr(caching, "PAUSE_S", 0.0)
    monkeypatch.setattr(caching, "_breaker", caching.redis_breaker())
    yield server
    server.kill()


def row(api: Api, coord: str) -> Memory:
    key = coordinates.parse(coord).key
    return Memory.all_tenants.get(tenant=api.tenant, coordinate_key=key)


def counts(api: Api, *coords: str) -> list[int]:
    return [row(api, coord).access_count for coord in coords]


def test_fetches_and_hits_are_counted_and_shown_once_written_back(api: Api) -> None:
    api.store("1", "an aardvark")
    api.store("2", "a zebra")
    api.get("/memories/1")
    api.get("/memories/1")
    api.post("/memories/bulk/get", {"coords": ["1", "2", "3"]})
    assert [hit["coord"] for hit in api.search("aardvark", mode="keyword")] == ["1.0"]
    assert counts(api, "1", "2") == [0, 0]

    assert read_counts.write_back() == 2

    memory = api.get("/memories/1").json()["memory"]
    assert memory["access_count"] == 4
    assert memory["last_accessed_at"].endswith("Z")
    assert counts(api, "2") == [1]


def test_a_memory_that_was_not_found_is_not_counted(api: Api, stranger: Api) -> None:
    api.store("1")
    stranger.get("/memories/1")
    api.get("/memories/2")
    assert read_counts.write_back() == 0


def test_writing_back_leaves_everything_else_as_it_was(api: Api) -> None:
    api.store("1", "an aardvark")
    before = vars(row(api, "1"))
    due = list(VectorEmbedding.all_tenants.values())
    api.get("/memories/1")

    read_counts.write_back()

    after = vars(row(api, "1"))
    changed = {name for name in after if after[name] != before[name]}
    assert changed - {"_state"} == {"access_count", "last_accessed_at"}
    assert list(VectorEmbedding.all_tenants.values()) == due
    assert api.search("aardvark", mode="keyword")


def test_the_last_access_never_moves_back(api: Api) -> None:
    api.store("1")
    memory = row(api, "1")
    for moment in (2_000_000_000.5, 1_000_000_000.25):
        read_counts._add({memory.id: (1, moment)})
        read_counts.write_back()
    assert row(api, "1").last_accessed_at == datetime.fromtimestamp(2_000_000_000.5, UTC)
    assert counts(api, "1") == [2]


def test_a_replaced_memory_keeps_its_counts_and_a_new_one_starts_at_zero(api: Api) -> None:
    api.store("1")
    api.get("/memories/1")
    read_counts.write_back()
    api.store("1", "another text")
    assert counts(api, "1") == [1]

    api.delete("/memories/1")
    api.store("1", "a new memory")
    assert counts(api, "1") == [0]
    assert row(api, "1").last_accessed_at is None


def test_counts_of_purged_memories_are_forgotten(api: Api) -> None:
    api.store("1")
    api.get("/memories/1")
    api.delete("/memories/1?purge=true")
    assert read_counts.write_back() == 0
    assert read_counts._take() == {}


def test_more_memories_than_there_is_room_for_go_uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_counts, "MAX_MEMORIES", 3)
    read_counts.count([Memory(id=uuid.UUID(int=number)) for number in range(10)])
    read_counts.count([Memory(id=uuid.UUID(int=0))])
    assert {id.int: times for id, (times, _) in read_counts._take().items()} == {0: 2, 1: 1, 2: 1}


def test_counts_that_the_database_rejects_wait_for_the_next_write(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.store("1")
    api.store("2")
    api.get("/memories/1")
    api.get("/memories/2")

    def refuse(counts: read_counts.Counts) -> int:
        raise DatabaseError("down")

    monkeypatch.setattr(read_counts, "BATCH", 1)
    with monkeypatch.context() as broken:
        broken.setattr(read_counts, "_update", refuse)
        with pytest.raises(DatabaseError):
            read_counts.write_back()

    assert read_counts.write_back() == 2
    assert counts(api, "1", "2") == [1, 1]


def test_many_counts_are_written_in_a_few_statements(api: Api) -> None:
    items = [{"coord": [n], "payload": {"text": "x"}} for n in range(1000)]
    api.post("/memories/bulk", {"items": items})
    read_counts.count(Memory.all_tenants.all())
    with CaptureQueriesContext(connection) as captured:
        read_counts.write_back()
    assert len([query for query in captured if "SAVEPOINT" not in query["sql"]]) == 4  # lock and update, of 500 each
    assert set(Memory.all_tenants.values_list("access_count", flat=True)) == {1}


def test_the_counts_of_all_processes_add_up_in_redis(api: Api, counting_in_redis: RedisServer) -> None:
    api.store("1")
    for _ in range(3):  # three processes
        api.get("/memories/1")
        read_counts.flush()
        assert read_counts._take() == {}

    assert read_counts.write_back() == 1
    assert counts(api, "1") == [3]
    assert read_counts.write_back() == 0


def test_counts_stay_in_the_process_while_redis_is_down(api: Api, counting_in_redis: RedisServer) -> None:
    api.store("1")
    api.get("/memories/1")
    counting_in_redis.kill()
    read_counts.flush()
    api.get("/memories/1")
    read_counts.flush()
    assert counts(api, "1") == [0]

    counting_in_redis.start()
    read_counts.flush()
    read_counts.write_back()
    assert counts(api, "1") == [2]


def test_redis_holds_no_more_than_it_may(counting_in_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_counts, "MAX_MEMORIES", 2)
    for start in range(0, 20, 2):
        read_counts.count([Memory(id=uuid.UUID(int=start)), Memory(id=uuid.UUID(int=start + 1))])
        read_counts.flush()
    assert caching.with_redis(lambda redis: redis.hlen(read_counts._TIMES)) == 4


@pytest.mark.skipif(not POSTGRESQL, reason="heap-only updates are PostgreSQL's")
@pytest.mark.django_db(transaction=True)
def test_postgresql_touches_no_index_for_it(api: Api) -> None:
    items = [{"coord": [n], "payload": {"text": "x"}} for n in range(20)]
    api.post("/memories/bulk", {"items": items})
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE sfm_memories SET (fillfactor = 30)")
        cursor.execute("VACUUM FULL sfm_memories")
        before = heap_only_updates()
        read_counts.count(Memory.all_tenants.all())
        read_counts.write_back()
        after = heap_only_updates()
        cursor.execute("ALTER TABLE sfm_memories RESET (fillfactor)")
    assert after[0] - before[0] == 20
    assert after[1] - before[1] == 20


def heap_only_updates() -> tuple[int, int]:
    """Return the number of memory updates so far, and of those that changed no index."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'sfm_memories'")
        all_, heap_only = cursor.fetchone()
    return all_, heap_only


@pytest.mark.skipif(not POSTGRESQL, reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_rows_that_a_writer_holds_are_written_back_later(api: Api) -> None:
    api.store("1")
    api.store("2")
    api.get("/memories/1")
    api.get("/memories/2")
    done: list[int] = []

    def elsewhere() -> None:
        done.append(read_counts.write_back())
        connection.close()

    with transaction.atomic():
        Memory.all_tenants.select_for_update().get(id=row(api, "1").id)
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join(60)
        assert done == [1]
    assert counts(api, "1", "2") == [0, 1]
    assert read_counts.write_back() == 1
    assert counts(api, "1", "2") == [1, 1]
