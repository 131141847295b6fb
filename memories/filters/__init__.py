"""Filters: parse the API's JSON into a tree, then a `.filter()` condition that means the same on both databases.

    parse({"age": {"gte": 18}, "OR": [{"city": "Bern"}, {"payload.tags": {"contains": "vip"}}]})

A condition is true or false, never unknown, so that NOT means not. Comparisons are typed: numbers with numbers, by
their exact decimal value, strings with strings, in the order of their bytes; `true` is not 1. A condition on a value
that is absent or of another type does not hold; `exists: false` holds on an absent one, `ne` and `nin` on a present
one of another type. Path segments are keys of objects, never positions in arrays; a key with a dot in it has no path.

The caller's input reaches the database as parameters only: SQL text is built from constants.
"""

from __future__ import annotations

from memories.filters.condition import to_q
from memories.filters.folding import fold, register_functions
from memories.filters.grammar import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_LIST,
    MAX_LISTED,
    And,
    Filter,
    Leaf,
    Not,
    Or,
    parse,
)

__all__ = [
    "MAX_CONDITIONS",
    "MAX_DEPTH",
    "MAX_LIST",
    "MAX_LISTED",
    "And",
    "Filter",
    "Leaf",
    "Not",
    "Or",
    "fold",
    "parse",
    "register_functions",
    "to_q",
]
