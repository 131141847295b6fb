"""The memories that a search may return, and the statements that read them.

The condition of a search (its tenant, namespaces and filters) is compiled once, by Django, and becomes part of each
statement. Each statement starts from the proposed rows, by term or by id, and checks the condition for these only.
Otherwise PostgreSQL reads the whole namespace as long as it has no statistics, such as right after a bulk import.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, QuerySet

from memories.large_rows import SMALL
from memories.models import EmbeddingGeneration, Memory

Row = tuple[Any, ...]
_NOTHING, _EVERYTHING = "1 = 0", "1 = 1"
# The vector of a proposed memory, unless the index has not received it yet. Archived memories are not in the index.
_VECTOR = (
    "CASE WHEN indexed.indexed_version IS NOT NULL OR sfm_memories.archived_at IS NOT NULL THEN indexed.vector END"
)
_WITH_VECTOR = """
    LEFT JOIN sfm_vector_embeddings AS indexed ON indexed.tenant_id = sfm_memories.tenant_id
    AND indexed.generation_id = %s AND indexed.memory_id = sfm_memories.id
"""


@dataclass(frozen=True)
class Selection:
    """The condition of a search, compiled for the database that its queryset reads from."""

    connection: BaseDatabaseWrapper
    condition: str
    parameters: tuple[Any, ...]

    @classmethod
    def of(cls, memories: QuerySet[Memory]) -> Selection:
        connection = connections[memories.db]
        condition, parameters = _compiled(memories, connection)
        return cls(connection, condition, tuple(parameters))

    def rows(self, columns: str, source: str, parameters: Sequence[Any], rest: str = "") -> list[Row]:
        """Return `columns` of the rows of `source`, a table expression named sfm_memories, that pass the condition."""
        sql = f"SELECT {columns} FROM {source} WHERE {self.condition} {rest}"  # noqa: S608 - constants and compiled SQL
        with self.connection.cursor() as cursor:
            cursor.execute(sql, [*parameters, *self.parameters])
            rows: list[Row] = cursor.fetchall()
            return rows

    def with_vectors(self, columns: str, ids: Collection[UUID], generation: EmbeddingGeneration | None) -> list[Row]:
        """Return `columns` of the memories with these ids, each with its vector in the generation, or None."""
        source, parameters = self._proposed(ids)
        if generation is None:
            return self.rows(f"{columns}, NULL", source, parameters)
        key = generation.id if self.connection.features.has_native_uuid_field else generation.id.hex
        return self.rows(f"{columns}, {_VECTOR}", source + _WITH_VECTOR, [*parameters, key])

    def whole(self, ids: Collection[UUID]) -> list[Memory] | None:
        """Return the memories with these ids, without their terms, or None if one of them is large (`large_rows`)."""
        columns, names, conversions, size_at = _reading(self.connection.vendor)
        source, parameters = self._proposed(ids)
        rows = self.rows(columns, source, parameters)
        if any(row[size_at] > SMALL for row in rows):
            return None
        return [Memory.from_db(self.connection.alias, names, self._converted(row, conversions)) for row in rows]

    def _proposed(self, ids: Collection[UUID]) -> tuple[str, list[Any]]:
        if self.connection.vendor == "sqlite":
            source = "json_each(%s) AS proposed CROSS JOIN sfm_memories ON sfm_memories.id = proposed.value"
            return source, [json.dumps([id.hex for id in ids])]
        return "(SELECT * FROM sfm_memories WHERE id = ANY(%s::uuid[]) OFFSET 0) AS sfm_memories", [list(ids)]

    def _converted(self, row: Row, conversions: Conversions) -> list[Any]:
        values = list(row)
        for at, column, converters in conversions:
            for convert in converters:
                values[at] = convert(values[at], column, self.connection)
        return values


# Position of a column, the column, and the functions that convert its values.
Conversions = Sequence[tuple[int, Any, Sequence[Callable[..., Any]]]]


def as_uuid(value: UUID | str) -> UUID:
    """Return an id as read from either database."""
    return value if isinstance(value, UUID) else UUID(hex=value)


def _compiled(memories: QuerySet[Memory], connection: BaseDatabaseWrapper) -> tuple[str, Sequence[Any]]:
    query = memories.order_by().query
    try:
        if sum(count > 0 for count in query.alias_refcount.values()) > 1:  # a condition on a joined table
            sql, parameters = memories.values("seq").query.get_compiler(connection=connection).as_sql()
            return f"sfm_memories.seq IN ({sql})", parameters
        sql, parameters = query.get_compiler(connection=connection).compile(query.where)
        return sql, parameters
    except EmptyResultSet:
        return _NOTHING, ()
    except FullResultSet:
        return _EVERYTHING, ()


@cache
def _reading(vendor: str) -> tuple[str, list[str], Conversions, int]:
    """Return the columns of a whole memory, their attributes, their conversions, and the position of the size."""
    connection = next(found for found in connections.all() if found.vendor == vendor)
    fields = [field for field in Memory._meta.concrete_fields if field.name != "terms"]
    conversions = []
    for at, field in enumerate(fields):
        column = field.get_col("sfm_memories")
        converters = connection.ops.get_db_converters(column) + column.get_db_converters(connection)
        if converters:
            conversions.append((at, column, converters))
    columns = ", ".join(_column(field) for field in fields)
    return columns, [field.attname for field in fields], conversions, [field.name for field in fields].index("size")


def _column(field: Field[Any, Any]) -> str:
    column = f"sfm_memories.{field.column}"
    if field.name in ("payload", "metadata"):
        return f"CASE WHEN sfm_memories.size <= {SMALL} THEN {column} END"
    return column
