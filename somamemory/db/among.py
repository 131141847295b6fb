"""The `among` lookup, which matches rows whose column has one of many values, as in `filter(id__among=ids)`.

Django's `in` adds a placeholder per value. This lookup passes all values as one parameter, so the statement does
not depend on the number of values: compiling it takes no longer for a thousand values than for one, and the databases
can reuse a prepared statement.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import orjson
from django.core.exceptions import EmptyResultSet
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, ForeignKey, Lookup
from django.db.models.sql.compiler import SQLCompiler


@ForeignKey.register_lookup  # which does not inherit the lookups of Field
@Field.register_lookup
class Among(Lookup):
    """The values must be UUIDs, strings or whole numbers, in the form in which the column stores them."""

    lookup_name = "among"
    prepare_rhs = False

    def __init__(self, lhs: Any, rhs: Iterable[UUID | str | int]) -> None:
        super().__init__(lhs, list(rhs))

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        if not self.rhs:
            raise EmptyResultSet
        column, parameters = self.process_lhs(compiler, connection)
        if connection.vendor == "postgresql":
            return f"{column} = ANY(%s)", (*parameters, self.rhs)
        values = [value.hex if isinstance(value, UUID) else value for value in self.rhs]
        sql = f"{column} IN (SELECT value FROM json_each(%s))"  # noqa: S608 - contains no values
        return sql, (*parameters, orjson.dumps(values).decode())
