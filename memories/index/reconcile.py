"""Compare the index with the database, by id and version, and repair the differences: the `reconcile` job.

The database is read before the index, and every difference is checked again afterwards, so a concurrent change is not
reported as a difference. Memories that await indexing are not reported either, because a worker will process them.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

import numpy as np
from django.conf import settings
from django.db.models import F, QuerySet
from django.utils import timezone

from memories import index
from memories.index import generations, immediate, notify, outbox
from memories.index.base import Point
from memories.models import EmbeddingGeneration, Job, Memory, VectorEmbedding, has_passed
from somamemory.errors import NotFound
from tenants.models import Tenant

log = logging.getLogger("soma.index")

MISSING, STALE, ORPHANED = "missing", "stale", "orphaned"
KINDS = (MISSING, STALE, ORPHANED)
EXAMPLES = 5
PART = 8_000  # the approximate number of memories compared at a time
STEP_S = 5.0


@dataclass
class Report:
    """The number of differences of each kind, with a few examples ("tenant/id").

    checked: the number of memories that were compared.
    pending: the number of memories that workers have yet to process.
    """

    checked: int = 0
    pending: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    examples: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    collections: list[str] = field(default_factory=list)  # collections whose generations no longer exist

    @property
    def different(self) -> bool:
        return bool(self.collections or any(self.counts.values()))

    def note(self, kind: str, tenant: UUID, ids: Iterable[UUID]) -> None:
        for id in ids:
            self.counts[kind] += 1
            if len(self.examples[kind]) < EXAMPLES:
                self.examples[kind].append(f"{tenant}/{id}")


@dataclass(frozen=True)
class _Row:
    wanted: int
    indexed: int | None
    due: bool


@dataclass(frozen=True)
class _Known:
    """What the database contains for an id: the outbox row, the memory's version, and whether it should be indexed."""

    row: _Row | None
    version: int | None  # None if the memory no longer exists
    live: bool

    def difference(self, held: int | None) -> str | None:
        """Return how the index differs from the database, or None if they agree or the row is waiting to be indexed.

        held: the version in the index, or None if it does not contain the memory.
        """
        if self.row is None:
            return MISSING if self.live else ORPHANED if held is not None else None
        if self.row.due:
            return None
        if self.live and self.row.wanted != self.version:
            return STALE
        expected = self.row.indexed if self.live else None
        if held == expected:
            return None
        return ORPHANED if expected is None else MISSING if held is None else STALE


NOTHING = _Known(None, None, False)


def repair_all(*, only_lost: bool = False) -> Report:
    """Repair the index for all tenants. Runs every night and when an embedded server starts.

    Raises IndexUnavailable if the index does not respond.

    only_lost: leave out tenants whose points cannot have been lost. Comparing a million memories takes half a minute.

    Draining the outbox does not detect losses in the index itself. They can occur after a power cut, because the local
    engine does not sync each write to disk, or if its folder has been deleted or replaced with an older copy. Unknown
    collections may belong to another installation with the same prefix, so only an operator's `reconcile --repair`
    deletes them.

    The order of tenants and of their parts is random, so that runs that are cut short by a Celery worker's time limit
    leave out different memories.
    """
    report, generation = Report(), generations.active()
    find_points_of_removed_tenants(generation, report, repair=True)
    for tenant in Tenant.objects.order_by("?").values_list("id", flat=True).iterator():
        if not (only_lost and index.of(generation).is_intact(tenant)):
            of_tenant(generation, tenant, report, repair=True)
    if report.different:
        log.warning(
            "the index differed from the database; the differences have been queued for repair",
            extra=dict(report.counts),
        )
    return report


def step(job: Job) -> bool:
    """Compare some of the job's memories, and return whether it has finished."""
    generation = generations.active()
    report = Report(**job.data.get("report", {}))
    only, repair = job.data.get("tenant"), job.data.get("repair", False)
    if only and not Tenant.objects.filter(slug=only).exists():
        raise NotFound(f"tenant '{only}' does not exist")
    tenants = Tenant.objects.filter(**({"slug": only} if only else {})).order_by("id")
    if job.total is None:
        job.total = _memories(generation, tenants)
    until = time.monotonic() + STEP_S
    left = tenants.filter(id__gt=job.data["after"]) if "after" in job.data else tenants
    over = True
    for tenant in left.values_list("id", flat=True):
        if _step_of_tenant(job, generation, tenant, report, until):
            job.data["after"] = str(tenant)
        job.data["report"] = asdict(report)
        if time.monotonic() > until:
            over = False
            break
    if over:
        if not only:
            find_points_of_removed_tenants(generation, report, repair=repair)
            find_unknown_collections(report, repair=repair)
        job.data["report"] = asdict(report)
        job.done = job.total = report.checked
    return over


def _step_of_tenant(job: Job, generation: EmbeddingGeneration, tenant: UUID, report: Report, until: float) -> bool:
    """Continue comparing a tenant, and return whether it has finished.

    A comparison that restores lost points is not interrupted, because only a complete one marks the tenant's points as
    intact.
    """
    target = index.of(generation)
    can_pause = target.remote or target.is_intact(tenant)
    paused = job.data.pop("paused", None)
    last = paused["part"] if can_pause and paused and paused["tenant"] == str(tenant) else None
    parts = _parts(generation, tenant, after=last)
    for part in _compared(generation, tenant, parts, report, repair=job.data.get("repair", False)):
        job.done = report.checked
        job.renew()
        if can_pause and time.monotonic() > until:
            job.data["paused"] = {"tenant": str(tenant), "part": part}
            return False
    return True


def of_tenant(generation: EmbeddingGeneration, tenant: UUID, report: Report, *, repair: bool) -> None:
    """Compare one tenant's memories."""
    parts = _parts(generation, tenant)
    random.shuffle(parts)
    for _ in _compared(generation, tenant, parts, report, repair=repair):
        pass


def _parts(generation: EmbeddingGeneration, tenant: UUID, *, after: str | None = None) -> list[str]:
    """Divide the tenant's memories into parts by the first digits of their ids, so that memory use is bounded.

    Returns the digits of each part.
    after: the last part that has already been compared. Only later parts are returned.
    """
    if after is not None:
        digits, start = len(after), int(after or "0", 16) + 1
    else:
        count = VectorEmbedding.all_tenants.filter(generation=generation, tenant_id=tenant).count()
        digits = start = 0
        while count > PART * 16**digits:
            digits += 1
    return [f"{number:0{digits}x}" if digits else "" for number in range(start, 16**digits)]


def _compared(
    generation: EmbeddingGeneration, tenant: UUID, parts: Sequence[str], report: Report, *, repair: bool
) -> Iterator[str]:
    """Compare parts of a tenant's memories, and yield each part after its comparison."""
    rows = VectorEmbedding.all_tenants.filter(generation=generation, tenant_id=tenant)
    with index.of(generation).rebuilding(tenant) if repair and rows.exists() else nullcontext():
        for part in parts:
            _part(generation, tenant, part, report, repair)
            yield part


def find_points_of_removed_tenants(generation: EmbeddingGeneration, report: Report, *, repair: bool) -> None:
    """Report the points of tenants that no longer exist and, if `repair`, delete them."""
    target = index.of(generation)
    known = list(Tenant.objects.values_list("id", flat=True))
    while found := target.tenants_but(known):
        created = set(Tenant.objects.filter(id__among=list(found)).values_list("id", flat=True))  # in the meantime
        known += created
        for tenant in sorted(found - created):
            report.note(ORPHANED, tenant, (id for id, _ in target.scan(tenant)))
            if repair:
                target.drop_tenant(tenant)
            known.append(tenant)


def find_unknown_collections(report: Report, *, repair: bool) -> None:
    """Report the collections whose generations no longer exist and, if `repair`, delete them."""
    target = index.of(generations.active())
    ours = re.compile(rf"{re.escape(settings.MILVUS_PREFIX)}_[0-9a-f]{{12}}")
    names = {name for name in target.collections() if ours.fullmatch(name)}
    # Generations are read after the collections, because a generation is recorded before its collection is created.
    gone = names - set(EmbeddingGeneration.objects.values_list("collection", flat=True))
    for name in sorted(gone):
        report.collections.append(name)
        if repair:
            target.drop_other(name)


def _part(generation: EmbeddingGeneration, tenant: UUID, prefix: str, report: Report, repair: bool) -> None:
    low, high = UUID(prefix.ljust(32, "0")), UUID(prefix.ljust(32, "f"))
    rows = outbox.rows_of(generation).filter(tenant_id=tenant, memory_id__gte=low, memory_id__lte=high)
    memories = Memory.all_tenants.filter(id__gte=low, id__lte=high)
    known = _known(tenant, rows, memories)
    held = dict(index.of(generation).scan(tenant, prefix))
    report.checked += len(known)
    report.pending += sum(state.row is not None and state.row.due for state in known.values())
    suspects = {
        id: kind
        for id in known.keys() | held.keys()
        if (kind := known.get(id, NOTHING).difference(held.get(id))) is not None
    }
    if not suspects:
        return
    ids = list(suspects)
    now_known: dict[UUID, _Known] = {}
    for start in range(0, len(ids), outbox.BATCH):
        some = ids[start : start + outbox.BATCH]
        rows = outbox.rows_of(generation).filter(tenant_id=tenant, memory_id__among=some)
        now_known |= _known(tenant, rows, Memory.all_tenants.filter(id__among=some))
    # Report only memories whose state in the database is still the same. The others have been written or indexed in the
    # meantime.
    certain = {id: now_known.get(id, NOTHING) for id in ids if now_known.get(id, NOTHING) == known.get(id, NOTHING)}
    for kind in KINDS:
        report.note(kind, tenant, (id for id in certain if suspects[id] == kind))
    if repair:
        _repair(generation, tenant, certain, held)


def _repair(generation: EmbeddingGeneration, tenant: UUID, wrong: dict[UUID, _Known], held: dict[UUID, int]) -> None:
    """Repair the differences: put points back into the index, or queue the memories for indexing.

    A point is deleted only if its memory no longer exists, or if its version is higher than the memory's, which can
    happen after a backup has been restored. (An engine never replaces a point with a lower version.)
    """
    unknown = [id for id, state in wrong.items() if state.row is None and state.version is None]
    later = [id for id, state in wrong.items() if state.version is not None and held.get(id, 0) > state.version]
    index.of(generation).delete(tenant, unknown + later)
    restored = _restored(generation, tenant, [id for id in wrong if id not in held])
    wrong = {id: state for id, state in wrong.items() if id not in restored}
    outbox.mark(
        generation, [(id, tenant, state.version) for id, state in wrong.items() if state.live and state.version]
    )
    with_row = [id for id, state in wrong.items() if state.row is not None]
    for start in range(0, len(with_row), outbox.BATCH):
        some = with_row[start : start + outbox.BATCH]
        outbox.rows_of(generation).filter(tenant_id=tenant, memory_id__among=some).update(
            due_at=timezone.now(), attempts=0
        )
    notify.on_commit()


def _restored(generation: EmbeddingGeneration, tenant: UUID, ids: list[UUID]) -> set[UUID]:
    """Put missing points back into a local index with the vectors in the database, and return their ids.

    This takes only seconds even if the index has lost all of its files. Memories that have changed since they were
    indexed, or that have no vector, are left to the workers.
    """
    target, restored = index.of(generation), set[UUID]()
    if target.remote:
        return restored
    for start in range(0, len(ids), outbox.BATCH):
        rows = outbox.rows_of(generation).filter(
            tenant_id=tenant,
            memory_id__among=ids[start : start + outbox.BATCH],
            vector__isnull=False,
            indexed_version=F("memory__version"),
            memory__deleted_at=None,
            memory__archived_at=None,
        )
        columns = ("memory_id", "indexed_version", "memory__namespace", "memory__memory_type", "vector")
        points = [
            Point(id, version, namespace, memory_type, np.frombuffer(vector, "<f4"))
            for id, version, namespace, memory_type, vector in rows.values_list(*columns)
        ]
        target.upsert(tenant, points)
        restored.update(point.id for point in points)
    return restored


def _known(tenant: UUID, rows: Any, memories: QuerySet[Memory]) -> dict[UUID, _Known]:
    now = timezone.now()
    soon = now + immediate.GRACE  # rows whose vectors are already in the index will be due by then
    found_rows = {
        id: _Row(wanted, indexed, due_at is not None and (due_at <= soon or attempts > 0))
        for id, wanted, indexed, due_at, attempts in rows.values_list(
            "memory_id", "wanted_version", "indexed_version", "due_at", "attempts"
        )
    }
    found: dict[UUID, _Known] = {id: _Known(row, None, False) for id, row in found_rows.items()}
    columns = ("id", "version", "deleted_at", "expires_at", "archived_at")
    for id, version, deleted_at, expires_at, archived_at in memories.filter(tenant_id=tenant).values_list(*columns):
        live = deleted_at is None and archived_at is None and not has_passed(expires_at, now)
        found[id] = _Known(found_rows.get(id), version, live)
    return found


def _memories(generation: EmbeddingGeneration, tenants: QuerySet[Tenant]) -> int:
    return int(outbox.rows_of(generation).filter(tenant__in=tenants).count())
