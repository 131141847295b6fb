"""Register the project's checks and database signal handlers before the first command runs."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate, pre_migrate


class SomaConfig(AppConfig):
    name = "somamemory"

    def ready(self) -> None:
        from somamemory import (
            checks,  # noqa: F401 - registers them
            deadline,
        )
        from somamemory.db import (
            among,  # noqa: F401 - registers the lookup
            slow_queries,
        )

        connection_created.connect(slow_queries.watch, dispatch_uid="somamemory.slow_queries")
        connection_created.connect(deadline.watch, dispatch_uid="somamemory.deadline")
        pre_migrate.connect(_without_statement_timeout, dispatch_uid="somamemory.migrating")
        post_migrate.connect(_with_statement_timeout, dispatch_uid="somamemory.migrated")


def _without_statement_timeout(using: str, **kwargs: Any) -> None:
    """Disable the statement timeout during migrations, because building an index on a million rows exceeds it.

    Keep the lock timeout.
    """
    _say(using, "SET statement_timeout = 0")


def _with_statement_timeout(using: str, **kwargs: Any) -> None:
    _say(using, "RESET statement_timeout")


def _say(using: str, statement: str) -> None:
    if connections[using].vendor == "postgresql":
        with connections[using].cursor() as cursor:
            cursor.execute(statement)
