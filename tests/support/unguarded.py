"""Bypass the audit log's triggers, as someone with database access could. For tests only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from tenants.audit import progress
from tenants.models import DEFAULT_TENANT_SLUG, Tenant

TABLES = ("sfm_audit_log", "sfm_audit_blocks", "sfm_audit_checkpoints")
_ON_SQLITE = f"SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN {TABLES}"


@contextmanager
def unguarded(using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Disable the triggers. Requires a transaction that the test rolls back, or complete statements in between."""
    if connections[using].vendor == "postgresql":
        _say(using, *(f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in TABLES))
        yield
        _say(using, *(f"ALTER TABLE {table} ENABLE TRIGGER USER" for table in TABLES))
        return
    with connections[using].cursor() as cursor:
        triggers = cursor.execute(_ON_SQLITE).fetchall()
    _say(using, *(f"DROP TRIGGER {name}" for name, _ in triggers))
    yield
    _say(using, *(sql for _, sql in triggers))


def _say(using: str, *statements: str) -> None:
    with connections[using].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def flushing(run: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the command that empties all tables between two tests, and restore the rows created by migrations."""

    @wraps(run)
    def emptied(*args: Any, **options: Any) -> None:
        using = options.get("database", DEFAULT_DB_ALIAS)
        with unguarded(using):
            run(*args, **options)
        Tenant.objects.using(using).create(slug=DEFAULT_TENANT_SLUG, name="Default")
        progress.begin(using)

    return emptied
