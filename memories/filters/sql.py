"""SQL built from constants, with its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from memories.filters.grammar import And, Compiled, Filter, Leaf, Not, Or


class Sql(NamedTuple):
    text: str
    params: Sequence[object] = ()


def value_of(value: object) -> Sql:
    return Sql("%s", (value,))


def sql(template: str, *parts: Sql) -> Sql:
    """Return the template with each `{}` replaced by the next part. The template must be a constant."""
    return Sql(
        template.format(*(part.text for part in parts)),
        tuple(chain.from_iterable(part.params for part in parts)),
    )


def by_type(kind: Sql, branches: Mapping[str, Sql]) -> Sql:
    """Return SQL that evaluates the branch for the type `kind`, and is false for other types and absent values."""
    if not branches:
        return Sql("FALSE")
    whens = [sql(f"WHEN '{name}' THEN {{}} ", branch) for name, branch in branches.items()]
    return sql("CASE {} " + "{}" * len(whens) + "ELSE FALSE END", kind, *whens)


def joined(separator: str, parts: Sequence[Sql], none: str) -> Sql:
    """Return the parts in parentheses with the separator between them, or `none` if there are no parts."""
    return sql("(" + separator.join(["{}"] * len(parts)) + ")", *parts) if parts else Sql(none)


def listed(parts: Sequence[Sql]) -> Sql:
    return sql(", ".join(["{}"] * len(parts)), *parts)


def of_tree(filter: Filter, leaf: Callable[[Leaf], Sql], given: Sequence[Sql]) -> Sql:
    """Return the SQL of a tree.

    leaf: a function that returns the SQL of a leaf.
    given: the SQL of the conditions that `Compiled` refers to.
    """
    match filter:
        case And(parts):
            return joined(" AND ", [of_tree(part, leaf, given) for part in parts], "TRUE")
        case Or(parts):
            return joined(" OR ", [of_tree(part, leaf, given) for part in parts], "FALSE")
        case Not(part):
            return sql("(NOT {})", of_tree(part, leaf, given))
        case Compiled(position):
            return given[position]
        case Leaf():
            return leaf(filter)
    raise AssertionError("a condition that was not compiled")
