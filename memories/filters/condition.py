"""Translate a tree of conditions into a `Q` object for memories."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, F, Func, Q
from django.db.models.sql.compiler import SQLCompiler

from memories.filters import postgresql, sqlite
from memories.filters.folding import fold
from memories.filters.grammar import And, Filter, Leaf, Not, Or
from memories.filters.numbers import numbers_in, whole_of
from memories.filters.sql import Sql
from memories.models import Memory

_INT32 = 1 << 31

# Not Q(), because the negation of Q() also matches everything.
_NOTHING = Q(pk__in=[])
_EVERYTHING = ~_NOTHING


def to_q(filter: Filter) -> Q:
    """Return a condition for `.filter()` on Memory.

    It is true or false for every row, so it can be negated and combined.
    """
    match filter:
        case And(parts):
            return Q(*map(to_q, parts)) if parts else _EVERYTHING
        case Or(parts):
            return Q(*map(to_q, parts), _connector=Q.OR) if parts else _NOTHING
        case Not(part):
            return ~to_q(part)
        case Leaf(operator="eq" | "ne") if not isinstance(filter.operand, tuple):
            many = "in" if filter.operator == "eq" else "nin"
            return to_q(replace(filter, operator=many, operand=(filter.operand,)))
        case Leaf(operator="nin"):
            present = replace(filter, operator="exists", operand=True)
            return Q(to_q(present), ~to_q(replace(filter, operator="in")))
        case _:
            return Q(JsonLeaf(filter)) if filter.path else _column(filter)


def _column(leaf: Leaf) -> Q:
    """Return the condition for a leaf on a real column. None of these columns is nullable."""
    if leaf.operator == "exists":
        return _EVERYTHING if leaf.operand else _NOTHING
    if leaf.column == "memory_type":
        return Q(memory_type__in=[kind for kind in Memory.Type.values if _holds(kind, leaf)])
    if leaf.column == "version":
        return _version(leaf)
    return Q((f"{leaf.column}__{leaf.operator}", leaf.operand))


def _holds(kind: str, leaf: Leaf) -> bool:
    """Return whether a memory type matches. There are only two types, so this needs no query."""
    if isinstance(leaf.operand, tuple):
        return kind in leaf.operand
    needle = str(leaf.operand)
    return needle in kind if leaf.operator == "contains" else fold(needle) in fold(kind)


def _version(leaf: Leaf) -> Q:
    """Compare an integer column with any number: 1.5 is never equal, and `> 1.5` means `> 1`."""
    if isinstance(leaf.operand, tuple):
        numbers = [number for number in map(whole_of, numbers_in(leaf.operand)) if number is not None]
        return Q(version__in=[number for number in numbers if 0 <= number < _INT32])
    [number] = numbers_in([leaf.operand])
    rounded = math.floor(number) if leaf.operator in ("gt", "lte") else math.ceil(number)
    return Q((f"version__{leaf.operator}", max(-1, min(rounded, _INT32))))


class JsonLeaf(Func):
    """A condition on a JSON column, for the operators in, gt, gte, lt, lte, contains, icontains and exists."""

    output_field = BooleanField()

    def __init__(self, leaf: Leaf) -> None:
        super().__init__(F(leaf.column))
        self.leaf = leaf

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any) -> Any:
        return sqlite.condition(self.leaf, Sql(*compiler.compile(self.source_expressions[0])))

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any) -> Any:
        return postgresql.condition(self.leaf, Sql(*compiler.compile(self.source_expressions[0])))
