"""Count rows without full scans: exactly if there are only a few, otherwise with the database's estimate."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.db.models import QuerySet

COUNTED = 1_000


@dataclass(frozen=True)
class Total:
    number: int
    exact: bool = True
    at_least: bool = False  # True if there are more and no estimate is available

    def __str__(self) -> str:
        if self.exact:
            return f"{self.number:,}"
        if self.at_least:
            return f"more than {self.number:,}"
        digits = max(0, len(str(self.number)) - 2)
        return f"about {round(self.number, -digits):,}"


def estimate(rows: QuerySet[Any]) -> Total:
    """Return the number of rows.

    Reads up to 1,001 index entries. Beyond that, it uses PostgreSQL's statistics; SQLite has none.
    """
    plain = rows.order_by()
    counted = len(plain.values_list("pk")[: COUNTED + 1])
    if counted <= COUNTED:
        return Total(counted)
    connection = connections[rows.db]
    if connection.vendor != "postgresql":
        return Total(COUNTED, exact=False, at_least=True)
    return Total(max(counted, _believed(connection, plain)), exact=False)


def _believed(connection: Any, rows: QuerySet[Any]) -> int:
    """Return the planner's estimate: `reltuples` for a whole table, or the planned rows for a filtered query."""
    sql, parameters = rows.values_list("pk").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", parameters)
        plan = cursor.fetchone()[0]
    if isinstance(plan, str):
        plan = json.loads(plan)
    return int(plan[0]["Plan"]["Plan Rows"])
