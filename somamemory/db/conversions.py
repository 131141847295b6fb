"""Convert values from the database as the ORM does, with shortcuts for the most frequent types.

On SQLite, the ORM takes 2 µs to convert a time and 1.5 µs to convert a UUID; the shortcuts take a third of that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

OrmConvert = Callable[[Any, Any, BaseDatabaseWrapper], Any]
Convert = Callable[[Any, BaseDatabaseWrapper], Any]


@dataclass(frozen=True)
class Conversions:
    """A row's columns that must be converted, each with its conversion."""

    columns: Sequence[tuple[int, Convert]]

    @classmethod
    def of(
        cls, connection: BaseDatabaseWrapper, converters: Mapping[int, tuple[Sequence[OrmConvert], Any]]
    ) -> Conversions:
        """Return the conversions for the result of `SQLCompiler.get_converters`: converters by column number."""
        return cls([(at, _conversion(connection, *found)) for at, found in converters.items()])

    @classmethod
    def of_columns(cls, connection: BaseDatabaseWrapper, columns: Sequence[Any]) -> Conversions:
        """Return the conversions for columns of a model, given as expressions."""
        chains = [connection.ops.get_db_converters(column) + column.get_db_converters(connection) for column in columns]
        return cls.of(connection, {at: (chain, columns[at]) for at, chain in enumerate(chains) if chain})

    def applied(self, row: Sequence[Any], connection: BaseDatabaseWrapper) -> list[Any]:
        values = list(row)
        for at, convert in self.columns:
            value = values[at]
            if value is not None:  # neither the ORM's converters nor ours change NULL
                values[at] = convert(value, connection)
        return values


def _conversion(connection: BaseDatabaseWrapper, chain: Sequence[OrmConvert], expression: Any) -> Convert:
    in_full = partial(_in_full, chain, expression)
    sqlite: Any = connection.ops
    if connection.vendor == "sqlite" and chain == [sqlite.convert_datetimefield_value]:
        return partial(_time, in_full)
    if connection.vendor == "sqlite" and chain == [sqlite.convert_uuidfield_value]:
        return _uuid
    return in_full


def _in_full(chain: Sequence[OrmConvert], expression: Any, value: Any, connection: BaseDatabaseWrapper) -> Any:
    for convert in chain:
        value = convert(value, expression, connection)
    return value


def _time(in_full: Convert, value: Any, connection: BaseDatabaseWrapper) -> Any:
    if isinstance(value, datetime) and value.tzinfo is None and connection.timezone is UTC:
        return value.replace(tzinfo=UTC)
    return in_full(value, connection)


def _uuid(value: str, connection: BaseDatabaseWrapper) -> UUID:
    return UUID(int=int(value, 16))
