"""Conditions on a JSON column in PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import reduce

from memories.filters.folding import FINAL_SIGMA, SIGMA
from memories.filters.grammar import ORDER, Leaf
from memories.filters.sql import Sql, by_type, sql, value_of

_MAX_INDEXED = 20  # one index lookup per value in a list; with more values, PostgreSQL reads the rows instead


def condition(leaf: Leaf, document: Sql) -> Sql:
    # The operand of each arrow is text, so that "0" is a key; a path array could also mean a list position.
    value = sql("({}" + " -> {}::text" * len(leaf.path) + ")", document, *map(value_of, leaf.path))
    kind = sql("jsonb_typeof({})", value)
    text = sql("({} #>> '{{}}')", value)
    match leaf.operator, leaf.operand:
        case "exists", present:
            return sql("{} IS NOT NULL" if present else "{} IS NULL", value)
        case "in", tuple(operands):
            one_of = sql("COALESCE({} = ANY ({}::jsonb[]), FALSE)", value, value_of(_array_of_json(operands)))
            return _found_by_index(document, leaf.path, operands, one_of)
        case "contains", str(operand):
            has = sql("strpos({}, {}::text) > 0", text, value_of(operand))
            return by_type(kind, {"array": _json_contains(value, [operand]), "string": has})
        case "contains", operand:
            has = by_type(kind, {"array": _json_contains(value, [operand])})
            return _found_by_index(document, leaf.path, [[operand]], has)
        case "icontains", needle:
            folded = _fold(sql("{}::text", value_of(needle)))
            has = sql("strpos({}, {}) > 0", _fold(text), folded)
            some_item = "EXISTS (SELECT 1 FROM jsonb_array_elements({}) AS item WHERE jsonb_typeof(item) = 'string'"
            equal = sql(f"{some_item} AND {{}} = {{}})", value, _fold(Sql("(item #>> '{}')")), folded)
            return by_type(kind, {"string": has, "array": equal})
        case operator, str(operand):
            compared = f'{{}} COLLATE "C" {ORDER[operator]} {{}}::text'
            return by_type(kind, {"string": sql(compared, text, value_of(operand))})
        case operator, operand:
            compared = f"{{}} {ORDER[operator]} {{}}::jsonb"
            return by_type(kind, {"number": sql(compared, value, value_of(json.dumps(operand)))})


def _found_by_index(document: Sql, path: Sequence[str], operands: Sequence[object], condition: Sql) -> Sql:
    """Return the condition, preceded by a weaker one that can use the index on the whole document.

    The weaker condition requires the document to contain {"a": {"b": operand}} for one of the operands. It is not
    sufficient, because it also matches a list that contains such an item.
    """
    if not 0 < len(operands) <= _MAX_INDEXED:
        return condition
    nested = [reduce(lambda inner, key: {key: inner}, reversed(path), operand) for operand in operands]
    any_of = " OR ".join(["{}"] * len(nested))
    return sql(f"(({any_of}) AND {{}})", *(_json_contains(document, part) for part in nested), condition)


def _json_contains(document: Sql, part: object) -> Sql:
    return sql("{} @> {}::jsonb", document, value_of(json.dumps(part)))


def _array_of_json(operands: Iterable[object]) -> str:
    """Return a jsonb[] literal.

    psycopg does not quote the JSON text null in a list, so SQL would read it as NULL.
    """
    # JSON and array literals escape quotes and backslashes in the same way, and the inner dumps produces only ASCII.
    return "{" + ",".join(json.dumps(json.dumps(operand)) for operand in operands) + "}"


def _fold(text: Sql) -> Sql:
    """Return SQL for `fold`, which uses language-neutral Unicode rules regardless of the database's collation."""
    lowered = 'translate(lower({} COLLATE "und-x-icu"), {}, {})'
    return sql(lowered, text, value_of(FINAL_SIGMA), value_of(SIGMA))
