"""The outbox: rows that mark memories whose index entries are out of date.

A writer calls `enqueue` for the memories it has changed, within its own transaction. `fill` and `mark` repair the
outbox: `fill` finds memories that have no row or whose row is older than the memory, and `mark` makes memories due.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import OuterRef, Subquery
from django.utils import timezone

from memories.index import generations, immediate, notify
from memories.index.immediate import StoredVector
from memories.models import EmbeddingGeneration, Memory, VectorEmbedding, has_passed
from memories.search import analyzer
from somamemory.db.rows import Part, Table, Values, id_parameter

BATCH = 1000
Known = Mapping[UUID, StoredVector | None]  # vectors by memory id

_ROWS = Table(VectorEmbedding)
_KEY = ("tenant_id", "generation_id", "memory_id")


def enqueue(memories: Sequence[Memory], vectors: Known | None = None, *, replaced: bool = False) -> None:
    """Queue these memories for indexing, and reset the backoff after earlier failures.

    vectors: the vectors that are already known, by memory id.
    replaced: whether the memories have been replaced as a whole, which makes vectors that callers supplied earlier
      obsolete.
    """
    again = ["wanted_version", "due_at", "attempts", "error"]
    # If `own` is reset, a vector that a caller supplied earlier no longer applies, because it has no text_hash.
    if replaced:
        again = [*again, "own"]
    rows = [row for part in parts(memories, vectors or {}) for row in part.rows]
    _ROWS.upsert([row for row in rows if row["vector"] is None], _KEY, again)
    _ROWS.upsert([row for row in rows if row["vector"] is not None], _KEY, [*again, "vector", "text_hash"])
    on_commit(memories, vectors or {})


def parts(memories: Sequence[Memory], vectors: Known) -> list[Part]:
    """Return the rows that `enqueue` would write for new memories, for a statement that also writes the memories."""
    active, *others = generations.written()
    return [
        Part(_ROWS, _rows(active, memories, vectors)),
        *[Part(_ROWS, _rows(generation, memories, vectors, at_once=False)) for generation in others],
    ]


def on_commit(memories: Sequence[Memory], vectors: Known) -> None:
    """After the commit, index the memories in this process if possible, and notify the drain if any are left."""
    if not immediate.index_after_commit(memories, vectors) or len(generations.written()) > 1:
        notify.on_commit()


def vector_of_changed(memory: Memory, text: str) -> Known:
    """Return the vector of a memory whose text may have changed; empty if this process does not index memories itself.

    The stored vector is kept if a caller supplied it or if the text to be embedded has not changed.
    """
    generation = generations.active()
    if not immediate.applies(generation):
        return {}
    to_embed = analyzer.embedding_text(text, memory.context)
    own, vector, text_hash = _stored_vector(generation, memory)
    kept = immediate.kept(own, vector, text_hash, to_embed)
    if kept is None:
        return {memory.id: immediate.embedded([to_embed], [None])[0]}
    return {memory.id: StoredVector(generation, kept, None if own else text_hash, at_once=True)}


def _stored_vector(generation: EmbeddingGeneration, memory: Memory) -> tuple[bool, bytes | None, bytes | None]:
    """Return whether a caller supplied the memory's vector, the vector itself, and the hash of the embedded text."""
    key = [id_parameter(id) for id in (memory.tenant_id, generation.id, memory.id)]
    with connection.cursor() as cursor:
        cursor.execute(_STORED_VECTOR, key)
        row: tuple[bool, bytes | None, bytes | None] | None = cursor.fetchone()
    return row or (False, None, None)


_STORED_VECTOR = """
    SELECT own, vector, text_hash FROM sfm_vector_embeddings
    WHERE tenant_id = %s AND generation_id = %s AND memory_id = %s
"""


def _rows(
    generation: EmbeddingGeneration, memories: Sequence[Memory], vectors: Known, *, at_once: bool = True
) -> list[Values]:
    """Return the rows of these memories in a generation, with the vectors that fit it.

    at_once: if a memory is about to be indexed by this process, make its row due a little later.
    """
    now = timezone.now()
    return [
        {
            "tenant_id": memory.tenant_id,
            "generation_id": generation.id,
            "memory_id": memory.id,
            "wanted_version": memory.version,
            "due_at": now + immediate.GRACE if at_once and vector is not None and vector.at_once else now,
            "own": vector is not None and vector.text_hash is None,
            "vector": None if vector is None else vector.numbers.tobytes(),
            "text_hash": None if vector is None else vector.text_hash,
        }
        for memory in memories
        for known in [vectors.get(memory.id)]
        for vector in [known if known is not None and known.fits(generation) else None]
    ]


def fill(
    generation: EmbeddingGeneration, after: int, source: EmbeddingGeneration | None = None, *, all_vectors: bool = False
) -> tuple[int | None, int]:
    """Create or update missing and outdated rows for the next `BATCH` memories whose `seq` is greater than `after`.

    source: the generation to copy vectors from, if its vectors can be compared with those of `generation`. Only the
    vectors supplied by callers are copied, unless `all_vectors` is set.

    Returns (the last `seq`, the number of rows that were missing or outdated). After the last batch, the former is
    None. The last batch is the first one that is not full, so the pass ends even while memories are being added.
    """
    columns = ("seq", "id", "tenant_id", "version", "deleted_at", "expires_at")
    batch = list(Memory.all_tenants.filter(seq__gt=after).order_by("seq").values_list(*columns)[:BATCH])
    if not batch:
        return None, 0
    now = timezone.now()
    rows = rows_of(generation).filter(memory_id__among=[row[1] for row in batch])
    known: dict[UUID, int] = dict(rows.values_list("memory_id", "wanted_version"))
    lacking = [
        (id, tenant, version)
        for _, id, tenant, version, deleted_at, expires_at in batch
        if (known[id] < version if id in known else deleted_at is None and not has_passed(expires_at, now))
    ]
    mark(generation, lacking, source, all_vectors=all_vectors)
    return batch[-1][0] if len(batch) == BATCH else None, len(lacking)


def rows_of(generation: EmbeddingGeneration | None) -> Any:
    """Return the rows of a generation.

    Typed as Any, because the type stubs mistake `memory_id` for an integer, although it is the memory's UUID.
    """
    return VectorEmbedding.all_tenants.filter(generation=generation)


def mark(
    generation: EmbeddingGeneration,
    memories: Sequence[tuple[UUID, UUID, int]],
    source: EmbeddingGeneration | None = None,
    *,
    all_vectors: bool = False,
) -> None:
    """Make these memories due, each given as (id, tenant, version). A concurrent writer takes precedence."""
    for start in range(0, len(memories), BATCH):  # in batches, because PostgreSQL accepts only 65,535 parameters
        _mark(generation, memories[start : start + BATCH], source, all_vectors)


def _mark(
    generation: EmbeddingGeneration,
    memories: Sequence[tuple[UUID, UUID, int]],
    source: EmbeddingGeneration | None,
    all_vectors: bool,
) -> None:
    now, ids = timezone.now(), [id for id, _, _ in memories]
    kept = _vectors(source, ids, all_vectors) if _comparable(source, generation) else {}
    new = []
    for id, tenant, version in memories:
        vector, text_hash, own = kept.get(id, (None, None, False))
        new.append(
            VectorEmbedding(
                tenant_id=tenant,
                generation=generation,
                memory_id=id,
                wanted_version=version,
                due_at=now,
                vector=vector,
                text_hash=text_hash,
                own=own,
            )
        )
    VectorEmbedding.all_tenants.bulk_create(new, ignore_conflicts=True)
    # Update the rows that already existed, if they are outdated. The version is read again, because the memory may have
    # changed in the meantime.
    version_now = Memory.all_tenants.filter(id=OuterRef("memory_id")).values("version")
    rows_of(generation).filter(memory_id__among=ids, wanted_version__lt=Subquery(version_now)).update(
        wanted_version=Subquery(version_now), due_at=now, attempts=0
    )


def _comparable(source: EmbeddingGeneration | None, generation: EmbeddingGeneration) -> bool:
    return source is not None and generations.alike(source, generation)


def _vectors(
    source: EmbeddingGeneration | None, ids: Sequence[UUID], all_vectors: bool
) -> dict[UUID, tuple[bytes, bytes | None, bool]]:
    rows = rows_of(source).filter(memory_id__among=ids, vector__isnull=False)
    if not all_vectors:
        rows = rows.filter(own=True)
    return {
        id: (bytes(vector), bytes(text_hash) if text_hash else None, own)
        for id, vector, text_hash, own in rows.values_list("memory_id", "vector", "text_hash", "own")
    }
