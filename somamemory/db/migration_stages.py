"""Upgrades in two stages: the old version keeps serving during the first stage and must be stopped before the second.

1. *Expand* (`bootstrap`, before a restart): additions that the previous version tolerates.
2. *Contract* (`finish_upgrade`, when every server is running the new version): removal of everything that only the
   previous version used. Such a migration declares `after_restart = True`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from django.core.management import call_command
from django.db import connection
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from somamemory.db import databases
from somamemory.db.sqlite.process_lock import ProcessLock
from somamemory.errors import ConfigurationError

MIGRATION_S = 600.0  # how long to wait for another process that is migrating the same database
_PAUSE_S = 0.2  # between attempts to get PostgreSQL's lock
Key = tuple[str, str]  # app and name


class _SessionLock:
    """A PostgreSQL advisory lock, which is released when the session ends.

    It is polled, because a statement that waits would block CREATE INDEX CONCURRENTLY in the process that holds the
    lock.
    """

    def acquire(self, timeout_s: float) -> bool:
        ends_at = time.monotonic() + timeout_s
        while not self._ask("pg_try_advisory_lock"):
            if time.monotonic() >= ends_at:
                return False
            time.sleep(_PAUSE_S)
        return True

    def release(self) -> None:
        self._ask("pg_advisory_unlock")

    def _ask(self, function: str) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {function}(hashtext('migrate sfm'))")
            return bool(cursor.fetchone()[0])


@contextmanager
def one_process_at_a_time() -> Iterator[None]:
    """Wait until no other process is preparing the same database. Raises ConfigurationError after MIGRATION_S seconds.

    Behind a pooler, do not wait or lock: the statement that releases the lock could run in another session, and the
    lock would then never be released.
    """
    name = str(connection.settings_dict["NAME"])
    lock: ProcessLock | _SessionLock | None = None
    if connection.vendor == "postgresql":
        lock = None if databases.is_pooled(connection) else _SessionLock()
    elif Path(name).is_absolute():
        lock = ProcessLock(Path(f"{name}.migration"))
    if lock is not None and not lock.acquire(MIGRATION_S):
        raise ConfigurationError(
            f"another process has been preparing {name} for {MIGRATION_S / 60:.0f} minutes; stop it, then try again"
        )
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def expand() -> None:
    """Apply the migrations that may run before a restart.

    Raises ConfigurationError if an earlier upgrade is unfinished.
    """
    executor = MigrationExecutor(connection)
    held = _held_back(executor)
    for migration in _plan(executor):
        if not _is_late(migration) and _key(migration) in held:
            raise ConfigurationError(
                f"an earlier upgrade was not finished, but {migration.app_label}.{migration.name} depends on it; "
                "stop every server, run manage.py migrate, and start them again"
            )
    if not held:
        call_command("migrate", interactive=False, verbosity=0)
        return
    for app in sorted(executor.loader.migrated_apps):
        names = sorted(name for label, name in executor.loader.graph.nodes if label == app and (app, name) not in held)
        if names:
            call_command("migrate", app, names[-1], interactive=False, verbosity=0)


def contract() -> list[str]:
    """Apply the remaining migrations and return their names.

    Call it only when no server is running the previous version.
    """
    with one_process_at_a_time():
        names = [f"{migration.app_label}.{migration.name}" for migration in _plan(MigrationExecutor(connection))]
        if names:
            call_command("migrate", interactive=False, verbosity=0)
    return names


def missing() -> list[str]:
    """Return the unapplied migrations that this version needs before it can serve requests."""
    return list(_missing(frozenset(MigrationRecorder(connection).applied_migrations())))


@lru_cache(maxsize=4)
def _missing(applied: frozenset[Key]) -> tuple[str, ...]:
    """Return the migrations that are still missing once those in `applied` have been applied.

    Cached, because reading all migrations from disk takes 50 ms, and readiness probes arrive while the server is busy.
    """
    executor = MigrationExecutor(connection)
    held = _held_back(executor)
    return tuple(
        f"{migration.app_label}.{migration.name}" for migration in _plan(executor) if _key(migration) not in held
    )


def _held_back(executor: MigrationExecutor) -> set[Key]:
    """Return the unapplied second-stage migrations, and all unapplied migrations that depend on them.

    An empty database needs no stages, so none of its migrations are held back.
    """
    if not executor.loader.applied_migrations:
        return set()
    late = [_key(migration) for migration in _plan(executor) if _is_late(migration)]
    return {below for key in late for below in executor.loader.graph.backwards_plan(key)}


def _plan(executor: MigrationExecutor) -> list[Migration]:
    return [migration for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]


def _is_late(migration: Migration) -> bool:
    return getattr(migration, "after_restart", False)


def _key(migration: Migration) -> Key:
    return migration.app_label, migration.name
