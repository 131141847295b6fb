"""Classify database errors by PostgreSQL's error codes (PostgreSQL manual, appendix A)."""

from __future__ import annotations

from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError

SERIALIZATION_FAILURE = "40001"  # on a replica: row versions that a query needed were removed
DEADLOCK_DETECTED = "40P01"
READ_ONLY = "25006"  # the primary has become a replica
INSUFFICIENT_PRIVILEGE = "42501"
LOCK_NOT_AVAILABLE = "55P03"  # the lock timeout
QUERY_CANCELED = "57014"  # the statement timeout, or a cancel request
# The database is locked by another connection, or cannot be read or written (sqlite.org/rescode.html).
_SQLITE_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN", "SQLITE_IOERR", "SQLITE_FULL", "SQLITE_READONLY")
# Violations that another writer can cause by creating the same row, or by deleting a row that a new row refers to.
# Other violations, such as those of a check constraint, recur on every attempt.
_COLLISIONS = ("23505", "23503")
_SQLITE_COLLISIONS = ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_FOREIGNKEY")
_SERVER_STAYS_UP = (SERIALIZATION_FAILURE, DEADLOCK_DETECTED, LOCK_NOT_AVAILABLE, QUERY_CANCELED)


def of(error: DatabaseError | InterfaceError) -> str | None:
    """Return the code, or None for an error that did not come from a PostgreSQL server, such as a lost connection."""
    return getattr(error.__cause__, "sqlstate", None)


def is_transient(error: DatabaseError | InterfaceError) -> bool:
    """Return whether the same transaction may succeed if it is run again."""
    return of(error) in (SERIALIZATION_FAILURE, DEADLOCK_DETECTED)


def is_collision(error: IntegrityError) -> bool:
    """Return whether another writer may have caused the constraint violation."""
    if (name := getattr(error.__cause__, "sqlite_errorname", None)) is not None:
        return name in _SQLITE_COLLISIONS
    return of(error) in _COLLISIONS


def is_busy(error: DatabaseError | InterfaceError) -> bool:
    """Return whether the database is overloaded, cannot be reached, or has just changed its role.

    The request itself is valid in these cases.
    """
    if (name := getattr(error.__cause__, "sqlite_errorname", None)) is not None:
        # SQLite also raises OperationalError for statements that can never succeed.
        return str(name).startswith(_SQLITE_BUSY)
    return isinstance(error, OperationalError | InterfaceError) or of(error) == READ_ONLY


def is_interrupted(error: DatabaseError | InterfaceError) -> bool:
    """Return whether the statement was cancelled, or stopped by one of our own functions in SQLite.

    Both happen when a request exceeds its deadline: see `somamemory.deadline`.
    """
    name = getattr(error.__cause__, "sqlite_errorname", "")
    return of(error) == QUERY_CANCELED or name == "SQLITE_INTERRUPT" or "user-defined function" in str(error)


def is_outage(error: DatabaseError | InterfaceError) -> bool:
    """Return whether the server cannot be reached at all."""
    return isinstance(error, OperationalError | InterfaceError) and of(error) not in _SERVER_STAYS_UP
