"""Drop a PostgreSQL database that may be in use."""

from __future__ import annotations

from collections.abc import Callable

from somamemory.retry import RetryPolicy

_INSUFFICIENT_PRIVILEGE = "42501"
_AUTOVACUUM = RetryPolicy(attempts=60, first_pause_s=0.5, max_pause_s=0.5)


def drop(execute: Callable[[str], object], name: str) -> None:
    """Drop the database `name` and end its sessions. `execute` runs a statement outside of a transaction.

    An ordinary role cannot end a session of PostgreSQL's autovacuum, so wait up to 30 seconds for it to finish.
    """
    _AUTOVACUUM.run(lambda: execute(f"DROP DATABASE {name} WITH (FORCE)"), _is_autovacuum)


def _is_autovacuum(error: BaseException) -> bool:
    """Return whether the error, from Django or the driver, means that the role is not allowed to end a session.

    Autovacuum has such sessions.
    """
    return _INSUFFICIENT_PRIVILEGE in (getattr(error, "sqlstate", None), getattr(error.__cause__, "sqlstate", None))
