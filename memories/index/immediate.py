"""Index memories in the request that writes them, right after the commit, if that takes well under a millisecond.

This requires an embedder in this process, an index that is not remote, and `SOMA_INDEXER=thread` (with `celery`, the
workers index memories). The vector is written with the outbox row. The row stays due until a thread in this process
records that the memory is in the index, together with many others in one transaction. If the process ends before that,
the drain finds that the row is due, and indexes the memory again.

Requests may write to the index in any order: the index keeps the point with the highest version. If a memory has
changed by the time its row is settled, the drain indexes it again or, if it has been deleted, removes its point.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import numpy as np
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from memories import embeddings, index
from memories.embeddings.base import Vectors
from memories.index import generations, notify
from memories.index.base import Point, as_float32, usable
from memories.models import EmbeddingGeneration, Memory, VectorEmbedding
from somamemory.errors import SomaError
from somamemory.scheduling import periodic, scheduler
from somamemory.telemetry import metrics

log = logging.getLogger("soma.index")

SETTLE = "memories.settle"
# How long the drain ignores the rows of memories that a request has indexed. They are usually settled by then.
GRACE = timedelta(seconds=2)
GATHER_S = 0.1  # memories indexed within this time are settled together
BATCH = 10_000  # with smaller batches, settling falls behind if several clients store many memories
MAX_UNSETTLED = 100_000  # the maximum number of memories to settle; if there are more, the drain indexes the rest again


@dataclass(frozen=True, slots=True)
class StoredVector:
    """A memory's vector, as stored in its outbox row.

    generation: the generation that was active when the vector was computed or supplied.
    text_hash: the hash of the text that was embedded; None if the caller supplied the vector.
    at_once: whether this process indexes the memory right after the commit.
    """

    generation: EmbeddingGeneration
    numbers: Vectors = field(repr=False)
    text_hash: bytes | None = None
    at_once: bool = False

    def fits(self, generation: EmbeddingGeneration) -> bool:
        """Return whether the vector can be stored in this generation.

        If not, another generation has become active since the vector was computed, or since its length was checked.
        """
        return len(self.numbers) == generation.dimension and generations.alike(self.generation, generation)


Buffer = bytes | memoryview
Unsettled = dict[tuple[UUID, UUID, UUID], int]  # the version by (generation id, tenant id, memory id)


class _Pending:
    """Versions that this process has written to the index but not yet recorded as indexed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: Unsettled = {}

    def add(self, new: Unsettled) -> None:
        with self._lock:
            for key, version in new.items():
                if len(self._versions) < MAX_UNSETTLED:
                    self._versions[key] = max(version, self._versions.get(key, 0))

    def take(self) -> Unsettled:
        with self._lock:
            taken, self._versions = self._versions, {}
        return taken


_pending = _Pending()


def applies(generation: EmbeddingGeneration) -> bool:
    """Return whether this process indexes memories itself. It does so only if it also settles their rows."""
    return scheduler.runs(SETTLE) and embeddings.of(generation).in_process and not index.of(generation).remote


def embedded(texts: Sequence[str], own: Sequence[Vectors | None]) -> list[StoredVector | None]:
    """Return a vector (or None) for each text: the caller's own or, if memories are indexed immediately, a new one."""
    generation = generations.active()
    at_once = applies(generation)
    vectors = [
        None if vector is None else StoredVector(generation, as_float32(vector), at_once=at_once) for vector in own
    ]
    missing = [at for at, vector in enumerate(vectors) if vector is None and texts[at].strip()] if at_once else []
    if not missing:
        return vectors
    made = embeddings.of(generation).embed([texts[at] for at in missing])
    for at, numbers in zip(missing, made, strict=True):
        if usable(numbers):
            vectors[at] = StoredVector(generation, numbers, hash_of(texts[at]), at_once)
    return vectors


def kept(own: bool, vector: Buffer | None, text_hash: Buffer | None, text: str) -> Vectors | None:
    """Return an outbox row's vector if it is still valid, otherwise None.

    It is valid if the caller supplied it (`own`), or if it was computed from `text`, the text to be embedded now.
    """
    if vector is None or (not own and bytes(text_hash or b"") != hash_of(text)):
        return None
    numbers = np.frombuffer(vector, dtype="<f4")
    return numbers if usable(numbers) else None


def hash_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def index_after_commit(memories: Iterable[Memory], vectors: Mapping[UUID, StoredVector | None]) -> bool:
    """Index these memories of one tenant after the commit. Return False if the drain has to index some of them."""
    generation = generations.active()
    known = [(memory, vectors.get(memory.id)) for memory in memories]
    ready = [
        (memory, vector.numbers)
        for memory, vector in known
        if vector is not None and vector.at_once and vector.fits(generation)
    ]
    if ready:
        transaction.on_commit(partial(_index, generation, ready))
    return len(ready) == len(known)


def _index(generation: EmbeddingGeneration, ready: Sequence[tuple[Memory, Vectors]]) -> None:
    tenant = ready[0][0].tenant_id
    try:
        index.of(generation).upsert(tenant, [point(memory, numbers) for memory, numbers in ready])
    except SomaError as error:  # the rows are due soon, so the drain will retry
        log.warning("memories are waiting to be indexed", extra={"reason": str(error), "rows": len(ready)})
        return
    for memory, _ in ready:
        vars(memory).update(indexed_version=memory.version, index_due_at=None, index_attempts=0)
    _pending.add({(generation.id, tenant, memory.id): memory.version for memory, _ in ready})
    scheduler.wake(SETTLE)


def point(memory: Memory, numbers: Vectors) -> Point:
    return Point(memory.id, memory.version, memory.namespace, memory.memory_type, numbers)


@periodic(
    SETTLE,
    every_s=lambda: 60.0,
    thread="settle",
    in_process=lambda: settings.INDEXER == "thread",
    in_beat=False,
    at_stop=True,
)
def settle() -> None:
    """Record as indexed the memories that this process has written to the index."""
    time.sleep(GATHER_S)
    taken = _pending.take()
    done: set[tuple[UUID, UUID, UUID]] = set()
    try:
        for start in range(0, len(taken), BATCH):
            batch = dict(sorted(taken.items())[start : start + BATCH])
            _settle(batch)
            done.update(batch)
    finally:
        _pending.add({key: version for key, version in taken.items() if key not in done})


def _settle(batch: Unsettled) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            generation, tenant, memory = zip(*batch, strict=True)
            cursor.execute(_SETTLE_MANY, [list(generation), list(tenant), list(memory), list(batch.values())])
        else:
            cursor.executemany(_SETTLE_ONE, [(*(id.hex for id in key), version) for key, version in batch.items()])
        settled = cursor.rowcount
    metrics.indexed.labels("settled").inc(settled)
    if settled < len(batch):
        _index_again(batch)


def _index_again(batch: Unsettled) -> None:
    """Queue memories that have changed since they were written to the index, and remove purged ones from it.

    The remaining rows are skipped: they are leased or locked, so other workers or writers will process them.
    """
    rows: Any = VectorEmbedding.all_tenants  # see `outbox.rows_of`
    stored = rows.filter(memory_id__among=[id for _, _, id in batch]).values_list(
        "generation_id", "tenant_id", "memory_id", "wanted_version", "id"
    )
    found = {(generation, tenant, memory): (version, row) for generation, tenant, memory, version, row in stored}
    changed = [row for key, (version, row) in found.items() if batch.get(key, version) != version]
    with transaction.atomic():
        # A row that is locked now is being changed by a writer, which will make the row due.
        free = rows.filter(id__among=changed).select_for_update(skip_locked=True).values_list("id", flat=True)
        rows.filter(id__among=list(free)).update(due_at=timezone.now())
    purged: defaultdict[tuple[UUID, UUID], list[UUID]] = defaultdict(list)
    for generation, tenant, memory in batch.keys() - found.keys():
        purged[generation, tenant].append(memory)
    written = {generation.id: generation for generation in generations.written()}
    for (generation, tenant), ids in purged.items():
        if generation in written:
            index.of(written[generation]).delete(tenant, ids)
    notify.on_commit()


# If a memory has an expiry time, its row becomes due again at that time, so that the memory is removed from the index.
_SETTLED = """
    indexed_version = wanted_version, attempts = 0, error = '',
    due_at = (SELECT expires_at FROM sfm_memories WHERE sfm_memories.id = memory_id)
"""
_SETTLE_ONE = f"""
    UPDATE sfm_vector_embeddings SET {_SETTLED}
    WHERE generation_id = %s AND tenant_id = %s AND memory_id = %s AND wanted_version = %s AND lease IS NULL
"""  # noqa: S608 - contains no values
# Rows that a writer has locked are skipped, because waiting for them could cause a deadlock with a writer that locks
# many rows.
_SETTLE_MANY = f"""
    WITH free AS (
        SELECT row.id FROM sfm_vector_embeddings AS row
        JOIN unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::integer[])
        AS done (generation_id, tenant_id, memory_id, version) USING (tenant_id, generation_id, memory_id)
        WHERE row.wanted_version = done.version AND row.lease IS NULL
        FOR UPDATE OF row SKIP LOCKED
    )
    UPDATE sfm_vector_embeddings AS row SET {_SETTLED} FROM free WHERE row.id = free.id
"""  # noqa: S608
