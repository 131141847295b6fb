"""The memories that a search can return, and the statements that read them.

A search's condition (its tenant, namespaces and filters) becomes part of each statement. Django compiles the
filters for each search, and the rest of the condition only once for all searches of the same shape.

Each statement starts from the candidate rows, by term or by id, and checks the condition only for these rows.
Otherwise, PostgreSQL would read the whole namespace while it has no statistics, for example right after a bulk import.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from typing import Any
from uuid import UUID

import orjson
from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Q, QuerySet
from django.db.models.sql import Query
from django.utils import timezone

from memories import selectors, validity
from memories.filters import to_q
from memories.filters.fields import Clause, clauses
from memories.large_rows import SMALL
from memories.models import EmbeddingGeneration, Memory
from memories.prepared_reads import alive
from memories.search.expansion import Address
from memories.search.query import Search
from somamemory.db import replicas
from somamemory.db.conversions import Conversions
from somamemory.db.prepared import Parameter, PreparedCondition, instance
from tenants.caller import Caller
from tenants.models import Tenant
from tenants.scoping import parameters_of

Row = tuple[Any, ...]
# A memory's id as the database returns it. On SQLite, this is a string of digits, which is faster to hash and compare.
StoredId = UUID | str
_NOTHING, _EVERYTHING = "1 = 0", "1 = 1"
# A candidate memory's vector, or NULL if the memory is not in the index yet. Archived memories are never in the
# index, but their vectors are used.
_VECTOR = (
    "CASE WHEN indexed.indexed_version IS NOT NULL OR sfm_memories.archived_at IS NOT NULL THEN indexed.vector END"
)
_WITH_VECTOR = """
    LEFT JOIN sfm_vector_embeddings AS indexed ON indexed.tenant_id = sfm_memories.tenant_id
    AND indexed.generation_id = %s AND indexed.memory_id = sfm_memories.id
"""
# Table expressions for the rows at given addresses. Each row is looked up in the unique index, whatever the planner
# estimates.
_SQLITE_AT = """
    json_each(%s) AS place CROSS JOIN json_each(place.value) AS proposed CROSS JOIN sfm_memories
    ON sfm_memories.tenant_id = %s AND sfm_memories.namespace = place.key
    AND sfm_memories.coordinate_key = proposed.value
"""
_POSTGRESQL_AT = """
    unnest(%s::text[], %s::text[]) AS proposed (namespace, coordinate_key) CROSS JOIN LATERAL (
        SELECT * FROM sfm_memories AS found WHERE found.tenant_id = %s
        AND found.namespace = proposed.namespace AND found.coordinate_key = proposed.coordinate_key OFFSET 0
    ) AS sfm_memories
"""


@dataclass(frozen=True)
class Selection:
    """The memories that a search can return, as a condition compiled for the database that the search reads from.

    query: a function that returns the same memories as a queryset.
    fields: clauses such that every memory that passes the filters contains all terms of at least one clause
      (`filters.fields`). They are empty if the index cannot find these memories.
    """

    connection: BaseDatabaseWrapper
    condition: str
    parameters: Sequence[Any]
    query: Callable[[], QuerySet[Memory]]
    fields: Sequence[Clause] = ()

    @classmethod
    def of(cls, memories: QuerySet[Memory], fields: Sequence[Clause] = ()) -> Selection:
        connection = connections[memories.db]
        condition, parameters = _compiled(memories, connection)
        return cls(connection, condition, parameters, lambda: memories, fields)

    @classmethod
    def for_search(cls, caller: Caller, search: Search) -> Selection:
        """Return the selection of the caller's live memories that the search may return."""
        connection, filters = replicas.connection(), search.narrowing.filters
        fields = clauses(filters) if filters and connection.vendor == "sqlite" else ()
        others = search.narrowing if filters is None else replace(search.narrowing, filters=None)
        if not search.namespaces or not others.has_only_lookups:
            return cls.of(_memories(caller, search), fields)
        caller.require("read", search.namespaces)
        now, values = timezone.now(), search.narrowing.lookups
        limited = caller.tenant.only_user is not None
        shape = Shape(
            len(search.namespaces), tuple(values), search.include_archived, search.include_superseded, limited
        )
        places = {f"namespace{number}": name for number, name in enumerate(search.namespaces)}
        given = {**parameters_of(caller.tenant), **places, **values, "now": now, "moment": search.valid_at or now}
        condition, parameters = _prepared(shape).of(connection, **given)
        if filters:
            query = Query(Memory)
            query.add_q(to_q(filters))
            filter_condition, filter_parameters = _where(query, connection)
            condition, parameters = f"{condition} AND {filter_condition}", [*parameters, *filter_parameters]
        return cls(connection, condition, parameters, lambda: _memories(caller, search), fields)

    @cached_property
    def memories(self) -> QuerySet[Memory]:
        """Return the same memories as a queryset, for further queries."""
        return self.query()

    def stored(self, id: UUID | str) -> StoredId:
        """Convert an id, or its 32 hexadecimal digits, to the form in which the database returns it."""
        if self.connection.vendor == "sqlite":
            return id if isinstance(id, str) else id.hex
        return as_uuid(id)

    def rows(self, columns: str, source: str, parameters: Sequence[Any], rest: str = "") -> list[Row]:
        """Return `columns` of the rows in `source` that meet the condition.

        source: a table expression named sfm_memories.
        rest: SQL to append, such as `ORDER BY` and `LIMIT` clauses.
        """
        sql = f"SELECT {columns} FROM {source} WHERE {self.condition} {rest}"  # noqa: S608 - constants and compiled SQL
        with self.connection.cursor() as cursor:
            cursor.execute(sql, [*parameters, *self.parameters])
            rows: list[Row] = cursor.fetchall()
            return rows

    def with_vectors(
        self, columns: str, ids: Sequence[StoredId], first: int, generation: EmbeddingGeneration | None
    ) -> list[Row]:
        """Return `columns` and the vectors of the memories with these ids.

        A vector is None if the memory has none in the index, or if the position of the memory's id is less than
        `first`.
        """
        source, parameters = self._proposed(ids)
        if generation is None or first == len(ids):
            return self.rows(f"{columns}, NULL", source, parameters)
        if self.connection.vendor == "sqlite":
            wanted, values = "proposed.key >= %s", [generation.id.hex, first]
        else:
            wanted, values = "sfm_memories.id = ANY(%s::uuid[])", [generation.id, list(ids[first:])]
        return self.rows(f"{columns}, {_VECTOR}", f"{source} {_WITH_VECTOR} AND {wanted}", [*parameters, *values])

    def at(
        self,
        columns: str,
        parameters: Sequence[Any],
        tenant: Tenant,
        addresses: Sequence[Address],
        generation: EmbeddingGeneration | None,
    ) -> list[Row]:
        """Return `columns` and the vectors of the memories at these addresses.

        parameters: the parameters of the SQL in `columns`.
        """
        values: list[Any]
        if self.connection.vendor == "sqlite":
            keys: dict[str, list[str]] = {}
            for namespace, key in addresses:
                keys.setdefault(namespace, []).append(key)
            source, values = _SQLITE_AT, [orjson.dumps(keys).decode(), tenant.id.hex]
        else:
            source, values = _POSTGRESQL_AT, [*map(list, zip(*addresses, strict=True)), tenant.id]
        if generation is None:
            return self.rows(f"{columns}, NULL", source, [*parameters, *values])
        vector_of = generation.id.hex if self.connection.vendor == "sqlite" else generation.id
        return self.rows(f"{columns}, {_VECTOR}", f"{source} {_WITH_VECTOR}", [*parameters, *values, vector_of])

    def whole(self, ids: Sequence[StoredId]) -> list[Memory] | None:
        """Return the memories with these ids, without their terms, or None if any of them is large (`large_rows`)."""
        columns, names, conversions, size_at = _reading(self.connection.vendor)
        source, parameters = self._proposed(ids)
        rows = self.rows(columns, source, parameters)
        if any(row[size_at] > SMALL for row in rows):
            return None
        connection = self.connection
        return [instance(Memory, names, conversions.applied(row, connection), connection) for row in rows]

    def _proposed(self, ids: Sequence[StoredId]) -> tuple[str, list[Any]]:
        if self.connection.vendor == "sqlite":
            source = "json_each(%s) AS proposed CROSS JOIN sfm_memories ON sfm_memories.id = proposed.value"
            return source, [orjson.dumps(ids).decode()]
        return "(SELECT * FROM sfm_memories WHERE id = ANY(%s::uuid[]) OFFSET 0) AS sfm_memories", [list(ids)]


@dataclass(frozen=True)
class Shape:
    """The properties of a search, other than its filters, that determine the text of its condition.

    namespaces: the number of namespaces.
    lookups: the conditions of its narrowing without their values, such as `created_at__gt`.
    limited: whether the caller is limited to a user.
    """

    namespaces: int
    lookups: tuple[str, ...]
    archived: bool
    superseded: bool
    limited: bool


@lru_cache(256)
def _prepared(shape: Shape) -> PreparedCondition:
    return PreparedCondition(lambda: _parameterised(shape))


def _parameterised(shape: Shape) -> QuerySet[Memory]:
    lookups: dict[str, Any] = {name: _parameter(name, name.partition("__")[0]) for name in shape.lookups}
    places = [_parameter(f"namespace{number}", "namespace") for number in range(shape.namespaces)]
    rows = Memory.objects.of_parameter(limited=shape.limited).filter(namespace__in=places, **lookups)
    valid = Q() if shape.superseded else validity.valid_at(_parameter("moment", "valid_from"))
    awake = Q() if shape.archived else Q(archived_at=None)
    return rows.filter(alive(_parameter("now", "expires_at")), awake, valid)


def _memories(caller: Caller, search: Search) -> QuerySet[Memory]:
    awake = Q() if search.include_archived else Q(archived_at=None)
    return search.narrowing.apply(selectors.live(caller, search.namespaces).filter(awake, search.validity))


def _parameter(name: str, field: str) -> Any:
    return Parameter(name, Memory, field)


def as_uuid(value: StoredId) -> UUID:
    """Convert an id, as either database returns it, to a UUID."""
    return value if isinstance(value, UUID) else _parsed(value)


@lru_cache(4_096)
def _parsed(digits: str) -> UUID:
    return UUID(
        hex=digits
    )  # cached, because converting takes ten times as long as a lookup, and a search reads most ids several times


def _compiled(memories: QuerySet[Memory], connection: BaseDatabaseWrapper) -> tuple[str, Sequence[Any]]:
    query = memories.order_by().query
    if sum(count > 0 for count in query.alias_refcount.values()) <= 1:
        return _where(query, connection)
    try:  # the condition refers to a joined table, so use a subquery
        sql, parameters = memories.values("seq").query.get_compiler(connection=connection).as_sql()
        return f"sfm_memories.seq IN ({sql})", parameters
    except EmptyResultSet:
        return _NOTHING, ()


def _where(query: Query, connection: BaseDatabaseWrapper) -> tuple[str, Sequence[Any]]:
    try:
        sql, parameters = query.get_compiler(connection=connection).compile(query.where)
        return f"({sql})", parameters
    except EmptyResultSet:
        return _NOTHING, ()
    except FullResultSet:
        return _EVERYTHING, ()


@cache
def _reading(vendor: str) -> tuple[str, list[str], Conversions, int]:
    """Return the parts that are needed to read whole memories.

    The parts are the SQL of the columns, their attribute names, their conversions, and the index of the `size` column.
    """
    connection = next(found for found in connections.all() if found.vendor == vendor)
    fields = [field for field in Memory._meta.concrete_fields if field.name != "terms"]
    conversions = Conversions.of_columns(connection, [field.get_col("sfm_memories") for field in fields])
    columns = ", ".join(_column(field) for field in fields)
    return columns, [field.attname for field in fields], conversions, [field.name for field in fields].index("size")


def _column(field: Field[Any, Any]) -> str:
    column = f"sfm_memories.{field.column}"
    if field.name in ("payload", "metadata"):
        return f"CASE WHEN sfm_memories.size <= {SMALL} THEN {column} END"
    return column
