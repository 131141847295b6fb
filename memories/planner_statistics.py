"""Statistics for the query planners: fixed ones for SQLite, and up-to-date ones for PostgreSQL.

Without statistics, SQLite assumes that (tenant, namespace) matches ten rows, and scans a whole namespace to fetch ten
memories by id. With 10,000 memories, this takes 3.8 ms instead of 0.2 ms, and the time grows with the namespace.
Statistics collected by ANALYZE depend on when it ran, and are read only when a connection opens. Therefore, the
statistics are defined here and written after every migration. They describe a large installation, so query plans are
the same everywhere, and efficient where it matters.

Format of `sqlite_stat1`: the number of rows in the index, then for each leading column how many rows share one value
(https://www.sqlite.org/fileformat2.html#stat1tab).

PostgreSQL collects statistics itself, but only once a minute. Until it does, it plans queries on a newly filled table
as if the table were small, and prepared statements keep these plans: a fetch took 8 ms instead of 2 ms. When PostgreSQL
collects new statistics, it also discards the prepared plans.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import connection, connections, transaction

from somamemory.scheduling import periodic

_ROWS = 1_000_000
# The assumed number of distinct values per column. Any other column counts as nearly unique.
_DISTINCT = {
    "tenant_id": 10,
    "namespace": 4,
    "generation_id": 1,
    "memory_type": 2,
    "importance": 10,
    # These columns are nearly always NULL, except in indexes that begin with them, which omit NULL values.
    "deleted_at": 1,
    "expires_at": 1,
    "archived_at": 1_000,
    "user_id": 1_000,
    "agent_id": 100,
    "session_id": 10_000,
    # These columns belong to the tables of the conversations app.
    "status": 3,
    "tier": 3,
    "label": 1_000,
    "place": 1_000,
    "from_key": 50_000,
    "to_key": 50_000,
}


def fix_statistics(using: str, **signal: Any) -> None:
    """Write SQLite's statistics for every index of the application's tables. Runs after each migration."""
    connection = connections[using]
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA analysis_limit = 1")  # so that ANALYZE does little but create sqlite_stat1
        cursor.execute("ANALYZE")
        cursor.execute("DELETE FROM sqlite_stat1 WHERE tbl LIKE 'sfm%'")
        for table in connection.introspection.table_names(cursor):
            if table.startswith("sfm_") and not table.startswith("sfm_memory_terms"):
                rows = [(table, name, estimate) for name, estimate in _estimates(cursor, table)]
                cursor.executemany("INSERT INTO sqlite_stat1 VALUES (%s, %s, %s)", rows)
        cursor.execute("ANALYZE sqlite_schema")  # makes this connection read the new statistics


def _estimates(cursor: Any, table: str) -> list[tuple[str, str]]:
    cursor.execute("SELECT name, [unique] FROM pragma_index_list(%s)", [table])
    estimates = []
    for name, unique in cursor.fetchall():
        cursor.execute("SELECT name FROM pragma_index_info(%s) ORDER BY seqno", [name])
        columns = [row[0] for row in cursor.fetchall()]
        estimates.append((name, estimate(columns, bool(unique))))
    return estimates


def estimate(columns: list[str], unique: bool) -> str:
    """Return the statistics for an index on these columns, in the format of `sqlite_stat1`.

    For a unique index on (tenant_id, namespace, coordinate_key), this is `"1000000 100000 25000 1"`.
    """
    rows, parts = _ROWS, [_ROWS]
    for column in columns:
        in_front = len(parts) == 1 and column in ("deleted_at", "expires_at")
        rows = max(1, rows // (_ROWS if in_front else _DISTINCT.get(column, _ROWS)))
        parts.append(rows)
    if unique:
        parts[-1] = 1
    return " ".join(map(str, parts))


@periodic(
    "memories.analyze",
    every_s=lambda: 2.0,
    thread="maintenance",
    in_process=lambda: settings.DATABASES["default"]["ENGINE"] == "somamemory.db.postgresql",
    in_beat=False,
)
def analyze_grown() -> list[str]:
    """Collect PostgreSQL's statistics on tables that have at least doubled in size since the last collection.

    Return the names of these tables, or an empty list if another process is already doing this. After smaller changes,
    autovacuum collects the statistics.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_GROWN)
        tables = [row[0] for row in cursor.fetchall()]
        for table in tables:
            cursor.execute(f"ANALYZE {connection.ops.quote_name(table)}")
    return tables


_GROWN = """
    WITH lock AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(hashtext('analyze tables')) AS taken)
    SELECT relname FROM pg_stat_user_tables, lock
    WHERE taken AND schemaname = current_schema() AND starts_with(relname, 'sfm_')
    AND n_mod_since_analyze >= GREATEST(500, n_live_tup - n_mod_since_analyze)
"""
