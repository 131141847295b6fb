"""The filter grammar: parse a request's JSON into a tree of conditions."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from django.db.models import Q

from memories.filters.numbers import INT64, Number
from somamemory import times
from somamemory.errors import InvalidInput
from tenants.models import problem_with_id

MAX_CONDITIONS = 100
MAX_DEPTH = 8  # levels of nested filter objects, including the outermost
MAX_LIST = 1_000
MAX_LISTED = 10_000  # values in all lists combined; SQLite accepts 32,766 parameters
MAX_SEGMENTS = 16
MAX_SEGMENT_LENGTH = 255
# The maximum length of a search string. In the worst case, a search takes time proportional to the product of both
# strings' lengths.
MAX_NEEDLE = 1_000

Scalar: TypeAlias = str | int | float | bool | None
Operand: TypeAlias = Scalar | datetime | tuple[Scalar | datetime, ...]


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Filter, ...]  # if empty, matches everything


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Filter, ...]  # if empty, matches nothing


@dataclass(frozen=True, slots=True)
class Not:
    part: Filter


@dataclass(frozen=True, slots=True)
class Leaf:
    """A comparison of `column` with `operand`. If there is a `path`, the value at that path in the JSON is compared."""

    column: str
    path: tuple[str, ...]
    operator: str
    operand: Operand


@dataclass(frozen=True, slots=True)
class Given:
    """A condition that other code has added. It cannot be expressed in the grammar."""

    condition: Q


@dataclass(frozen=True, slots=True)
class Compiled:
    """A placeholder for a condition on non-JSON columns. `position` is its index in the list of such conditions."""

    position: int


Filter: TypeAlias = And | Or | Not | Leaf | Given | Compiled

ORDER = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
OPERATORS = ("eq", "ne", "in", "nin", *ORDER, "contains", "icontains", "exists")
_COMBINERS = ("AND", "OR", "NOT")
_JSON_COLUMNS = ("payload", "metadata")


def parse(raw: object) -> Filter:
    """Parse a request's `filters` into a tree.

    Raises InvalidInput if they are not valid. The error's field shows where the problem is.
    """
    return _Parser().group(raw, "filters", depth=1)


class _Parser:
    def __init__(self) -> None:
        self.conditions = 0
        self.listed = 0

    def group(self, raw: object, at: str, depth: int) -> Filter:
        if not isinstance(raw, dict):
            raise InvalidInput(at, 'must be an object such as {"field": value}')
        if depth > MAX_DEPTH:
            raise InvalidInput(at, f"filters can be nested at most {MAX_DEPTH} levels deep; flatten them")
        if not raw:
            self.count(at)
        parts: list[Filter] = []
        for name, value in raw.items():
            if name in _COMBINERS:
                parts.append(self.combined(name, value, f"{at}.{name}", depth))
            else:
                parts.extend(self.field(name, value, f"{at}.{_shown(name)}"))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def combined(self, name: str, raw: object, at: str, depth: int) -> Filter:
        if not isinstance(raw, list):
            raise InvalidInput(at, f'must be a list of filters: {{"{name}": [{{…}}, {{…}}]}}')
        if not raw:
            self.count(at)
        parts = tuple(self.group(item, f"{at}[{index}]", depth + 1) for index, item in enumerate(raw))
        if name == "AND":
            return And(parts)
        return Or(parts) if name == "OR" else Not(Or(parts))

    def field(self, name: object, raw: object, at: str) -> Iterable[Filter]:
        column, path = _resolve(name, at)
        if isinstance(raw, list):
            raise InvalidInput(
                at,
                'must not be a list; to match any of its values, use {"in": […]}; '
                "to combine filters, use AND, OR or NOT",
            )
        conditions = raw if isinstance(raw, dict) else {"eq": raw}
        if not conditions:
            raise InvalidInput(at, f"must be a value or contain at least one operator ({', '.join(OPERATORS)})")
        for operator, value in conditions.items():
            below = at if conditions is not raw else f"{at}.{_shown(operator)}"
            self.count(below)
            if operator not in OPERATORS:
                raise InvalidInput(
                    below,
                    f"unknown operator; must be one of {', '.join(OPERATORS)}. Use a dot for a nested field (a.b)",
                )
            yield Leaf(column, path, operator, self.operand(column, operator, value, below))

    def operand(self, column: str, operator: str, raw: object, at: str) -> Operand:
        allowed, checked = _COLUMNS.get(column.partition(".")[0], (OPERATORS, _CHECKS.get(operator, _scalar)))
        if operator not in allowed:
            raise InvalidInput(at, f"{column} does not support this operator; use one of {', '.join(allowed)}")
        if operator == "exists":
            if not isinstance(raw, bool):
                raise InvalidInput(at, "must be true or false")
            return raw
        if operator not in ("in", "nin"):
            if operator in ("contains", "icontains") and isinstance(raw, str) and len(raw) > MAX_NEEDLE:
                raise InvalidInput(at, f"must have at most {MAX_NEEDLE} characters, not {len(raw)}")
            return checked(raw, at)
        if not isinstance(raw, list):
            raise InvalidInput(at, "must be a list")
        if len(raw) > MAX_LIST:
            raise InvalidInput(at, f"must have at most {MAX_LIST} values, not {len(raw)}")
        self.listed += len(raw)
        if self.listed > MAX_LISTED:
            raise InvalidInput(at, f"the lists can contain at most {MAX_LISTED} values in total")
        return tuple(checked(value, f"{at}[{index}]") for index, value in enumerate(raw))

    def count(self, at: str) -> None:
        self.conditions += 1
        if self.conditions > MAX_CONDITIONS:
            raise InvalidInput(at, f"a request can have at most {MAX_CONDITIONS} conditions")


def _resolve(name: object, at: str) -> tuple[str, tuple[str, ...]]:
    """Split a field name into a column and a path: `"metadata.a.b"` becomes `("metadata", ("a", "b"))`.

    For a column that is not JSON, the path is empty. Any unknown name is a path in the payload.
    """
    if not isinstance(name, str):
        raise InvalidInput(at, "a field name must be a string")
    if name in _COLUMNS:
        return name, ()
    if name in _JSON_COLUMNS:
        raise InvalidInput(
            at,
            f"must be followed by a field, as in {name}.<field>; for a key {name!r} in the payload, use payload.{name}",
        )
    head, _, rest = name.partition(".")
    column, below = (head, rest) if head in (*_JSON_COLUMNS, "source") else ("payload", name)
    path = tuple(below.split("."))
    if len(path) > MAX_SEGMENTS:
        raise InvalidInput(at, f"a path must have at most {MAX_SEGMENTS} segments")
    for segment in path:
        if not 1 <= len(segment) <= MAX_SEGMENT_LENGTH:
            raise InvalidInput(at, f"every path segment must have 1 to {MAX_SEGMENT_LENGTH} characters")
        # Unicode categories: Cc contains control characters, Cs lone surrogates.
        if any(letter in '"\\' or unicodedata.category(letter) in ("Cc", "Cs") for letter in segment):
            raise InvalidInput(
                at, "a path must not contain quotation marks, backslashes, control characters or lone surrogates"
            )
    return (name, ()) if column == "source" else (column, path)


def _scalar(raw: object, at: str) -> Scalar:
    if raw is None or isinstance(raw, bool):
        return raw
    if isinstance(raw, str):
        return _text(raw, at)
    if isinstance(raw, int | float):
        return _number(raw, at)
    raise InvalidInput(at, "must be a string, a number, true, false or null; objects and lists cannot be compared")


def _text(raw: object, at: str) -> str:
    if not isinstance(raw, str):
        raise InvalidInput(at, "must be a string")
    if "\0" in raw:
        raise InvalidInput(at, "must not contain the NUL character, which stored text never contains")
    if any("\ud800" <= letter <= "\udfff" for letter in raw):
        raise InvalidInput(at, "must not contain lone surrogates")
    return raw


def _number(raw: object, at: str) -> Number:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise InvalidInput(at, "must be a number")
    if isinstance(raw, float):
        if not math.isfinite(raw):
            raise InvalidInput(at, "must be finite (not NaN or infinity)")
    elif not -INT64 <= raw < INT64:
        raise InvalidInput(at, "integers must fit in 64 bits")
    return raw


def _ordered(raw: object, at: str) -> str | Number:
    if isinstance(raw, str):
        return _text(raw, at)
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        return _number(raw, at)
    raise InvalidInput(at, "must be a number or a string; other types cannot be ordered")


def _moment(raw: object, at: str) -> datetime:
    try:
        if not isinstance(raw, str):
            raise times.MalformedTime
        return times.parse(raw)
    except ValueError as error:
        raise InvalidInput(at, str(error)) from None


def _owner(raw: object, at: str) -> str:
    text = _text(raw, at)
    if (problem := problem_with_id(text)) is not None:
        raise InvalidInput(at, problem)
    return text


def _shown(name: object) -> str:
    """Return a name from the request, shortened and made encodable, so that an error's field name can contain it."""
    text = str(name).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= 100 else f"{text[:100]}…"


_Check: TypeAlias = Callable[[object, str], Scalar | datetime]
_CHECKS: Mapping[str, _Check] = {**dict.fromkeys(ORDER, _ordered), "icontains": _text}
_COMPARISONS = ("eq", "ne", "in", "nin", *ORDER, "exists")
_COLUMNS: Mapping[str, tuple[tuple[str, ...], _Check]] = {
    "memory_type": (("eq", "ne", "in", "nin", "contains", "icontains", "exists"), _text),
    **dict.fromkeys(("user_id", "agent_id", "session_id"), (("eq", "ne", "in", "nin", "exists"), _owner)),
    "importance": (_COMPARISONS, _number),
    "version": (_COMPARISONS, _number),
    "source": (("eq", "ne", "in", "nin", "exists"), _text),
    "trust": (_COMPARISONS, _number),
    "valid_from": (_COMPARISONS, _moment),
    "valid_to": (_COMPARISONS, _moment),
    "created_at": (_COMPARISONS, _moment),
    "updated_at": (_COMPARISONS, _moment),
}
