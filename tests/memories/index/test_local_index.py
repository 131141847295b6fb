"""The local vector index: its files, and the processes that share them."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from memories import embeddings
from memories.index.base import Point, Vector, Where
from memories.index.local import index as module
from memories.index.local import layout, points_file, row_finder, scan, store
from memories.index.local.index import LocalIndex
from memories.index.local.points_file import PointsFile
from somamemory.errors import IndexUnavailable
from testing import ROOT

DIMENSION = 16
ANNA, BERT = UUID(int=1), UUID(int=2)
EVERYWHERE = Where(("default",))


def vector(*numbers: float) -> Vector:
    return np.array([*numbers, *[0.0] * (DIMENSION - len(numbers))], dtype=np.float32)


def point(*numbers: float, id: UUID | None = None, version: int = 1, namespace: str = "default") -> Point:
    return Point(id or uuid4(), version, namespace, "episodic", vector(*numbers))


def points(vectors: Vector, namespace: str = "default") -> list[Point]:
    return [Point(uuid4(), 1, namespace, "episodic", row) for row in vectors]


def random_vectors(count: int) -> Vector:
    return np.random.default_rng(3).standard_normal((count, DIMENSION)).astype(np.float32)


def ids(index: LocalIndex, tenant: UUID = ANNA, limit: int = 16_384) -> list[UUID]:
    return [hit.id for hit in index.search(tenant, vector(1), EVERYWHERE, limit)]


@pytest.fixture(autouse=True, params=[layout.MAPPED_ROWS, 0], ids=["mapped vectors", "vectors in the file"])
def _mapped_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "MAPPED_ROWS", request.param)


@pytest.fixture
def index(tmp_path: Path) -> LocalIndex:
    return LocalIndex(tmp_path, "c", DIMENSION)


@pytest.fixture
def other(tmp_path: Path) -> LocalIndex:
    """The same index, opened as if by another process."""
    return LocalIndex(tmp_path, "c", DIMENSION)


def points_path(folder: Path) -> Path:
    return folder / "c" / ANNA.hex / "points"


# -- several processes ---------------------------------------------------------------------------------------------


def test_every_process_sees_the_writes_of_the_others_at_once(index: LocalIndex, other: LocalIndex) -> None:
    first, second = point(1), point(1, 1)
    index.upsert(ANNA, [first])
    assert ids(other) == [first.id]
    other.upsert(ANNA, [second])
    assert ids(index) == [first.id, second.id]
    index.delete(ANNA, [first.id])
    assert ids(other) == [second.id]
    other.upsert(ANNA, [point(0, 1, id=second.id, version=2)])
    assert index.search(ANNA, vector(1), EVERYWHERE, 5)[0].similarity == 0.0


def test_a_process_that_has_a_dropped_tenant_open_finds_nothing(index: LocalIndex, other: LocalIndex) -> None:
    index.upsert(ANNA, [point(1)])
    assert len(ids(other)) == 1
    index.drop_tenant(ANNA)
    assert ids(other) == []
    again = point(1)
    other.upsert(ANNA, [again])
    assert ids(index) == [again.id]


def test_a_dropped_tenant_leaves_no_file(index: LocalIndex, tmp_path: Path) -> None:
    index.upsert(ANNA, [point(1)])
    index.drop_tenant(ANNA)
    assert [path for path in tmp_path.rglob("*") if ANNA.hex in str(path)] == []


def test_a_dropped_collection_leaves_no_file(index: LocalIndex, tmp_path: Path) -> None:
    index.upsert(ANNA, [point(1)])
    index.drop()
    assert list(tmp_path.iterdir()) == []
    assert ids(index) == []


def test_deleted_files_are_reported_with_a_remedy(index: LocalIndex, tmp_path: Path) -> None:
    index.upsert(ANNA, [point(1)])
    index.ping()

    shutil.rmtree(tmp_path / "c")

    with pytest.raises(IndexUnavailable, match="restart the server"):
        index.ping()
    with pytest.raises(IndexUnavailable, match="restart the server"):
        index.upsert(ANNA, [point(1)])


def test_a_namespace_that_another_process_added_is_found(index: LocalIndex, other: LocalIndex) -> None:
    index.upsert(ANNA, [point(1)])
    assert ids(other)
    news = point(1, namespace="news")
    index.upsert(ANNA, [news])
    assert [hit.id for hit in other.search(ANNA, vector(1), Where(("news",)), 5)] == [news.id]
    other.upsert(ANNA, [point(1, namespace="more")])
    index.upsert(ANNA, [point(1, namespace="last")])
    assert len(other.search(ANNA, vector(1), Where(("default", "news", "more", "last")), 9)) == 4


WRITER = """
import sys, django
from pathlib import Path
from uuid import UUID
django.setup()
import numpy as np
from memories.index.base import Point
from memories.index.local.index import LocalIndex
index, tenant = LocalIndex(Path(sys.argv[1]), "c", 16), UUID(int=1)
rows = np.random.default_rng(1).standard_normal((300, 16)).astype(np.float32)
for version in range(1, 1000):
    for number in range(0, 300, 30):
        some = range(number, number + 30)
        index.upsert(tenant, [Point(UUID(int=n + 1), version, "default", "episodic", rows[n]) for n in some])
        print(version, flush=True)
"""


def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path: Path) -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "somamemory.settings", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(137)]
        process.send_signal(signal.SIGKILL)
        version = len(lines + process.stdout.readlines()) // 10  # every id has at least this version

    index = LocalIndex(tmp_path, "c", DIMENSION)
    found = dict(index.scan(ANNA))
    assert len(found) == 300
    assert min(found.values()) >= version
    index.upsert(ANNA, [point(1, id=UUID(int=1), version=5_000)])
    assert len(ids(index)) == len(set(ids(index))) == len(list(index.scan(ANNA))) == 300


def test_a_writer_finishes_what_a_killed_one_has_left(
    index: LocalIndex, other: LocalIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer is killed after publishing the new row, but before marking the old one as dead."""
    id_ = uuid4()
    index.upsert(ANNA, [point(1, id=id_), point(1)])
    with monkeypatch.context() as patch:
        patch.setattr(PointsFile, "kill", lambda file, rows: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            index.upsert(ANNA, [point(0, 1, id=id_, version=2)])
    assert len(ids(other)) == 2  # no id twice, even now
    other.upsert(ANNA, [point(1)])
    assert sorted(version for _, version in other.scan(ANNA)) == [1, 1, 2]


@pytest.mark.parametrize("is_replaced", [False, True])
def test_every_process_uses_the_same_file_after_a_writer_was_killed_while_replacing_it(
    index: LocalIndex, other: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_replaced: bool
) -> None:
    first = points(random_vectors(20))
    index.upsert(ANNA, first)
    assert len(ids(other)) == 20
    replace = os.replace

    def killed(*paths: Path) -> None:
        if is_replaced:
            replace(*paths)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "COMPACT_AFTER_ROWS", 0)
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            index.delete(ANNA, [point.id for point in first[1:]])
    third, second = LocalIndex(tmp_path, "c", DIMENSION), points(random_vectors(2))
    third.upsert(ANNA, second[:1])
    other.upsert(ANNA, second[1:])
    expected = {first[0].id, *(point.id for point in second)}
    assert set(ids(index)) == set(ids(other)) == set(ids(third)) == expected


def test_a_point_that_is_replaced_while_it_is_ranked_keeps_its_place(
    index: LocalIndex, other: LocalIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    nearest = point(1)
    index.upsert(ANNA, [*points(random_vectors(20)), nearest])
    rank = scan._bounded

    def replaced_first(*arguments: Any) -> Any:
        patch.undo()
        other.upsert(ANNA, [point(1, id=nearest.id, version=2)])
        return rank(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(scan, "_bounded", replaced_first)
        hits = index.search(ANNA, vector(1), EVERYWHERE, 5)
    assert hits[0] == (nearest.id.hex, 1.0)


# -- damaged files -------------------------------------------------------------------------


@pytest.fixture
def restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a restart of the machine."""
    monkeypatch.setattr(points_file, "_BOOT", np.array([1, 2], np.uint64))


def damage(path: Path, offset: int, value: bytes = b"\x55" * 8) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(value)


def test_sound_files_are_kept_after_a_restart_of_the_machine(
    index: LocalIndex, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kept = points(random_vectors(500))
    index.upsert(ANNA, kept)
    index.delete(ANNA, [kept[0].id])
    request.getfixturevalue("restarted")
    assert set(ids(LocalIndex(tmp_path, "c", DIMENSION))) == {p.id for p in kept[1:]}


@pytest.mark.parametrize("column", range(1, len(layout.COLUMNS)))
def test_a_torn_row_is_noticed_after_a_restart_of_the_machine(
    index: LocalIndex, tmp_path: Path, request: pytest.FixtureRequest, column: int
) -> None:
    """The row is treated as missing, so a comparison with the database restores it."""
    first, *others = points(random_vectors(20))
    index.upsert(ANNA, [first, *others])
    damage(points_path(tmp_path), layout.places(DIMENSION)[0].columns[column])
    request.getfixturevalue("restarted")
    reopened = LocalIndex(tmp_path, "c", DIMENSION)
    left = {id_ for id_, _ in reopened.scan(ANNA)}
    assert first.id not in left
    assert len(left) >= 17  # a few bytes may belong to more than one row
    reopened.upsert(ANNA, [first, *others])
    assert len(ids(reopened)) == 20


def test_rows_of_zeros_are_noticed_after_a_restart_of_the_machine(
    index: LocalIndex, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    index.upsert(ANNA, points(random_vectors(5)))
    for column, spec in zip(layout.places(DIMENSION)[0].columns[1:], (4, 16, 16, 8, 8, 64), strict=True):
        damage(points_path(tmp_path), column, bytes(spec))
    request.getfixturevalue("restarted")
    assert len(ids(LocalIndex(tmp_path, "c", DIMENSION))) == 4


def test_a_replacement_of_which_a_part_was_lost_is_noticed_after_a_restart_of_the_machine(
    index: LocalIndex, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The old row is still marked as live, but its vector has been overwritten."""
    own = point(1)
    index.upsert(ANNA, [own, point(1)])
    index.upsert(ANNA, [point(0, 1, id=own.id, version=2)])
    damage(points_path(tmp_path), layout.places(DIMENSION)[0].columns[0], (1).to_bytes(4, "little"))
    request.getfixturevalue("restarted")
    assert dict(LocalIndex(tmp_path, "c", DIMENSION).scan(ANNA))[own.id] == 2


def test_a_file_without_rows_survives_a_restart_of_the_machine(
    index: LocalIndex, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with index.rebuilding(ANNA):
        pass
    request.getfixturevalue("restarted")
    assert ids(LocalIndex(tmp_path, "c", DIMENSION)) == []


def test_given_points_are_found_while_the_file_is_being_replaced(
    index: LocalIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = points(random_vectors(30))
    index.upsert(ANNA, many)
    index.delete(ANNA, [point.id for point in many[:10]])
    store = index._stores[ANNA]

    class Replaced:
        """A lock. As soon as it is released for the first time, a writer replaces the file."""

        is_replaced = False

        def __enter__(self) -> None: ...

        def __exit__(self, *error: object) -> None:
            if not self.is_replaced:
                self.is_replaced = True
                store._compact()

    monkeypatch.setattr(store, "_lookups", Replaced())
    given = [point.id for point in many[15:20]]

    assert {hit.id for hit in index.nearest_of(ANNA, given, vector(1), 30)} == set(given)


def test_the_vector_of_a_deleted_point_is_overwritten(index: LocalIndex, tmp_path: Path) -> None:
    secret = point(*random_vectors(1)[0])
    index.upsert(ANNA, [secret, point(1)])
    vector_bytes = index._stores[ANNA].file.at(0)[0].vectors[0].tobytes()
    assert vector_bytes in points_path(tmp_path).read_bytes()
    index.delete(ANNA, [secret.id])
    assert vector_bytes not in points_path(tmp_path).read_bytes()


@pytest.mark.parametrize(
    "break_it",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: damage(path, 0),
        lambda path: damage(path, 8 * layout.FORMAT_AT),
        lambda path: damage(path, 8 * layout.COUNT_AT, (10**6).to_bytes(8, "little")),
        lambda path: path.with_name("labels").unlink(),
        lambda path: path.with_name("labels").write_bytes(b"nonsense\n"),
    ],
)
def test_a_damaged_file_is_removed_and_can_be_filled_again(index: LocalIndex, tmp_path: Path, break_it: Any) -> None:
    index.upsert(ANNA, [point(1)])
    break_it(points_path(tmp_path))
    reopened = LocalIndex(tmp_path, "c", DIMENSION)
    again = point(1)
    reopened.delete(ANNA, [again.id])
    reopened.upsert(ANNA, [again])
    assert ids(reopened) == [again.id]


def test_a_full_disk_is_an_outage_and_no_crash(index: LocalIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    index.upsert(ANNA, points(random_vectors(60)))

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(IndexUnavailable, match="No space left"):
            index.upsert(ANNA, points(random_vectors(60)))
    assert len(ids(index)) == 60
    index.upsert(ANNA, points(random_vectors(60)))
    assert len(ids(index)) == 120


def test_points_are_stored_and_deleted_although_a_full_disk_prevents_compaction(
    index: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, *others = points(random_vectors(60))
    index.upsert(ANNA, [kept, *others])

    def full(descriptor: int, start: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "COMPACT_AFTER_ROWS", 0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        index.delete(ANNA, [point.id for point in others])
        index.upsert(ANNA, [point(1, id=kept.id, version=2)])
    assert dict(index.scan(ANNA)) == {kept.id: 2}
    assert {path.name for path in points_path(tmp_path).parent.iterdir()} == {"points", "labels"}
    index.upsert(ANNA, [point(1, id=kept.id, version=3)])
    assert index._stores[ANNA].file.count == 1


def test_the_draft_of_a_killed_process_is_not_taken_for_a_tenant(index: LocalIndex, tmp_path: Path) -> None:
    index.upsert(ANNA, [point(1)])
    draft = tmp_path / "c" / "collection.12345-140000000000000"
    draft.touch()
    assert len(draft.name) == len(ANNA.hex)
    assert index.tenants_but([]) == {ANNA}


def test_only_the_owner_can_read_the_files(index: LocalIndex, tmp_path: Path) -> None:
    index.upsert(ANNA, [point(1)])
    assert [path for path in (tmp_path / "c").rglob("[!c]*") if path.stat().st_mode & 0o077] == []


def test_a_tenant_whose_points_are_being_restored_is_unavailable_and_not_half_empty(
    index: LocalIndex, other: LocalIndex
) -> None:
    with index.rebuilding(ANNA):
        index.upsert(ANNA, [point(1)])
        assert not other.is_intact(ANNA)
        with pytest.raises(IndexUnavailable, match="being rebuilt"):
            ids(other)
    assert len(ids(other)) == 1
    with index.rebuilding(ANNA):  # nothing is lost
        assert len(ids(other)) == 1


def test_a_restoration_that_was_killed_is_not_taken_for_complete(index: LocalIndex, other: LocalIndex) -> None:
    def killed() -> None:
        with index.rebuilding(ANNA):
            index.upsert(ANNA, [point(1)])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert not other.is_intact(ANNA)
    with other.rebuilding(ANNA):
        pass
    assert other.is_intact(ANNA)
    assert len(ids(index)) == 1


def test_points_that_have_been_compared_with_the_database_are_intact_until_the_machine_restarts(
    index: LocalIndex, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    index.upsert(ANNA, [point(1)])  # the index cannot know whether the database contains others
    assert not index.is_intact(ANNA)
    with index.rebuilding(ANNA):
        pass
    assert index.is_intact(ANNA)
    request.getfixturevalue("restarted")
    reopened = LocalIndex(tmp_path, "c", DIMENSION)
    reopened.upsert(ANNA, [point(1)])  # verifies the file
    assert not reopened.is_intact(ANNA)


def test_compacted_points_remain_intact(index: LocalIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "COMPACT_AFTER_ROWS", 0)
    many = points(random_vectors(20))
    index.upsert(ANNA, many)
    with index.rebuilding(ANNA):
        pass
    index.delete(ANNA, [point.id for point in many[1:]])
    assert index._stores[ANNA].file.count == 1
    assert index.is_intact(ANNA)


# -- bounds ----------------------------------------------------------------------------------------------------------


def test_dead_rows_are_removed_when_they_are_many(
    index: LocalIndex, other: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "COMPACT_AFTER_ROWS", 50)
    kept = points(random_vectors(40))
    index.upsert(ANNA, kept)
    assert len(ids(other)) == 40
    for _ in range(20):
        some = points(random_vectors(40))
        index.upsert(ANNA, some)
        index.delete(ANNA, [p.id for p in some])
    assert set(ids(other)) == {p.id for p in kept}
    assert other._stores[ANNA].file.count < 200
    other.upsert(ANNA, [point(1, id=kept[0].id, version=2)])
    assert dict(index.scan(ANNA))[kept[0].id] == 2


def test_more_tenants_than_can_be_open_are_all_found(index: LocalIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_MAPPED_CHUNKS", 6)
    tenants = {uuid4(): point(1) for _ in range(20)}
    for tenant, own in tenants.items():
        index.upsert(tenant, [own])
    assert all(ids(index, tenant) == [own.id] for tenant, own in tenants.items())
    assert len(index._stores) <= 3


def test_rows_are_found_again_after_sorting(index: LocalIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_finder, "SORT_AFTER_ROWS", 20)
    all_points = points(random_vectors(300))
    for start in range(0, 300, 7):
        index.upsert(ANNA, all_points[start : start + 7])
    same_half = [point(1, id=UUID(int=n << 64 | 5)) for n in range(1, 50)]
    index.upsert(ANNA, same_half)
    index.delete(ANNA, [p.id for p in all_points[::2]] + [p.id for p in same_half[::2]])
    assert {id_ for id_, _ in index.scan(ANNA)} == {p.id for p in all_points[1::2] + same_half[1::2]}


@pytest.mark.parametrize("threads", [1, 3])
def test_the_lowest_ids_are_kept_of_too_many_equal_vectors(
    index: LocalIndex, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr(scan, "SHARED_FROM", 0)
    monkeypatch.setattr(scan, "_SHARES", threads)
    monkeypatch.setattr(scan, "MAX_CANDIDATES", 20)
    same = [point(1, 1) for _ in range(300)]
    index.upsert(ANNA, [point(1), *same])
    lowest = sorted((p.id for p in same), key=lambda id_: id_.hex)[:5]
    assert [hit.id for hit in index.search(ANNA, vector(1, 1), EVERYWHERE, 5)] == lowest


# -- exactness -------------------------------------------------------------------------------------------------------


def language() -> Vector:
    words = (ROOT / "docs" / "architecture.md").read_text().split()
    texts = [" ".join(words[start : start + 12]) for start in range(0, len(words) - 12, 3)]
    return np.asarray(embeddings.made("wordllama").embed(texts), np.float32)


def clusters() -> Vector:
    """Neighbours that differ by less than the precision of the codes."""
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((10, 128)).astype(np.float32)
    return np.repeat(centres, 300, axis=0) + rng.standard_normal((3000, 128)).astype(np.float32) * np.float32(0.01)


def spikes() -> Vector:
    """Vectors with one number that is so large that the codes of the other numbers are coarse."""
    rows = np.random.default_rng(6).standard_normal((3000, 64)).astype(np.float32)
    rows[np.arange(3000), np.arange(3000) % 64] += np.float32(30)
    return rows


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("make", [language, clusters, spikes])
def test_the_results_are_those_of_an_exact_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any, threads: int
) -> None:
    monkeypatch.setattr(scan, "SHARED_FROM", 0)
    monkeypatch.setattr(scan, "_SHARES", threads)
    vectors = make()
    index = LocalIndex(tmp_path, "c", vectors.shape[1])
    all_points = points(vectors)
    index.upsert(ANNA, all_points)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    number = {p.id: n for n, p in enumerate(all_points)}
    for query in unit[:: len(unit) // 20]:
        exact = unit @ query
        hits = index.search(ANNA, query, EVERYWHERE, 50)
        assert [hit.similarity for hit in hits] == pytest.approx(np.sort(exact)[::-1][:50], abs=2e-6)
        assert [hit.similarity for hit in hits] == pytest.approx([exact[number[hit.id]] for hit in hits], abs=2e-6)


NAMESPACES = tuple(f"n{number}" for number in range(8))
_numbers = strategies.integers(-3, 3)
_ids = strategies.integers(1, 40)


class Model(RuleBasedStateMachine):
    """The index, opened three times on the same files, compared with a dictionary."""

    @initialize(folder=strategies.builds(uuid4))
    def open(self, folder: UUID) -> None:
        self.folder = self.base / folder.hex
        self.indexes = [LocalIndex(self.folder, "c", 4) for _ in range(3)]
        self.held: dict[UUID, dict[int, Point]] = {ANNA: {}, BERT: {}}

    base: Path

    @rule(
        which=strategies.integers(0, 2),
        tenant=strategies.sampled_from([ANNA, BERT]),
        rows=strategies.lists(
            strategies.tuples(_ids, strategies.integers(1, 5), strategies.sampled_from(NAMESPACES), _numbers, _numbers),
            max_size=12,
        ),
    )
    def upsert(self, which: int, tenant: UUID, rows: list[tuple[int, int, str, int, int]]) -> None:
        new = [
            Point(UUID(int=id_), version, namespace, "episodic", np.array([a, b, 1, 0], np.float32))
            for id_, version, namespace, a, b in {row[0]: row for row in rows}.values()
        ]
        self.indexes[which].upsert(tenant, new)
        for one in new:
            if one.id.int not in self.held[tenant] or self.held[tenant][one.id.int].version <= one.version:
                self.held[tenant][one.id.int] = one

    @rule(which=strategies.integers(0, 2), tenant=strategies.sampled_from([ANNA, BERT]), some=strategies.sets(_ids))
    def delete(self, which: int, tenant: UUID, some: set[int]) -> None:
        self.indexes[which].delete(tenant, [UUID(int=id_) for id_ in some])
        for id_ in some:
            self.held[tenant].pop(id_, None)

    @rule(which=strategies.integers(0, 2), tenant=strategies.sampled_from([ANNA, BERT]))
    def drop(self, which: int, tenant: UUID) -> None:
        self.indexes[which].drop_tenant(tenant)
        self.held[tenant] = {}

    @rule(which=strategies.integers(0, 2))
    def close(self, which: int) -> None:
        self.indexes[which].close()

    @rule(
        which=strategies.integers(0, 2),
        tenant=strategies.sampled_from([ANNA, BERT]),
        namespaces=strategies.sets(strategies.sampled_from(NAMESPACES), min_size=1),
        limit=strategies.integers(1, 50),
        a=_numbers,
    )
    def search(self, which: int, tenant: UUID, namespaces: set[str], limit: int, a: int) -> None:
        query = np.array([a, 1, 1, 0], np.float32)
        hits = self.indexes[which].search(tenant, query, Where(tuple(namespaces)), limit)
        expected = [
            (-round(float(_cosine(one.vector, query)), 4), one.id)
            for one in self.held[tenant].values()
            if one.namespace in namespaces
        ]
        assert [(-round(hit.similarity, 4), hit.id) for hit in hits] == sorted(expected)[:limit]

    @invariant()
    def same_points(self) -> None:
        for tenant, held in getattr(self, "held", {}).items():
            expected = sorted((one.id, one.version) for one in held.values())
            assert all(sorted(index.scan(tenant)) == expected for index in self.indexes)


def _cosine(one: Vector, other: Vector) -> float:
    wide, wider = one.astype(np.float64), other.astype(np.float64)
    return float(wide @ wider / np.linalg.norm(wide) / np.linalg.norm(wider))


@pytest.fixture
def _small_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "COMPACT_AFTER_ROWS", 30)
    monkeypatch.setattr(row_finder, "SORT_AFTER_ROWS", 10)
    monkeypatch.setattr(Model, "base", tmp_path, raising=False)


@pytest.mark.usefixtures("_small_files")
def test_the_index_holds_what_a_dictionary_would_hold() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(Model, settings=settings(max_examples=30, stateful_step_count=30, deadline=None))


def test_making_an_index_neither_imports_the_engine_nor_touches_the_disk(tmp_path: Path) -> None:
    LocalIndex(tmp_path / "none", "c", DIMENSION).close()
    assert not (tmp_path / "none").exists()
