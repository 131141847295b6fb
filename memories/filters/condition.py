"""Translate a tree of conditions into a `Q` on memories."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, ExpressionWrapper, F, Func, Q
from django.db.models.sql.compiler import SQLCompiler

from memories.filters import postgresql, source, sqlite
from memories.filters.folding import fold
from memories.filters.grammar import And, Compiled, Filter, Given, Leaf, Not, Or
from memories.filters.numbers import numbers_in, whole_of
from memories.filters.sql import Sql
from memories.filters.tree import on_json, replaced, simplest
from memories.models import IDS, Memory

_INT32 = 1 << 31
DOCUMENTS = ("payload", "metadata")

_NULLABLE = (*IDS, "trust", "valid_from", "valid_to")
_NOTHING = Q(pk__in=[])
# Not an empty Q(), because its negation would also match everything.
_EVERYTHING = ~_NOTHING


def to_q(filter: Filter) -> Q:
    """Translate a filter into a condition on Memory that is never NULL, so it can be negated and combined."""
    filter = replaced(filter, simplest)
    parts = filter.parts if isinstance(filter, And) else (filter,)
    on_columns = [_on_columns(part) for part in parts if not on_json(part)]
    on_documents = tuple(part for part in parts if on_json(part))
    conditions = [*on_columns, Q(OnDocuments.of(And(on_documents)))] if on_documents else on_columns
    return Q(*conditions) if conditions else _EVERYTHING


def _on_columns(filter: Filter) -> Q:
    """Return the condition for a tree without conditions on JSON. The database can use column indexes for it."""
    match filter:
        case And(parts):
            return Q(*map(_on_columns, parts)) if parts else _EVERYTHING
        case Or(parts):
            return Q(*map(_on_columns, parts), _connector=Q.OR) if parts else _NOTHING
        case Not(part):
            return ~_on_columns(part)
        case Given(condition):
            return condition
        case Leaf():
            return _column(filter)
    raise AssertionError("already compiled")


def _column(leaf: Leaf) -> Q:
    """Return the condition for a leaf that compares a column other than a JSON document."""
    if leaf.column.partition(".")[0] == "source":
        return source.condition(leaf)
    if leaf.column in _NULLABLE:
        present = Q((f"{leaf.column}__isnull", False))
        return (present if leaf.operand else ~present) if leaf.operator == "exists" else present & _compared(leaf)
    if leaf.operator == "exists":
        return _EVERYTHING if leaf.operand else _NOTHING
    if leaf.column == "memory_type":
        return Q(memory_type__in=[kind for kind in Memory.Type.values if _holds(kind, leaf)])
    if leaf.column == "version":
        return _version(leaf)
    return _compared(leaf)


def _compared(leaf: Leaf) -> Q:
    return Q((f"{leaf.column}__{leaf.operator}", leaf.operand))


def _holds(kind: str, leaf: Leaf) -> bool:
    """Return whether a memory type matches a leaf. There are only two types, so they are tested here, not in SQL."""
    if isinstance(leaf.operand, tuple):
        return kind in leaf.operand
    needle = str(leaf.operand)
    return needle in kind if leaf.operator == "contains" else fold(needle) in fold(kind)


def _version(leaf: Leaf) -> Q:
    """Compare the integer column `version` with any number: no version equals 1.5, and `> 1.5` means `> 1`."""
    if isinstance(leaf.operand, tuple):
        numbers = [number for number in map(whole_of, numbers_in(leaf.operand)) if number is not None]
        return Q(version__in=[number for number in numbers if 0 <= number < _INT32])
    [number] = numbers_in([leaf.operand])
    rounded = math.floor(number) if leaf.operator in ("gt", "lte") else math.ceil(number)
    return Q((f"version__{leaf.operator}", max(-1, min(rounded, _INT32))))


class OnDocuments(Func):
    """A tree of conditions on the JSON columns. Django compiles any conditions on other columns within the tree."""

    output_field = BooleanField()

    def __init__(self, tree: Filter, given: Sequence[Q]) -> None:
        wrapped = [ExpressionWrapper(condition, output_field=BooleanField()) for condition in given]
        super().__init__(*map(F, DOCUMENTS), *wrapped)
        self.tree = tree

    @classmethod
    def of(cls, filter: Filter) -> OnDocuments:
        given: list[Q] = []
        return cls(_with_given(filter, given), given)

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any) -> Any:
        return sqlite.condition(self.tree, *self._compiled(compiler))

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any) -> Any:
        return postgresql.condition(self.tree, *self._compiled(compiler))

    def _compiled(self, compiler: SQLCompiler) -> tuple[dict[str, Sql], list[Sql]]:
        """Return the SQL of each document by column name, and the SQL of each condition on other columns."""
        sources = self.get_source_expressions()
        documents = [Sql(*compiler.compile(source)) for source in sources[: len(DOCUMENTS)]]
        given = [_compile(compiler, source) for source in sources[len(DOCUMENTS) :]]
        return dict(zip(DOCUMENTS, documents, strict=True)), given


def _with_given(filter: Filter, given: list[Q]) -> Filter:
    """Move each part of the tree that has no conditions on JSON to `given`, and return the rest.

    In the returned tree, `Compiled` refers to such a part by its index in `given`.
    """
    if not on_json(filter):
        given.append(_on_columns(filter))
        return Compiled(len(given) - 1)
    match filter:
        case And(parts):
            return And(tuple(_with_given(part, given) for part in parts))
        case Or(parts):
            return Or(tuple(_with_given(part, given) for part in parts))
        case Not(part):
            return Not(_with_given(part, given))
    return filter


def _compile(compiler: SQLCompiler, source: Any) -> Sql:
    try:
        text, params = compiler.compile(source)
    except EmptyResultSet:
        return Sql("FALSE")
    except FullResultSet:
        return Sql("TRUE")
    return Sql(f"({text})", params)
