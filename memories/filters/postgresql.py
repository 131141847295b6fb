"""Conditions on a JSON column in PostgreSQL."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce

from memories.filters.folding import FINAL_SIGMA, SIGMA, fold
from memories.filters.grammar import ORDER, And, Filter, Leaf, Or
from memories.filters.sql import Sql, by_type, joined, listed, of_tree, sql, value_of
from memories.filters.tree import on_json

_MAX_INDEXED = 20  # each value in a list takes one index lookup; with more values, PostgreSQL reads the rows instead
# Up to this many conditions, each on a different path, are faster when evaluated separately, because each level of
# subqueries costs 1 to 4 µs per row. With more conditions, there would be too many copies of a large document, because
# PostgreSQL frees memory only after each row.
_MAX_SEPARATE = 3
# The products of text length and search string length, both in bytes, at which `strpos` takes 5 ms and 300 ms.
_QUICK = 3_000_000
_SLOW = 200_000_000


def condition(tree: Filter, documents: Mapping[str, Sql], given: Sequence[Sql]) -> Sql:
    """Return the condition for a tree, preceded, if possible, by a weaker one that can use a document's index."""
    uses = Counter((leaf.column, leaf.path) for leaf in on_json(tree))
    if max(uses.values()) == 1 and len(uses) <= _MAX_SEPARATE:
        exact = of_tree(tree, lambda leaf: _leaf(leaf, _value_in(documents[leaf.column], leaf.path)), given)
    else:
        exact = _extracted_once(tree, documents, given)
    weaker = _indexable(tree, documents)
    return exact if weaker is None else sql("({} AND {})", weaker, exact)


def _extracted_once(tree: Filter, documents: Mapping[str, Sql], given: Sequence[Sql]) -> Sql:
    """Return a condition that reads each document once per row, and extracts and folds each value once.

    Each step is a subquery. `OFFSET 0` keeps PostgreSQL from merging them, which would run the steps more than once.
    """
    paths = list(dict.fromkeys((leaf.column, leaf.path) for leaf in on_json(tree)))
    names = {path: f"value{number}" for number, path in enumerate(paths)}
    to_fold = dict.fromkeys(names[leaf.column, leaf.path] for leaf in on_json(tree) if leaf.operator == "icontains")
    used = dict.fromkeys(column for column, _ in paths)
    read = [sql(f"{{}} #> '{{{{}}}}' AS {column}", documents[column]) for column in used]
    values = [sql(f"{{}} AS {name}", _value_in(Sql(column), path)) for (column, path), name in names.items()]
    folded = [sql(f"{{}} AS folded_{name}", _folded_string(Sql(name))) for name in to_fold]
    level = sql("SELECT {} OFFSET 0", listed(read))
    level = sql("SELECT {} FROM ({}) AS documents OFFSET 0", listed(values), level)
    if folded:
        level = sql("SELECT *, {} FROM ({}) AS extracted OFFSET 0", listed(folded), level)

    def leaf_sql(leaf: Leaf) -> Sql:
        name = names[leaf.column, leaf.path]
        return _leaf(leaf, Sql(name), Sql(f"folded_{name}"))

    return sql("EXISTS (SELECT 1 FROM ({}) AS row_values WHERE {})", level, of_tree(tree, leaf_sql, given))


def _folded_string(value: Sql) -> Sql:
    return sql("CASE jsonb_typeof({}) WHEN 'string' THEN {} END", value, _fold(_text_of(value)))


def _leaf(leaf: Leaf, value: Sql, folded_text: Sql | None = None) -> Sql:
    """Return the condition for a leaf, given the SQL of the value at its path.

    folded_text: the folded text of the value, if it has already been extracted.
    """
    kind = sql("jsonb_typeof({})", value)
    text = _text_of(value)
    match leaf.operator, leaf.operand:
        case "exists", present:
            return sql("{} IS NOT NULL" if present else "{} IS NULL", value)
        case "in", tuple(operands):
            return sql("COALESCE({} = ANY ({}::jsonb[]), FALSE)", value, value_of(_array_of_json(operands)))
        case "contains", str(operand):
            return by_type(kind, {"array": _json_contains(value, [operand]), "string": _has(text, operand, text)})
        case "contains", operand:
            return by_type(kind, {"array": _json_contains(value, [operand])})
        case "icontains", needle:
            folded = fold(str(needle))
            some_item = "EXISTS (SELECT 1 FROM jsonb_array_elements({}) AS item WHERE jsonb_typeof(item) = 'string'"
            item = _fold(Sql("(item #>> '{}')"))
            equal = sql(f"{some_item} AND {{}} = {{}}::text)", value, item, value_of(folded))
            return by_type(
                kind, {"string": _has(folded_text or _fold(text), folded, folded_text or text), "array": equal}
            )
        case operator, str(operand):
            compared = f'{{}} COLLATE "C" {ORDER[operator]} {{}}::text'
            return by_type(kind, {"string": sql(compared, text, value_of(operand))})
        case operator, operand:
            compared = f"{{}} {ORDER[operator]} {{}}::jsonb"
            return by_type(kind, {"number": sql(compared, value, value_of(json.dumps(operand)))})


def _value_in(document: Sql, path: Sequence[str]) -> Sql:
    # The operand of each arrow is text, so "0" is a key. In the path array of `#>`, it would also match a list
    # position.
    return sql("({}" + " -> {}::text" * len(path) + ")", document, *map(value_of, path))


def _text_of(value: Sql) -> Sql:
    return sql("({} #>> '{{}}')", value)


def _has(text: Sql, needle: str, measured: Sql) -> Sql:
    """Return SQL that tests whether a text contains `needle`. The text is about as long as `measured`.

    In the worst case, `strpos` takes time proportional to the product of both lengths, and it cannot be interrupted. If
    it is in a subquery, the statement can at least be cancelled before each call. A regular expression takes time
    proportional only to the length of the text, but is usually slower.
    """
    length = max(1, len(needle.encode()))
    found = sql("strpos({}, {}::text) > 0", text, value_of(needle))
    by_expression = sql('{} COLLATE "C" ~ {}::text', text, value_of(f"***={needle}"))
    cases = f"WHEN {{}} <= {_QUICK // length} THEN {{}} WHEN {{}} <= {_SLOW // length} THEN (SELECT {{}}) ELSE {{}}"
    size = sql("octet_length({})", measured)
    return sql(f"CASE {cases} END", size, found, size, found, by_expression)


def _indexable(filter: Filter, documents: Mapping[str, Sql]) -> Sql | None:
    """Return a condition that follows from the filter and can use an index, or None if there is none."""
    match filter:
        case And(parts):
            known = [weaker for part in parts if (weaker := _indexable(part, documents)) is not None]
            return joined(" AND ", known, "TRUE") if known else None
        case Or(parts):
            known = [weaker for part in parts if (weaker := _indexable(part, documents)) is not None]
            return joined(" OR ", known, "FALSE") if known and len(known) == len(parts) else None
        case Leaf(operator="in", operand=tuple(operands)):
            return _found_by_index(documents[filter.column], filter.path, operands)
        case Leaf(operator="contains", operand=operand) if not isinstance(operand, str):
            return _found_by_index(documents[filter.column], filter.path, [[operand]])
    return None


def _found_by_index(document: Sql, path: Sequence[str], operands: Sequence[object]) -> Sql | None:
    """Return an indexable condition that is true if the value at the path equals any of the operands.

    The condition is not sufficient, because it is also true if the value is a list that contains one of the operands.
    """
    if not 0 < len(operands) <= _MAX_INDEXED:
        return None
    nested = [reduce(lambda inner, key: {key: inner}, reversed(path), operand) for operand in operands]
    return joined(" OR ", [_json_contains(document, part) for part in nested], "FALSE")


def _json_contains(document: Sql, part: object) -> Sql:
    return sql("{} @> {}::jsonb", document, value_of(json.dumps(part)))


def _array_of_json(operands: Iterable[object]) -> str:
    """Return the operands as a jsonb[] literal.

    psycopg is not used for this, because it does not quote the JSON text null in a list, so SQL would read it as NULL.
    """
    # JSON and array literals escape quotes and backslashes in the same way, and the inner `dumps` returns only ASCII.
    return "{" + ",".join(json.dumps(json.dumps(operand)) for operand in operands) + "}"


def _fold(text: Sql) -> Sql:
    """Return SQL for `fold`, which uses language-neutral Unicode rules regardless of the database's collation."""
    lowered = 'translate(lower({} COLLATE "und-x-icu"), {}, {})'
    return sql(lowered, text, value_of(FINAL_SIGMA), value_of(SIGMA))
