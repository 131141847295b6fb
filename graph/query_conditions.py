"""Query conditions that pass many values as a single parameter."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from django.db.models import BooleanField, F, Func
from django.db.models.sql.compiler import SQLCompiler

Compiled = tuple[str, list[Any]]


class RowAmong(Func):
    """Match rows whose text columns together equal one of `rows`, with one index lookup per row.

    Example: `RowAmong(["from_key", "to_key"], [("a", "b"), ("a", "c")])`. For one column, see `somamemory.db.among`.
    """

    output_field = BooleanField()

    def __init__(self, columns: Sequence[str], rows: Collection[Sequence[str]]) -> None:
        super().__init__(*map(F, columns))
        self.rows = rows

    def as_sqlite(self, compiler: SQLCompiler, connection: Any, **extra: Any) -> Compiled:  # type: ignore[override]
        columns, parameters = _columns(self, compiler)
        values = ", ".join(f"json_extract(value, '$[{at}]')" for at in range(len(self.source_expressions)))
        sql = f"({columns}) IN (SELECT {values} FROM json_each(%s))"  # noqa: S608 - contains no values
        return sql, [*parameters, json.dumps([list(row) for row in self.rows])]

    def as_postgresql(self, compiler: SQLCompiler, connection: Any, **extra: Any) -> Compiled:
        columns, parameters = _columns(self, compiler)
        arrays = [[row[at] for row in self.rows] for at in range(len(self.source_expressions))]
        marks = ", ".join("%s::text[]" for _ in arrays)
        return f"({columns}) IN (SELECT * FROM unnest({marks}))", [*parameters, *arrays]  # noqa: S608


class BeginsWithAny(Func):
    """Match rows whose text in `column` begins with one of `beginnings`.

    With one OR condition per beginning, the expression could be nested too deeply for SQLite.
    """

    output_field = BooleanField()

    def __init__(self, column: str, beginnings: Sequence[str]) -> None:
        super().__init__(F(column))
        self.beginnings = beginnings

    def as_sqlite(self, compiler: SQLCompiler, connection: Any, **extra: Any) -> Compiled:  # type: ignore[override]
        column, parameters = _columns(self, compiler)
        sql = f"EXISTS (SELECT 1 FROM json_each(%s) WHERE substr({column}, 1, length(value)) = value)"  # noqa: S608
        return sql, [json.dumps(self.beginnings), *parameters]

    def as_postgresql(self, compiler: SQLCompiler, connection: Any, **extra: Any) -> Compiled:
        column, parameters = _columns(self, compiler)
        sql = f"EXISTS (SELECT 1 FROM unnest(%s::text[]) AS beginning WHERE starts_with({column}, beginning))"  # noqa: S608
        return sql, [list(self.beginnings), *parameters]


class Beyond(Func):
    """Match rows whose columns, compared as a row, are greater than `values`. Uses an index range scan."""

    output_field = BooleanField()

    def __init__(self, columns: Sequence[str], values: Sequence[str]) -> None:
        super().__init__(*map(F, columns))
        self.values = values

    def as_sql(self, compiler: SQLCompiler, connection: Any, **extra: Any) -> Compiled:  # type: ignore[override]
        columns, parameters = _columns(self, compiler)
        marks = ", ".join("%s" for _ in self.values)
        return f"({columns}) > ({marks})", [*parameters, *self.values]


def _columns(condition: Func, compiler: SQLCompiler) -> tuple[str, list[Any]]:
    compiled = [compiler.compile(expression) for expression in condition.source_expressions]
    return ", ".join(sql for sql, _ in compiled), [value for _, values in compiled for value in values]
