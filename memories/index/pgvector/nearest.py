"""Search a table's vectors: exactly in small namespaces, and with an approximate index in each large one.

Each large namespace has its own HNSW index (Malkov and Yashunin, arXiv 1603.09320). Each index covers one namespace of
one tenant, so no tenant or namespace can lose results to another.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from cachetools import TTLCache
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from memories.index.base import Where
from memories.index.pgvector.table import Table

# The number of candidates that a search of an approximate index considers, and the maximum that pgvector allows.
BREADTH, MAX_BREADTH = 400, 1_000
# If a search filters by memory type, at least this many candidates must pass. With fewer, it misses too many
# neighbours.
FILTERED = 100
# Other processes notice a new approximate index within this time. Until then, they compare every vector.
REFRESH_S = 30.0

Rows = list[tuple[UUID, float]]


def suffix(tenant: UUID, namespace: str) -> str:
    """Return the suffix for the name of a namespace's approximate index."""
    return hashlib.blake2b(tenant.bytes + namespace.encode(), digest_size=10).hexdigest()


class Nearest:
    """Searches one table, with its approximate indexes."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._indexes: TTLCache[str, frozenset[str]] = TTLCache(maxsize=1, ttl=REFRESH_S)
        self._lock = threading.Lock()

    def forget(self) -> None:
        with self._lock:
            self._indexes.clear()

    def search(self, connection: BaseDatabaseWrapper, tenant: UUID, query: str, where: Where, limit: int) -> Rows:
        """Return (id, cosine) for the nearest points, in no particular order: at least `limit`, or all of them."""
        large = self._large(connection, tenant, where)
        rows: Rows = []
        for namespace in large:
            rows += self._approximately(connection, tenant, query, Where((namespace,), where.memory_type), limit)
        if small := tuple(name for name in where.namespaces if name not in large):
            rows += self._exactly(connection, tenant, query, Where(small, where.memory_type), limit)
        return rows

    def _approximately(
        self, connection: BaseDatabaseWrapper, tenant: UUID, query: str, where: Where, limit: int
    ) -> Rows:
        """Search a large namespace with its approximate index, whose candidates are then compared exactly.

        If the filter rejects so many candidates that too few are left, all vectors that pass the filter are compared.
        """
        half = f"halfvec({self._table.dimension})"
        statement = self._select(where, f"vector::{half} <#> %s::{half}")
        wanted = limit if where.memory_type is None else max(limit, FILTERED)
        with _searching(connection, limit):
            rows = _run(connection, statement, tenant, query, where, wanted)
        return rows if len(rows) >= wanted else self._exactly(connection, tenant, query, where, limit)

    def _exactly(self, connection: BaseDatabaseWrapper, tenant: UUID, query: str, where: Where, limit: int) -> Rows:
        return _run(connection, self._select(where, "vector <#> %s::vector, memory_id"), tenant, query, where, limit)

    def _select(self, where: Where, order: str) -> str:
        scope = "namespace = %s" if len(where.namespaces) == 1 else "namespace = ANY (%s)"
        kind = "" if where.memory_type is None else "AND memory_type = %s "
        return (
            f'SELECT memory_id, -(vector <#> %s::vector) FROM "{self._table.name}" '  # noqa: S608
            f"WHERE tenant_id = %s AND {scope} {kind}ORDER BY {order} LIMIT %s"
        )

    def _large(self, connection: BaseDatabaseWrapper, tenant: UUID, where: Where) -> set[str]:
        """Return which of the searched namespaces have an approximate index."""
        with self._lock:
            known = self._indexes.get("")
        if known is None:
            known = frozenset(indexes(connection, self._table))
            with self._lock:
                self._indexes[""] = known
        if not known:
            return set()
        return {name for name in where.namespaces if f"{self._table.name}_{suffix(tenant, name)}" in known}


def _run(connection: BaseDatabaseWrapper, statement: str, tenant: UUID, query: str, where: Where, limit: int) -> Rows:
    names = [name.encode() for name in where.namespaces]
    kind = [] if where.memory_type is None else [where.memory_type]
    parameters: list[Any] = [query, tenant, names[0] if len(names) == 1 else names, *kind, query, limit]
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


@contextmanager
def _searching(connection: BaseDatabaseWrapper, limit: int) -> Iterator[None]:
    """Set the search width for statements in this context, and let them continue if a filter rejects candidates."""
    breadth = min(max(BREADTH, 2 * limit), MAX_BREADTH)
    with transaction.atomic(connection.alias), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL hnsw.ef_search = {breadth}")
        cursor.execute("SET LOCAL hnsw.iterative_scan = relaxed_order")
        yield


def indexes(connection: BaseDatabaseWrapper, table: Table, *, complete: bool = True) -> list[str]:
    """Return the names of the table's approximate indexes: the complete ones or, if not `complete`, the others."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
            "WHERE indrelid = to_regclass(%s) AND indpred IS NOT NULL AND indisvalid = %s",
            [f'"{table.name}"', complete],
        )
        return [name for (name,) in cursor.fetchall()]
