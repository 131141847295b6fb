"""What a database error means for the one who asked, by PostgreSQL's own code (its manual, appendix A)."""

from __future__ import annotations

from django.db import DatabaseError, InterfaceError, OperationalError

SERIALIZATION_FAILURE = "40001"  # on a replica: row versions that a query needed were removed under it
DEADLOCK_DETECTED = "40P01"
READ_ONLY = "25006"  # the primary has become a replica
LOCK_NOT_AVAILABLE = "55P03"  # the lock time-out
QUERY_CANCELED = "57014"  # the statement time-out
# Held by others, or out of reach (sqlite.org/rescode.html).
_SQLITE_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN", "SQLITE_IOERR", "SQLITE_FULL", "SQLITE_READONLY")
_SERVER_STAYS_UP = (SERIALIZATION_FAILURE, DEADLOCK_DETECTED, LOCK_NOT_AVAILABLE, QUERY_CANCELED)


def of(error: DatabaseError | InterfaceError) -> str | None:
    """The code; None when the error is not the server's: another engine, or a connection that was cut."""
    return getattr(error.__cause__, "sqlstate", None)


def is_transient(error: DatabaseError | InterfaceError) -> bool:
    """The same transaction may well succeed when it is run again at once."""
    return of(error) in (SERIALIZATION_FAILURE, DEADLOCK_DETECTED)


def is_busy(error: DatabaseError | InterfaceError) -> bool:
    """The request is good; the database has no time, cannot be reached, or has just changed its role."""
    if (name := getattr(error.__cause__, "sqlite_errorname", None)) is not None:
        # SQLite calls much by one name, a statement that it will never take too.
        return str(name).startswith(_SQLITE_BUSY)
    return isinstance(error, OperationalError | InterfaceError) or of(error) == READ_ONLY


def is_outage(error: DatabaseError | InterfaceError) -> bool:
    """The server cannot be asked at all."""
    return isinstance(error, OperationalError | InterfaceError) and of(error) not in _SERVER_STAYS_UP
