"""Steps of a migration that does not stop the service: while it runs, the old code goes on reading and writing.

For migrations with `atomic = False`. On SQLite, whose writers wait for one another anyway, they are the plain steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db.migrations import AddIndex, RemoveIndex, RunSQL
from django.db.migrations.state import ProjectState

Editor = Any  # BaseDatabaseSchemaEditor, which the stubs want without its PostgreSQL arguments


class AddIndexOnline(AddIndexConcurrently):
    """An index that is built beside the writers. May be run again after it was broken off."""

    def database_forwards(self, app_label: str, editor: Editor, before: ProjectState, after: ProjectState) -> None:
        if editor.connection.vendor != "postgresql":
            AddIndex.database_forwards(self, app_label, editor, before, after)
            return
        with patience(editor):
            # What an earlier attempt has left is invalid, and would be in the way.
            editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {editor.quote_name(self.index.name)}")
            super().database_forwards(app_label, editor, before, after)

    def database_backwards(self, app_label: str, editor: Editor, before: ProjectState, after: ProjectState) -> None:
        if editor.connection.vendor != "postgresql":
            AddIndex.database_backwards(self, app_label, editor, before, after)
            return
        with patience(editor):
            super().database_backwards(app_label, editor, before, after)


class RemoveIndexOnline(RemoveIndexConcurrently):
    """An index that goes while others read and write."""

    def database_forwards(self, app_label: str, editor: Editor, before: ProjectState, after: ProjectState) -> None:
        if editor.connection.vendor != "postgresql":
            RemoveIndex.database_forwards(self, app_label, editor, before, after)
            return
        with patience(editor):
            super().database_forwards(app_label, editor, before, after)

    def database_backwards(self, app_label: str, editor: Editor, before: ProjectState, after: ProjectState) -> None:
        if editor.connection.vendor != "postgresql":
            RemoveIndex.database_backwards(self, app_label, editor, before, after)
            return
        with patience(editor):
            super().database_backwards(app_label, editor, before, after)


class RunOnPostgreSQL(RunSQL):
    """Statements for PostgreSQL alone; others have no such thing."""

    def database_forwards(self, app_label: str, editor: Editor, before: ProjectState, after: ProjectState) -> None:
        if editor.connection.vendor == "postgresql":
            with patience(editor):
                super().database_forwards(app_label, editor, before, after)

    def database_backwards(self, app_label: str, editor: Editor, before: ProjectState, after: ProjectState) -> None:
        if editor.connection.vendor == "postgresql":
            with patience(editor):
                super().database_backwards(app_label, editor, before, after)


@contextmanager
def patience(editor: Editor) -> Iterator[None]:
    """Without the lock time-out: what runs CONCURRENTLY waits for older transactions, and nobody waits for it."""
    editor.execute("SET lock_timeout = 0")
    try:
        yield
    finally:
        editor.execute("RESET lock_timeout")
