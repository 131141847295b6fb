"""The vector index in the same PostgreSQL database as everything else, with the pgvector extension.

Every call uses the calling thread's own database connection. Row-level security, read replicas and transactions
therefore work without any further code, and another web process or server sees a vector as soon as it is stored.

In small namespaces, a search compares every vector, so its results are exact. Each large namespace has an approximate
index (see `nearest`), whose candidates are then compared exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar
from uuid import UUID

import orjson
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from memories.index.base import ANY_VERSION, Hit, Ids, Point, Vector, Where, checked_limit, listed, unit_vector
from memories.index.pgvector import upkeep
from memories.index.pgvector.nearest import Nearest
from memories.index.pgvector.table import Table, translating_errors
from somamemory.db import replicas, vector_tables

T = TypeVar("T")

ROWS_PER_STATEMENT = 500
DELETED_AT_ONCE = 5_000
SCAN_PAGE_ROWS = 10_000

# The points are sorted, here and for deletions, so that two statements that write the same points cannot deadlock.
_UPSERT = """
INSERT INTO {table} AS old (tenant_id, memory_id, namespace, memory_type, version, vector)
SELECT %s, id, namespace, memory_type, version, vector::vector
FROM unnest(%s::uuid[], %s::bytea[], %s::text[], %s::bigint[], %s::text[])
    AS new (id, namespace, memory_type, version, vector)
ORDER BY id
ON CONFLICT (tenant_id, memory_id) DO UPDATE
SET namespace = EXCLUDED.namespace, memory_type = EXCLUDED.memory_type, version = EXCLUDED.version,
    vector = EXCLUDED.vector
WHERE old.version <= EXCLUDED.version
"""
_DELETE = """
DELETE FROM {table} AS old USING unnest(%s::uuid[], %s::bigint[]) AS gone (id, version)
WHERE old.tenant_id = %s AND old.memory_id = gone.id AND old.version <= gone.version
"""


class PgvectorIndex:
    """A `VectorIndex` stored in one table of the default database.

    Any call raises `ConfigurationError` if the database lacks the extension.
    """

    remote = False

    def __init__(self, collection: str, dimension: int) -> None:
        self._table = Table(collection, dimension)
        self._nearest = Nearest(self._table)

    def upsert(self, tenant: UUID, points: Sequence[Point]) -> None:
        latest = {point.id: point for point in points}
        rows = [
            (
                point.id,
                point.namespace.encode(),
                point.memory_type,
                point.version,
                _text(unit_vector(point.vector, self._table.dimension)),
            )
            for point in latest.values()
        ]
        self._table.prepare()
        for batch in _batches(rows, ROWS_PER_STATEMENT):
            columns = [list(column) for column in zip(*batch, strict=True)]
            _write(self._sql(_UPSERT), [tenant, *columns])

    def search(
        self, tenant: UUID, vector: Vector, where: Where, limit: int, *, fresh: bool = False, hasty: bool = False
    ) -> list[Hit]:
        checked_limit(limit)
        query = _text(unit_vector(vector, self._table.dimension))
        if not self._table.exists():
            return []
        connection = _connection(fresh)
        with translating_errors("search"):
            rows = self._nearest.search(connection, tenant, query, where, limit)
        return _hits(rows, limit)

    def nearest_of(self, tenant: UUID, ids: Ids, vector: Vector, limit: int) -> list[Hit]:
        checked_limit(limit)
        query = _text(unit_vector(vector, self._table.dimension))
        if not self._table.exists():
            return []
        statement = self._sql(
            "SELECT memory_id, -(vector <#> %s::vector) FROM {table} WHERE tenant_id = %s AND memory_id = ANY (%s)"
        )
        with _connection(False).cursor() as cursor, translating_errors("search"):
            cursor.execute(statement, [query, tenant, listed(ids)])
            return _hits(cursor.fetchall(), limit)

    def delete(self, tenant: UUID, ids: Sequence[UUID], versions: Sequence[int] | None = None) -> None:
        if ids and self._table.exists():
            points = sorted(zip(ids, versions or [ANY_VERSION] * len(ids), strict=True))
            for batch in _batches(points, DELETED_AT_ONCE):
                _write(self._sql(_DELETE), [*map(list, zip(*batch, strict=True)), tenant])

    def drop_tenant(self, tenant: UUID) -> None:
        """Delete the tenant's rows in batches, so that no statement exceeds its timeout."""
        statement = self._sql(
            "DELETE FROM {table} WHERE tenant_id = %s AND memory_id = ANY "
            "(ARRAY(SELECT memory_id FROM {table} WHERE tenant_id = %s LIMIT %s))"
        )
        if self._table.exists():
            while _write(statement, [tenant, tenant, DELETED_AT_ONCE]):
                pass

    def scan(self, tenant: UUID, prefix: str = "") -> Iterator[tuple[UUID, int]]:
        if not self._table.exists():
            return
        statement = self._sql(
            "SELECT memory_id, version FROM {table} WHERE tenant_id = %s AND memory_id BETWEEN %s AND %s "
            "ORDER BY memory_id LIMIT %s"
        )
        low, high = int(prefix.ljust(32, "0"), 16), int(prefix.ljust(32, "f"), 16)
        while low <= high:
            page = _read(statement, [tenant, UUID(int=low), UUID(int=high), SCAN_PAGE_ROWS])
            yield from ((id, version) for id, version in page)
            low = page[-1][0].int + 1 if len(page) == SCAN_PAGE_ROWS else high + 1

    def is_intact(self, tenant: UUID) -> bool:
        """Return whether the tenant has points. PostgreSQL cannot lose points without losing the memories as well."""
        return self._table.exists() and bool(
            _read(self._sql("SELECT 1 FROM {table} WHERE tenant_id = %s LIMIT 1"), [tenant])
        )

    def rebuilding(self, tenant: UUID) -> AbstractContextManager[None]:
        return nullcontext()

    def tenants_but(self, known: Sequence[UUID]) -> set[UUID]:
        if not self._table.exists():
            return set()
        statement = self._sql("SELECT DISTINCT tenant_id FROM {table} WHERE tenant_id <> ALL (%s) LIMIT 1000")
        return {tenant for (tenant,) in _read(statement, [list(known)])}

    def collections(self) -> list[str]:
        return [name.removeprefix(vector_tables.PREFIX) for name in vector_tables.names(connections[DEFAULT_DB_ALIAS])]

    def drop(self) -> None:
        _write(self._sql("DROP TABLE IF EXISTS {table}"), [])
        self._table.forget()

    def drop_other(self, collection: str) -> None:
        PgvectorIndex(collection, self._table.dimension).drop()

    def publish(self, alias: str) -> None:
        """Do nothing, because `sfm_embedding_generations`, in the same database, names the active collection."""

    def available(self) -> bool:
        """Return True, because if the outbox can be read, the index in the same database can be read as well."""
        return True

    def ping(self) -> None:
        self._table.prepare()
        _read(self._sql("SELECT 1 FROM {table} LIMIT 1"), [])

    def maintain(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Create approximate indexes for large namespaces, and remove obsolete ones."""
        if self._table.exists():
            upkeep.maintain(self._table, should_stop)
            self._nearest.forget()

    def close(self) -> None:
        """Do nothing, because the connection belongs to the calling thread."""

    def _sql(self, statement: str) -> str:
        return statement.format(table=connections[DEFAULT_DB_ALIAS].ops.quote_name(self._table.name))


def _connection(fresh: bool) -> BaseDatabaseWrapper:
    """Return the connection to search with: the primary's if `fresh`, otherwise possibly a replica's.

    A replica may lag behind.
    """
    return connections[DEFAULT_DB_ALIAS] if fresh else replicas.connection()


@translating_errors("read")
def _read(statement: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


@translating_errors("write")
def _write(statement: str, parameters: list[Any]) -> int:
    """Run a statement and return the number of rows that it changed."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)


def _text(vector: Vector) -> str:
    return orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def _batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _hits(rows: Sequence[tuple[UUID, float]], limit: int) -> list[Hit]:
    # Round to six digits, the precision of float32.
    hits = [Hit(id.hex, round(min(1.0, max(-1.0, similarity)), 6)) for id, similarity in rows]
    return sorted(hits, key=lambda hit: (-hit.similarity, hit.digits))[:limit]
