"""For tests alone: what the triggers of the audit log refuse, as somebody with the database in hand could do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from django.db import connection

TABLES = ("sfm_audit_log", "sfm_audit_blocks", "sfm_audit_checkpoints")
_ON_SQLITE = f"SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN {TABLES}"


@contextmanager
def unguarded() -> Iterator[None]:
    """Without the triggers. Needs a transaction that the test takes back, or whole statements in between."""
    if connection.vendor == "postgresql":
        _say(*(f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in TABLES))
        yield
        _say(*(f"ALTER TABLE {table} ENABLE TRIGGER USER" for table in TABLES))
        return
    with connection.cursor() as cursor:
        triggers = cursor.execute(_ON_SQLITE).fetchall()
    _say(*(f"DROP TRIGGER {name}" for name, _ in triggers))
    yield
    _say(*(sql for _, sql in triggers))


def _say(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def flushing(run: Callable[..., Any]) -> Callable[..., Any]:
    """Between two tests the tables are emptied, all of them."""

    @wraps(run)
    def emptied(*args: Any, **options: Any) -> Any:
        with unguarded():
            return run(*args, **options)

    return emptied
