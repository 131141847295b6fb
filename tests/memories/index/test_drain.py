"""The drain: the index catches up with the database despite failures and races."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from memories import embeddings, index
from memories.embeddings.base import Vectors
from memories.embeddings.wordllama import WordLlamaEmbedder
from memories.index import drain as sync
from memories.index import generations, reconcile
from memories.index.base import Point, VectorIndex
from memories.models import FAILED_ATTEMPTS, EmbeddingGeneration, Memory, VectorEmbedding
from somamemory.errors import ConfigurationError, EmbedderRefused, EmbedderUnavailable, IndexUnavailable
from tenants.models import Tenant
from tests.conftest import Api, drain

DIMENSION = 256


class Recorder:
    """The real embedder, but it records its texts, rejects some, and can be switched off."""

    provider, model, dimension = "wordllama", "l2_supercat", DIMENSION
    in_process = True

    def __init__(self) -> None:
        self._inner = WordLlamaEmbedder()
        self._lock = threading.Lock()
        self.texts: list[str] = []
        self.calls = 0
        self.refused: set[str] = set()
        self.down = False
        self.before: Callable[[], None] = lambda: None

    def embed(self, texts: Sequence[str]) -> Vectors:
        with self._lock:
            self.calls += 1
        hook, self.before = self.before, lambda: None
        hook()
        if self.down:
            raise EmbedderUnavailable("switched off")
        if self.refused.intersection(texts):
            raise EmbedderRefused("I do not like one of these")
        with self._lock:
            self.texts += texts
        return self._inner.embed(texts)


class Index:
    """The real index, but it can be switched off, and can run a function during a write."""

    def __init__(self, inner: VectorIndex) -> None:
        self._inner = inner
        self.down = False
        self.known_down = False
        self.after_upsert: Callable[[], None] = lambda: None

    def upsert(self, tenant: UUID, points: Sequence[Point]) -> None:
        self._check()
        self._inner.upsert(tenant, points)
        hook, self.after_upsert = self.after_upsert, lambda: None
        hook()

    def delete(self, tenant: UUID, ids: Sequence[UUID], versions: Sequence[int] | None = None) -> None:
        self._check()
        self._inner.delete(tenant, ids, versions)

    def available(self) -> bool:
        return not self.known_down

    def scan(self, tenant: UUID) -> Iterator[tuple[UUID, int]]:
        self._check()
        return self._inner.scan(tenant)

    def __getattr__(self, name: str) -> Any:
        self._check()
        return getattr(self._inner, name)

    def _check(self) -> None:
        if self.down:
            raise IndexUnavailable("switched off")


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(embeddings, "current", lambda: recorder)
    monkeypatch.setattr(embeddings, "of", lambda recipe: recorder)
    return recorder


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, generation: EmbeddingGeneration) -> Index:
    wrapped = Index(index.of(generation))
    monkeypatch.setattr(index, "of", lambda generation: wrapped)
    return wrapped


def held(tenant: Tenant) -> dict[str, int]:
    """Return the content of the index: id → version."""
    return {str(id): version for id, version in index.of(generations.active()).scan(tenant.id)}


def row_of(id: str) -> VectorEmbedding:
    return VectorEmbedding.all_tenants.get(memory_id=id)


def let_time_pass(**by: float) -> None:
    """Make all waiting rows this much older."""
    passed = timedelta(**by)
    for row in VectorEmbedding.all_tenants.exclude(due_at=None):
        row.due_at = row.due_at and row.due_at - passed
        row.lease_until = row.lease_until and row.lease_until - passed
        row.save()
    for memory in Memory.all_tenants.exclude(expires_at=None):
        memory.expires_at = memory.expires_at and memory.expires_at - passed
        memory.save()


def state_of(api: Api, coord: str) -> str:
    state: str = api.get(f"/memories/{coord}").json()["memory"]["index_state"]
    return state


def axis(number: int, dimension: int = DIMENSION) -> list[float]:
    return [1.0 if at == number else 0.0 for at in range(dimension)]


# --- Normal operation --------------------------------------------------------------------------------------------


def test_the_index_holds_each_memory_in_its_version(api: Api) -> None:
    one, two = api.store("1"), api.store("2")
    api.store("2", "changed")
    drain()
    assert held(api.tenant) == {one["id"]: 1, two["id"]: 2}


def test_a_settled_row_keeps_the_vector_it_was_indexed_with(api: Api, embedder: Recorder) -> None:
    memory = api.store("1", "some words")
    drain()
    row = row_of(memory["id"])
    [wanted] = WordLlamaEmbedder().embed(["some words"])
    assert np.array_equal(np.frombuffer(bytes(row.vector or b""), dtype="<f4"), wanted)
    assert (row.indexed_version, row.due_at, row.lease, row.attempts) == (1, None, None, 0)


def test_a_drain_with_nothing_to_do_calls_no_provider(api: Api, embedder: Recorder, engine: Index) -> None:
    api.store("1")
    drain()
    embedder.calls, engine.down = 0, True
    assert sync.drain() == 0
    assert embedder.calls == 0


def test_a_deleted_memory_leaves_the_index(api: Api) -> None:
    api.store("1")
    drain()
    api.delete("/memories/1")
    drain()
    assert held(api.tenant) == {}


def test_a_purged_memory_leaves_neither_a_point_nor_a_row(api: Api) -> None:
    memory = api.store("1")
    drain()
    api.delete("/memories/1?purge=true")
    drain()
    assert held(api.tenant) == {}
    assert not VectorEmbedding.all_tenants.filter(memory_id=memory["id"]).exists()


def test_a_memory_purged_before_it_was_indexed_leaves_no_row(api: Api) -> None:
    memory = api.store("1")
    api.delete("/memories/1?purge=true")
    drain()
    assert not VectorEmbedding.all_tenants.filter(memory_id=memory["id"]).exists()


def test_a_change_that_leaves_the_text_alone_costs_no_embedding(api: Api, embedder: Recorder) -> None:
    memory = api.store("1", "same words")
    drain()
    api.patch("/memories/1", {"importance": 5})
    drain()
    assert embedder.texts == ["same words"]
    assert held(api.tenant) == {memory["id"]: 2}


def test_a_restore_costs_no_embedding(api: Api, embedder: Recorder) -> None:
    memory = api.store("1", "come back")
    drain()
    api.delete("/memories/1")
    drain()
    api.post("/memories/1/restore")
    drain()
    assert embedder.texts == ["come back"]
    assert held(api.tenant) == {memory["id"]: 3}
    assert [hit["coord"] for hit in api.search("come back", mode="semantic")] == ["1.0"]


def test_a_batch_takes_a_constant_number_of_statements(api: Api, stranger: Api) -> None:
    def statements(count: int) -> int:
        items = [{"coord": [at], "payload": {"text": f"number {at}"}} for at in range(count)]
        api.post("/memories/bulk", {"items": items})
        stranger.post("/memories/bulk", {"items": items})
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert sync.drain() == 2 * count
        return len(queries)

    statements(1)
    few = statements(2)
    assert statements(60) == few
    assert few < 16


def test_one_drain_does_no_more_than_its_limit(api: Api) -> None:
    for at in range(5):
        api.store(str(at))
    assert [sync.drain(limit=2) for _ in range(4)] == [2, 2, 1, 0]


# --- Concurrent changes ------------------------------------------------------------------------------------------


def test_a_memory_that_changes_while_it_is_embedded_stays_due(api: Api, embedder: Recorder) -> None:
    memory = api.store("1", "first words")
    embedder.before = lambda: api.store("1", "second words") and None
    sync.drain()
    row = row_of(memory["id"])
    assert row.due_at is not None
    assert (row.lease, row.indexed_version, row.wanted_version) == (None, None, 2)
    drain()
    assert embedder.texts == ["first words", "second words"]
    assert held(api.tenant) == {memory["id"]: 2}


def test_a_memory_that_changes_while_it_is_written_stays_due(api: Api, engine: Index) -> None:
    memory = api.store("1", "first words")
    engine.after_upsert = lambda: api.store("1", "second words") and None
    sync.drain()
    assert state_of(api, "1") == "pending"
    drain()
    assert held(api.tenant) == {memory["id"]: 2}


def test_a_memory_deleted_while_it_is_written_does_not_stay_in_the_index(api: Api, engine: Index) -> None:
    api.store("1")
    engine.after_upsert = lambda: api.delete("/memories/1") and None
    drain()
    assert held(api.tenant) == {}


def test_a_purge_while_it_is_written_leaves_no_orphan(api: Api, engine: Index) -> None:
    memory = api.store("1")
    engine.after_upsert = lambda: api.delete("/memories/1?purge=true") and None
    drain()
    assert held(api.tenant) == {}
    assert not VectorEmbedding.all_tenants.filter(memory_id=memory["id"]).exists()


def test_a_purge_while_it_is_embedded_leaves_no_orphan(api: Api, embedder: Recorder) -> None:
    api.store("1")
    embedder.before = lambda: api.delete("/memories/1?purge=true") and None
    drain()
    assert held(api.tenant) == {}
    assert not VectorEmbedding.objects.for_tenant(api.tenant).exists()


def test_a_new_memory_at_a_purged_address_is_indexed_under_its_own_id(api: Api, engine: Index) -> None:
    old = api.store("1")

    def replace() -> None:
        api.delete("/memories/1?purge=true")
        api.store("1", "another one")

    engine.after_upsert = replace
    drain()
    [(id, version)] = held(api.tenant).items()
    assert id != old["id"]
    assert version == 1


def test_a_vector_supplied_after_the_lease_is_kept(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = api.store("1", "words")
    take = sync._take

    def take_then_replace(*args: Any) -> list[VectorEmbedding]:
        rows = take(*args)
        if rows and row_of(memory["id"]).wanted_version == 1:
            api.store("1", "words", embedding=axis(7))
        return rows

    monkeypatch.setattr(sync, "_take", take_then_replace)
    drain()
    assert list(np.frombuffer(bytes(row_of(memory["id"]).vector or b""), dtype="<f4")) == axis(7)


# --- Failures ----------------------------------------------------------------------------------------------------


def test_nothing_is_lost_while_the_embedder_is_down(api: Api, embedder: Recorder) -> None:
    memory = api.store("1")
    embedder.down = True
    drain()
    assert held(api.tenant) == {}
    assert row_of(memory["id"]).error == "switched off"
    embedder.down = False
    let_time_pass(minutes=10)
    drain()
    assert held(api.tenant) == {memory["id"]: 1}
    assert row_of(memory["id"]).error == ""


def test_nothing_is_lost_while_the_index_is_down(api: Api, engine: Index) -> None:
    api.store("1")
    memory = api.store("2")
    drain()
    api.delete("/memories/1")
    api.store("2", "changed")
    engine.down = True
    drain()
    engine.down = False
    let_time_pass(minutes=10)
    drain()
    assert held(api.tenant) == {memory["id"]: 2}


def test_an_outage_that_is_known_costs_no_row_an_attempt(api: Api, engine: Index) -> None:
    id = api.store("1")["id"]
    engine.down = engine.known_down = True

    assert sync.drain() == 0

    assert (row_of(id).attempts, row_of(id).lease) == (0, None)
    engine.down = engine.known_down = False
    assert sync.drain() == 1  # at once
    assert held(api.tenant) == {id: 1}


def test_work_that_needs_no_embedder_continues_without_it(api: Api, embedder: Recorder) -> None:
    api.store("1")
    drain()
    embedder.down = True
    api.store("2")
    api.delete("/memories/1")
    own = api.store("3", embedding=axis(1))
    drain()
    assert held(api.tenant) == {own["id"]: 1}


def test_the_pauses_grow_up_to_a_bound(api: Api, embedder: Recorder) -> None:
    memory = api.store("1")
    embedder.down = True
    pauses = []
    for _ in range(12):
        VectorEmbedding.all_tenants.filter(memory_id=memory["id"]).update(due_at=timezone.now())
        sync.drain()
        due = row_of(memory["id"]).due_at
        assert due is not None
        pauses.append((due - timezone.now()).total_seconds())
    assert 0.9 <= pauses[0] <= 2
    assert all(later > earlier / 2 for earlier, later in pairwise(pauses))
    assert sync.MAX_BACKOFF_S / 2 - 1 <= pauses[-1] <= sync.MAX_BACKOFF_S


def test_a_postponed_row_is_left_alone_until_it_is_due(api: Api, embedder: Recorder) -> None:
    api.store("1")
    embedder.down = True
    sync.drain()
    assert sync.drain() == 0


def test_a_strong_search_also_finds_what_waits_after_a_failure(api: Api, engine: Index) -> None:
    api.store("1", "a walrus on the ice")
    engine.down = True
    sync.drain()
    engine.down = False
    found = api.search("walrus", mode="semantic", consistency="strong")
    assert [memory["coord"] for memory in found] == ["1.0"]


def test_a_row_that_fails_again_and_again_counts_as_failed(api: Api, embedder: Recorder) -> None:
    api.store("1")
    embedder.down = True
    states = []
    for _ in range(FAILED_ATTEMPTS):
        let_time_pass(minutes=10)
        sync.drain()
        states.append(state_of(api, "1"))
    assert states == ["pending", "pending", "failed"]
    assert api.get("/stats").json()["index"]["failed"] == 1


def test_a_new_version_of_a_failed_memory_is_tried_immediately(api: Api, embedder: Recorder) -> None:
    memory = api.store("1", "words")
    embedder.down = True
    for _ in range(5):
        let_time_pass(minutes=10)
        sync.drain()
    embedder.down = False
    api.store("1", "other words")
    drain()
    assert held(api.tenant) == {memory["id"]: 2}


def test_a_version_that_comes_in_during_a_failure_does_not_inherit_the_pause(api: Api, embedder: Recorder) -> None:
    memory = api.store("1", "words")
    embedder.down = True
    embedder.before = lambda: api.store("1", "other words") and None
    sync.drain()
    embedder.down = False
    drain()
    assert held(api.tenant) == {memory["id"]: 2}


def test_one_refused_text_does_not_hold_up_its_batch(api: Api, embedder: Recorder) -> None:
    stored = [api.store(str(at), f"text {at}") for at in range(40)]
    embedder.refused = {"text 17"}
    drain()
    assert held(api.tenant) == {memory["id"]: 1 for at, memory in enumerate(stored) if at != 17}
    assert row_of(stored[17]["id"]).error == "I do not like one of these"


def test_a_refused_text_is_closed_in_on_in_few_calls(api: Api, embedder: Recorder) -> None:
    for at in range(64):
        api.store(str(at), f"text {at}")
    embedder.refused = {"text 17"}
    sync.drain()
    assert embedder.calls <= 1 + 2 * 6


# --- Vectors -----------------------------------------------------------------------------------------------------


def test_a_memory_without_words_is_empty_and_not_in_the_index(api: Api) -> None:
    api.post("/memories", {"coord": "1", "payload": {"number": 5}})
    drain()
    assert held(api.tenant) == {}
    assert state_of(api, "1") == "empty"


def test_a_memory_whose_text_is_removed_leaves_the_index(api: Api) -> None:
    api.store("1")
    drain()
    api.store("1", "")
    drain()
    assert held(api.tenant) == {}
    assert state_of(api, "1") == "empty"


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -np.inf])
def test_an_unusable_vector_never_reaches_the_index(
    api: Api, embedder: Recorder, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    good, bad = api.store("1", "good"), api.store("2", "bad")
    real = embedder.embed

    def embed(texts: Sequence[str]) -> Vectors:
        vectors = real(texts)
        vectors[[text == "bad" for text in texts]] = value
        return vectors

    monkeypatch.setattr(embedder, "embed", embed)
    drain()
    assert held(api.tenant) == {good["id"]: 1}
    assert state_of(api, "2") == "empty"
    assert row_of(bad["id"]).due_at is None


@pytest.mark.parametrize("number", [0.0, 1e300, 1e-300])
def test_an_own_vector_that_is_unusable_in_32_bits_is_refused(api: Api, number: float) -> None:
    vector = [number] * DIMENSION
    response = api.post("/memories", {"coord": "1", "payload": {}, "embedding": vector})
    assert response.status_code == 422, response.content
    assert not Memory.objects.for_tenant(api.tenant).exists()


def test_a_supplied_vector_is_indexed_unchanged_and_not_embedded(api: Api, embedder: Recorder) -> None:
    memory = api.store("1", "words", embedding=axis(3))
    drain()
    assert embedder.texts == []
    [hit] = index.of(generations.active()).search(
        api.tenant.id, np.array(axis(3), dtype=np.float32), index.base.Where(("default",)), 5
    )
    assert (str(hit.id), hit.similarity) == (memory["id"], 1.0)


def test_a_vector_of_another_dimension_does_not_delay_the_rest_of_its_batch(api: Api) -> None:
    wrong, *others = (api.store(str(at), f"text {at}", embedding=axis(at))["id"] for at in range(3))
    VectorEmbedding.all_tenants.filter(memory_id=wrong).update(vector=np.ones(128, "<f4").tobytes())
    drain()
    assert held(api.tenant) == dict.fromkeys(others, 1)
    assert "128" in row_of(wrong).error


def test_a_text_is_embedded_again_if_its_vector_has_another_dimension(api: Api) -> None:
    id = api.store("1", "text")["id"]
    drain()
    VectorEmbedding.all_tenants.update(
        vector=np.ones(128, "<f4").tobytes(), indexed_version=None, due_at=timezone.now()
    )
    index.of(generations.active()).drop_tenant(api.tenant.id)

    drain()

    assert held(api.tenant) == {id: 1}
    assert len(row_of(id).vector or b"") == 4 * 256


def test_an_own_vector_without_any_words_is_indexed(api: Api) -> None:
    memory = api.post("/memories", {"coord": "1", "payload": {"n": 1}, "embedding": axis(3)}).json()
    drain()
    assert held(api.tenant) == {memory["id"]: 1}


def test_an_own_vector_survives_delete_and_restore(api: Api, embedder: Recorder) -> None:
    memory = api.store("1", "words", embedding=axis(3))
    drain()
    api.delete("/memories/1")
    drain()
    api.post("/memories/1/restore")
    drain()
    assert embedder.texts == []
    assert held(api.tenant) == {memory["id"]: 3}


def test_a_store_without_a_vector_removes_the_supplied_one(api: Api, embedder: Recorder) -> None:
    memory = api.store("1", "words", embedding=axis(3))
    drain()
    api.store("1", "words")
    drain()
    assert embedder.texts == ["words"]
    assert list(np.frombuffer(bytes(row_of(memory["id"]).vector or b""), dtype="<f4")) != axis(3)


# --- Time --------------------------------------------------------------------------------------------------------


def test_a_memory_that_will_expire_falls_due_at_that_moment(api: Api) -> None:
    memory = api.store("1", ttl_seconds=60)
    drain()
    assert row_of(memory["id"]).due_at == Memory.all_tenants.get(id=memory["id"]).expires_at
    assert state_of(api, "1") == "ready"


def test_expiry_takes_a_memory_out_of_the_index(api: Api) -> None:
    api.store("1", ttl_seconds=60)
    kept = api.store("2", ttl_seconds=600)
    drain()
    let_time_pass(seconds=61)
    drain()
    assert held(api.tenant) == {kept["id"]: 1}


def test_a_memory_whose_expiry_is_removed_stays(api: Api) -> None:
    memory = api.store("1", ttl_seconds=60)
    drain()
    api.patch("/memories/1", {"expires_at": None})
    drain()
    let_time_pass(seconds=61)
    drain()
    assert held(api.tenant) == {memory["id"]: 2}


# --- Leases ------------------------------------------------------------------------------------------------------


def test_a_leased_row_is_left_to_its_drain(api: Api, embedder: Recorder) -> None:
    api.store("1")
    counts = []
    embedder.before = lambda: counts.append(sync.drain())
    sync.drain()
    assert counts == [0]


def test_the_lease_of_a_dead_drain_runs_out(api: Api) -> None:
    memory = api.store("1")
    sync._take(generations.active(), 10)
    assert sync.drain() == 0
    let_time_pass(minutes=6)
    drain()
    assert held(api.tenant) == {memory["id"]: 1}


def test_releasing_the_leases_makes_leased_and_postponed_rows_due(api: Api, embedder: Recorder) -> None:
    postponed = api.store("1", "postponed")
    embedder.down = True
    sync.drain()
    embedder.down = False
    leased = api.store("2", "leased")
    sync._take(generations.active(), 10)
    later = api.store("3", "not yet due", ttl_seconds=60)
    VectorEmbedding.all_tenants.filter(memory_id=later["id"]).update(due_at=timezone.now() + timedelta(seconds=60))
    assert sync.release_leases() == 2
    drain()
    assert held(api.tenant) == {postponed["id"]: 1, leased["id"]: 1}


def test_a_drain_that_has_lost_its_lease_writes_nothing_old_over_something_new(api: Api, embedder: Recorder) -> None:
    memory = api.store("1", "old words")

    def slow() -> None:
        let_time_pass(minutes=6)
        api.store("1", "new words")
        drain()

    embedder.before = slow
    sync.drain()
    assert held(api.tenant) == {memory["id"]: 2}
    assert row_of(memory["id"]).indexed_version == 2


@pytest.mark.django_db(transaction=True)
def test_drains_side_by_side_embed_each_memory_once(api: Api, embedder: Recorder) -> None:
    items = [{"coord": [at], "payload": {"text": f"memory {at}"}} for at in range(200)]
    api.post("/memories/bulk", {"items": items})

    def work() -> None:
        try:
            while sync.drain(limit=7):
                pass
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        for drained in [pool.submit(work) for _ in range(6)]:
            drained.result(60)
    assert sorted(embedder.texts) == sorted(f"memory {at}" for at in range(200))
    assert len(held(api.tenant)) == 200


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite does not lock single rows")
def test_a_drain_skips_rows_that_another_process_has_locked(api: Api) -> None:
    busy, free = api.store("1"), api.store("2")
    locked, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            list(VectorEmbedding.all_tenants.select_for_update().filter(memory_id=busy["id"]))
            locked.set()
            let_go.wait(60)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert locked.wait(60)
    drain()
    passed_by = held(api.tenant)  # and no writer has waited
    let_go.set()
    thread.join(60)
    assert passed_by == {free["id"]: 1}
    drain()
    assert held(api.tenant) == {free["id"]: 1, busy["id"]: 1}


# --- Lost and left-over points -----------------------------------------------------------------------------------


def test_a_lost_point_is_restored(api: Api, embedder: Recorder) -> None:
    memory, other = api.store("1", "lost"), api.store("2", "kept")
    drain()
    index.of(generations.active()).delete(api.tenant.id, [UUID(memory["id"])])
    assert reconcile.repair_all().counts["missing"] == 1
    drain()
    assert held(api.tenant) == {memory["id"]: 1, other["id"]: 1}
    assert sorted(embedder.texts) == ["kept", "lost"]


def test_a_lost_tenant_is_full_again_with_the_stored_vectors(api: Api, embedder: Recorder) -> None:
    ids = {api.store("1", "one")["id"]: 1, api.store("2", "two")["id"]: 1}
    drain()
    target = index.of(generations.active())
    target.drop_tenant(api.tenant.id)
    assert reconcile.repair_all().counts["missing"] == 2
    if target.remote:
        drain()
    assert held(api.tenant) == ids
    assert sorted(embedder.texts) == ["one", "two"]


def test_a_start_compares_only_what_can_have_been_lost(api: Api) -> None:
    memory, _ = api.store("1"), api.store("2")
    drain()
    target = index.of(generations.active())
    if target.remote:
        pytest.skip("a remote engine cannot rule out losses")
    reconcile.repair_all()
    target.delete(api.tenant.id, [UUID(memory["id"])])
    assert reconcile.repair_all(only_lost=True).counts["missing"] == 0
    target.drop_tenant(api.tenant.id)
    assert reconcile.repair_all(only_lost=True).counts["missing"] == 2


def test_an_old_version_in_the_index_is_brought_up_to_date(api: Api) -> None:
    memory = api.store("1")
    api.store("1", "newer")
    drain()
    old = Point(UUID(memory["id"]), 1, "default", "episodic", np.array(axis(0), dtype=np.float32))
    target = index.of(generations.active())
    target.delete(api.tenant.id, [old.id])  # the engine never replaces a higher version
    target.upsert(api.tenant.id, [old])
    assert reconcile.repair_all().counts["stale"] == 1
    drain()
    assert held(api.tenant) == {memory["id"]: 2}


def test_a_version_in_the_index_that_the_database_does_not_have_is_replaced(api: Api) -> None:
    """This happens after a backup is restored."""
    memory = api.store("1")
    drain()
    later = Point(UUID(memory["id"]), 9, "default", "episodic", np.array(axis(0), dtype=np.float32))
    index.of(generations.active()).upsert(api.tenant.id, [later])
    assert reconcile.repair_all().counts["stale"] == 1
    drain()
    assert held(api.tenant) == {memory["id"]: 1}


def test_an_unknown_point_is_removed(api: Api) -> None:
    memory = api.store("1")
    drain()
    orphan = Point(uuid.uuid4(), 1, "default", "episodic", np.array(axis(0), dtype=np.float32))
    index.of(generations.active()).upsert(api.tenant.id, [orphan])
    assert reconcile.repair_all().counts["orphaned"] >= 1
    assert held(api.tenant) == {memory["id"]: 1}


def test_where_nothing_differs_nothing_falls_due(api: Api) -> None:
    api.store("1")
    api.store("2", ttl_seconds=60)
    api.post("/memories", {"coord": "3", "payload": {"n": 1}})
    api.store("4")
    api.delete("/memories/4")
    drain()
    reconcile.repair_all()  # points from other tests
    assert not reconcile.repair_all().different
    assert sync.backlog() == 0


# --- Settings ----------------------------------------------------------------------------------------------------


def test_the_settings_that_made_the_vectors_are_accepted(generation: EmbeddingGeneration) -> None:
    generations.check_settings()


@pytest.mark.parametrize(("name", "value"), [("dimension", 128), ("model", "another"), ("provider", "openai")])
def test_settings_whose_vectors_would_not_fit_are_refused(
    generation: EmbeddingGeneration, embedder: Recorder, monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    monkeypatch.setattr(embedder, name, value)
    with pytest.raises(ConfigurationError, match="SOMA_EMBEDDING"):
        generations.check_settings()


@pytest.mark.django_db
def test_a_generation_that_was_rolled_back_is_not_remembered() -> None:
    EmbeddingGeneration.objects.all().delete()
    generations.forget_cached()
    with transaction.atomic():
        first = generations.active()
        transaction.set_rollback(True)
    assert not EmbeddingGeneration.objects.filter(id=first.id).exists()
    assert EmbeddingGeneration.objects.filter(id=generations.active().id).exists()
