"""Conditions on a JSON column in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from memories.filters import evaluation
from memories.filters.folding import fold
from memories.filters.grammar import ORDER, Filter, Leaf
from memories.filters.numbers import decimal_of, nearest_float, numbers_in, place_among_ints, whole_of
from memories.filters.sql import Sql, by_type, listed, of_tree, sql, value_of
from memories.filters.tree import on_json

# The maximum total size of a row's documents, in characters, for evaluation in SQL. For larger ones, see `evaluation`.
SMALL = 65_536
# For up to this many conditions on a value, it is faster to extract the value for each of them, because a level of
# subqueries costs 2 µs per row.
_MAX_REPEATED = 1


def condition(tree: Filter, documents: Mapping[str, Sql], given: Sequence[Sql]) -> Sql:
    """Return the condition for a tree: in SQL for small documents, in Python for large ones."""
    used = {leaf.column for leaf in on_json(tree)}
    read = {name: document for name, document in documents.items() if name in used}
    in_sql = _in_sql(tree, documents, given)
    arguments = [value_of(evaluation.dumps(tree)), *(read.get(name, Sql("'null'")) for name in documents), *given]
    in_python = sql("soma_matches(" + ", ".join(["{}"] * len(arguments)) + ")", *arguments)
    size = sql(" + ".join(["length({})"] * len(read)), *read.values())
    return sql(f"CASE WHEN {{}} <= {SMALL} THEN {{}} ELSE {{}} END", size, in_sql, in_python)


def _in_sql(tree: Filter, documents: Mapping[str, Sql], given: Sequence[Sql]) -> Sql:
    uses = Counter((leaf.column, leaf.path) for leaf in on_json(tree))
    if max(uses.values()) > _MAX_REPEATED:
        return _extracted_once(tree, documents, given)
    values = {(column, path): _Value.in_document(documents[column], path) for column, path in uses}
    return of_tree(tree, lambda leaf: _leaf(leaf, values[leaf.column, leaf.path]), given)


def _extracted_once(tree: Filter, documents: Mapping[str, Sql], given: Sequence[Sql]) -> Sql:
    """Return a condition that extracts and folds each value once per row, even if several conditions use it.

    Each step is a subquery. `LIMIT 1` keeps SQLite from merging them, which would run the steps more than once.
    """
    paths = list(dict.fromkeys((leaf.column, leaf.path) for leaf in on_json(tree)))
    values = {path: _Value.numbered(number) for number, path in enumerate(paths)}
    sources = {(column, path): _Value.in_document(documents[column], path) for column, path in paths}
    to_fold = dict.fromkeys(values[leaf.column, leaf.path] for leaf in on_json(tree) if leaf.operator == "icontains")
    level = sql("SELECT {} LIMIT 1", listed([_extracted(sources[path], values[path]) for path in paths]))
    if to_fold:
        level = sql("SELECT *, {} FROM ({}) LIMIT 1", listed([_folded(value) for value in to_fold]), level)
    condition = of_tree(tree, lambda leaf: _leaf(leaf, values[leaf.column, leaf.path]), given)
    return sql("EXISTS (SELECT 1 FROM ({}) WHERE {})", level, condition)


class _Value(NamedTuple):
    """The SQL of a value: its JSON type, the value itself, and its folded text."""

    kind: Sql
    value: Sql
    folded: Sql

    @classmethod
    def numbered(cls, number: int) -> _Value:
        return cls(Sql(f"kind{number}"), Sql(f"value{number}"), Sql(f"folded{number}"))

    @classmethod
    def in_document(cls, document: Sql, path: Sequence[str]) -> _Value:
        # Keys are escaped as in stored JSON, because SQLite before 3.45 compares them exactly as they are written.
        at = value_of("$" + "".join(f".{json.dumps(segment)}" for segment in path))
        value = sql("json_extract({}, {})", document, at)
        return cls(sql("json_type({}, {})", document, at), value, _fold(value))


def _extracted(source: _Value, column: _Value) -> Sql:
    return sql("{} AS {}, {} AS {}", source.kind, column.kind, source.value, column.value)


def _folded(value: _Value) -> Sql:
    return sql("CASE {} WHEN 'text' THEN {} END AS {}", value.kind, _fold(value.value), value.folded)


def _leaf(leaf: Leaf, of: _Value) -> Sql:
    kind, value, folded_value = of
    # A condition on the items of an array; an item is a row with a type and a value.
    some_item = "EXISTS (SELECT 1 FROM json_each({}) AS item WHERE {})"
    item_type, item = Sql("item.type"), Sql("item.value")
    match leaf.operator, leaf.operand:
        case "exists", present:
            return sql("{} IS NOT NULL" if present else "{} IS NULL", kind)
        case "in", tuple(operands):
            return by_type(kind, _equals(value, operands))
        case "contains", operand:
            equal = by_type(item_type, _equals(item, (operand,)))
            branches = {"array": sql(some_item, value, equal)}
            if isinstance(operand, str):
                branches["text"] = sql("instr({}, {}) > 0", value, value_of(operand))
            return by_type(kind, branches)
        case "icontains", needle:
            folded = value_of(fold(str(needle)))
            equal = by_type(item_type, {"text": sql("{} = {}", _fold(item), folded)})
            has = sql("instr({}, {}) > 0", folded_value, folded)
            return by_type(kind, {"text": has, "array": sql(some_item, value, equal)})
        case operator, operand:
            return by_type(kind, _order(value, operator, operand))


def _equals(value: Sql, operands: Iterable[object]) -> dict[str, Sql]:
    """Return, for each JSON type of the value, the condition that it equals one of the operands."""
    known = tuple(operands)
    numbers = numbers_in(known)
    by_type: dict[str, list[str] | list[int] | list[float]] = {
        "text": [operand for operand in known if isinstance(operand, str)],
        "integer": [whole for whole in map(whole_of, numbers) if whole is not None],
        "real": [float(number) for number in numbers if decimal_of(float(number)) == decimal_of(number)],
    }
    # The operands are passed as JSON, so that SQLite parses their numbers in the same way as the stored ones.
    listed = "{} IN (SELECT listed.value FROM json_each({}) AS listed)"
    branches = {kind: sql(listed, value, value_of(json.dumps(values))) for kind, values in by_type.items() if values}
    names = {True: "true", False: "false", None: "null"}
    branches |= {names[operand]: Sql("TRUE") for operand in known if operand is None or isinstance(operand, bool)}
    return branches


def _order(value: Sql, operator: str, operand: object) -> dict[str, Sql]:
    compared = f"{{}} {ORDER[operator]} {{}}"
    if isinstance(operand, str):
        return {"text": sql(compared, value, value_of(operand))}
    [number] = numbers_in([operand])
    bound = value_of(json.dumps(nearest_float(number, up=operator in ("gte", "lt"))))
    return {
        "integer": sql(compared, value, value_of(place_among_ints(number))),
        "real": sql(compared, value, sql("json_extract({}, '$')", bound)),
    }


def _fold(text: Sql) -> Sql:
    """Return SQL for `fold`. ASCII text is folded in SQL; other text needs a call into Python, which takes the GIL."""
    return sql(
        "CASE WHEN length(CAST({} AS BLOB)) = length({}) THEN lower({}) ELSE soma_fold({}) END", text, text, text, text
    )


def register_functions(sender: object, connection: BaseDatabaseWrapper, **kwargs: object) -> None:
    """Add `soma_fold` and `soma_matches` to a new SQLite connection. SQLite's own `lower` supports only ASCII.

    Connected to the `connection_created` signal in memories/apps.py.
    """
    if isinstance(connection.connection, sqlite3.Connection):
        connection.connection.create_function("soma_fold", 1, fold, deterministic=True)
        connection.connection.create_function("soma_matches", -1, evaluation.matches, deterministic=True)
