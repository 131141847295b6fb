"""Memories are in the index before their request ends, and after a crash or a race, the drain indexes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from memories import coordinates, embeddings, index, services
from memories.index import drain, generations, immediate, outbox
from memories.index.base import ANY_VERSION, Point
from memories.models import EmbeddingGeneration, Memory, VectorEmbedding
from memories.new_memory import NewMemory
from somamemory.errors import IndexUnavailable
from somamemory.scheduling import scheduler
from tenants.caller import Caller

AT = coordinates.of([1])
Execute = Callable[..., AbstractContextManager[Any]]


class Points:
    """An in-memory index that follows the rule for local engines: the highest version wins."""

    remote = False

    def __init__(self) -> None:
        self.points: dict[UUID, Point] = {}
        self.down = False
        self.held: list[Point] | None = None  # points of a request that has paused between its commit and its upsert

    def upsert(self, tenant: UUID, points: Sequence[Point]) -> None:
        if self.down:
            raise IndexUnavailable("switched off")
        if self.held is not None:
            self.held.extend(points)
            return
        for point in points:
            if point.id not in self.points or self.points[point.id].version <= point.version:
                self.points[point.id] = point

    def resume(self) -> None:
        held, self.held = self.held or [], None
        self.upsert(held[0].id, held)

    def delete(self, tenant: UUID, ids: Sequence[UUID], versions: Sequence[int] | None = None) -> None:
        for id, version in zip(ids, versions or [ANY_VERSION] * len(ids), strict=True):
            if id in self.points and self.points[id].version <= version:
                del self.points[id]

    def available(self) -> bool:
        return True


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch, generation: EmbeddingGeneration) -> Iterator[Points]:
    engine = Points()
    monkeypatch.setattr(index, "of", lambda generation: engine)
    monkeypatch.setattr(scheduler, "runs", lambda name: True)
    monkeypatch.setattr(immediate, "GATHER_S", 0)
    yield engine
    immediate._pending.take()


@pytest.fixture
def committed(django_capture_on_commit_callbacks: Any) -> Execute:
    """Run the callbacks that wait for the commit."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


@pytest.fixture
def store(points: Points, committed: Execute, caller: Caller) -> Callable[..., Memory]:
    def stored(text: str = "a walrus", **fields: Any) -> Memory:
        with committed():
            return services.store(caller, NewMemory(AT, {"text": text}, **fields)).memory

    return stored


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> Callable[..., EmbeddingGeneration]:
    """Return a function that makes another generation active as soon as the next vectors have been computed."""

    def prepared(**fields: Any) -> EmbeddingGeneration:
        other = EmbeddingGeneration.objects.create(state="building", collection="memories_other", **fields)

        def then_switch(module: Any, name: str) -> None:
            compute = getattr(module, name)

            def computed(*given: Any) -> Any:
                vectors = compute(*given)
                generations.switch_to(other)
                return vectors

            monkeypatch.setattr(module, name, computed)

        then_switch(immediate, "embedded")
        then_switch(outbox, "vector_of_changed")
        return other

    return prepared


def the_row() -> VectorEmbedding:
    return VectorEmbedding.all_tenants.get()


def after_grace() -> int:
    """Drain the rows that have been due for a while."""
    VectorEmbedding.all_tenants.filter(due_at__isnull=False).update(due_at=timezone.now())
    return drain.drain()


def test_a_stored_memory_is_in_the_index_when_its_request_ends(points: Points, store: Callable[..., Memory]) -> None:
    memory = store()

    assert points.points[memory.id].version == 1
    assert memory.index_state == "ready"


def test_its_row_is_due_until_it_is_settled(store: Callable[..., Memory]) -> None:
    store()
    before = the_row()
    immediate.settle()

    after = the_row()
    assert before.due_at is not None
    assert (before.indexed_version, after.indexed_version, after.due_at) == (None, 1, None)
    assert bytes(after.vector or b"") == bytes(before.vector or b"x")


def test_the_drain_does_again_what_a_process_that_ended_has_not_settled(
    points: Points, store: Callable[..., Memory]
) -> None:
    memory = store()
    immediate._pending.take()
    points.points.clear()

    assert drain.drain() == 0  # not yet
    assert after_grace() == 1
    assert points.points[memory.id].version == 1
    assert the_row().due_at is None


def test_a_memory_of_an_index_that_fails_waits_for_the_drain(points: Points, store: Callable[..., Memory]) -> None:
    points.down = True
    memory = store()
    points.down = False

    assert memory.index_state == "pending"
    immediate.settle()
    assert after_grace() == 1
    assert memory.id in points.points


def test_the_last_of_several_versions_is_settled(points: Points, store: Callable[..., Memory]) -> None:
    memory = store("first")
    store("second")
    immediate.settle()

    assert points.points[memory.id].version == 2
    assert (the_row().indexed_version, the_row().due_at) == (2, None)


def test_an_older_version_that_arrives_late_changes_nothing(points: Points, store: Callable[..., Memory]) -> None:
    points.held = []
    store("first")
    late, points.held = points.held, None
    memory = store("second")
    immediate.settle()
    points.held = late
    points.resume()

    assert points.points[memory.id].version == 2


def test_the_point_of_a_memory_deleted_in_the_meantime_is_removed_again(
    points: Points, store: Callable[..., Memory], caller: Caller
) -> None:
    points.held = []
    store()
    services.delete(caller, "default", AT)
    assert after_grace() == 1
    points.resume()
    assert points.points
    immediate.settle()

    assert drain.drain() == 1
    assert not points.points


def test_the_point_of_a_memory_purged_in_the_meantime_is_removed_again(
    points: Points, store: Callable[..., Memory], caller: Caller
) -> None:
    points.held = []
    store()
    services.delete(caller, "default", AT, purge=True)
    assert after_grace() == 1
    points.resume()
    assert points.points
    immediate.settle()

    assert not points.points
    assert not VectorEmbedding.all_tenants.exists()


def test_only_the_memories_that_have_changed_are_indexed_again(
    points: Points, committed: Execute, caller: Caller
) -> None:
    with committed():
        services.store_many(caller, [NewMemory(coordinates.of([n]), {"text": "a walrus"}) for n in range(20)])
    VectorEmbedding.all_tenants.filter(memory__coordinate_key__in=[coordinates.of([n]).key for n in (3, 7)]).update(
        wanted_version=2
    )
    with CaptureQueriesContext(connection) as captured:
        immediate.settle()

    waiting = VectorEmbedding.all_tenants.filter(due_at__lte=timezone.now())
    assert set(waiting.values_list("wanted_version", flat=True)) == {2}
    assert VectorEmbedding.all_tenants.filter(indexed_version=1, due_at=None).count() == 18
    assert sum(query["sql"].startswith("SELECT") for query in captured) == 2


def test_a_row_that_a_drain_has_leased_is_left_to_it(store: Callable[..., Memory]) -> None:
    store()
    lease_until = timezone.now() + timedelta(minutes=1)
    VectorEmbedding.all_tenants.update(lease=UUID(int=5), lease_until=lease_until)
    due_at = the_row().due_at
    immediate.settle()

    assert (the_row().indexed_version, the_row().due_at) == (None, due_at)


def test_a_memory_that_is_stored_again_while_a_drain_deletes_it_stays_in_the_index(
    points: Points,
    store: Callable[..., Memory],
    committed: Execute,
    caller: Caller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = store()
    immediate.settle()
    with committed():
        services.delete(caller, "default", AT)
    still_leased = drain._still_leased

    def store_in_between(*arguments: Any) -> Any:
        jobs = still_leased(*arguments)
        store()
        return jobs

    monkeypatch.setattr(drain, "_still_leased", store_in_between)
    drain.drain()
    immediate.settle()
    assert points.points[memory.id].version == 3


def test_a_supplied_vector_is_indexed_immediately(points: Points, store: Callable[..., Memory]) -> None:
    own = np.ones(256)
    memory = store(embedding=own)

    assert the_row().own is True
    assert np.array_equal(points.points[memory.id].vector, own)


def test_a_patch_is_in_the_index_when_its_request_ends(
    points: Points, store: Callable[..., Memory], committed: Execute, caller: Caller
) -> None:
    before = store("a walrus")
    vector = points.points[before.id].vector
    with committed():
        memory = services.patch(caller, "default", AT, {"payload": {"text": "a piano"}})
    immediate.settle()

    assert memory.index_state == "ready"
    assert points.points[memory.id].version == 2
    assert not np.array_equal(points.points[memory.id].vector, vector)
    assert (the_row().indexed_version, the_row().due_at) == (2, None)


def test_a_patch_keeps_the_vector_of_the_caller(
    points: Points, store: Callable[..., Memory], committed: Execute, caller: Caller
) -> None:
    own = np.ones(256)
    store(embedding=own)
    with committed():
        memory = services.patch(caller, "default", AT, {"importance": 1.0})

    assert memory.index_state == "ready"
    assert points.points[memory.id].version == 2
    assert np.array_equal(points.points[memory.id].vector, own)
    assert the_row().own


def test_a_patch_without_a_new_text_keeps_the_vector(
    points: Points,
    store: Callable[..., Memory],
    committed: Execute,
    caller: Caller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = store("a walrus", context="in the sea")
    vector, row = points.points[before.id].vector, the_row()
    monkeypatch.setattr(immediate, "embedded", lambda *given: pytest.fail("embedded again"))
    with committed():
        memory = services.patch(caller, "default", AT, {"importance": 1.0, "payload": {"seen": True}})

    assert memory.index_state == "ready"
    assert points.points[memory.id].version == 2
    assert np.array_equal(points.points[memory.id].vector, vector)
    assert (the_row().vector, the_row().text_hash, the_row().own) == (row.vector, row.text_hash, False)


@pytest.mark.parametrize("dimension", [128, 256])
@pytest.mark.parametrize("own", [None, np.ones(256)], ids=["computed", "supplied"])
def test_a_vector_is_not_stored_in_a_generation_with_another_model(
    points: Points,
    store: Callable[..., Memory],
    switch: Callable[..., EmbeddingGeneration],
    dimension: int,
    own: Any,
) -> None:
    other = switch(provider="hashing", model="terms-1", dimension=dimension)
    memory = store("a walrus", embedding=own)

    assert (the_row().generation_id, the_row().vector, the_row().own) == (other.id, None, False)
    assert memory.index_state == "pending"
    assert not points.points
    assert drain.drain() == 1
    assert np.array_equal(points.points[memory.id].vector, embeddings.of(other).embed(["a walrus"])[0])


def test_a_vector_is_stored_and_indexed_in_another_generation_with_the_same_model(
    points: Points, store: Callable[..., Memory], switch: Callable[..., EmbeddingGeneration]
) -> None:
    other = switch(provider="wordllama", model="l2_supercat", dimension=256)
    memory = store("a walrus")
    immediate.settle()

    assert memory.index_state == "ready"
    assert (the_row().generation_id, the_row().indexed_version, the_row().due_at) == (other.id, 1, None)
    assert bytes(the_row().vector or b"") == points.points[memory.id].vector.tobytes()


def test_a_vector_whose_length_was_checked_for_another_generation_does_not_fit(generation: EmbeddingGeneration) -> None:
    checked_for_other = immediate.StoredVector(generation, np.ones(128, np.float32))

    assert not checked_for_other.fits(generation)


def test_a_patch_keeps_the_vector_of_a_generation_that_has_just_become_active(
    points: Points,
    store: Callable[..., Memory],
    switch: Callable[..., EmbeddingGeneration],
    committed: Execute,
    caller: Caller,
) -> None:
    store("a walrus")
    other = switch(provider="hashing", model="terms-1", dimension=256)
    outbox.fill(other, 0)
    assert drain.drain() == 1
    vector = VectorEmbedding.all_tenants.get(generation=other).vector
    with committed():
        services.patch(caller, "default", AT, {"importance": 1.0})

    row = VectorEmbedding.all_tenants.get(generation=other)
    assert row.wanted_version == 2
    assert bytes(row.vector or b"") == bytes(vector or b"x")


def test_the_row_of_a_memory_that_will_expire_is_due_at_that_time(store: Callable[..., Memory]) -> None:
    expires_at = timezone.now() + timedelta(days=1)
    memory = store(expires_at=expires_at)
    immediate.settle()

    assert the_row().due_at == expires_at
    assert memory.index_state == "ready"


def test_a_memory_without_text_is_left_to_the_drain(points: Points, store: Callable[..., Memory]) -> None:
    memory = store("a walrus")
    again = store("")

    assert again.index_state == "pending"
    assert points.points[memory.id].version == 1
    assert drain.drain() == 1
    assert not points.points


def test_a_failed_settlement_is_done_by_the_next_one(
    store: Callable[..., Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    store()
    with monkeypatch.context() as broken:
        broken.setattr(immediate, "_settle", lambda batch: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            immediate.settle()
    immediate.settle()

    assert the_row().due_at is None


@pytest.mark.parametrize("lacking", ["a thread that settles", "an index that is not remote"])
def test_otherwise_the_drain_indexes_as_before(
    points: Points, store: Callable[..., Memory], monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    if lacking == "a thread that settles":
        monkeypatch.setattr(scheduler, "runs", lambda name: False)
    else:
        monkeypatch.setattr(points, "remote", True)
    memory = store()

    assert memory.index_state == "pending"
    assert not points.points
    assert drain.drain() == 1
