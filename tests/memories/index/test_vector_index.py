"""The contract that every engine fulfils.

The local engine is always tested. pgvector is tested if the settings select it, and a Milvus server if
SOMA_TEST_MILVUS_URI is set.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID, uuid4

import numpy as np
import pytest
from django.db import connection

from memories import index as indexes
from memories.index.base import ComparesPoints, Hit, Point, UnusableVector, VectorIndex, Where, halves, usable
from memories.index.local.index import LocalIndex
from memories.index.milvus.client import Connection
from memories.index.milvus.index import MilvusIndex
from memories.index.pgvector.index import PgvectorIndex
from memories.models import EmbeddingGeneration
from somamemory.errors import ConfigurationError, DimensionMismatch, InvalidInput

DIMENSION = 32
ANNA, BERT, CARL = (UUID(int=n) for n in (1, 2, 3))
SERVER = os.environ.get("SOMA_TEST_MILVUS_URI", "")
ENGINES = ["local", pytest.param("pgvector", marks=pytest.mark.pgvector), *(["milvus"] if SERVER else [])]

Make = Callable[..., VectorIndex]


@pytest.fixture(params=ENGINES)
def make(request, tmp_path) -> Iterator[Make]:
    """Create indexes with one engine. By default, they share a collection."""
    name = f"test_{uuid4().hex[:12]}"
    made: list[VectorIndex] = []
    if request.param == "pgvector":
        request.getfixturevalue("outside_transactions")

    def build(collection: str = name, dimension: int = DIMENSION) -> VectorIndex:
        if request.param == "milvus":
            connection = Connection(SERVER, search_timeout_s=10)
            made.append(MilvusIndex(connection, collection, dimension, consistency="Strong"))
        elif request.param == "pgvector":
            made.append(PgvectorIndex(collection, dimension))
        else:
            made.append(LocalIndex(tmp_path / "vectors", collection, dimension))
        return made[-1]

    yield build
    for index in made:
        index.close()
    if request.param == "pgvector":
        for index in made:
            index.drop()
    if request.param == "milvus":
        _drop_collections(name)


def _drop_collections(prefix: str) -> None:
    from pymilvus import MilvusClient

    client = MilvusClient(SERVER, dedicated=True)
    for name in client.list_collections():
        if name.startswith(prefix):
            client.drop_collection(name)
    client.close()


@pytest.fixture
def index(make: Make) -> VectorIndex:
    return make()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def vector(*numbers: float):
    """Return a vector of the given numbers, followed by zeros."""
    return np.array([*numbers, *[0.0] * (DIMENSION - len(numbers))], dtype=np.float32)


def point(*numbers: float, id: UUID | None = None, version: int = 1, namespace: str = "default", kind: str = "note"):
    return Point(id or uuid4(), version, namespace, kind, vector(*numbers))


def points(count: int, rng: np.random.Generator, dimension: int = DIMENSION) -> list[Point]:
    vectors = rng.standard_normal((count, dimension)).astype(np.float32)
    return [Point(uuid4(), 1, "default", "note", row) for row in vectors]


def found(index: VectorIndex, tenant: UUID, *numbers: float, limit: int = 10, where: Where | None = None) -> list[UUID]:
    return [hit.id for hit in index.search(tenant, vector(*numbers), where or Where(("default",)), limit)]


# -- content ---------------------------------------------------------------------------------


def test_upserted_points_are_found_nearest_first_with_their_cosine(index):
    near, far, opposite = point(1, 0.1), point(1, 2), point(-1)
    index.upsert(ANNA, [far, opposite, near])
    hits = index.search(ANNA, vector(5), Where(("default",)), 10)
    assert [hit.id for hit in hits] == [near.id, far.id, opposite.id]
    assert [hit.similarity for hit in hits] == pytest.approx([1 / 1.01**0.5, 1 / 5**0.5, -1], abs=1e-5)


@pytest.fixture
def comparing(index) -> ComparesPoints:
    if not isinstance(index, ComparesPoints):
        pytest.skip("this engine does not compare given points")
    return index


def test_given_points_are_compared_as_in_a_search(index, comparing, rng):
    stored = points(300, rng)
    index.upsert(ANNA, stored)
    index.upsert(ANNA, [replace(stored[0], version=2, vector=stored[7].vector)])
    index.delete(ANNA, [stored[1].id])
    given = [point.id for point in stored[:40]] + [uuid4()]
    query = rng.standard_normal(DIMENSION).astype(np.float32)
    every = [hit for hit in index.search(ANNA, query, Where(("default",)), 300) if hit.id in given]
    assert len(every) == 39
    assert comparing.nearest_of(ANNA, given, query, 300) == every
    assert comparing.nearest_of(ANNA, given, query, 5) == every[:5]
    assert comparing.nearest_of(ANNA, halves(given), query, 300) == every


def test_given_points_of_another_tenant_are_not_compared(index, comparing):
    mine = point(1)
    index.upsert(ANNA, [mine])
    index.upsert(BERT, [point(1)])
    assert comparing.nearest_of(BERT, [mine.id], vector(1), 10) == []
    assert comparing.nearest_of(uuid4(), [mine.id], vector(1), 10) == []


def test_points_with_the_same_half_of_an_id_are_distinguished(index, comparing, monkeypatch):
    monkeypatch.setattr("memories.index.local.row_finder.SORT_AFTER_ROWS", 0)
    one, other = UUID(int=(1 << 64) + 5), UUID(int=(2 << 64) + 5)
    index.upsert(ANNA, [point(1, id=one), point(0, 1, id=other)])
    assert comparing.nearest_of(ANNA, [other], vector(1), 10) == [Hit(other.hex, 0.0)]
    assert comparing.nearest_of(ANNA, [one], vector(1), 10) == [Hit(one.hex, 1.0)]


def test_an_empty_index_finds_nothing(index):
    assert found(index, ANNA, 1) == []
    assert list(index.scan(ANNA)) == []


def test_a_second_upsert_replaces_the_first(index):
    id_ = uuid4()
    index.upsert(ANNA, [point(1, id=id_), point(0, 1)])
    index.upsert(ANNA, [point(-1, id=id_, version=2, namespace="other")])
    assert id_ not in found(index, ANNA, 1)
    assert found(index, ANNA, 1, where=Where(("other",))) == [id_]
    assert (id_, 2) in list(index.scan(ANNA))
    assert len(list(index.scan(ANNA))) == 2


def test_the_last_of_duplicate_ids_in_one_call_wins(index):
    id_ = uuid4()
    index.upsert(ANNA, [point(1, id=id_, version=1), point(-1, id=id_, version=2)])
    assert index.search(ANNA, vector(-1), Where(("default",)), 5) == [Hit(id_.hex, 1.0)]
    assert list(index.scan(ANNA)) == [(id_, 2)]


def test_a_higher_version_is_not_replaced(index):
    if index.remote:
        pytest.skip("only the drain writes to it, one version after the other")
    id_ = uuid4()
    index.upsert(ANNA, [point(1, id=id_, version=3)])
    index.upsert(ANNA, [point(-1, id=id_, version=2)])
    assert list(index.scan(ANNA)) == [(id_, 3)]
    index.upsert(ANNA, [point(0, 1, id=id_, version=3)])
    assert index.search(ANNA, vector(0, 1), Where(("default",)), 5) == [Hit(id_.hex, 1.0)]


def test_delete_removes(index):
    gone, kept = point(1), point(1, 1)
    index.upsert(ANNA, [gone, kept])
    index.delete(ANNA, [gone.id])
    assert found(index, ANNA, 1) == [kept.id]


def test_points_are_deleted_up_to_a_version(index):
    if index.remote:
        pytest.skip("a remote engine ignores the version")
    old, new = point(1, version=2), point(1, 1, version=3)
    index.upsert(ANNA, [old, new])
    index.delete(ANNA, [old.id, new.id], [2, 2])
    assert list(index.scan(ANNA)) == [(new.id, 3)]


def test_deleting_an_unknown_id_is_not_an_error(index):
    index.delete(ANNA, [uuid4()])
    index.delete(ANNA, [])
    index.upsert(ANNA, [])


def test_deletes_and_upserts_of_one_id_converge_to_the_last_call(index):
    id_ = uuid4()
    for version in range(1, 6):
        index.upsert(ANNA, [point(1, id=id_, version=version)])
        index.delete(ANNA, [id_])
    assert list(index.scan(ANNA)) == []
    index.upsert(ANNA, [point(1, id=id_, version=6)])
    assert found(index, ANNA, 1) == [id_]
    assert list(index.scan(ANNA)) == [(id_, 6)]


def test_scan_gives_every_id_with_its_version(index, rng):
    all_points = [Point(p.id, n, "default", "note", p.vector) for n, p in enumerate(points(300, rng))]
    index.upsert(ANNA, all_points)
    assert sorted(index.scan(ANNA)) == sorted((p.id, p.version) for p in all_points)


# -- separation of tenants ---------------------------------------------------------------------------------------


def test_tenants_with_the_same_vectors_never_see_each_other(index):
    own = {tenant: [point(1), point(1, 1)] for tenant in (ANNA, BERT, CARL)}
    for tenant, mine in own.items():
        index.upsert(tenant, mine)
    for tenant, mine in own.items():
        assert found(index, tenant, 1) == [p.id for p in mine]
        assert {id_ for id_, _ in index.scan(tenant)} == {p.id for p in mine}
    assert found(index, uuid4(), 1) == []


def test_no_tenant_deletes_what_is_anothers(index):
    hers = point(1)
    index.upsert(ANNA, [hers])
    for stranger in [UUID(int=n) for n in range(2, 140)]:  # some of them share a partition or a lock
        index.delete(stranger, [hers.id])
    assert found(index, ANNA, 1) == [hers.id]


def test_dropping_a_tenant_leaves_the_others(index, rng):
    index.upsert(ANNA, points(50, rng))
    index.upsert(BERT, points(50, rng))
    index.drop_tenant(ANNA)
    index.drop_tenant(CARL)
    assert list(index.scan(ANNA)) == []
    assert found(index, ANNA, 1) == []
    assert len(list(index.scan(BERT))) == 50
    back = point(1)
    index.upsert(ANNA, [back])
    assert found(index, ANNA, 1) == [back.id]


# -- filters -----------------------------------------------------------------------------------------------------


def test_namespaces_and_memory_type_filter(index):
    a = point(1, namespace="a", kind="note")
    b = point(1, 0.1, namespace="b", kind="message")
    c = point(1, 0.2, namespace="c", kind="note")
    index.upsert(ANNA, [a, b, c])
    assert found(index, ANNA, 1, where=Where(("a",))) == [a.id]
    assert found(index, ANNA, 1, where=Where(("a", "b"))) == [a.id, b.id]
    assert found(index, ANNA, 1, where=Where(("a", "b", "c"), "note")) == [a.id, c.id]
    assert found(index, ANNA, 1, where=Where(("a",), "message")) == []
    assert found(index, ANNA, 1, where=Where(("d",))) == []


def test_no_namespace_is_refused_and_never_means_every_namespace():
    with pytest.raises(InvalidInput):
        Where(())


HOSTILE = [
    "plain",
    'quote"quote',
    "it's",
    "back\\slash",
    "trailing\\",
    '\\"',
    '" or 1 == 1 or namespace == "',
    '"] or tenant != "',
    "%",
    "_",
    "new\nline\ttab",
    "\x00\x07\x7f",
    "ünïcödé",
    "日本語",
    "👩‍👩‍👧",
    "e\u0301",
    "\u00e9",
    "\u202eright-to-left",
    "{x}",
    "\\u0041",
    "A",
    "x" * 255,
    "🙂" * 255,
    " ",
]


def test_hostile_namespaces_match_exactly_and_never_escape(index):
    by_name = {name: point(1, namespace=name) for name in HOSTILE}
    index.upsert(ANNA, list(by_name.values()))
    index.upsert(BERT, [point(1, namespace=name) for name in HOSTILE])
    for name, own in by_name.items():
        assert found(index, ANNA, 1, where=Where((name,)), limit=100) == [own.id], repr(name)
    assert len(found(index, ANNA, 1, where=Where(tuple(HOSTILE)), limit=100)) == len(HOSTILE)


def test_a_hostile_memory_type_matches_nothing(index):
    index.upsert(ANNA, [point(1)])
    assert found(index, ANNA, 1, where=Where(("default",), 'note" or memory_type != "')) == []


# -- limits, ties, vectors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 7, 60])
def test_the_limit_is_honoured(index, rng, limit):
    index.upsert(ANNA, points(50, rng))
    assert len(found(index, ANNA, 1, limit=limit)) == min(limit, 50)


def test_the_greatest_limit_is_granted_and_a_greater_one_refused(index, rng):
    index.upsert(ANNA, points(50, rng))
    assert len(found(index, ANNA, 1, limit=16_384)) == 50
    for limit in (0, -1, 16_385):
        with pytest.raises(InvalidInput):
            found(index, ANNA, 1, limit=limit)


def test_ties_keep_one_order(index):
    same = [point(1, 1) for _ in range(30)]
    index.upsert(ANNA, same[:20])
    index.upsert(ANNA, same[20:])
    expected = sorted((p.id for p in same), key=lambda id_: id_.hex)
    assert all(found(index, ANNA, 1, limit=30) == expected for _ in range(3))


def test_a_vector_of_another_length_is_refused_before_anything_is_written(index):
    odd = Point(uuid4(), 1, "default", "note", np.ones(DIMENSION + 1, dtype=np.float32))
    with pytest.raises(DimensionMismatch):
        index.upsert(ANNA, [point(1), odd])
    with pytest.raises(DimensionMismatch):
        index.search(ANNA, np.ones(3, dtype=np.float32), Where(("default",)), 1)
    assert list(index.scan(ANNA)) == []


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf, -np.inf])
def test_a_vector_without_direction_is_refused(index, bad):
    assert not usable(vector(bad))
    with pytest.raises(UnusableVector):
        index.upsert(ANNA, [point(1), point(bad)])
    with pytest.raises(UnusableVector):
        found(index, ANNA, bad)
    assert list(index.scan(ANNA)) == []


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1e30, 3e38])
def test_very_short_and_very_long_vectors_compare_like_others(index, scale):
    index.upsert(ANNA, [point(scale, scale)])
    (hit,) = index.search(ANNA, vector(scale), Where(("default",)), 1)
    assert hit.similarity == pytest.approx(0.5**0.5, abs=1e-4)


def test_recall_against_exact_cosine_for_three_tenants(make, rng):
    index = make(dimension=64)
    tenants = {tenant: points(2000, rng, 64) for tenant in (ANNA, BERT, CARL)}
    for tenant, own in tenants.items():
        index.upsert(tenant, own)
    assert min(_recall(index, tenant, own, rng) for tenant, own in tenants.items()) >= 0.95


def _recall(index: VectorIndex, tenant: UUID, own: list[Point], rng: np.random.Generator) -> float:
    matrix = np.array([p.vector for p in own])
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    right = 0
    for query in rng.standard_normal((20, matrix.shape[1])).astype(np.float32):
        exact = matrix @ (query / np.linalg.norm(query))
        best = {own[i].id: exact[i] for i in np.argsort(-exact)[:10]}
        hits = index.search(tenant, query, Where(("default",)), 10)
        right += len(best.keys() & {hit.id for hit in hits})
        assert all(hit.similarity == pytest.approx(best[hit.id], abs=1e-4) for hit in hits if hit.id in best)
    return right / 200


# -- processes and threads ---------------------------------------------------------------------------------------


def test_reopening_finds_everything(make, rng):
    index, all_points = make(), points(700, rng)
    index.upsert(ANNA, all_points)
    index.delete(ANNA, [p.id for p in all_points[:100]])
    index.close()
    again = make()
    assert sorted(again.scan(ANNA)) == sorted((p.id, 1) for p in all_points[100:])
    index.close()  # closing twice is allowed
    assert len(found(index, ANNA, 1)) == 10  # and a closed index opens itself again


def test_two_indexes_of_one_process_share_the_engine(make):
    one, other = make(), make(f"test_{uuid4().hex[:12]}_b", 8)
    one.upsert(ANNA, [point(1)])
    other.upsert(ANNA, [Point(uuid4(), 1, "default", "note", np.ones(8, dtype=np.float32))])
    other.close()
    assert len(found(one, ANNA, 1)) == 1


def test_another_dimension_than_the_collection_has_is_refused_in_one_clear_line(make):
    make().upsert(ANNA, [point(1)])
    with pytest.raises(
        ConfigurationError, match=rf"contains {DIMENSION}-dimensional vectors.* creates {DIMENSION + 1}"
    ):
        make(dimension=DIMENSION + 1).ping()


def test_threads_may_search_upsert_and_delete_at_once(index, rng):
    """With sixteen threads, each thread finds its own upserts, and untouched rows are always found."""
    steady = points(200, rng)
    index.upsert(ANNA, steady)
    stop = time.monotonic() + 4

    def work(number: int) -> int:
        try:
            return rounds_of(number)
        finally:
            connection.close()  # of this thread, for the index in PostgreSQL

    def rounds_of(number: int) -> int:
        rounds = 0
        mine = [point(0, 1, number) for _ in range(20)]
        while time.monotonic() < stop:
            rounds += 1
            if number % 2:
                hits = index.search(ANNA, steady[rounds % 200].vector, Where(("default",)), 5)
                assert hits[0].id == steady[rounds % 200].id
                continue
            index.upsert(BERT, mine)
            assert set(found(index, BERT, 0, 1, number, limit=1000)) >= {p.id for p in mine}
            index.delete(BERT, [p.id for p in mine])
            assert not set(found(index, BERT, 0, 1, number, limit=1000)) & {p.id for p in mine}
        return rounds

    with ThreadPoolExecutor(16) as pool:
        assert all(rounds > 0 for rounds in pool.map(work, range(16)))
    assert list(index.scan(BERT)) == []
    assert len(list(index.scan(ANNA))) == 200


# -- starting --------------------------------------------------------------------------------------------------


class _Slow:
    """An engine that accepts connections but does not respond yet."""

    def __init__(self, error: Exception | None = None) -> None:
        self.answer = threading.Event()
        self.error = error
        self.answered = False

    def ping(self) -> None:
        if self.error:
            raise self.error
        self.answer.wait(60)
        self.answered = True


def test_a_start_does_not_wait_for_a_milvus_that_recovers(monkeypatch, settings):
    settings.MILVUS_SEARCH_TIMEOUT_S = 0.2
    slow = _Slow()
    monkeypatch.setattr(indexes, "of", lambda generation: slow)

    indexes.try_out(EmbeddingGeneration())

    assert not slow.answered
    slow.answer.set()


def test_a_start_reports_why_the_index_is_unusable(monkeypatch):
    monkeypatch.setattr(indexes, "of", lambda generation: _Slow(ConfigurationError("another dimension")))
    with pytest.raises(ConfigurationError, match="another dimension"):
        indexes.try_out(EmbeddingGeneration())
