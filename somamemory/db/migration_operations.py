"""Migration operations that do not stop the service: the previous version can read and write while they run.

Use them in migrations with `atomic = False`. On SQLite, where writers always wait for each other, they behave like
Django's operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db.migrations import AddConstraint, AddIndex, RemoveIndex, RunSQL
from django.db.migrations.state import ProjectState
from django.db.models import Index, Model

Editor = Any  # BaseDatabaseSchemaEditor, whose stubs lack the PostgreSQL arguments


class AddIndexOnline(AddIndex):
    """Build an index while other sessions write. Can be run again after an interruption.

    `django.contrib.postgres` has such operations, but importing it requires psycopg.
    """

    atomic = False

    def database_forwards(self, app_label: str, editor: Editor, before: ProjectState, after: ProjectState) -> None:
        if editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, editor, before, after)
            return
        model = after.apps.get_model(app_label, self.model_name)
        with patience(editor):
            # An interrupted attempt may have left an invalid index with this name.
            editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {editor.quote_name(self.index.name)}")
            editor.add_index(model, self.index, concurrently=True)

    def database_backwards(self, app_label: str, editor: Editor, before: ProjectState, after: ProjectState) -> None:
        if editor.connection.vendor != "postgresql":
            super().database_backwards(app_label, editor, before, after)
            return
        with patience(editor):
            editor.remove_index(before.apps.get_model(app_label, self.model_name), self.index, concurrently=True)


class RemoveIndexOnline(RemoveIndex):
    """Remove an index while other sessions read and write."""

    atomic = False

    def database_forwards(self, app_label: str, editor: Editor, before: ProjectState, after: ProjectState) -> None:
        if editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, editor, before, after)
            return
        model, index = self._index_in(before, app_label)
        with patience(editor):
            editor.remove_index(model, index, concurrently=True)

    def database_backwards(self, app_label: str, editor: Editor, before: ProjectState, after: ProjectState) -> None:
        if editor.connection.vendor != "postgresql":
            super().database_backwards(app_label, editor, before, after)
            return
        model, index = self._index_in(after, app_label)
        with patience(editor):
            editor.add_index(model, index, concurrently=True)

    def _index_in(self, state: ProjectState, app_label: str) -> tuple[type[Model], Index]:
        """Return the model and the index from the state in which the index exists."""
        index = state.models[app_label, self.model_name.lower()].get_index_by_name(self.name)
        return state.apps.get_model(app_label, self.model_name), index


class AddUniqueOnline(AddConstraint):
    """Build a partial unique index while other sessions write. Can be run again after an interruption.

    A unique constraint with a condition is an index on both databases; on PostgreSQL, it is built concurrently.
    """

    def database_forwards(self, app_label: str, editor: Editor, before: ProjectState, after: ProjectState) -> None:
        if editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, editor, before, after)
            return
        model = after.apps.get_model(app_label, self.model_name)
        create = str(self.constraint.create_sql(model, editor))
        with patience(editor):
            editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {editor.quote_name(self.constraint.name)}")
            editor.execute(create.replace("UNIQUE INDEX", "UNIQUE INDEX CONCURRENTLY", 1), params=None)


class RunOnPostgreSQL(RunSQL):
    """Run statements on PostgreSQL only."""

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
    """Disable the lock timeout in this context.

    A statement with CONCURRENTLY may wait a long time for older transactions, but does not block others.
    """
    editor.execute("SET lock_timeout = 0")
    try:
        yield
    finally:
        editor.execute("RESET lock_timeout")
