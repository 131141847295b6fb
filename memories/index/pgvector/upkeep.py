"""Create and remove a table's approximate indexes, without locking out readers or writers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from memories.index.pgvector import nearest
from memories.index.pgvector.table import Table
from somamemory.db import databases
from somamemory.errors import ConfigurationError
from somamemory.installation import COMMAND

log = logging.getLogger("soma.index")

# A namespace with fewer rows gets no approximate index, because comparing every vector takes less than 10 ms.
MIN_ROWS = 30_000
MAX_DIMENSION = 4_000  # the maximum dimension of a pgvector index
LINKS, BUILD_BREADTH = 16, 200  # links per node in the graph; candidates considered for each new node
# A graph takes up 1 KB per 256-dimensional vector. If it does not fit into maintenance_work_mem, building it takes
# several times as long.
_SETTINGS = {"statement_timeout": "0", "maintenance_work_mem": "'512MB'"}


def maintain(table: Table, should_stop: Callable[[], bool]) -> None:
    """Create an index for every large namespace, and remove the indexes for namespaces that are no longer large."""
    if table.dimension > MAX_DIMENSION:
        return
    connection = connections[DEFAULT_DB_ALIAS]
    if databases.is_pooled(connection):
        raise ConfigurationError(
            f"indexes for large namespaces cannot be built through a connection pooler; run {COMMAND} "
            "maintain_index regularly, with SOMA_DATABASE_URL pointing directly to the PostgreSQL server"
        )
    with _alone(connection, table) as alone:
        if not alone:  # another process is maintaining the indexes
            return
        _drop(connection, nearest.indexes(connection, table, complete=False))  # left behind by an interrupted build
        there, sizes = set(nearest.indexes(connection, table)), _sizes(connection, table)
        _drop(connection, there - sizes.keys())
        for name, (tenant, namespace, rows) in sizes.items():
            if should_stop():
                return
            if rows >= MIN_ROWS and name not in there:
                log.info("building an approximate index", extra={"index": name, "rows": rows})
                _build(connection, table, name, tenant, namespace)


def _sizes(connection: BaseDatabaseWrapper, table: Table) -> dict[str, tuple[UUID, bytes, int]]:
    """Return (tenant, namespace, rows) for each namespace that may have an index, keyed by index name.

    An index is kept until its namespace has shrunk to half the number of rows at which an index is created.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f'SELECT tenant_id, namespace, count(*) FROM "{table.name}" GROUP BY 1, 2 HAVING count(*) >= %s',  # noqa: S608
            [MIN_ROWS // 2],
        )
        rows = [(tenant, bytes(namespace), count) for tenant, namespace, count in cursor.fetchall()]
    return {
        f"{table.name}_{nearest.suffix(tenant, name.decode())}": (tenant, name, count) for tenant, name, count in rows
    }


def _build(connection: BaseDatabaseWrapper, table: Table, name: str, tenant: UUID, namespace: bytes) -> None:
    """Build an index without locking out readers or writers."""
    half = f"halfvec({table.dimension})"
    _run(
        connection,
        f'CREATE INDEX CONCURRENTLY "{name}" ON "{table.name}" USING hnsw ((vector::{half}) halfvec_ip_ops) '
        f"WITH (m = {LINKS}, ef_construction = {BUILD_BREADTH}) "
        f"WHERE tenant_id = '{tenant}' AND namespace = '\\x{namespace.hex()}'",
    )


def _drop(connection: BaseDatabaseWrapper, names: Iterable[str]) -> None:
    _run(connection, *(f'DROP INDEX CONCURRENTLY "{name}"' for name in names))


@contextmanager
def _alone(connection: BaseDatabaseWrapper, table: Table) -> Iterator[bool]:
    """Yield whether this process is the only one maintaining the table.

    If so, raise the session's time and memory limits until the context ends, so that an index can be built.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtext(%s))", [f"maintain {table.name}"])
        alone = bool(cursor.fetchone()[0])
    if not alone:
        yield False
        return
    try:
        _run(connection, *(f"SET {name} = {value}" for name, value in _SETTINGS.items()))
        yield True
    finally:
        _run(connection, *(f"RESET {name}" for name in _SETTINGS))
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(hashtext(%s))", [f"maintain {table.name}"])


def _run(connection: BaseDatabaseWrapper, *statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
