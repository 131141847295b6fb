"""Migrations are complete, and the previous version continues to work during and after them."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django_migration_linter import MigrationLinter

from somamemory.db.migration_operations import AddIndexOnline, AddUniqueOnline

# Written before the first release, when all tables were empty.
FOUNDING = ["0001_initial", "0003_access_counters", "0004_jobs"]
# A unique index on a column that the previous version leaves empty and therefore cannot violate.
OVER_A_NEW_COLUMN = ["0009_key_unique", "0011_external_id_unique"]


@pytest.mark.django_db
def test_the_models_have_no_change_without_a_migration() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.django_db(transaction=True)
def test_no_migration_stops_the_old_code(tmp_path: Any) -> None:
    every = MigrationLoader(None).disk_migrations
    late = [name for (_, name), migration in every.items() if getattr(migration, "after_restart", False)]
    linter = MigrationLinter(
        str(tmp_path),
        include_apps=["console", "conversations", "graph", "memories", "tenants"],
        ignore_name=[*FOUNDING, *OVER_A_NEW_COLUMN, *late],  # `late` waits until the previous version has stopped
        no_cache=True,
        no_output=True,
        all_warnings_as_errors=True,
    )
    linter.lint_all_migrations()

    assert linter.nb_total > 0
    assert not linter.has_errors


INDEX = models.Index(fields=["slug", "name"], name="made_by_a_test")


def apply(state: ProjectState, backwards: bool = False) -> None:
    operation = AddIndexOnline("tenant", INDEX)
    after = state.clone()
    operation.state_forwards("tenants", after)
    with connection.schema_editor(atomic=False) as editor:
        if backwards:
            operation.database_backwards("tenants", editor, after, state)
        else:
            operation.database_forwards("tenants", editor, state, after)


def indexes() -> set[str]:
    with connection.cursor() as cursor:
        return set(connection.introspection.get_constraints(cursor, "sfm_tenants"))


@pytest.mark.django_db(transaction=True)
def test_an_index_is_added_online_and_taken_away_again() -> None:
    state = MigrationLoader(connection).project_state()

    apply(state)
    assert INDEX.name in indexes()
    apply(state, backwards=True)
    assert INDEX.name not in indexes()


UNIQUE = models.UniqueConstraint(fields=["tier", "name"], condition=models.Q(tier="free"), name="unique_made_by_a_test")


@pytest.mark.django_db(transaction=True)
def test_a_unique_index_is_added_online_even_after_an_interrupted_attempt() -> None:
    state = MigrationLoader(connection).project_state()
    operation = AddUniqueOnline("tenant", UNIQUE)
    after = state.clone()
    operation.state_forwards("tenants", after)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE INDEX {UNIQUE.name} ON sfm_tenants (name)")

    with connection.schema_editor(atomic=False) as editor:
        operation.database_forwards("tenants", editor, state, after)
        assert UNIQUE.name in indexes()
        operation.database_backwards("tenants", editor, after, state)

    assert UNIQUE.name not in indexes()
