"""Detect poolers and missing features, remove a connection's timeouts, and drop a database that may be in use."""

from __future__ import annotations

from collections.abc import Callable

from django.db.backends.base.base import BaseDatabaseWrapper

from somamemory.db.sqlstate import INSUFFICIENT_PRIVILEGE
from somamemory.retry import RetryPolicy

_AUTOVACUUM = RetryPolicy(attempts=60, first_pause_s=0.5, max_pause_s=0.5)
_TIMEOUTS = ("statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout")


def is_pooled(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a pooler such as PgBouncer may run each of a connection's statements in a different session.

    connection: a connection to PostgreSQL.
    """
    connection.ensure_connection()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return bool(cursor.fetchone()[0] != connection.connection.info.backend_pid)


def lacks_icu(connection: BaseDatabaseWrapper) -> bool:
    """Return whether this is a PostgreSQL that was built without ICU."""
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT NOT EXISTS (SELECT FROM pg_collation WHERE collname = 'und-x-icu')")
        return bool(cursor.fetchone()[0])


def remove_timeouts(connection: BaseDatabaseWrapper) -> None:
    """Remove PostgreSQL's timeouts from a connection whose statements process whole tables. SQLite has no timeouts."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for name in _TIMEOUTS:
                cursor.execute(f"SET {name} = 0")


def drop(execute: Callable[[str], object], name: str) -> None:
    """Drop the database `name` and end its sessions. `execute` runs a statement outside a transaction.

    An ordinary role cannot end a PostgreSQL autovacuum session, so wait up to 30 seconds for it to finish.
    """
    _AUTOVACUUM.run(lambda: execute(f"DROP DATABASE {name} WITH (FORCE)"), _is_autovacuum)


def _is_autovacuum(error: BaseException) -> bool:
    """Return whether the error, from Django or the driver, means that the role is not allowed to end a session.

    An ordinary role cannot end autovacuum sessions.
    """
    return INSUFFICIENT_PRIVILEGE in (getattr(error, "sqlstate", None), getattr(error.__cause__, "sqlstate", None))
