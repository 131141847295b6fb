"""Upgrades in two stages: everything that the old version needs remains until it has stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from io import StringIO
from threading import Event, Thread

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder
from django.test.utils import CaptureQueriesContext

from operations import health
from somamemory.db import databases, migration_stages

pytestmark = pytest.mark.django_db(transaction=True)
APP = "conversations"


@pytest.fixture
def chain() -> Iterator[list[str]]:
    """The names of an app's migrations, all of which are applied again afterwards."""
    yield sorted(name for app, name in MigrationExecutor(connection).loader.disk_migrations if app == APP)
    call_command("migrate", verbosity=0)


def mark_late(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    migration: Migration = MigrationExecutor(connection).loader.disk_migrations[APP, name]
    monkeypatch.setattr(type(migration), "after_restart", True, raising=False)


def applied() -> list[str]:
    return sorted(name for app, name in MigrationRecorder(connection).applied_migrations() if app == APP)


def check() -> int:
    with pytest.raises(SystemExit) as ended:
        call_command("bootstrap", check=True)
    return int(str(ended.value.code))


def test_structures_of_the_old_version_stay_until_the_upgrade_is_finished(
    monkeypatch: pytest.MonkeyPatch, chain: list[str]
) -> None:
    mark_late(monkeypatch, chain[-1])
    call_command("migrate", APP, chain[0], verbosity=0)
    assert (check(), health.ready().ready) == (1, False)

    migration_stages.expand()
    assert applied() == chain[:-1]
    assert (check(), health.ready().ready) == (0, True)

    call_command("finish_upgrade", stdout=(output := StringIO()))
    assert applied() == chain
    assert output.getvalue() == f"applied {APP}.{chain[-1]}\n"


def test_an_upgrade_upon_an_unfinished_one_is_refused_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, chain: list[str]
) -> None:
    mark_late(monkeypatch, chain[-2])
    call_command("migrate", APP, chain[-3], verbosity=0)

    with pytest.raises(CommandError, match=f"{APP}.{chain[-1]} depends on it"):
        call_command("bootstrap", stdout=StringIO())
    assert applied() == chain[:-2]


def test_with_nothing_held_back_finishing_has_nothing_to_do() -> None:
    call_command("finish_upgrade", stdout=(output := StringIO()))

    assert output.getvalue() == "Nothing to do: all migrations are applied.\n"


def test_on_an_empty_database_nothing_waits(monkeypatch: pytest.MonkeyPatch, chain: list[str]) -> None:
    mark_late(monkeypatch, chain[-1])
    with monkeypatch.context() as emptied:
        emptied.setattr(MigrationRecorder, "applied_migrations", lambda self: {})

        assert f"{APP}.{chain[-1]}" in migration_stages.missing()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="a SQLite database is locked with a file")
def test_behind_a_pooler_no_session_is_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "is_pooled", lambda connection: True)

    with (
        migration_stages.one_process_at_a_time(),
        CaptureQueriesContext(connection) as captured,
        migration_stages.one_process_at_a_time(),
    ):
        assert not captured.captured_queries


@pytest.mark.skipif(connection.vendor != "postgresql", reason="a SQLite database is locked with a file")
def test_processes_take_turns_to_prepare_a_postgresql_database(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    entered, other_waits = Event(), Event()

    def prepare_first() -> None:
        with migration_stages.one_process_at_a_time():
            entered.set()
            other_waits.wait(30)
            order.append("first")
        connection.close()

    monkeypatch.setattr(time, "sleep", lambda seconds: other_waits.set())
    first = Thread(target=prepare_first)
    first.start()
    entered.wait(30)
    with migration_stages.one_process_at_a_time():
        order.append("second")
    first.join()
    assert order == ["first", "second"]
