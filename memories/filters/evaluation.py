"""Evaluate conditions on large documents in Python, for SQLite.

SQL would read the document again for each condition that uses it. For a 9.8 MB document, a single `icontains` makes 7
copies, which SQLite keeps until the statement ends. This module parses a document once, and folds the text at each path
once, even if several conditions use it. Every condition gives the same result as its SQL in `memories.filters.sqlite`.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import orjson

from memories.filters.folding import fold
from memories.filters.grammar import And, Compiled, Filter, Leaf, Not, Or
from memories.filters.numbers import decimal_of
from somamemory import deadline

_ABSENT = object()
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
# Only one large document is evaluated at a time, because a parsed document may take up twenty times its size in memory.
# The GIL would prevent parallel work anyway.
_turn = threading.Lock()
_LONGEST_TURN_S = 60.0
_CHECK_EVERY = 10_000  # list items between two deadline checks
_CHUNK_LENGTH = 262_144  # characters that are searched at once


class Row:
    """The parsed documents of a row, and the results of the conditions on other columns.

    given: the results, which come from the database, at the indexes that `Compiled` refers to.
    """

    def __init__(self, documents: Mapping[str, Any], given: Sequence[bool] = ()) -> None:
        self.documents = documents
        self.given = given
        self._folded: dict[tuple[str, tuple[str, ...]], str] = {}
        self._folded_items: dict[tuple[str, tuple[str, ...]], frozenset[str]] = {}

    def value(self, leaf: Leaf) -> Any:
        value = self.documents[leaf.column]
        for key in leaf.path:
            if not isinstance(value, dict) or key not in value:
                return _ABSENT
            value = value[key]
        return value

    def folded(self, leaf: Leaf, text: str) -> str:
        at = leaf.column, leaf.path
        if at not in self._folded:
            self._folded[at] = fold(text)
        return self._folded[at]

    def folded_items(self, leaf: Leaf, items: Sequence[object]) -> frozenset[str]:
        at = leaf.column, leaf.path
        if at not in self._folded_items:
            self._folded_items[at] = frozenset(fold(item) for item in items if isinstance(item, str))
        return self._folded_items[at]


def matches(tree: str, payload: str, metadata: str, *given: int) -> bool:
    """Return whether a row matches a tree in the form that `dumps` writes. Used as an SQLite function."""
    if not _turn.acquire(timeout=deadline.left_s(_LONGEST_TURN_S)):
        raise deadline.exceeded()
    try:
        deadline.check()
        documents = {"payload": orjson.loads(payload), "metadata": orjson.loads(metadata)}
        return holds(_loads(tree), Row(documents, [bool(value) for value in given]))
    finally:
        _turn.release()


def holds(filter: Filter, row: Row) -> bool:
    match filter:
        case And(parts):
            return all(holds(part, row) for part in parts)
        case Or(parts):
            return any(holds(part, row) for part in parts)
        case Not(part):
            return not holds(part, row)
        case Compiled(position):
            return row.given[position]
        case Leaf():
            deadline.check()
            return _leaf_holds(filter, row)
    raise AssertionError("a condition that the database has not evaluated")


def _leaf_holds(leaf: Leaf, row: Row) -> bool:
    value, operand = row.value(leaf), leaf.operand
    match leaf.operator:
        case "exists":
            return (value is not _ABSENT) is operand
        case "in":
            return any(_equal(value, one) for one in cast(tuple[object, ...], operand))
        case "contains":
            if isinstance(value, list):
                return operand in value if isinstance(operand, str) else _holds_item(value, operand)
            return isinstance(value, str) and isinstance(operand, str) and _occurs(operand, value)
        case "icontains":
            needle = fold(str(operand))
            if isinstance(value, list):
                return needle in row.folded_items(leaf, value)
            return isinstance(value, str) and _occurs(needle, row.folded(leaf, value))
    if isinstance(operand, str):
        return isinstance(value, str) and _COMPARE[leaf.operator](value, operand)
    return _is_number(value) and _COMPARE[leaf.operator](decimal_of(value), decimal_of(cast(float, operand)))


def _occurs(needle: str, text: str) -> bool:
    """Return whether a text contains a search string.

    The text is searched in overlapping chunks, because searching 10 MB at once would block other threads for up to 30
    ms.
    """
    for start in range(0, max(len(text), 1), _CHUNK_LENGTH):
        deadline.check()
        if text.find(needle, start, start + _CHUNK_LENGTH + len(needle) - 1) >= 0:
            return True
    return False


def _holds_item(items: Sequence[object], operand: object) -> bool:
    for at, item in enumerate(items):
        if at % _CHECK_EVERY == 0:  # there may be millions of items
            deadline.check()
        if _equal(item, operand):
            return True
    return False


def _equal(value: object, operand: object) -> bool:
    if _is_number(value) and _is_number(operand):
        one, other = cast(float, value), cast(float, operand)
        # Numbers with equal decimal values are also equal as floats. Floats are compared first because that is quicker.
        return float(one) == float(other) and decimal_of(one) == decimal_of(other)
    return type(value) is type(operand) and value == operand and isinstance(value, str | bool | None)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def dumps(filter: Filter) -> str:
    """Serialize a tree of conditions on JSON to text, for `matches`."""
    return orjson.dumps(_plain(filter)).decode()


def _plain(filter: Filter) -> list[Any]:
    match filter:
        case And(parts):
            return ["and", *map(_plain, parts)]
        case Or(parts):
            return ["or", *map(_plain, parts)]
        case Not(part):
            return ["not", _plain(part)]
        case Compiled(position):
            return ["given", position]
        case Leaf():
            return ["leaf", filter.column, filter.path, filter.operator, filter.operand]
    raise AssertionError("a condition that was not compiled")


@lru_cache(maxsize=32)
def _loads(text: str) -> Filter:
    return _of_plain(orjson.loads(text))


def _of_plain(plain: Sequence[Any]) -> Filter:
    match plain:
        case ["and", *parts]:
            return And(tuple(map(_of_plain, parts)))
        case ["or", *parts]:
            return Or(tuple(map(_of_plain, parts)))
        case ["not", part]:
            return Not(_of_plain(part))
        case ["given", position]:
            return Compiled(position)
    _, column, path, operator_name, operand = plain
    return Leaf(column, tuple(path), operator_name, tuple(operand) if isinstance(operand, list) else operand)
