"""Add a column that stores the size of each row, for use in migrations. Existing rows are filled in small batches."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import AddField, RunPython, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation

BATCH = 5_000


def add_bytes(model: str, table: str, expressions: Mapping[str, str]) -> list[Operation]:
    """Return the operations that add the `bytes` column and fill it. The migration must set `atomic = False`.

    expressions: the SQL for the size, by database vendor.

    The operations use a plain ADD COLUMN on both engines, because Django would copy the table on SQLite.
    """
    field = models.PositiveIntegerField(db_default=0, default=0)
    add = partial(_execute, f"ALTER TABLE {table} ADD COLUMN bytes integer DEFAULT 0")
    remove = partial(_execute, f"ALTER TABLE {table} DROP COLUMN bytes")
    return [
        SeparateDatabaseAndState([RunPython(add, remove)], [AddField(model, "bytes", field)]),
        RunPython(partial(_fill, table, expressions), RunPython.noop),
    ]


def fill(connection: BaseDatabaseWrapper, table: str, column: str, expression: str) -> None:
    """Set `column` to `expression` in rows where the column is 0.

    The batches are ordered by id, and each has its own transaction.
    """
    quoted = connection.ops.quote_name(column)
    last: Any = None
    with connection.cursor() as cursor:
        while True:
            after, values = ("", []) if last is None else ("WHERE id > %s", [last])
            cursor.execute(f"SELECT id FROM {table} {after} ORDER BY id LIMIT {BATCH}", values)  # noqa: S608 - our own names
            ids = [id for (id,) in cursor.fetchall()]
            if not ids:
                return
            last = ids[-1]
            cursor.execute(
                f"UPDATE {table} SET {quoted} = {expression} WHERE id >= %s AND id <= %s AND {quoted} = 0",  # noqa: S608
                [ids[0], last],
            )


def _execute(sql: str, apps: Any, schema_editor: Any) -> None:
    schema_editor.execute(sql)


def _fill(table: str, expressions: Mapping[str, str], apps: Any, schema_editor: Any) -> None:
    if not schema_editor.collect_sql:
        connection = schema_editor.connection
        fill(connection, table, "bytes", expressions[connection.vendor])
