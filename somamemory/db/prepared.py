"""ORM queries that are compiled once and executed with different values.

The ORM takes ten times as long to compile a query as SQLite takes to run it. A prepared query keeps the ORM's SQL,
converters and columns, so it returns the same rows and reflects every change to the model.

    named = Parameter("name", Memory, "namespace")
    _by_name = Prepared(lambda: Memory.objects.of_parameter(limited=False).filter(namespace=named))
    _by_name.rows(replicas.connection(), **parameters_of(caller.tenant), name="default")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Model, QuerySet, Value
from django.db.models.base import ModelState
from django.db.models.sql.compiler import SQLCompiler

from somamemory.db.conversions import Conversions

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class _Slot:
    """A placeholder among a statement's values, for a value supplied later."""

    name: str
    field: Field[Any, Any]


class Parameter(Value):
    """A value supplied when the statement is executed, with the type of a model field."""

    def __init__(self, name: str, model: type[Model], field: str) -> None:
        super().__init__(name, output_field=cast("Field[Any, Any]", model._meta.get_field(field)))

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        return "%s", (_Slot(self.value, self.output_field),)


@dataclass(frozen=True)
class _Compiled(Generic[Row]):
    model: type[Row]
    sql: str
    parameters: Sequence[object]
    names: Sequence[str]  # the attribute of each column
    conversions: Conversions

    def rows(self, connection: BaseDatabaseWrapper, parameters: Sequence[Any]) -> list[Row]:
        with connection.cursor() as cursor:
            cursor.execute(self.sql, parameters)
            return [
                instance(self.model, self.names, self.conversions.applied(row, connection), connection)
                for row in cursor.fetchall()
            ]


def rows_of(query: QuerySet[Row]) -> list[Row]:
    """Execute a query, and return its rows as `list(query)` does, but create the instances several times faster."""
    connection = connections[query.db]
    try:
        compiled = _compile(query, connection)
    except EmptyResultSet:  # the conditions contradict each other
        return []
    return compiled.rows(connection, compiled.parameters)


class Prepared(Generic[Row]):
    """A query that is compiled on its first execution, separately for each database vendor.

    build: returns the query, with a `Parameter` for each value that differs between executions.
    """

    def __init__(self, build: Callable[[], QuerySet[Row]]) -> None:
        self._build = build
        self._compiled: dict[str, _Compiled[Row]] = {}

    def rows(self, connection: BaseDatabaseWrapper, **given: Any) -> list[Row]:
        compiled = self._compiled.get(connection.vendor)
        if compiled is None:
            compiled = self._compiled[connection.vendor] = _compile(self._build(), connection)
        return compiled.rows(connection, _filled(compiled.parameters, given, connection))


class PreparedCondition:
    """The condition of a query, for hand-written statements. The query must not join other tables.

    build: as in `Prepared`.
    """

    def __init__(self, build: Callable[[], QuerySet[Any]]) -> None:
        self._build = build
        self._compiled: dict[str, tuple[str, Sequence[object]]] = {}

    def of(self, connection: BaseDatabaseWrapper, **given: Any) -> tuple[str, list[Any]]:
        """Return the condition's SQL and parameters."""
        compiled = self._compiled.get(connection.vendor)
        if compiled is None:
            query = self._build().query
            compiled = query.get_compiler(connection=connection).compile(query.where)
            self._compiled[connection.vendor] = compiled
        sql, parameters = compiled
        return sql, _filled(parameters, given, connection)


def instance(model: type[Row], names: Sequence[str], values: Sequence[Any], connection: BaseDatabaseWrapper) -> Row:
    """Create a model instance from a row without calling its constructor, as `copy` and `pickle` do."""
    made = model.__new__(model)
    state = ModelState()
    state.adding, state.db = False, connection.alias
    vars(made).update(zip(names, values, strict=True), _state=state)
    return made


def _filled(parameters: Sequence[object], given: dict[str, Any], connection: BaseDatabaseWrapper) -> list[Any]:
    return [
        item.field.get_db_prep_value(given[item.name], connection) if isinstance(item, _Slot) else item
        for item in parameters
    ]


def _compile(query: QuerySet[Row], connection: BaseDatabaseWrapper) -> _Compiled[Row]:
    compiler = query.query.get_compiler(connection=connection)
    sql, parameters = compiler.as_sql()
    select = [expression for expression, _, _ in compiler.select]
    return _Compiled(
        model=query.model,
        sql=sql,
        parameters=parameters,
        names=list(_names(compiler, len(select))),
        conversions=Conversions.of(connection, compiler.get_converters(select)),
    )


def _names(compiler: SQLCompiler, count: int) -> Iterator[str]:
    """Return the attribute of each column: first the fields, then the annotations."""
    names = {number: compiler.select[number][0].target.attname for number in compiler.klass_info["select_fields"]}
    names |= {number: name for name, number in compiler.annotation_col_map.items()}
    return (names[number] for number in range(count))
