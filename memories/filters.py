"""Filters: the JSON grammar of the API → a tree → a condition for `.filter()`. One grammar, one meaning, two engines.

    parse({"age": {"gte": 18}, "OR": [{"city": "Bern"}, {"payload.tags": {"contains": "vip"}}]})

A condition is true or false, never unknown, so that NOT means not. Comparisons are typed: numbers with numbers, by
their exact decimal value, strings with strings, in the order of their bytes; `true` is not 1. A condition on a value
that is absent or of another type does not hold; `exists: false` holds on an absent one, `ne` and `nin` on a present
one of another type. Path segments are keys of objects, never positions in arrays; a key with a dot in it has no path.

What the caller wrote reaches the database as parameters only: SQL text is put together from the constants below.
"""

from __future__ import annotations

import json
import math
import sqlite3
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import reduce
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, F, Func, Q
from django.db.models.sql.compiler import SQLCompiler

from memories.models import Memory
from somamemory import times
from somamemory.errors import InvalidInput

MAX_CONDITIONS = 100
MAX_DEPTH = 8  # filter objects inside one another, the outermost included
MAX_LIST = 1_000
MAX_LISTED = 10_000  # values in all lists together: SQLite takes 32,766 parameters
MAX_SEGMENTS = 16
MAX_SEGMENT_LENGTH = 255
_MAX_INDEXED = 20  # a look into PostgreSQL's index for each value of a list; more of them, and it reads the rows

Number: TypeAlias = int | float
Scalar: TypeAlias = str | int | float | bool | None
Operand: TypeAlias = Scalar | datetime | tuple[Scalar | datetime, ...]


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Filter, ...]  # none: matches everything


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Filter, ...]  # none: matches nothing


@dataclass(frozen=True, slots=True)
class Not:
    part: Filter


@dataclass(frozen=True, slots=True)
class Leaf:
    """`column` compared with `operand`; with a `path`, the value at that path of the JSON column."""

    column: str
    path: tuple[str, ...]
    operator: str
    operand: Operand


Filter: TypeAlias = And | Or | Not | Leaf

_ORDER = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
OPERATORS = ("eq", "ne", "in", "nin", *_ORDER, "contains", "icontains", "exists")
_COMBINERS = ("AND", "OR", "NOT")
_JSON_COLUMNS = ("payload", "metadata")
_INT64 = 1 << 63
_INT32 = 1 << 31
_FINAL_SIGMA, _SIGMA = "\N{GREEK SMALL LETTER FINAL SIGMA}", "\N{GREEK SMALL LETTER SIGMA}"


# --- The grammar -------------------------------------------------------------------------------------------------


def parse(raw: object) -> Filter:
    """What stands in the request's `filters` → a tree. Raises InvalidInput, whose field says where."""
    return _Parser().group(raw, "filters", depth=1)


class _Parser:
    def __init__(self) -> None:
        self.conditions = 0
        self.listed = 0

    def group(self, raw: object, at: str, depth: int) -> Filter:
        if not isinstance(raw, dict):
            raise InvalidInput(at, 'must be an object such as {"field": value}')
        if depth > MAX_DEPTH:
            raise InvalidInput(at, f"filters may be nested at most {MAX_DEPTH} deep; flatten them")
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
            raise InvalidInput(at, 'a list is compared with {"in": […]}; to combine filters use AND, OR, NOT')
        conditions = raw if isinstance(raw, dict) else {"eq": raw}
        if not conditions:
            raise InvalidInput(at, f"needs a value or at least one operator ({', '.join(OPERATORS)})")
        for operator, value in conditions.items():
            below = at if conditions is not raw else f"{at}.{_shown(operator)}"
            self.count(below)
            if operator not in OPERATORS:
                raise InvalidInput(
                    below, f"unknown operator; use {', '.join(OPERATORS)}, or a dot for a nested field (a.b)"
                )
            yield Leaf(column, path, operator, self.operand(column, operator, value, below))

    def operand(self, column: str, operator: str, raw: object, at: str) -> Operand:
        allowed, checked = _COLUMNS.get(column, (OPERATORS, _CHECKS.get(operator, _scalar)))
        if operator not in allowed:
            raise InvalidInput(at, f"{column} does not have this operator; use {', '.join(allowed)}")
        if operator == "exists":
            if not isinstance(raw, bool):
                raise InvalidInput(at, "must be true or false")
            return raw
        if operator not in ("in", "nin"):
            return checked(raw, at)
        if not isinstance(raw, list):
            raise InvalidInput(at, "must be a list")
        if len(raw) > MAX_LIST:
            raise InvalidInput(at, f"has {len(raw)} values; at most {MAX_LIST} are allowed")
        self.listed += len(raw)
        if self.listed > MAX_LISTED:
            raise InvalidInput(at, f"all lists together may have at most {MAX_LISTED} values")
        return tuple(checked(value, f"{at}[{index}]") for index, value in enumerate(raw))

    def count(self, at: str) -> None:
        self.conditions += 1
        if self.conditions > MAX_CONDITIONS:
            raise InvalidInput(at, f"at most {MAX_CONDITIONS} conditions are allowed in one request")


def _resolve(name: object, at: str) -> tuple[str, tuple[str, ...]]:
    """`"metadata.a.b"` → `("metadata", ("a", "b"))`; a column has no path; any other name is a path in the payload."""
    if not isinstance(name, str):
        raise InvalidInput(at, "the name of a field must be a string")
    if name in _COLUMNS:
        return name, ()
    if name in _JSON_COLUMNS:
        raise InvalidInput(at, f"say which field of it: {name}.<field> (a payload's own {name!r} is payload.{name})")
    head, _, rest = name.partition(".")
    column, below = (head, rest) if head in _JSON_COLUMNS else ("payload", name)
    path = tuple(below.split("."))
    if len(path) > MAX_SEGMENTS:
        raise InvalidInput(at, f"a path has at most {MAX_SEGMENTS} segments")
    for segment in path:
        if not 1 <= len(segment) <= MAX_SEGMENT_LENGTH:
            raise InvalidInput(at, f"every segment of a path has 1 to {MAX_SEGMENT_LENGTH} characters")
        # Cc: control characters, Cs: lone surrogates.
        if any(letter in '"\\' or unicodedata.category(letter) in ("Cc", "Cs") for letter in segment):
            raise InvalidInput(at, "a path may hold no quotation mark, backslash, control character or lone surrogate")
    return column, path


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
        raise InvalidInput(at, "may not hold the NUL character; nothing stored has one")
    if any("\ud800" <= letter <= "\udfff" for letter in raw):
        raise InvalidInput(at, "may not hold lone surrogates")
    return raw


def _number(raw: object, at: str) -> Number:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise InvalidInput(at, "must be a number")
    if isinstance(raw, float):
        if not math.isfinite(raw):
            raise InvalidInput(at, "must be finite (no NaN, no infinity)")
    elif not -_INT64 <= raw < _INT64:
        raise InvalidInput(at, "whole numbers must fit 64 bits")
    return raw


def _ordered(raw: object, at: str) -> str | Number:
    if isinstance(raw, str):
        return _text(raw, at)
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        return _number(raw, at)
    raise InvalidInput(at, "must be a number or a string; nothing else has an order")


def _moment(raw: object, at: str) -> datetime:
    try:
        if not isinstance(raw, str):
            raise times.MalformedTime
        return times.parse(raw)
    except ValueError as error:
        raise InvalidInput(at, str(error)) from None


def _shown(name: object) -> str:
    """A caller's own key, short and encodable, for the name of a wrong field."""
    text = str(name).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= 100 else f"{text[:100]}…"


_Check: TypeAlias = Callable[[object, str], Scalar | datetime]
_CHECKS: Mapping[str, _Check] = {**dict.fromkeys(_ORDER, _ordered), "icontains": _text}
_COMPARISONS = ("eq", "ne", "in", "nin", *_ORDER, "exists")
_COLUMNS: Mapping[str, tuple[tuple[str, ...], _Check]] = {
    "memory_type": (("eq", "ne", "in", "nin", "contains", "icontains", "exists"), _text),
    "importance": (_COMPARISONS, _number),
    "version": (_COMPARISONS, _number),
    "created_at": (_COMPARISONS, _moment),
    "updated_at": (_COMPARISONS, _moment),
}


# --- The condition -----------------------------------------------------------------------------------------------

# Not Q(): its negation would match everything too.
_NOTHING = Q(pk__in=[])
_EVERYTHING = ~_NOTHING


def to_q(filter: Filter) -> Q:
    """A condition for `.filter()` on Memory; true or false for every row, so it may be negated and combined."""
    match filter:
        case And(parts):
            return Q(*map(to_q, parts)) if parts else _EVERYTHING
        case Or(parts):
            return Q(*map(to_q, parts), _connector=Q.OR) if parts else _NOTHING
        case Not(part):
            return ~to_q(part)
        case Leaf(operator="eq" | "ne") if not isinstance(filter.operand, tuple):
            many = "in" if filter.operator == "eq" else "nin"
            return to_q(replace(filter, operator=many, operand=(filter.operand,)))
        case Leaf(operator="nin"):
            present = replace(filter, operator="exists", operand=True)
            return Q(to_q(present), ~to_q(replace(filter, operator="in")))
        case _:
            return Q(JsonLeaf(filter)) if filter.path else _column(filter)


def _column(leaf: Leaf) -> Q:
    """A leaf on a real column, none of which can be NULL."""
    if leaf.operator == "exists":
        return _EVERYTHING if leaf.operand else _NOTHING
    if leaf.column == "memory_type":
        return Q(memory_type__in=[kind for kind in Memory.Type.values if _holds(kind, leaf)])
    if leaf.column == "version":
        return _version(leaf)
    return Q((f"{leaf.column}__{leaf.operator}", leaf.operand))


def _holds(kind: str, leaf: Leaf) -> bool:
    """There are two memory types, so who matches is known before the database is asked."""
    if isinstance(leaf.operand, tuple):
        return kind in leaf.operand
    needle = str(leaf.operand)
    return needle in kind if leaf.operator == "contains" else fold(needle) in fold(kind)


def _version(leaf: Leaf) -> Q:
    """An integer column against any number: 1.5 is never equal, and `> 1.5` is `> 1`."""
    if isinstance(leaf.operand, tuple):
        numbers = [whole for whole in map(_whole, _numbers(leaf.operand)) if whole is not None]
        return Q(version__in=[number for number in numbers if 0 <= number < _INT32])
    [number] = _numbers([leaf.operand])
    rounded = math.floor(number) if leaf.operator in ("gt", "lte") else math.ceil(number)
    return Q((f"version__{leaf.operator}", max(-1, min(rounded, _INT32))))


class JsonLeaf(Func):
    """A leaf on a JSON column, for the operators in, gt, gte, lt, lte, contains, icontains and exists."""

    output_field = BooleanField()

    def __init__(self, leaf: Leaf) -> None:
        super().__init__(F(leaf.column))
        self.leaf = leaf

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any) -> Any:
        return _sqlite(self.leaf, _Sql(*compiler.compile(self.source_expressions[0])))

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any) -> Any:
        return _postgresql(self.leaf, _Sql(*compiler.compile(self.source_expressions[0])))


class _Sql(NamedTuple):
    text: str
    params: Sequence[object] = ()


def _value(value: object) -> _Sql:
    return _Sql("%s", (value,))


def _sql(template: str, *parts: _Sql) -> _Sql:
    """The template, a constant, with each `{}` replaced by the next part."""
    return _Sql(
        template.format(*(part.text for part in parts)),
        tuple(chain.from_iterable(part.params for part in parts)),
    )


def _by_type(kind: _Sql, branches: Mapping[str, _Sql]) -> _Sql:
    """What holds for a value of each type; false for other types and for an absent value."""
    if not branches:
        return _Sql("FALSE")
    whens = [_sql(f"WHEN '{name}' THEN {{}} ", branch) for name, branch in branches.items()]
    return _sql("CASE {} " + "{}" * len(whens) + "ELSE FALSE END", kind, *whens)


# --- SQLite ------------------------------------------------------------------------------------------------------


def _sqlite(leaf: Leaf, document: _Sql) -> _Sql:
    # Escaped as Django escapes what it stores: before 3.45, SQLite compares keys as they are written.
    path = _value("$" + "".join(f".{json.dumps(segment)}" for segment in leaf.path))
    kind = _sql("json_type({}, {})", document, path)
    value = _sql("json_extract({}, {})", document, path)
    # Of an array; an item is a row with a type and a value.
    some_item = "EXISTS (SELECT 1 FROM json_each({}, {}) AS item WHERE {})"
    item_type, item = _Sql("item.type"), _Sql("item.value")
    match leaf.operator, leaf.operand:
        case "exists", wanted:
            return _sql("{} IS NOT NULL" if wanted else "{} IS NULL", kind)
        case "in", tuple(operands):
            return _by_type(kind, _sqlite_equals(value, operands))
        case "contains", operand:
            equal = _by_type(item_type, _sqlite_equals(item, (operand,)))
            branches = {"array": _sql(some_item, document, path, equal)}
            if isinstance(operand, str):
                branches["text"] = _sql("instr({}, {}) > 0", value, _value(operand))
            return _by_type(kind, branches)
        case "icontains", needle:
            folded = _value(fold(str(needle)))
            equal = _by_type(item_type, {"text": _sql("{} = {}", _sqlite_fold(item), folded)})
            has = _sql("instr({}, {}) > 0", _sqlite_fold(value), folded)
            return _by_type(kind, {"text": has, "array": _sql(some_item, document, path, equal)})
        case operator, operand:
            return _by_type(kind, _sqlite_order(value, operator, operand))


def _sqlite_equals(value: _Sql, operands: Iterable[object]) -> dict[str, _Sql]:
    """By JSON type: the value is one of the operands."""
    known = tuple(operands)
    numbers = _numbers(known)
    by_type: dict[str, list[str] | list[int] | list[float]] = {
        "text": [operand for operand in known if isinstance(operand, str)],
        "integer": [whole for whole in map(_whole, numbers) if whole is not None],
        "real": [float(number) for number in numbers if _decimal(float(number)) == _decimal(number)],
    }
    # As JSON, so that a number in the list is read from text by the same code as the stored one.
    listed = "{} IN (SELECT wanted.value FROM json_each({}) AS wanted)"
    branches = {kind: _sql(listed, value, _value(json.dumps(wanted))) for kind, wanted in by_type.items() if wanted}
    names = {True: "true", False: "false", None: "null"}
    branches |= {names[operand]: _Sql("TRUE") for operand in known if operand is None or isinstance(operand, bool)}
    return branches


def _sqlite_order(value: _Sql, operator: str, operand: object) -> dict[str, _Sql]:
    compared = f"{{}} {_ORDER[operator]} {{}}"
    if isinstance(operand, str):
        return {"text": _sql(compared, value, _value(operand))}
    [number] = _numbers([operand])
    bound = _value(json.dumps(_neighbour(number, up=operator in ("gte", "lt"))))
    return {
        "integer": _sql(compared, value, _value(_among_ints(number))),
        "real": _sql(compared, value, _sql("json_extract({}, '$')", bound)),
    }


def _sqlite_fold(text: _Sql) -> _Sql:
    """`fold` in SQL for ASCII; a call into Python waits for the interpreter's lock, so only other text makes one."""
    return _sql(
        "CASE WHEN length(CAST({} AS BLOB)) = length({}) THEN lower({}) ELSE soma_fold({}) END", text, text, text, text
    )


def fold(text: str) -> str:
    """Without case. A final sigma is a sigma, so that the parts of a word fold like the word."""
    return text.lower().replace(_FINAL_SIGMA, _SIGMA)


def register_functions(sender: object, connection: BaseDatabaseWrapper, **kwargs: object) -> None:
    """Give a new SQLite connection what its own `lower` lacks: letters beyond ASCII. Hooked in memories/apps.py."""
    if isinstance(connection.connection, sqlite3.Connection):
        connection.connection.create_function("soma_fold", 1, fold, deterministic=True)


# --- PostgreSQL --------------------------------------------------------------------------------------------------


def _postgresql(leaf: Leaf, document: _Sql) -> _Sql:
    # Text on the right of each arrow, so that "0" is a key; a path array would take it for a position too.
    value = _sql("({}" + " -> {}::text" * len(leaf.path) + ")", document, *map(_value, leaf.path))
    kind = _sql("jsonb_typeof({})", value)
    text = _sql("({} #>> '{{}}')", value)
    match leaf.operator, leaf.operand:
        case "exists", wanted:
            return _sql("{} IS NOT NULL" if wanted else "{} IS NULL", value)
        case "in", tuple(operands):
            one_of = _sql("COALESCE({} = ANY ({}::jsonb[]), FALSE)", value, _value(_array_of_json(operands)))
            return _found_by_index(document, leaf.path, operands, one_of)
        case "contains", str(operand):
            has = _sql("strpos({}, {}::text) > 0", text, _value(operand))
            return _by_type(kind, {"array": _json_contains(value, [operand]), "string": has})
        case "contains", operand:
            has = _by_type(kind, {"array": _json_contains(value, [operand])})
            return _found_by_index(document, leaf.path, [[operand]], has)
        case "icontains", needle:
            folded = _postgresql_fold(_sql("{}::text", _value(needle)))
            has = _sql("strpos({}, {}) > 0", _postgresql_fold(text), folded)
            some_item = "EXISTS (SELECT 1 FROM jsonb_array_elements({}) AS item WHERE jsonb_typeof(item) = 'string'"
            equal = _sql(f"{some_item} AND {{}} = {{}})", value, _postgresql_fold(_Sql("(item #>> '{}')")), folded)
            return _by_type(kind, {"string": has, "array": equal})
        case operator, str(operand):
            compared = f'{{}} COLLATE "C" {_ORDER[operator]} {{}}::text'
            return _by_type(kind, {"string": _sql(compared, text, _value(operand))})
        case operator, operand:
            compared = f"{{}} {_ORDER[operator]} {{}}::jsonb"
            return _by_type(kind, {"number": _sql(compared, value, _value(json.dumps(operand)))})


def _found_by_index(document: _Sql, path: Sequence[str], operands: Sequence[object], condition: _Sql) -> _Sql:
    """The condition, preceded by what follows from it and the index on the whole document can answer.

    The document contains {"a": {"b": operand}} for one of the operands. That alone would not do: it holds for a list
    with such an item as well.
    """
    if not 0 < len(operands) <= _MAX_INDEXED:
        return condition
    nested = [reduce(lambda inner, key: {key: inner}, reversed(path), operand) for operand in operands]
    any_of = " OR ".join(["{}"] * len(nested))
    return _sql(f"(({any_of}) AND {{}})", *(_json_contains(document, each) for each in nested), condition)


def _json_contains(document: _Sql, part: object) -> _Sql:
    return _sql("{} @> {}::jsonb", document, _value(json.dumps(part)))


def _array_of_json(operands: Iterable[object]) -> str:
    """The text of a jsonb[]. Not a list: psycopg leaves the text null without quotes, and SQL takes it for NULL."""
    # JSON's quotes and backslashes are those of an array's text, and the inner dumps leaves nothing but ASCII.
    return "{" + ",".join(json.dumps(json.dumps(operand)) for operand in operands) + "}"


def _postgresql_fold(text: _Sql) -> _Sql:
    """`fold`, by the Unicode rules of no language, whatever the database's own collation is."""
    lowered = 'translate(lower({} COLLATE "und-x-icu"), {}, {})'
    return _sql(lowered, text, _value(_FINAL_SIGMA), _value(_SIGMA))


# --- Numbers -----------------------------------------------------------------------------------------------------
# A number is the decimal that its JSON text says, which is what jsonb keeps. SQLite keeps the text but reads it as a
# float, and 2.0**60, written 1.152921504606847e+18, is not 1152921504606847000 any more. These say which float to ask
# for instead.


def _numbers(operands: Iterable[object]) -> list[Number]:
    return [value for value in operands if isinstance(value, int | float) and not isinstance(value, bool)]


def _decimal(number: Number) -> Decimal:
    return Decimal(repr(number))


def _whole(number: Number) -> int | None:
    """The int64 equal to the number, if there is one."""
    exact = _decimal(number)
    return int(exact) if -_INT64 <= exact < _INT64 and exact == exact.to_integral_value() else None


def _among_ints(number: Number) -> Number:
    """What has the same place among the int64s: -2.0**63, written -9.223372036854776e+18, is below all of them."""
    if abs(_decimal(number)) > _INT64:
        return math.copysign(math.inf, number)
    whole = _whole(number)
    return number if whole is None else whole


def _neighbour(number: Number, *, up: bool) -> float:
    """The nearest float that is not below (`up`) or not above the number, by its decimal."""
    near = float(number)
    if up and _decimal(near) < _decimal(number):
        return math.nextafter(near, math.inf)
    if not up and _decimal(near) > _decimal(number):
        return math.nextafter(near, -math.inf)
    return near
