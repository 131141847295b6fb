"""The vector index in PostgreSQL: its table, its approximate indexes, and its requirements."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from uuid import UUID, uuid4

import numpy as np
import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, connections

from memories import embeddings
from memories.embeddings.wordllama import WordLlamaEmbedder
from memories.index.base import Point, Vector, Where
from memories.index.pgvector import nearest, table, upkeep
from memories.index.pgvector.index import PgvectorIndex
from memories.models import EmbeddingGeneration
from memories.search import semantic
from somamemory.db import databases, tenant_scope, vector_tables
from somamemory.errors import ConfigurationError, IndexUnavailable
from tenants import row_level_security
from tests.conftest import Api, drain

pytestmark = pytest.mark.pgvector

DIMENSION = 32
ANNA, BERT = UUID(int=1), UUID(int=2)
T = TypeVar("T")


@pytest.fixture
def index(outside_transactions: None) -> Iterator[PgvectorIndex]:
    made = PgvectorIndex(f"test_{uuid4().hex[:12]}", DIMENSION)
    yield made
    made.drop()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat a few hundred rows as a large namespace."""
    monkeypatch.setattr(upkeep, "MIN_ROWS", 200)


def points(count: int, namespace: str = "default", kind: str = "note", seed: int = 7) -> list[Point]:
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
    return [Point(uuid4(), 1, namespace, kind, row) for row in vectors]


def exact(points: list[Point], query: Vector, limit: int) -> list[UUID]:
    matrix = np.array([point.vector / np.linalg.norm(point.vector) for point in points])
    return [points[i].id for i in np.argsort(-(matrix @ query))[:limit]]


def maintain(index: PgvectorIndex) -> set[str]:
    """Maintain the indexes, and return the suffixes of their names."""
    index.maintain()
    return {name[-20:] for name in nearest.indexes(connection, index._table)}


def found(index: PgvectorIndex, query: Vector, where: Where, limit: int = 10) -> list[UUID]:
    return [hit.id for hit in index.search(ANNA, query, where, limit)]


# --- approximate indexes -------------------------------------------------------------------------------------------


def test_only_large_namespaces_get_an_approximate_index(index: PgvectorIndex, small: None) -> None:
    index.upsert(ANNA, points(300, "a") + points(150, "b"))
    index.upsert(BERT, points(200, "a"))
    assert maintain(index) == {nearest.suffix(ANNA, "a"), nearest.suffix(BERT, "a")}


def test_an_index_is_kept_until_its_namespace_has_half_of_the_rows(index: PgvectorIndex, small: None) -> None:
    index.upsert(ANNA, every := points(220))
    assert len(maintain(index)) == 1
    index.delete(ANNA, [point.id for point in every[:100]])
    assert len(maintain(index)) == 1
    index.delete(ANNA, [point.id for point in every[100:130]])
    assert maintain(index) == set()


def test_a_search_in_a_large_namespace_reads_its_index(index: PgvectorIndex, small: None) -> None:
    index.upsert(ANNA, every := points(2_000))
    maintain(index)
    found(index, every[0].vector, Where(("default",)))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT sum(idx_scan) FROM pg_stat_user_indexes WHERE relname = %s AND indexrelname LIKE %s",
            [index._table.name, f"%{nearest.suffix(ANNA, 'default')}"],
        )
        assert cursor.fetchone()[0] == 1


def test_a_filter_in_a_large_namespace_loses_nothing(index: PgvectorIndex, small: None) -> None:
    common, rare = points(2_000), points(12, kind="rare", seed=8)
    index.upsert(ANNA, common + rare)
    maintain(index)
    query = common[0].vector
    assert sorted(found(index, query, Where(("default",), "rare"), 12)) == sorted(point.id for point in rare)


def test_large_and_small_namespaces_are_searched_together(index: PgvectorIndex, small: None) -> None:
    large, little, other = points(400, "large"), points(30, "little", seed=8), points(30, "other", seed=9)
    index.upsert(ANNA, large + little + other)
    index.upsert(BERT, points(400, "large"))
    maintain(index)
    query = little[3].vector
    hits = found(index, query, Where(("large", "little")), 430)
    assert set(hits) == {point.id for point in large + little}
    assert hits[0] == little[3].id


def test_candidates_of_an_approximate_index_are_compared_exactly(index: PgvectorIndex, small: None) -> None:
    index.upsert(ANNA, every := points(400))
    maintain(index)
    query = every[5].vector / np.linalg.norm(every[5].vector)
    (hit, *_) = index.search(ANNA, query, Where(("default",)), 400)
    assert (hit.id, hit.similarity) == (every[5].id, 1.0)
    assert found(index, query, Where(("default",)), 400) == exact(every, query, 400)


def test_an_interrupted_build_is_repeated(index: PgvectorIndex, small: None) -> None:
    index.upsert(ANNA, points(200))
    name = f"{index._table.name}_{nearest.suffix(ANNA, 'default')}"
    with connection.cursor() as cursor, pytest.raises(IntegrityError):  # a simple way to leave one behind
        cursor.execute(
            f'CREATE UNIQUE INDEX CONCURRENTLY "{name}" ON "{index._table.name}" (namespace) WHERE version = 1'
        )
    assert nearest.indexes(connection, index._table, complete=False) == [name]
    assert len(maintain(index)) == 1
    assert nearest.indexes(connection, index._table, complete=False) == []


def test_nothing_is_built_through_a_pooler_which_may_switch_the_session(
    index: PgvectorIndex, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.upsert(ANNA, points(200))
    monkeypatch.setattr(databases, "is_pooled", lambda connection: True)
    with pytest.raises(ConfigurationError, match=r"manage\.py maintain_index"):
        index.maintain()


def test_the_command_maintains_the_index_of_the_active_generation(generation: EmbeddingGeneration) -> None:
    out = io.StringIO()
    call_command("maintain_index", stdout=out)
    assert out.getvalue() == "The indexes are up to date.\n"


def test_only_one_process_maintains_a_table(index: PgvectorIndex, small: None) -> None:
    index.upsert(ANNA, points(200))
    with ThreadPoolExecutor(1) as pool, upkeep._alone(connection, index._table) as alone:
        assert alone
        assert pool.submit(_in_thread, lambda: maintain(index)).result() == set()
    assert len(maintain(index)) == 1


def _in_thread(work: Callable[[], T]) -> T:
    try:
        return work()
    finally:
        connections.close_all()


# --- the table ------------------------------------------------------------------------------------------------------


def test_an_older_version_never_replaces_a_newer_one(index: PgvectorIndex) -> None:
    (point,) = points(1)
    index.upsert(ANNA, [Point(point.id, 3, "new", "note", point.vector)])
    index.upsert(ANNA, [Point(point.id, 2, "old", "note", point.vector)])
    assert list(index.scan(ANNA)) == [(point.id, 3)]
    assert found(index, point.vector, Where(("new",))) == [point.id]


def test_processes_may_create_the_table_at_the_same_time(index: PgvectorIndex) -> None:
    made = [PgvectorIndex(index._table.collection, DIMENSION) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: _in_thread(one.ping), made))
    assert index.collections().count(index._table.collection) == 1


@pytest.mark.parametrize("name", ["", "a" * 31, 'quo"te', "semi;colon", "ümlaut"])
def test_a_name_that_cannot_be_a_table_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="change SOMA_MILVUS_PREFIX"):
        PgvectorIndex(name, DIMENSION)


def test_vectors_of_three_thousand_dimensions_can_be_stored_and_found(outside_transactions: None) -> None:
    wide = PgvectorIndex(f"test_{uuid4().hex[:12]}", 3072)
    vector = np.ones(3072, dtype=np.float32)
    point = Point(uuid4(), 1, "default", "note", vector)
    wide.upsert(ANNA, [point])
    assert found(wide, vector, Where(("default",))) == [point.id]
    wide.drop()


def test_an_error_of_the_database_makes_the_index_unavailable(index: PgvectorIndex) -> None:
    index.upsert(ANNA, every := points(3))
    index.ping()
    with connection.cursor() as cursor:
        cursor.execute(f'ALTER TABLE "{index._table.name}" RENAME COLUMN vector TO other')
    with pytest.raises(IndexUnavailable, match="failed to search"):
        found(index, every[0].vector, Where(("default",)))
    with pytest.raises(IndexUnavailable, match="failed to write"):
        index.upsert(ANNA, every)


@pytest.mark.django_db(transaction=True)
def test_a_search_on_another_thread_replaces_a_connection_closed_by_the_server(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Remote(WordLlamaEmbedder):
        in_process = False  # so that searches use another thread

    def degraded() -> list[str]:
        found: list[str] = api.post("/memories/search", {"query": "a walrus"}).json()["degraded"]
        return found

    api.store("1", "a walrus in the sea")
    drain()
    monkeypatch.setattr(embeddings, "of", lambda generation: Remote())
    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(semantic, "_threads", pool)
        assert degraded() == []
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid, 30000)) FROM pg_stat_activity "  # waits for the end of each
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert cursor.fetchone()[0] > 0

        assert degraded() == []
        pool.submit(connections.close_all)


# --- the database -------------------------------------------------------------------------------------------------


def test_an_old_extension_is_refused_with_what_to_run(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_version", lambda connection: (0, 7))
    with pytest.raises(ConfigurationError, match=r"pgvector 0\.7 is too old.*ALTER EXTENSION vector UPDATE"):
        table.require_extension(connection)


@pytest.mark.row_level_security
def test_row_level_security_hides_the_vectors_of_other_tenants(walled: None) -> None:
    index = PgvectorIndex(f"test_{uuid4().hex[:12]}", DIMENSION)
    index.upsert(ANNA, points(3))
    index.upsert(BERT, points(2))
    assert row_level_security.is_installed()
    with tenant_scope._within(str(ANNA)), connection.cursor() as cursor:
        cursor.execute(f'SELECT count(*) FROM "{index._table.name}"')
        assert cursor.fetchone()[0] == 3
        assert len(found(index, points(1)[0].vector, Where(("default",)))) == 3
    with tenant_scope._within(tenant_scope.NO_TENANT), connection.cursor() as cursor:
        cursor.execute(f'SELECT count(*) FROM "{index._table.name}"')
        assert cursor.fetchone()[0] == 0


def test_a_table_of_vectors_is_known_by_its_name(index: PgvectorIndex) -> None:
    index.ping()
    assert f"{vector_tables.PREFIX}{index._table.collection}" in vector_tables.names(connection)
