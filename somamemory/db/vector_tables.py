"""The vector index's tables in PostgreSQL. They are not models: pgvector may be missing, and they can be rebuilt.

`memories.index.pgvector` creates one table per collection. Row-level security covers them, and backups leave them
out.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

PREFIX = "sfm_vectors_"
PATTERN = PREFIX + "*"  # for pg_dump
EXTENSION = "vector"


def names(connection: BaseDatabaseWrapper) -> list[str]:
    """Return the names of all vector tables."""
    if connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class "
            "WHERE starts_with(relname, %s) AND relkind = 'r' AND pg_table_is_visible(oid)",
            [PREFIX],
        )
        return sorted(name for (name,) in cursor.fetchall())
