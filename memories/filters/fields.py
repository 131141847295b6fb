"""Terms that SQLite's full-text index uses to find the memories that may pass a filter.

For each top-level field of the payload and the metadata, the index contains a term if the key is simple and the value
is a short string, a number, true, false or null. The triggers of migration 0014_indexed_fields write these terms, in
the same form that `term` returns. A document that is too large has a single term instead. PostgreSQL has indexes on the
documents themselves (see `filters.postgresql`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import product

from memories.filters.grammar import And, Filter, Leaf, Or
from memories.filters.tree import replaced, simplest

Clause = tuple[str, ...]  # terms, all of which a memory must contain, as in `search.term_index`
_MAX_CLAUSES = 20  # with more clauses, reading the rows is as fast
_SIMPLE_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST_TEXT = 64
_EXACT_FLOATS = 2.0**53  # below this limit, numbers with the same decimal value are the same float
_MARK = "§"  # the first character of each of these terms; no word contains it


def clauses(filter: Filter) -> Sequence[Clause]:
    """Return clauses such that every memory that passes the filter contains all terms of at least one clause.

    The result is empty if the index cannot find these memories.
    """
    return _clauses(replaced(filter, simplest))


def term(column: str, key: str, value: object) -> str | None:
    """Return the term for a field with this value, or None if the index has no terms for such fields."""
    if not _SIMPLE_KEY.fullmatch(key):
        return None
    if isinstance(value, str):
        text = f":{value}" if len(value) <= _LONGEST_TEXT else None
    elif value is None or isinstance(value, bool):
        text = f"={json.dumps(value)}"
    else:
        text = f"#{int(value)}" if isinstance(value, int | float) and abs(value) < _EXACT_FLOATS else None
    return None if text is None else _MARK + f"{column[0]}.{key}{text}".encode().hex()


def _clauses(filter: Filter) -> Sequence[Clause]:
    match filter:
        case And(parts):
            return _all_of([found for part in parts if (found := _clauses(part))])
        case Or(parts):
            each = [_clauses(part) for part in parts]
            together = [clause for part in each for clause in part]
            return together if all(each) and len(together) <= _MAX_CLAUSES else ()
        case Leaf(operator="in", path=(key,), operand=tuple(operands)):
            terms = dict.fromkeys(term(filter.column, key, operand) for operand in operands)
            known = [(one,) for one in terms if one is not None]
            return [*known, (_MARK + filter.column,)] if 0 < len(known) == len(terms) < _MAX_CLAUSES else ()
    return ()


def _all_of(parts: Sequence[Sequence[Clause]]) -> Sequence[Clause]:
    """Return clauses for memories that pass all parts, from the clauses of each part.

    Uses as many parts as possible, starting with those that have the fewest clauses, and ignores the others.
    """
    together: Sequence[Clause] = ()
    for part in sorted(parts, key=len):
        combined = [(*one, *other) for one, other in product(together, part)] if together else part
        if len(combined) > _MAX_CLAUSES:
            break
        together = combined
    return together
