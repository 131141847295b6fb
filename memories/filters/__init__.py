"""Filters: parse the API's JSON into a tree, then build a `.filter()` condition for either database.

    parse({"age": {"gte": 18}, "OR": [{"city": "Bern"}, {"payload.tags": {"contains": "vip"}}]})

Both databases return the same rows. A condition is either true or false, never unknown, so NOT is a plain negation.
Comparisons are typed: numbers are compared with numbers, by their exact decimal value, and strings with strings, in
byte order; `true` is not equal to 1. A condition is false for a value that is absent or has another type. There are two
exceptions: `exists: false` is true for an absent value, and `ne` and `nin` are true for a value of another type. The
segments of a path are object keys, never list positions. A filter cannot refer to a key that contains a dot.

User input reaches the database only as parameters; the SQL text is built from constants.
"""

from __future__ import annotations

from memories.filters.condition import to_q
from memories.filters.folding import fold
from memories.filters.grammar import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_LIST,
    MAX_LISTED,
    And,
    Filter,
    Given,
    Leaf,
    Not,
    Or,
    parse,
)
from memories.filters.sqlite import register_functions
from memories.filters.tree import constant, leaves, replaced

__all__ = [
    "MAX_CONDITIONS",
    "MAX_DEPTH",
    "MAX_LIST",
    "MAX_LISTED",
    "And",
    "Filter",
    "Given",
    "Leaf",
    "Not",
    "Or",
    "constant",
    "fold",
    "leaves",
    "parse",
    "register_functions",
    "replaced",
    "to_q",
]
