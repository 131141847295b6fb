"""Drain the outbox: bring the vector index up to date with the database.

1. Lease some due rows, so that no other worker processes the same memories.
2. Read the *current* state of each memory, whatever the reason for queueing the row.
3. Embed the memories whose text has changed (with no transaction open), then upsert them into the index or delete them
   from it.
4. Mark a row as done only if its memory has not changed since; otherwise the row stays due.

After a crash at any point, the rows are still due, and every step can run again. Any number of workers can drain the
outbox at the same time.
"""

from __future__ import annotations

import logging
import random
import uuid
from collections import defaultdict
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from memories import embeddings, index, payloads
from memories.embeddings.base import Vectors
from memories.index import generations, immediate, outbox_leases
from memories.index.base import ANY_VERSION, Point, usable
from memories.index.outbox_leases import Outcome
from memories.models import EmbeddingGeneration, Memory, VectorEmbedding
from memories.search import analyzer
from somamemory import failpoints
from somamemory.db import leases
from somamemory.errors import EmbedderRefused, SomaError, Unavailable
from somamemory.telemetry import metrics

log = logging.getLogger("soma.index")

BATCH = 256
LEASE = timedelta(seconds=settings.INDEX_LEASE_S)
MAX_BACKOFF_S = 300
_MAX_ATTEMPTS = 30_000  # close to the maximum value of the column `attempts`
_ERROR_LENGTH = 500


@dataclass
class _Job:
    """A leased row, the state of its memory, and the result of processing it."""

    row: VectorEmbedding
    memory: Memory | None  # None if the memory has been purged
    text: str = ""
    vector: Vectors | None = None
    is_kept: bool = False  # whether the vector comes from the row, so it need not be stored there again
    error: str = ""

    @property
    def absent(self) -> bool:
        """Return whether the memory must not be in the index, because it is purged, archived or has no vector."""
        return self.memory is None or self.vector is None or self.memory.archived_at is not None

    @property
    def text_hash(self) -> bytes | None:
        return None if self.row.own or self.vector is None else immediate.hash_of(self.text)


def drain(limit: int = BATCH) -> int:
    """Process up to `limit` due rows of each generation, and return how many there were.

    Does not raise an error if a later call may succeed.
    """
    return sum(_drain(generation, limit) for generation in generations.in_use())


def _drain(generation: EmbeddingGeneration, limit: int) -> int:
    # An outage must not count as a failed attempt for each row. Otherwise, the rows would wait longer than necessary
    # once the engine is available again.
    if not index.of(generation).available():
        return 0
    rows = _take(generation, limit)
    if not rows:
        return 0
    lease = rows[0].lease
    failpoints.reach("drain.leased")
    jobs = _read(generation, rows)
    failpoints.reach("drain.read")
    _embed(generation, jobs)
    failpoints.reach("drain.embedded")
    without_vector = [job for job in jobs if job.error]
    writing = _still_leased([job for job in jobs if not job.error], lease)
    failpoints.reach("drain.confirmed")
    try:
        _write(generation, writing)
    except SomaError as error:
        for job in writing:
            job.error = str(error)
    failpoints.reach("drain.written")
    _finish(writing + without_vector, lease)
    failpoints.reach("drain.settled")
    return len(rows)


def release_leases() -> int:
    """Make every postponed or leased row due immediately.

    This is safe only if there is a single worker and it has just started.
    """
    return (
        VectorEmbedding.all_tenants.filter(due_at__isnull=False)
        .filter(Q(attempts__gt=0) | Q(lease_until__isnull=False))
        .update(due_at=timezone.now(), **leases.RELEASED)
    )


def backlog() -> int:
    """Return the number of rows that are due."""
    return VectorEmbedding.all_tenants.filter(due_at__lte=timezone.now()).count()


def _take(generation: EmbeddingGeneration, limit: int) -> list[VectorEmbedding]:
    return outbox_leases.take(generation, LEASE, limit)


def _read(generation: EmbeddingGeneration, rows: list[VectorEmbedding]) -> list[_Job]:
    """Return one job per row, with the current state of the row's memory.

    Deleted and expired memories have no text and no vector. A single statement reads the memory and its row, so that
    both are consistent: a vector that a caller supplies after the row has been leased must not be overlooked.
    """
    now = timezone.now()
    jobs = {row.id: _job(generation, row, now) for row in outbox_leases.read([row.id for row in rows])}
    return [jobs.get(leased.id) or _Job(leased, None) for leased in rows]


def _job(generation: EmbeddingGeneration, row: VectorEmbedding, now: datetime) -> _Job:
    job = _Job(row, row.memory)
    if row.memory.deleted_at is None and not row.memory.has_expired(now):
        job.text = analyzer.embedding_text(payloads.text_of(row.memory.payload), row.memory.context)
        kept = immediate.kept(row.own, row.vector, row.text_hash, job.text)
        if kept is not None and (row.own or len(kept) == generation.dimension):  # otherwise, embed the text again
            job.vector, job.is_kept = kept, True
    row.memory.payload = {}  # frees it, because the payloads of a batch of large memories would take up gigabytes
    return job


def _embed(generation: EmbeddingGeneration, jobs: list[_Job]) -> None:
    """Set the vector of each job that has text but no vector, or record why embedding failed."""
    wanting = [job for job in jobs if job.text.strip() and job.vector is None and not job.row.own]
    if not wanting:
        return
    try:
        failpoints.reach("call.embedder")
        vectors = embeddings.of(generation).embed([job.text for job in wanting])
    except EmbedderRefused as error:
        if len(wanting) > 1:  # one bad text makes the whole batch fail, so bisect to find it
            middle = len(wanting) // 2
            _embed(generation, wanting[:middle])
            _embed(generation, wanting[middle:])
        else:
            wanting[0].error = str(error)
    except Unavailable as error:
        for job in wanting:  # the other jobs are deletions, or already have a vector
            job.error = str(error)
    else:
        for job, vector in zip(wanting, vectors, strict=True):
            job.vector = vector if usable(vector) else None


def _still_leased(jobs: list[_Job], lease: uuid.UUID | None) -> list[_Job]:
    """Return the jobs whose leases will last long enough for their memories to be written to the index.

    Embedding may have taken longer than expected, and without a lease, an old version could overwrite a newer one that
    another worker has written. The other rows will be processed again when their leases have expired. If the embedder
    is remote, their vectors will be in the cache by then.
    """
    kept = outbox_leases.held([job.row.id for job in jobs], lease, timezone.now() + LEASE / 2) if jobs else set()
    return [job for job in jobs if job.row.id in kept]


def _write(generation: EmbeddingGeneration, jobs: Iterable[_Job]) -> None:
    """Write the memories to the index, or delete them from it, and record which vectors do not fit the index."""
    target = index.of(generation)
    points: dict[uuid.UUID, list[Point]] = defaultdict(list)
    gone: dict[uuid.UUID, dict[uuid.UUID, int]] = defaultdict(dict)  # versions by id, by tenant
    for job in jobs:
        if job.absent or job.memory is None or job.vector is None:
            # A request may have stored and indexed a later version in the meantime.
            gone[job.row.tenant_id][job.row.memory_id] = job.memory.version if job.memory else ANY_VERSION
        elif len(job.vector) != generation.dimension:
            numbers = f"{len(job.vector)} numbers instead of {generation.dimension}"
            job.error = f"the memory's vector has {numbers}; store the memory again"
        else:
            memory = job.memory
            points[memory.tenant_id].append(immediate.point(memory, job.vector))
    for tenant, new in points.items():
        target.upsert(tenant, new)
    for tenant, old in gone.items():
        target.delete(tenant, list(old), list(old.values()))


def _finish(jobs: list[_Job], lease: uuid.UUID | None) -> None:
    """Record the outcome of each job and release its row. If all jobs succeeded, this takes a single statement.

    Rows that a writer has locked are processed last, each in its own transaction. A transaction that holds locks on
    some rows while it waits for others could deadlock with a writer that locks many rows.
    """
    left = _settle(jobs, lease)
    if not left:
        return
    rows = VectorEmbedding.all_tenants.filter(id__among=[job.row.id for job in left], lease=lease)
    with transaction.atomic():
        free = set(rows.select_for_update(skip_locked=True).values_list("id", flat=True))
        _record([job for job in left if job.row.id in free], lease)
    for job in left:
        if job.row.id not in free:
            with transaction.atomic():
                _settle([job], lease)
                _record([job], lease)


def _settle(jobs: list[_Job], lease: uuid.UUID | None) -> list[_Job]:
    """Mark the rows of successful jobs as done, unless their memories have changed since. Return the other jobs."""
    outcomes = [_outcome(job.row, job.memory, job) for job in jobs if job.memory and not job.error]
    with transaction.atomic() if connection.vendor == "sqlite" else nullcontext():
        settled = outbox_leases.settle(outcomes, lease)
    metrics.indexed.labels("settled").inc(len(settled))
    return [job for job in jobs if job.row.id not in settled]


def _record(jobs: list[_Job], lease: uuid.UUID | None) -> None:
    """Postpone the rows of failed jobs, and delete those of purged memories.

    Rows of memories that have changed in the meantime stay due.
    """
    # The version is compared, because if the same memory has been stored again, the writer has updated its row.
    purged = [(job.row.id, _uuid_parameter(lease), job.row.wanted_version) for job in jobs if _is_done(job)]
    failed = [job for job in jobs if job.error]
    metrics.indexed.labels("settled").inc(len(purged))
    metrics.indexed.labels("failed").inc(len(failed))
    if failed:
        log.warning("memories are waiting to be indexed", extra={"reason": failed[0].error, "rows": len(failed)})
    with connection.cursor() as cursor:
        if failed:
            cursor.executemany(_POSTPONE, [_postponed(job, lease) for job in failed])
        if purged:
            cursor.executemany(_FORGET, purged)
    VectorEmbedding.all_tenants.filter(id__among=[job.row.id for job in jobs], lease=lease).update(
        due_at=timezone.now(), **leases.RELEASED
    )


def _is_done(job: _Job) -> bool:
    """Return whether the memory has been removed from both the database and the index."""
    return job.memory is None and not job.error


_FORGET = "DELETE FROM sfm_vector_embeddings WHERE id = %s AND lease = %s AND wanted_version = %s"


def _outcome(row: VectorEmbedding, memory: Memory, job: _Job) -> Outcome:
    return Outcome(
        row.id,
        memory.version,
        None if job.absent else memory.version,
        # If a memory has an expiry time, its row becomes due again at that time, so that it is removed from the index.
        None if job.absent else memory.expires_at,
        # The row of a deleted memory keeps its vector, so that the memory can be restored without being embedded again.
        None if job.is_kept else _bytes(job.vector),
        None if job.is_kept else job.text_hash,
    )


# Retry later, with a longer delay after each attempt.
_POSTPONE = """
    UPDATE sfm_vector_embeddings
    SET attempts = %s, due_at = %s, error = %s, lease = NULL, lease_until = NULL
    WHERE id = %s AND lease = %s AND wanted_version = %s
"""


def _postponed(job: _Job, lease: uuid.UUID | None) -> tuple[Any, ...]:
    attempts = min(job.row.attempts + 1, _MAX_ATTEMPTS)
    pause_s = min(2 ** min(attempts, 10), MAX_BACKOFF_S) * random.uniform(0.5, 1.0)
    return (
        attempts,
        connection.ops.adapt_datetimefield_value(timezone.now() + timedelta(seconds=pause_s)),
        job.error[:_ERROR_LENGTH],
        job.row.id,
        _uuid_parameter(lease),
        job.row.wanted_version,
    )


def _uuid_parameter(value: uuid.UUID | None) -> Any:
    return value if connection.features.has_native_uuid_field else value and value.hex


def _bytes(vector: Vectors | None) -> bytes | None:
    return None if vector is None else vector.astype("<f4").tobytes()
