"""Differences between the index and the database are found, reported and repaired. Pending work does not count."""

from __future__ import annotations

import shutil
import uuid
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.core.management import call_command
from django.utils import timezone

from memories import index
from memories.index import generations, immediate, reconcile
from memories.index.base import Point
from memories.index.local import layout, points_file
from memories.index.local.index import LocalIndex
from memories.index.reconcile import Report
from memories.models import EmbeddingGeneration, Job, Memory, VectorEmbedding
from operations import jobs
from somamemory.errors import Forbidden, IndexUnavailable
from tenants.caller import Caller
from tenants.models import Tenant
from tests.conftest import Api, drain


@pytest.fixture
def ids(api: Api) -> list[uuid.UUID]:
    """Six memories, indexed."""
    stored = [uuid.UUID(api.store(str(number), f"castle {number}")["id"]) for number in range(6)]
    drain()
    return stored


def compared(api: Api, *, repair: bool = False) -> Report:
    report = Report()
    reconcile.of_tenant(generations.active(), api.tenant.id, report, repair=repair)
    return report


def counts(api: Api, **more: Any) -> tuple[int, int, int]:
    report = compared(api, **more)
    return report.counts["missing"], report.counts["stale"], report.counts["orphaned"]


def point(id: uuid.UUID, version: int) -> Point:
    return Point(id, version, "default", "episodic", np.ones(256, dtype=np.float32))


def mended(api: Api) -> bool:
    """Return whether a repair and the following drain resolve all differences."""
    counts(api, repair=True)
    drain()
    return counts(api) == (0, 0, 0)


def test_an_index_that_has_caught_up_equals_the_database(api: Api, ids: list[uuid.UUID]) -> None:
    api.store("7", "")  # nothing to index
    api.store("8", "will go", ttl_seconds=3600)
    api.delete("/memories/3")
    drain()
    assert counts(api) == (0, 0, 0)


def test_a_memory_that_is_in_the_index_but_not_yet_recorded_as_indexed_is_no_difference(
    api: Api, ids: list[uuid.UUID]
) -> None:
    soon = timezone.now() + immediate.GRACE
    VectorEmbedding.objects.for_tenant(api.tenant).filter(memory_id=ids[0]).update(due_at=soon, indexed_version=None)
    assert counts(api) == (0, 0, 0)


def test_points_lost_by_the_index_are_missing(api: Api, ids: list[uuid.UUID]) -> None:
    index.of(generations.active()).delete(api.tenant.id, ids[:2])
    assert counts(api) == (2, 0, 0)
    assert mended(api)


def test_another_version_is_stale(api: Api, ids: list[uuid.UUID]) -> None:
    index.of(generations.active()).upsert(api.tenant.id, [point(ids[0], 9)])
    assert counts(api) == (0, 1, 0)
    assert mended(api)


def test_an_unknown_point_is_an_orphan(api: Api, ids: list[uuid.UUID]) -> None:
    index.of(generations.active()).upsert(api.tenant.id, [point(uuid.uuid4(), 1)])
    assert counts(api) == (0, 0, 1)
    assert mended(api)


def test_a_deleted_memory_that_the_index_kept_is_an_orphan(api: Api, ids: list[uuid.UUID]) -> None:
    api.delete("/memories/1")
    drain()
    index.of(generations.active()).upsert(api.tenant.id, [point(ids[1], 1)])
    assert counts(api) == (0, 0, 1)
    assert mended(api)


def test_a_memory_without_a_row_is_missing(api: Api, ids: list[uuid.UUID]) -> None:
    VectorEmbedding.objects.for_tenant(api.tenant).filter(memory_id__in=ids[:1]).delete()
    index.of(generations.active()).delete(api.tenant.id, ids[:1])
    assert counts(api) == (1, 0, 0)
    assert mended(api)


def test_a_row_without_the_latest_version_is_stale(api: Api, ids: list[uuid.UUID]) -> None:
    Memory.objects.for_tenant(api.tenant).filter(id=ids[0]).update(version=5)
    assert counts(api) == (0, 1, 0)
    assert mended(api)


def test_due_rows_are_pending_and_not_a_difference(api: Api, ids: list[uuid.UUID]) -> None:
    api.store("1", "changed")
    report = compared(api)
    assert report.pending == 1
    assert not report.different


def test_a_change_between_the_two_reads_is_not_a_difference(
    api: Api, ids: list[uuid.UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = index.of(generations.active())
    real = target.scan

    def meanwhile(*args: Any) -> Any:
        monkeypatch.setattr(target, "scan", real)
        api.store("1", "changed")
        api.store("99", "new")
        api.delete("/memories/2")
        drain()
        return real(*args)

    monkeypatch.setattr(target, "scan", meanwhile)
    assert counts(api) == (0, 0, 0)


def test_many_memories_are_compared_in_parts(api: Api, ids: list[uuid.UUID], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "PART", 2)
    index.of(generations.active()).delete(api.tenant.id, ids[:2])
    report = compared(api)
    assert (report.checked, report.counts["missing"]) == (6, 2)


def test_thousands_of_differences_are_repaired_at_once(api: Api) -> None:
    """There are more differences than a statement can have parameters."""
    for start in range(0, reconcile.PART, 1000):
        items = [{"coord": [number], "payload": {}} for number in range(start, start + 1000)]
        assert api.post("/memories/bulk", {"items": items}).status_code == 200
    rows = VectorEmbedding.objects.for_tenant(api.tenant)
    lost = set(rows.order_by("memory_id").values_list("memory_id", flat=True)[500:])
    rows.filter(memory_id__in=lost).delete()
    rows.update(due_at=None, indexed_version=1)

    assert counts(api, repair=True) == (reconcile.PART, 0, 0)

    assert rows.filter(due_at__isnull=False).count() == reconcile.PART


@pytest.fixture
def local(api: Api, ids: list[uuid.UUID]) -> LocalIndex:
    target = index.of(generations.active())
    if not isinstance(target, LocalIndex):
        pytest.skip("other engines store their data durably")
    return target


@pytest.fixture
def power_cut(api: Api, local: LocalIndex, monkeypatch: pytest.MonkeyPatch) -> LocalIndex:
    """The machine has restarted, and the last three rows had not been written to the disk."""
    store = local._opened(api.tenant.id)
    assert store is not None
    store.file._header[layout.COUNT_AT] = 3
    monkeypatch.setattr(points_file, "_BOOT", np.array([1, 2], np.uint64))
    local.close()
    return local


def test_rows_lost_in_a_power_cut_are_restored_even_if_a_request_comes_first(api: Api, power_cut: LocalIndex) -> None:
    api.search("castle")
    reconcile.repair_all(only_lost=True)
    assert counts(api) == (0, 0, 0)


def test_a_restoration_that_failed_is_repeated(
    api: Api, power_cut: LocalIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise IndexUnavailable("the files cannot be read")

    with monkeypatch.context() as patch:
        patch.setattr(reconcile, "_part", fail)
        with pytest.raises(IndexUnavailable):
            reconcile.repair_all(only_lost=True)
    reconcile.repair_all(only_lost=True)
    assert counts(api) == (0, 0, 0)


def test_runs_that_end_early_do_not_always_leave_out_the_same_tenants(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(generation: EmbeddingGeneration, tenant: uuid.UUID, *arguments: Any, **options: Any) -> None:
        reached.add(tenant)
        raise SoftTimeLimitExceeded

    reached: set[uuid.UUID] = set()
    Tenant.objects.create(slug="zebra")
    monkeypatch.setattr(reconcile, "of_tenant", end)
    for _ in range(100):
        with suppress(SoftTimeLimitExceeded):
            reconcile.repair_all()
    assert reached == set(Tenant.objects.values_list("id", flat=True))


def test_runs_that_end_early_do_not_always_leave_out_the_same_part_of_a_tenant(
    api: Api, ids: list[uuid.UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(generation: EmbeddingGeneration, tenant: uuid.UUID, prefix: str, *arguments: Any) -> None:
        reached.add(prefix)
        raise SoftTimeLimitExceeded

    reached: set[str] = set()
    monkeypatch.setattr(reconcile, "PART", 1)
    monkeypatch.setattr(reconcile, "_part", end)
    for _ in range(300):
        with suppress(SoftTimeLimitExceeded):
            reconcile.of_tenant(generations.active(), api.tenant.id, Report(), repair=True)
    assert reached == set("0123456789abcdef")


def test_a_job_continues_within_a_tenant(api: Api, ids: list[uuid.UUID], monkeypatch: pytest.MonkeyPatch) -> None:
    compare = reconcile._part
    parts: list[str] = []

    def compare_part(generation: EmbeddingGeneration, tenant: uuid.UUID, prefix: str, *arguments: Any) -> None:
        parts.append(prefix)
        compare(generation, tenant, prefix, *arguments)

    reconcile.repair_all()  # the tenant's index is then intact
    monkeypatch.setattr(reconcile, "PART", 1)
    monkeypatch.setattr(reconcile, "STEP_S", 0)
    monkeypatch.setattr(reconcile, "_part", compare_part)
    job = Job(kind=Job.Kind.RECONCILE, tenant=api.tenant, data={"tenant": api.tenant.slug, "repair": True})
    steps = 1
    while not reconcile.step(job):
        steps += 1
    assert parts == list("0123456789abcdef")
    assert steps > 16
    assert job.data["report"]["checked"] == 6


def test_a_lost_folder_is_restored_even_if_a_write_comes_first(api: Api, local: LocalIndex) -> None:
    local.close()
    shutil.rmtree(local._tenant_folder(api.tenant.id))
    api.store("7", "castle 7")
    drain()
    reconcile.repair_all(only_lost=True)
    assert counts(api) == (0, 0, 0)


def test_the_examples_name_tenant_and_memory(api: Api, ids: list[uuid.UUID]) -> None:
    index.of(generations.active()).delete(api.tenant.id, ids[:1])
    assert compared(api).examples["missing"] == [f"{api.tenant.id}/{ids[0]}"]


def test_points_of_a_removed_tenant_are_orphans_that_a_repair_removes(api: Api, ids: list[uuid.UUID]) -> None:
    target, nobody = index.of(generations.active()), uuid.uuid4()
    target.upsert(nobody, [point(uuid.uuid4(), 1), point(uuid.uuid4(), 1)])
    report = Report()
    reconcile.find_points_of_removed_tenants(generations.active(), report, repair=True)
    assert report.counts["orphaned"] >= 2
    report = Report()
    reconcile.find_points_of_removed_tenants(generations.active(), report, repair=False)
    assert not report.different
    assert list(target.scan(nobody)) == []


def test_the_points_of_a_tenant_created_during_the_comparison_are_kept(
    api: Api, ids: list[uuid.UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = index.of(generations.active())
    tenants_but = type(target).tenants_but

    def create_first(self: Any, known: list[uuid.UUID]) -> Any:
        new, is_new = Tenant.objects.get_or_create(slug="zebra")
        if is_new:
            self.upsert(new.id, [point(ids[0], 1)])
        return tenants_but(self, known)

    monkeypatch.setattr(type(target), "tenants_but", create_first)
    report = Report()
    reconcile.find_points_of_removed_tenants(generations.active(), report, repair=True)
    new = Tenant.objects.get(slug="zebra")
    assert dict(target.scan(new.id)) == {ids[0]: 1}
    target.drop_tenant(new.id)


@pytest.fixture
def gone(db: None, settings: Any) -> EmbeddingGeneration:
    """A generation that has a collection but no row."""
    settings.MILVUS_PREFIX = f"gone_{uuid.uuid4().hex[:6]}"
    generation = EmbeddingGeneration(dimension=8, collection=f"{settings.MILVUS_PREFIX}_{uuid.uuid4().hex[:12]}")
    index.of(generation).ping()
    return generation


def test_the_collection_of_a_removed_generation_is_a_leftover(gone: EmbeddingGeneration) -> None:
    report = Report()
    reconcile.find_unknown_collections(report, repair=True)
    assert report.collections == [gone.collection]
    report = Report()
    reconcile.find_unknown_collections(report, repair=False)
    assert not report.different


def test_no_collection_is_dropped_without_a_request(gone: EmbeddingGeneration) -> None:
    """The collection may belong to another installation with the same prefix."""
    reconcile.repair_all()
    assert gone.collection in index.of(generations.active()).collections()
    reconcile.find_unknown_collections(Report(), repair=True)


# --- The command ---------------------------------------------------------------------------------------------------


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    capsys.readouterr()
    try:
        call_command("reconcile", *arguments)
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    captured = capsys.readouterr()
    return code, captured.out + captured.err


@pytest.fixture
def _at_once(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run jobs immediately, because no server runs them in these tests."""
    Tenant.objects.get_or_create(slug="default")  # the tenant of the command
    monkeypatch.setattr("operations.management.watch_job.TAKEN_WITHIN_S", 0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_at_once")
def test_the_exit_code_distinguishes_equal_different_and_failed(
    api: Api, ids: list[uuid.UUID], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = ("--tenant", "acme")
    assert command(capsys, *acme)[0] == 0
    index.of(generations.active()).delete(api.tenant.id, ids[:2])
    code, output = command(capsys, *acme)
    assert code == 1
    assert "missing   2" in output
    assert str(ids[0]) in output
    assert command(capsys, *acme, "--repair")[0] == 1
    drain()
    assert command(capsys, *acme)[0] == 0
    code, output = command(capsys, "--tenant", "nobody")
    assert code == 2
    assert "tenant 'nobody' does not exist" in output

    def of(generation: Any) -> Any:
        raise IndexUnavailable("switched off")

    monkeypatch.setattr(index, "of", of)
    code, output = command(capsys)
    assert code == 2
    assert "switched off" in output


@pytest.mark.django_db(transaction=True)
def test_only_an_operator_may_ask_for_it_and_one_runs_at_a_time(api: Api, caller: Caller) -> None:
    with pytest.raises(Forbidden):
        jobs.start_reconcile(caller)
    first = jobs.start_reconcile(Caller.command(api.tenant))
    assert first.state == Job.State.QUEUED
