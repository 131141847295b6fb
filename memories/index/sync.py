"""The drain: brings the vector index up to what the database says.

1. Lease some due rows, so that no other drain works on the same memories.
2. Read each memory as it is *now*; what the row was queued for does not matter.
3. Embed what has changed (no transaction is open), then upsert into, or delete from, the index.
4. Settle a row only if the memory has not moved on meanwhile; otherwise it stays due.

Dying anywhere leaves the rows due; each step may be repeated. Any number of drains may run side by side.
"""

from __future__ import annotations

import hashlib
import logging
import random
import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from memories import embeddings, index, payloads
from memories.embeddings.base import Vectors
from memories.index import generations
from memories.index.base import Point, usable
from memories.models import EmbeddingGeneration, Memory, VectorEmbedding
from memories.search import text
from somamemory.errors import EmbedderRefused, Unavailable

log = logging.getLogger("soma.index")

BATCH = 256
# Far longer than the deadlines of one batch (embedder, index) together, so that a live drain never loses its lease.
LEASE = timedelta(minutes=5)
MAX_BACKOFF_S = 300
# From this many attempts on, a row counts as failed; it is still tried again.
FAILED_ATTEMPTS = 3
_ERROR_LENGTH = 500


@dataclass
class _Job:
    """One leased row and what became of it."""

    row: VectorEmbedding
    memory: Memory | None  # None: purged
    text: str = ""
    vector: Vectors | None = None
    error: str = ""

    @property
    def absent(self) -> bool:
        """The index must hold nothing for this memory."""
        return self.memory is None or self.vector is None

    @property
    def text_hash(self) -> bytes | None:
        return None if self.row.own or self.vector is None else _hash(self.text)


def drain(limit: int = BATCH) -> int:
    """Do up to `limit` due rows; how many there were. Raises nothing that a later call could mend."""
    generation = generations.active()
    lease = uuid.uuid4()
    rows = _lease(generation, lease, limit)
    if not rows:
        return 0
    jobs = _read(rows)
    try:
        _embed(generation, jobs)
        done = [job for job in jobs if not job.error]
        _write(generation, done)
    except Unavailable as error:
        log.warning("the index could not be brought up to date", extra={"reason": str(error), "rows": len(rows)})
        _postpone(jobs, lease, str(error))
        return len(rows)
    _settle(done, lease)
    _postpone([job for job in jobs if job.error], lease)
    return len(rows)


def release_leases() -> int:
    """Make every postponed or leased row due at once; for a lone drain that has just started."""
    return (
        VectorEmbedding.all_tenants.filter(due_at__isnull=False)
        .filter(Q(attempts__gt=0) | Q(lease_until__isnull=False))
        .update(due_at=timezone.now(), lease=None, lease_until=None)
    )


def backlog() -> int:
    """How many rows are due."""
    return VectorEmbedding.all_tenants.filter(due_at__lte=timezone.now()).count()


def _lease(generation: EmbeddingGeneration, lease: uuid.UUID, limit: int) -> list[VectorEmbedding]:
    now = timezone.now()
    with transaction.atomic():
        rows = list(
            VectorEmbedding.all_tenants.select_for_update(skip_locked=True)
            .filter(Q(lease_until=None) | Q(lease_until__lt=now), generation=generation, due_at__lte=now)
            .order_by("due_at")[:limit]
        )
        if rows:
            VectorEmbedding.all_tenants.filter(id__in=[row.id for row in rows]).update(
                lease=lease, lease_until=now + LEASE
            )
    return rows


def _read(rows: list[VectorEmbedding]) -> list[_Job]:
    """The memories as they are now; deleted and expired ones have no text and no vector."""
    now = timezone.now()
    memories = Memory.all_tenants.in_bulk([row.memory_id for row in rows], field_name="id")
    jobs = []
    for row in rows:
        job = _Job(row, memories.get(row.memory_id))
        if job.memory and job.memory.deleted_at is None and not _expired(job.memory, now):
            job.text = text.embedding_text(payloads.text_of(job.memory.payload), job.memory.context)
            job.vector = _kept_vector(job)
        elif job.memory:
            job.text = ""
        jobs.append(job)
    return jobs


def _kept_vector(job: _Job) -> Vectors | None:
    """The vector in the database, when it is the caller's own or was made from this very text."""
    row = job.row
    if row.vector is not None and (row.own or bytes(row.text_hash or b"") == _hash(job.text)):
        return np.frombuffer(row.vector, dtype="<f4")
    return None


def _embed(generation: EmbeddingGeneration, jobs: list[_Job]) -> None:
    """Give each job that has text but no vector its vector, or the reason why it cannot have one."""
    wanting = [job for job in jobs if job.vector is None and job.text.strip()]
    if not wanting:
        return
    try:
        vectors = embeddings.current().embed([job.text for job in wanting])
    except EmbedderRefused as error:
        if len(wanting) == 1:
            wanting[0].error = str(error)
            return
        for job in wanting:  # one text spoils the batch: find it, and let the others pass
            _embed(generation, [job])
        return
    for job, vector in zip(wanting, vectors, strict=True):
        job.vector = vector if usable(vector) else None


def _write(generation: EmbeddingGeneration, jobs: Iterable[_Job]) -> None:
    target = index.of(generation)
    points: dict[uuid.UUID, list[Point]] = defaultdict(list)
    gone: dict[uuid.UUID, list[uuid.UUID]] = defaultdict(list)
    for job in jobs:
        if job.memory is None or job.vector is None:
            gone[job.row.tenant_id].append(job.row.memory_id)
        else:
            memory = job.memory
            points[memory.tenant_id].append(
                Point(memory.id, memory.version, memory.namespace, memory.memory_type, job.vector)
            )
    for tenant, new in points.items():
        target.upsert(tenant, new)
    for tenant, old in gone.items():
        target.delete(tenant, old)


def _settle(jobs: list[_Job], lease: uuid.UUID) -> None:
    """Record what the index now holds; rows whose memory has moved on stay due."""
    kept = [job for job in jobs if job.memory is not None]
    purged = [job.row.id for job in jobs if job.memory is None]
    with transaction.atomic():
        if kept:
            with connection.cursor() as cursor:
                cursor.executemany(_SETTLE, [_settled(job, lease) for job in kept])
        if purged:
            VectorEmbedding.all_tenants.filter(id__in=purged, lease=lease).delete()
        VectorEmbedding.all_tenants.filter(id__in=[job.row.id for job in kept], lease=lease).update(
            lease=None, lease_until=None, due_at=timezone.now()
        )


# A statement of our own: each row gets another vector, and the condition must be checked as the row is written.
_SETTLE = """
    UPDATE sfm_vector_embeddings
    SET vector = %s, text_hash = %s, indexed_version = %s, due_at = %s,
        lease = NULL, lease_until = NULL, attempts = 0, error = ''
    WHERE id = %s AND lease = %s AND wanted_version = %s
"""


def _settled(job: _Job, lease: uuid.UUID) -> tuple[Any, ...]:
    memory, row, convert = job.memory, job.row, connection.ops
    assert memory is not None  # noqa: S101 - purged memories have no row to settle
    # A deleted memory keeps its vector: to restore it costs no embedding.
    vector = bytes(row.vector) if job.vector is None and row.vector else _bytes(job.vector)
    text_hash = bytes(row.text_hash) if job.vector is None and row.text_hash else job.text_hash
    # The row of a memory that will expire falls due then, and takes it out of the index.
    again = None if job.absent else memory.expires_at
    return (
        vector,
        text_hash,
        None if job.absent else memory.version,
        convert.adapt_datetimefield_value(again),
        row.id,
        lease.hex if not connection.features.has_native_uuid_field else lease,
        memory.version,
    )


def _postpone(jobs: list[_Job], lease: uuid.UUID, error: str = "") -> None:
    """Try these again later, each time after a longer pause."""
    for job in jobs:
        attempts = job.row.attempts + 1
        pause_s = min(2**attempts, MAX_BACKOFF_S) * random.uniform(0.5, 1.0)
        VectorEmbedding.all_tenants.filter(id=job.row.id, lease=lease).update(
            lease=None,
            lease_until=None,
            attempts=min(attempts, 30_000),
            due_at=timezone.now() + timedelta(seconds=pause_s),
            error=(job.error or error)[:_ERROR_LENGTH],
        )


def _expired(memory: Memory, now: datetime) -> bool:
    return memory.expires_at is not None and memory.expires_at <= now


def _hash(words: str) -> bytes:
    return hashlib.sha256(words.encode()).digest()


def _bytes(vector: Vectors | None) -> bytes | None:
    return None if vector is None else vector.astype("<f4").tobytes()
