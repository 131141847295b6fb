"""Fill a new column of existing rows, for migrations."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

BATCH = 5_000


def fill(connection: BaseDatabaseWrapper, table: str, column: str, expression: str) -> None:
    """Set `column` to `expression` where it is 0, in batches in the order of the ids, each its own transaction."""
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
