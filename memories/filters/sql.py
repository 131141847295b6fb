"""Build SQL from constants, together with its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple


class Sql(NamedTuple):
    text: str
    params: Sequence[object] = ()


def value_of(value: object) -> Sql:
    return Sql("%s", (value,))


def sql(template: str, *parts: Sql) -> Sql:
    """Replace each `{}` of the template, which must be a constant, with the next part."""
    return Sql(
        template.format(*(part.text for part in parts)),
        tuple(chain.from_iterable(part.params for part in parts)),
    )


def by_type(kind: Sql, branches: Mapping[str, Sql]) -> Sql:
    """Return a CASE that chooses the branch for a value's type. It is false for other types and for an absent value."""
    if not branches:
        return Sql("FALSE")
    whens = [sql(f"WHEN '{name}' THEN {{}} ", branch) for name, branch in branches.items()]
    return sql("CASE {} " + "{}" * len(whens) + "ELSE FALSE END", kind, *whens)
