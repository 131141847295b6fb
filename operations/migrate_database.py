"""Copy everything from one database to another, row by row with the same ids, and verify the result.

The copy is one transaction in the target, so the target ends up either identical to the source or empty.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.management import call_command
from django.db import connections, models, transaction
from django.db.migrations.executor import MigrationExecutor

from somamemory import settings
from somamemory.db.databases import remove_timeouts
from somamemory.errors import ConfigurationError
from somamemory.installation import COMMAND

SOURCE, TARGET = "default", "target"
_ROWS = 500  # rows per statement; stays well below PostgreSQL's limit of 65,535 parameters
# The tables in which migrations create rows, and how many rows (None: any number). The source's rows replace these
# rows.
_MADE_BY_MIGRATIONS = {"sfm_tenants": 1, "sfm_audit_sealer": 1, "auth_permission": None, "django_content_type": None}

Model = type[models.Model]
Report = Callable[[str], object]


@dataclass(frozen=True)
class Content:
    """A fingerprint of a table's content that does not depend on row order."""

    rows: int
    sum_of_hashes: int

    def __str__(self) -> str:
        return f"{self.rows:,} rows, {self.sum_of_hashes:064x}"


def move(url: str, report: Report) -> dict[str, Content]:
    """Copy the default database, which is SQLite, into an empty PostgreSQL database.

    Return the fingerprint of each table, keyed by table name.

    The source cannot be written to during the copy: a server that is still running rejects writes with 503. Raises
    ConfigurationError (and changes nothing) if one of the databases is not suitable, or if their contents differ after
    the copy.
    """
    connections.databases[TARGET] = connections.configure_settings({"default": {}, TARGET: settings.database(url)})[
        TARGET
    ]
    try:
        _refuse_others_than_sqlite_to_postgresql()
        _refuse_old_schema()
        _refuse_existing_data()
        call_command("migrate", database=TARGET, verbosity=0, interactive=False)
        # Between two statements, the target waits while a whole table in the source is read.
        remove_timeouts(connections[TARGET])
        with transaction.atomic(using=SOURCE), transaction.atomic(using=TARGET):
            return _move(report)
    finally:
        connections[TARGET].close()
        del connections[TARGET]
        del connections.databases[TARGET]


def content(model: Model, using: str) -> Content:
    """Return a table's fingerprint, computed from every stored value of every row."""
    names = [field.attname for field in model._meta.concrete_fields]
    count = total = 0
    for row in _all(model, using).values_list(*names).iterator(_ROWS):
        count += 1
        total += int.from_bytes(hashlib.sha256(_canonical(row)).digest())
    return Content(count, total % 2**256)


def _move(report: Report) -> dict[str, Content]:
    tables = list(_models())
    for model in tables:
        _refuse_rows(model)
    for model in tables:
        if model._meta.db_table in _MADE_BY_MIGRATIONS:
            _all(model, TARGET)._raw_delete(TARGET)
    for model in tables:
        _copy(model)
    _go_on_counting(tables)
    moved = {}
    for model in tables:
        before, after = content(model, SOURCE), content(model, TARGET)
        if before != after:
            raise ConfigurationError(
                f"{model._meta.db_table} differs after the copy: {before} in the source, {after} in the "
                "target; the copy was discarded, so run the command again"
            )
        report(f"{model._meta.db_table:32} {after}")
        moved[model._meta.db_table] = after
    return moved


def _copy(model: Model) -> None:
    batch: list[models.Model] = []
    target = _all(model, TARGET)
    for row in _all(model, SOURCE).order_by("pk").iterator(_ROWS):
        batch.append(row)
        if len(batch) == _ROWS:
            target.bulk_create(batch)
            batch = []
    target.bulk_create(batch)


def _go_on_counting(tables: list[Model]) -> None:
    """Continue each table's numbering where the source's numbering ends, so that no number is used twice."""
    with connections[SOURCE].cursor() as cursor:
        cursor.execute("SELECT name, seq FROM sqlite_sequence")
        last = dict(cursor.fetchall())
    with connections[TARGET].cursor() as cursor:
        for model in tables:
            key = model._meta.pk
            if isinstance(key, models.AutoField | models.BigAutoField) and (number := last.get(model._meta.db_table)):
                cursor.execute(
                    "SELECT setval(pg_get_serial_sequence(%s, %s), %s)", [model._meta.db_table, key.column, number]
                )


def _models() -> Iterator[Model]:
    for model in apps.get_models(include_auto_created=True):
        if model._meta.managed and not model._meta.proxy:
            yield model


def _all(model: Model, using: str) -> models.QuerySet[Any]:
    manager: models.Manager[Any] = getattr(model, "all_tenants", None) or model.objects  # type: ignore[attr-defined]
    return manager.using(using).order_by()


def _canonical(row: tuple[Any, ...]) -> bytes:
    return json.dumps(_numbers(row), sort_keys=True, default=_plain).encode("utf-8", "surrogatepass")


def _numbers(value: Any) -> Any:
    """Return numbers as jsonb stores them (1e16 as an integer, -0.0 as 0), so that equal numbers have equal hashes."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _numbers(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(item) for item in value]
    return value


def _plain(value: Any) -> str:
    return bytes(value).hex() if isinstance(value, bytes | memoryview) else str(value)


def _refuse_others_than_sqlite_to_postgresql() -> None:
    if (vendor := connections[SOURCE].vendor) != "sqlite":
        raise ConfigurationError(
            f"only an SQLite database can be migrated, but the settings specify a {vendor} database; unset "
            "SOMA_DATABASE_URL"
        )
    if connections[TARGET].vendor != "postgresql":
        raise ConfigurationError("the target must be a PostgreSQL database: postgres://user:password@host/database")


def _refuse_old_schema() -> None:
    executor = MigrationExecutor(connections[SOURCE])
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise ConfigurationError(f"the database is from an older version; run {COMMAND} bootstrap first")


def _refuse_existing_data() -> None:
    """Reject a target that is in use, before a migration changes it.

    The target may belong to another program or to an older installation.
    """
    ours = {model._meta.db_table: model for model in _models()}
    with connections[TARGET].cursor() as cursor:
        there = set(connections[TARGET].introspection.table_names(cursor)) - {"django_migrations"}
    if strange := sorted(there - ours.keys()):
        raise ConfigurationError(
            f"the target is not empty: it contains the table {strange[0]}. Nothing was changed; use an empty database"
        )
    for name in sorted(there):
        _refuse_rows(ours[name])


def _refuse_rows(model: Model) -> None:
    table = model._meta.db_table
    allowed = _MADE_BY_MIGRATIONS.get(table, 0)
    if allowed is not None and _all(model, TARGET)[: allowed + 1].count() > allowed:
        raise ConfigurationError(
            f"the target is not empty: the table {table} contains rows. Nothing was changed; use an empty database"
        )
