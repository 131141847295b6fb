"""Lease, read and settle outbox rows, for the drain. Each operation takes one statement, or a few on SQLite."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.db import connection
from django.utils import timezone

from memories.large_rows import SMALL
from memories.models import EmbeddingGeneration, Memory, VectorEmbedding
from somamemory.db.rows import Columns, hexadecimal, id_parameter, one_of

_ROWS = Columns(VectorEmbedding)
_LEASED = Columns(VectorEmbedding, frozenset({"vector", "text_hash", "own"}))
# The payload is read separately, because the payloads of a batch of large memories would take up gigabytes.
_MEMORIES = Columns(Memory, frozenset({"payload", "metadata", "terms"}))


@dataclass(frozen=True, slots=True)
class Outcome:
    """The new state of a row, after its memory at `version` has been written to the index or removed from it.

    indexed_version: the version in the index, or None if the memory is not in it.
    due_at: when the row becomes due again, or None if it does not.
    vector, text_hash: the new values, or None to keep the current ones.
    """

    id: int
    version: int
    indexed_version: int | None
    due_at: datetime | None
    vector: bytes | None
    text_hash: bytes | None


def take(generation: EmbeddingGeneration, duration: timedelta, limit: int) -> list[VectorEmbedding]:
    """Lease up to `limit` due rows that no other worker or writer has locked, longest wait first."""
    now = timezone.now()
    lease, lease_until = id_parameter(uuid.uuid4()), _time(now + duration)
    due = [id_parameter(generation.id), _time(now), _time(now)]
    skipping = "FOR UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":  # an update would have to wait for other writers, even if nothing is due
            cursor.execute(f"SELECT EXISTS (SELECT 1 {_DUE})", due)
            if not cursor.fetchone()[0]:
                return []
        # The limit is part of the SQL text, because if it were a parameter, PostgreSQL would assume that it covers a
        # tenth of the rows.
        cursor.execute(
            f"WITH due AS (SELECT id {_DUE} ORDER BY due_at LIMIT {limit:d} {skipping}) "  # noqa: S608
            "UPDATE sfm_vector_embeddings SET lease = %s, lease_until = %s "
            f"WHERE id IN (SELECT id FROM due) RETURNING {_LEASED.sql('sfm_vector_embeddings')}",
            [*due, lease, lease_until],
        )
        return [_LEASED.instance(row) for row in cursor.fetchall()]


_DUE = """
    FROM sfm_vector_embeddings
    WHERE generation_id = %s AND due_at <= %s AND (lease_until IS NULL OR lease_until < %s)
"""


def read(ids: Sequence[int], largest: int = SMALL) -> Iterator[VectorEmbedding]:
    """Yield each row with its memory, both read in the same statement.

    Rows whose memories have been purged are left out. Large memories are read one at a time, after the others.
    """
    condition, parameter = one_of("row.id", ids)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_ROWS.sql('row')}, {_MEMORIES.sql('memory')}, "  # noqa: S608 - contains no values
            "CASE WHEN memory.size <= %s THEN memory.payload END FROM sfm_vector_embeddings AS row "
            f"JOIN sfm_memories AS memory ON memory.id = row.memory_id WHERE {condition}",
            [largest, parameter],
        )
        found = cursor.fetchall()
    large = []
    for values in found:
        row, memory = _ROWS.instance(values[: len(_ROWS)]), _MEMORIES.instance(values[len(_ROWS) : -1])
        if values[-1] is None:
            large.append(row.id)
            continue
        row.memory, memory.payload = memory, orjson.loads(values[-1])
        yield row
    for id in large:
        yield from read([id], sys.maxsize)


def held(ids: Sequence[int], lease: uuid.UUID | None, until: datetime) -> set[int]:
    """Return the ids of the rows that still have this lease, if it lasts beyond `until`."""
    condition, parameter = one_of("id", ids)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id FROM sfm_vector_embeddings WHERE {condition} AND lease = %s AND lease_until > %s",  # noqa: S608
            [parameter, lease and id_parameter(lease), _time(until)],
        )
        return {row[0] for row in cursor.fetchall()}


def settle(outcomes: Sequence[Outcome], lease: uuid.UUID | None) -> set[int]:
    """Mark as done the rows whose memories are still at the outcomes' versions, and return the ids of these rows.

    On SQLite, this must be called in a transaction. On PostgreSQL, rows that a writer has locked are skipped, because
    waiting for them could cause a deadlock with a writer that locks many rows.
    """
    if not outcomes or lease is None:
        return set()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_SETTLE_MANY, [orjson.dumps([_document(row) for row in outcomes]).decode(), lease])
            return {row[0] for row in cursor.fetchall()}
        unchanged = _unchanged(outcomes, lease)
        cursor.executemany(_SETTLE_ONE, [_parameters(row) for row in outcomes if row.id in unchanged])
        return unchanged


def _unchanged(outcomes: Sequence[Outcome], lease: uuid.UUID) -> set[int]:
    versions = {row.id: row.version for row in outcomes}
    condition, parameter = one_of("id", list(versions))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id, wanted_version FROM sfm_vector_embeddings WHERE {condition} AND lease = %s",  # noqa: S608
            [parameter, id_parameter(lease)],
        )
        return {id for id, version in cursor.fetchall() if versions[id] == version}


def _document(row: Outcome) -> dict[str, object]:
    return {
        "id": row.id,
        "version": row.version,
        "indexed_version": row.indexed_version,
        "due_at": row.due_at,
        "vector": hexadecimal(row.vector),
        "text_hash": hexadecimal(row.text_hash),
    }


def _parameters(row: Outcome) -> tuple[Any, ...]:
    return row.vector, row.text_hash, row.indexed_version, _time(row.due_at), row.id


def _time(time: datetime | None) -> Any:
    return connection.ops.adapt_datetimefield_value(time)


_SETTLE_ONE = """
    UPDATE sfm_vector_embeddings
    SET vector = COALESCE(%s, vector), text_hash = COALESCE(%s, text_hash), indexed_version = %s, due_at = %s,
        lease = NULL, lease_until = NULL, attempts = 0, error = ''
    WHERE id = %s
"""
_SETTLE_MANY = """
    WITH done AS (
        SELECT * FROM json_to_recordset(%s::json) AS done (
            id bigint, version integer, indexed_version integer, due_at timestamptz, vector bytea, text_hash bytea
        )
    ), free AS (
        SELECT row.id FROM sfm_vector_embeddings AS row JOIN done USING (id)
        WHERE row.lease = %s AND row.wanted_version = done.version FOR UPDATE OF row SKIP LOCKED
    )
    UPDATE sfm_vector_embeddings AS row
    SET vector = COALESCE(done.vector, row.vector), text_hash = COALESCE(done.text_hash, row.text_hash),
        indexed_version = done.indexed_version, due_at = done.due_at,
        lease = NULL, lease_until = NULL, attempts = 0, error = ''
    FROM done JOIN free USING (id) WHERE row.id = done.id RETURNING row.id
"""
