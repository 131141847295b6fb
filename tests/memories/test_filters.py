"""Filters: one grammar with one meaning, on the database under test (SQLite, or PostgreSQL with SOMA_DATABASE_URL)."""

from __future__ import annotations

import json
import math
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from memories import coordinates
from memories.filters import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_LIST,
    MAX_LISTED,
    And,
    Leaf,
    Not,
    Or,
    evaluation,
    fields,
    fold,
    parse,
    postgresql,
    sqlite,
    to_q,
)
from memories.filters.grammar import MAX_NEEDLE
from memories.models import Memory
from memories.search import term_index
from memories.search.selection import Selection
from somamemory import deadline
from somamemory.db import sqlstate
from somamemory.errors import DeadlineExceeded, InvalidInput
from tenants.models import Tenant
from tests.conftest import POSTGRESQL

pytestmark = pytest.mark.django_db

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(slug="filters")


def memory(tenant: Tenant, at: int, payload: Any, **columns: Any) -> Memory:
    return Memory(
        tenant=tenant,
        namespace="n",
        coordinate_key=coordinates.of([at]).key,
        payload=payload,
        **{"created_at": LONG_AGO, "updated_at": LONG_AGO, **columns},
    )


def store(tenant: Tenant, rows: list[Memory]) -> None:
    Memory.all_tenants.filter(tenant=tenant).delete()
    Memory.all_tenants.bulk_create(rows)


# Each database can evaluate large documents or many conditions in several ways, which must give the same results.
NEVER = -1_000_000  # below the length of any text, and below any quotient of lengths
WAYS = (
    [
        {(postgresql, "_MAX_SEPARATE"): 0, (postgresql, "_QUICK"): NEVER},
        {(postgresql, "_QUICK"): NEVER, (postgresql, "_SLOW"): NEVER},
    ]
    if POSTGRESQL
    else [{(sqlite, "SMALL"): NEVER}, {(sqlite, "_MAX_REPEATED"): 0}]
)


def matching(tenant: Tenant, raw: object) -> list[int]:
    """Return the positions of the matching rows, and check that every way of evaluating finds the same rows."""
    found = _matching(tenant, raw)
    for limits in WAYS:
        with pytest.MonkeyPatch.context() as patch:
            for (module, name), limit in limits.items():
                patch.setattr(module, name, limit)
            assert _matching(tenant, raw) == found, (limits, raw)
    if not POSTGRESQL and (terms := fields.clauses(parse(raw))):
        source, parameters = term_index.matching(connection, tenant, ["n"], terms)
        selection = Selection.of(Memory.objects.for_tenant(tenant).filter(to_q(parse(raw))))
        rows = selection.rows("sfm_memories.coordinate_key", source, parameters)
        assert sorted(int(coordinates.from_key(key).numbers[0]) for (key,) in rows) == found, raw
    return found


def _matching(tenant: Tenant, raw: object) -> list[int]:
    rows = Memory.objects.for_tenant(tenant).filter(to_q(parse(raw))).order_by("coordinate_key")
    return [int(row.coordinate.numbers[0]) for row in rows]


def holds(tenant: Tenant, payload: Any, raw: object, **columns: Any) -> bool:
    store(tenant, [memory(tenant, 0, payload, **columns)])
    found, negated = matching(tenant, raw), matching(tenant, {"NOT": [raw]})
    assert sorted(found + negated) == [0], "every row matches either a condition or its negation"
    return bool(found)


# --- The reference: the same meaning on plain dicts ---------------------------------------------------------------

ABSENT = object()
COLUMNS = ("memory_type", "importance", "version", "created_at", "updated_at")


def kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return "number" if isinstance(value, int | float) else type(value).__name__


def comparable(value: Any) -> Any:
    """Compare numbers by the decimal in their JSON, and strings by their bytes."""
    if kind(value) == "number":
        return Decimal(json.dumps(value))
    return value.encode() if isinstance(value, str) else value


def equal(stored: Any, operand: Any) -> bool:
    return kind(stored) == kind(operand) and comparable(stored) == comparable(operand)


def contains(stored: Any, operand: Any) -> bool:
    if isinstance(stored, list):
        return any(equal(item, operand) for item in stored)
    return isinstance(stored, str) and isinstance(operand, str) and operand in stored


def icontains(stored: Any, operand: str) -> bool:
    if isinstance(stored, list):
        return any(isinstance(item, str) and fold(item) == fold(operand) for item in stored)
    return isinstance(stored, str) and fold(operand) in fold(stored)


def ordered(stored: Any, operand: Any, operator: str) -> bool:
    if kind(stored) not in ("number", "str") or kind(stored) != kind(operand):
        return False
    a, b = comparable(stored), comparable(operand)
    return bool({"gt": a > b, "gte": a >= b, "lt": a < b, "lte": a <= b}[operator])


def leaf_holds(stored: Any, operator: str, operand: Any) -> bool:
    if operator == "exists":
        return (stored is not ABSENT) is operand
    if stored is ABSENT:
        return False
    if operator in ("in", "nin"):
        return any(equal(stored, item) for item in operand) is (operator == "in")
    if operator in ("eq", "ne"):
        return equal(stored, operand) is (operator == "eq")
    if operator in ("contains", "icontains"):
        return (contains if operator == "contains" else icontains)(stored, operand)
    return ordered(stored, operand, operator)


def look_up(row: Memory, name: str) -> Any:
    if name in COLUMNS:
        value = getattr(row, name)
        return value.isoformat() if isinstance(value, datetime) else value
    head, _, rest = name.partition(".")
    column, path = (head, rest) if head in ("payload", "metadata") else ("payload", name)
    value = getattr(row, column)
    for segment in path.split("."):
        if not isinstance(value, dict) or segment not in value:
            return ABSENT
        value = value[segment]
    return value


def reference(row: Memory, raw: dict[str, Any]) -> bool:
    for name, value in raw.items():
        if name in ("AND", "OR", "NOT"):
            parts = [reference(row, part) for part in value]
            if not {"AND": all(parts), "OR": any(parts), "NOT": not any(parts)}[name]:
                return False
            continue
        conditions = value if isinstance(value, dict) else {"eq": value}
        if not all(leaf_holds(look_up(row, name), *condition) for condition in conditions.items()):
            return False
    return True


# --- The property: every payload, every filter --------------------------------------------------------------------

HOSTILE = (
    "", " ", "'", '"', "%", "_", "a%", "\\", "\\'", "\\u0041", "'); DROP TABLE sfm_memories; --", "{}", "%s", "%%",
    "{0}", "null", "true", "1", "NULL", "a,b", "{a}", "$", "$.a", "[0]", "/* */", "a\nb",
    "\x01", "\x7f", "\ufeff", "\uffff",
    "é", "e\u0301", "É", "ß", "SS", "İ", "i", "I", "\u0131",
    "i\u0307", "\u212a", "k", "ΟΔΟΣ", "οδος", "οδοσα", "🙂", "👩‍👩‍👧", "日本語", "\U0010ffff",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 10, 9, 0.0, -0.0, 1.0, 0.1, 0.2, 0.30000000000000004, math.nextafter(0.1, 1), 1.5, 2**53, 2**53 + 1,
    2.0**53, float(2**53 + 2), 2**60, 2.0**60, 1152921504606847000, 1152921504606846999, 1152921504606847001,
    math.nextafter(2.0**60, 0), math.nextafter(2.0**60, math.inf), 2**63 - 1, -(2**63), 2.0**63, -(2.0**63), 1e16,
    10**16, 1e300, -1e300, 1.7976931348623157e308, 5e-324, 2.2250738585072014e-308, 1e-7,
)  # fmt: skip

# Letters newer than Unicode 14 are left out: Python and ICU added their lower-case forms at different times.
texts = st.sampled_from(HOSTILE) | st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=("Cs", "Cn")), max_size=4
)
numbers = (
    st.sampled_from(NUMBERS)
    | st.integers(-(2**63), 2**63 - 1)
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
)
scalars = st.none() | st.booleans() | numbers | texts
names = st.sampled_from(("a", "b", "0", "é", "🙂", "a b", "[0]", "$", "%s", "'", "#-1", "AND x", "version"))
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(names, values, min_size=1, max_size=4)
moments = st.sampled_from([LONG_AGO + timedelta(microseconds=n) for n in (0, 1, 500_000, 999_999, 1_000_000)])
rows = st.fixed_dictionaries(
    {
        "payload": objects,
        "metadata": objects,
        "importance": st.sampled_from((0.0, 0.1, 1.0, 5.0, 10.0)) | st.floats(0, 10),
        "version": st.integers(1, 3) | st.just(2**31 - 1),
        "memory_type": st.sampled_from(Memory.Type.values),
        "created_at": moments,
    }
)


def operators(operand: st.SearchStrategy[Any], order: st.SearchStrategy[Any] | None = None) -> Any:
    many = st.lists(operand, max_size=4)
    plain = {"eq": operand, "ne": operand, "in": many, "nin": many, "exists": st.booleans()}
    rest = {} if order is None else dict.fromkeys(("gt", "gte", "lt", "lte"), order)
    return plain | rest


def conditions(known: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    one = st.sampled_from(sorted(known)).flatmap(lambda name: st.fixed_dictionaries({name: known[name]}))
    return one | st.lists(one, min_size=2, max_size=3).map(lambda ones: {k: v for one in ones for k, v in one.items()})


paths = st.lists(names.filter(lambda name: name != "version"), min_size=1, max_size=3).map(".".join)
json_fields = st.tuples(st.sampled_from(("payload.", "metadata.", "")), paths).map("".join)
json_conditions = scalars | conditions(
    operators(scalars, numbers | texts) | {"contains": scalars, "icontains": texts},
)
times = moments.map(lambda moment: moment.isoformat())
small = numbers | st.integers(0, 11) | st.floats(0, 10)
leaves = st.one_of(
    st.dictionaries(json_fields, json_conditions, max_size=2),
    st.fixed_dictionaries({"importance": conditions(operators(small, small))}),
    st.fixed_dictionaries({"version": conditions(operators(small, small))}),
    st.fixed_dictionaries({"created_at": conditions(operators(times, times))}),
    st.fixed_dictionaries(
        {
            "memory_type": conditions(
                operators(st.sampled_from(("episodic", "semantic", "other")))
                | dict.fromkeys(("contains", "icontains"), st.sampled_from(("SODIC", "mant", "", "%", "_")) | texts)
            )
        }
    ),
)
filters = st.recursive(
    leaves,
    lambda inner: st.tuples(st.sampled_from(("AND", "OR", "NOT")), st.lists(inner, max_size=3), leaves).map(
        lambda parts: {parts[0]: parts[1], **parts[2]}
    ),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(stored=st.lists(rows, min_size=1, max_size=6), raws=st.lists(filters, min_size=1, max_size=4))
def test_the_database_finds_what_the_reference_finds(tenant: Tenant, stored: list[Any], raws: list[Any]) -> None:
    memories = [memory(tenant, at, **row) for at, row in enumerate(stored)]
    store(tenant, memories)
    for raw in raws:
        assert matching(tenant, raw) == [at for at, row in enumerate(memories) if reference(row, raw)], raw


# Random values are rarely related, so take the operands from the stored values.
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(pool=st.lists(scalars, min_size=1, max_size=4), seed=st.randoms(use_true_random=False))
@example(pool=list(NUMBERS), seed=random.Random(1))
@example(pool=list(HOSTILE), seed=random.Random(2))
@example(pool=[True, 1, 1.0, "1", "true", None, "null", 0, False, "", 0.0], seed=random.Random(3))
def test_every_operator_finds_what_the_reference_finds(tenant: Tenant, pool: list[Any], seed: random.Random) -> None:
    payloads: list[Any] = [{"x": value} for value in pool]
    payloads += [{"x": seed.sample(pool, min(2, len(pool)))} for _ in range(3)]
    payloads += [{}, {"x": {}}, {"x": []}, {"x": [[pool[0]]]}, {"x": {"x": pool[0]}}]
    memories = [memory(tenant, at, payload) for at, payload in enumerate(payloads)]
    store(tenant, memories)
    raws: list[Any] = [{"x": {operator: operand}} for operand in pool for operator in ("eq", "ne", "contains")]
    raws += [{"x": {operator: seed.sample(pool, min(3, len(pool)))}} for operator in ("in", "nin")]
    comparables = [operand for operand in pool if kind(operand) in ("number", "str")]
    raws += [{"x": {operator: operand}} for operand in comparables for operator in ("gt", "gte", "lt", "lte")]
    raws += [{"x": {"icontains": operand}} for operand in pool if isinstance(operand, str)]
    for raw in raws:
        expected = [at for at, row in enumerate(memories) if reference(row, raw)]
        assert matching(tenant, raw) == expected, raw


def test_every_letter_folds_in_the_database_as_it_folds_in_the_reference(tenant: Tenant) -> None:
    letters = [chr(code) for code in range(1, 0x3000) if fold(chr(code)) != chr(code)]
    store(tenant, [memory(tenant, at, {"x": f"a{letter}b"}) for at, letter in enumerate(letters)])
    for at in range(0, len(letters), 50):
        some = letters[at : at + 50]
        found = matching(tenant, {"OR": [{"x": {"icontains": f"A{fold(letter)}B"}} for letter in some]})
        assert set(range(at, at + len(some))) <= set(found)


# --- The rules, one by one -----------------------------------------------------------------------------------------

X = {"x": 10}
RULES = [
    ("numbers compare as numbers, not as text", X, {"x": {"gt": 9}}, True),
    ("a whole float equals the int", X, {"x": 10.0}, True),
    ("operators side by side are ANDed", X, {"x": {"gte": 10, "lt": 10}}, False),
    ("fields side by side are ANDed", {"x": 1, "y": 2}, {"x": 1, "y": 3}, False),
    ("a number is not its text", X, {"x": "10"}, False),
    ("a number has no order with text", X, {"x": {"gt": "0"}}, False),
    ("true is not 1", {"x": True}, {"x": 1}, False),
    ("1 is not true", {"x": 1}, {"x": True}, False),
    ("true is true", {"x": True}, {"x": True}, True),
    ("true has no order", {"x": True}, {"x": {"gte": 0}}, False),
    ("true is not in numbers", {"x": True}, {"x": {"in": [1, "true"]}}, False),
    ("false is in its list", {"x": False}, {"x": {"in": [False]}}, True),
    ("ints beyond 2**53 are distinguished", {"x": 2**53 + 1}, {"x": 2**53}, False),
    ("ints beyond 2**53 are distinguished from floats", {"x": 2**53 + 1}, {"x": {"gt": 2.0**53}}, True),
    ("the largest int is below 2.0**63", {"x": 2**63 - 1}, {"x": {"lt": 2.0**63}}, True),
    ("the smallest int equals itself", {"x": -(2**63)}, {"x": -(2**63)}, True),
    ("a huge float compares", {"x": 1e300}, {"x": {"gt": 1e299, "lt": 1.0000000000000001e301}}, True),
    ("a huge float equals itself", {"x": 1e300}, {"x": 1e300}, True),
    ("the smallest float is above zero", {"x": 5e-324}, {"x": {"gt": 0}}, True),
    ("minus zero is zero", {"x": -0.0}, {"x": 0}, True),
    ("strings order by bytes: Z before a", {"x": "Z"}, {"x": {"lt": "a"}}, True),
    ("strings order by bytes: z before é", {"x": "z"}, {"x": {"lt": "é"}}, True),
    ("strings order by code point, not by UTF-16", {"x": "\uffff"}, {"x": {"lt": "🙂"}}, True),
    ("a prefix sorts first", {"x": "a"}, {"x": {"lt": "a "}}, True),
    ("composed and decomposed letters differ", {"x": "é"}, {"x": "e\u0301"}, False),
    ("equality minds case", {"x": "A"}, {"x": "a"}, False),
    ("null matches an explicit null", {"x": None}, {"x": None}, True),
    ("eq null matches an explicit null", {"x": None}, {"x": {"eq": None}}, True),
    ("null does not match the absent", {}, {"x": None}, False),
    ("null may stand in a list", {"x": None}, {"x": {"in": ["null", None]}}, True),
    ("the text null is not null", {"x": "null"}, {"x": {"in": [None]}}, False),
    ("exists sees an explicit null", {"x": None}, {"x": {"exists": True}}, True),
    ("exists false does not take null for absent", {"x": None}, {"x": {"exists": False}}, False),
    ("exists false matches the absent", {}, {"x": {"exists": False}}, True),
    ("exists true does not match the absent", {}, {"x": {"exists": True}}, False),
    ("the absent is not unequal", {}, {"x": {"ne": 1}}, False),
    ("the absent is not outside a list", {}, {"x": {"nin": [1]}}, False),
    ("NOT eq matches the absent", {}, {"NOT": [{"x": 1}]}, True),
    ("ne: another value", X, {"x": {"ne": 9}}, True),
    ("ne: the same value", X, {"x": {"ne": 10.0}}, False),
    ("ne: another type", X, {"x": {"ne": "10"}}, True),
    ("ne: an object", {"x": {}}, {"x": {"ne": 1}}, True),
    ("ne null: something there", X, {"x": {"ne": None}}, True),
    ("ne null: null", {"x": None}, {"x": {"ne": None}}, False),
    ("an empty in matches nothing", X, {"x": {"in": []}}, False),
    ("an empty nin matches the present", X, {"x": {"nin": []}}, True),
    ("an empty nin does not match the absent", {}, {"x": {"nin": []}}, False),
    ("nin keeps what the list does not name", X, {"x": {"nin": [9, "10", True, None]}}, True),
    ("nin drops what the list names", X, {"x": {"nin": [10.0]}}, False),
    ("AND of nothing matches", X, {"AND": []}, True),
    ("OR of nothing does not match", X, {"OR": []}, False),
    ("NOT of nothing matches", X, {"NOT": []}, True),
    ("NOT of everything does not match", X, {"NOT": [{}]}, False),
    ("NOT of an empty AND does not match", X, {"NOT": [{"AND": []}]}, False),
    ("no filter matches", X, {}, True),
    ("NOT is none of them", X, {"NOT": [{"x": 9}, {"x": 10}]}, False),
    ("NOT with none holding", X, {"NOT": [{"x": 9}, {"x": 8}]}, True),
    ("OR is one of them", X, {"OR": [{"x": 9}, {"x": 10}]}, True),
    ("a combiner is ANDed with its neighbours", X, {"OR": [{"x": 10}], "x": 9}, False),
    ("a substring is contained", {"x": "abc"}, {"x": {"contains": "bc"}}, True),
    ("the empty string is contained", {"x": ""}, {"x": {"contains": ""}}, True),
    ("contains minds case", {"x": "abc"}, {"x": {"contains": "BC"}}, False),
    ("icontains does not", {"x": "abc"}, {"x": {"icontains": "BC"}}, True),
    ("icontains knows more than ASCII", {"x": "ÀÉÎ Straße Жук"}, {"x": {"icontains": "àéî sTRAßE жУК"}}, True),
    ("icontains is not a full case fold", {"x": "Straße"}, {"x": {"icontains": "strasse"}}, False),
    ("a Turkish capital holds an i", {"x": "İstanbul"}, {"x": {"icontains": "I"}}, True),
    ("a Turkish small i without dot is no i", {"x": "\u0131"}, {"x": {"icontains": "I"}}, False),
    ("the Kelvin sign is a k", {"x": "300 \u212a"}, {"x": {"icontains": "K"}}, True),
    ("a final sigma is a sigma", {"x": "ΟΔΟΣΑ"}, {"x": {"icontains": "οδος"}}, True),
    ("a per cent sign is literal", {"x": "abc"}, {"x": {"contains": "a%c"}}, False),
    ("an underscore is literal", {"x": "abc"}, {"x": {"icontains": "A_C"}}, False),
    ("a backslash is literal", {"x": "a\\b"}, {"x": {"contains": "a\\b"}}, True),
    ("an array has an equal element", {"x": [1, "a", None]}, {"x": {"contains": "a"}}, True),
    ("an array has a null element", {"x": [1, "a", None]}, {"x": {"contains": None}}, True),
    ("an array's elements are typed", {"x": [1, "true"]}, {"x": {"contains": True}}, False),
    ("an array has a float for an int", {"x": [1.0]}, {"x": {"contains": 1}}, True),
    ("an element's substring does not count", {"x": ["abc"]}, {"x": {"contains": "b"}}, False),
    ("an array within an array does not count", {"x": [["a"]]}, {"x": {"contains": "a"}}, False),
    ("an array's elements without case", {"x": ["ÀB"]}, {"x": {"icontains": "àb"}}, True),
    ("a number contains nothing", {"x": 10}, {"x": {"contains": 1}}, False),
    ("an object contains nothing", {"x": {"a": "a"}}, {"x": {"contains": "a"}}, False),
    ("an array is no scalar", {"x": [1]}, {"x": 1}, False),
    ("a path leads into objects", {"a": {"b": {"c": 1}}}, {"a.b.c": 1}, True),
    ("payload may be said", {"a": {"b": 1}}, {"payload.a.b": 1}, True),
    ("a path ends at a scalar", {"a": "text"}, {"a.b": {"exists": True}}, False),
    ("a path goes through null to nowhere", {"a": None}, {"a.b": {"exists": False}}, True),
    ("a number is a key", {"a": {"0": 1}}, {"a.0": 1}, True),
    ("a number is never a position", {"a": [1]}, {"a.0": {"exists": True}}, False),
    ("the last position is no key either", {"a": [1]}, {"a.#-1": {"exists": True}}, False),
    ("brackets are letters", {"a[0]": 1, "a": [2]}, {"a[0]": 1}, True),
    ("keys beyond ASCII", {"größe 🙂": 1}, {"größe 🙂": 1}, True),
    ("keys may look like SQL", {"'); DROP TABLE x; --%s": 1}, {"'); DROP TABLE x; --%s": 1}, True),
    ("a column below payload is a key", {"version": "a"}, {"payload.version": "a"}, True),
    ("a dotted column is a key", {"version": {"a": 1}}, {"version.a": 1}, True),
    ("the payload's own payload", {"payload": 1}, {"payload.payload": 1}, True),
    ("combiners are in capitals", {"and": 1}, {"and": 1}, True),
]


@pytest.mark.parametrize(("payload", "raw", "expected"), [rule[1:] for rule in RULES], ids=[rule[0] for rule in RULES])
def test_rule(tenant: Tenant, payload: Any, raw: Any, expected: bool) -> None:
    assert holds(tenant, payload, raw) is expected
    row = memory(tenant, 0, payload)
    assert reference(row, raw) is expected


AT = {"created_at": datetime(2026, 1, 31, 9, 30, 0, 250_000, tzinfo=UTC)}
COLUMN_RULES = [
    ("the type equals", {"memory_type": "semantic"}, {"memory_type": "semantic"}, True),
    ("the type is not another", {"memory_type": "semantic"}, {"memory_type": {"ne": "semantic"}}, False),
    ("the type is not in a list", {"memory_type": "semantic"}, {"memory_type": {"nin": ["episodic", "x"]}}, True),
    ("the type contains", {"memory_type": "semantic"}, {"memory_type": {"contains": "mant"}}, True),
    ("the type contains with case", {"memory_type": "semantic"}, {"memory_type": {"contains": "SEM"}}, False),
    ("the type contains without case", {"memory_type": "semantic"}, {"memory_type": {"icontains": "SEM"}}, True),
    ("a column exists", {}, {"memory_type": {"exists": True}}, True),
    ("no column is absent", {}, {"version": {"exists": False}}, False),
    ("importance compares with an int", {"importance": 5.5}, {"importance": {"gt": 5}}, True),
    ("importance compares with a float", {"importance": 0.1}, {"importance": 0.1}, True),
    (
        "importance compares with a huge float",
        {"importance": 0.1},
        {"importance": {"lt": 1.7976931348623157e308}},
        True,
    ),
    ("importance compares with a tiny float", {"importance": 0.0}, {"importance": {"lt": 5e-324}}, True),
    ("the version is above a fraction", {"version": 2}, {"version": {"gt": 1.5}}, True),
    ("the version is not below a fraction", {"version": 2}, {"version": {"lte": 1.5}}, False),
    ("the version is at least a fraction", {"version": 2}, {"version": {"gte": 2.5}}, False),
    ("the version is never a fraction", {"version": 1}, {"version": {"in": [1.5, 0.5]}}, False),
    ("the version equals a whole float", {"version": 1}, {"version": 1.0}, True),
    ("the version is below the largest int", {"version": 2**31 - 1}, {"version": {"lt": 2**63 - 1}}, True),
    ("the version is above the smallest int", {"version": 1}, {"version": {"gt": -(2**63)}}, True),
    ("the version is never beyond its column", {"version": 1}, {"version": {"in": [2**40, -5]}}, False),
    ("a time with another offset", AT, {"created_at": "2026-01-31T10:30:00.25+01:00"}, True),
    ("a time may be in small letters", AT, {"created_at": "2026-01-31t09:30:00.250z"}, True),
    ("a time is after the whole second", AT, {"created_at": {"gt": "2026-01-31T09:30:00Z"}}, True),
    ("a time is before the next microsecond", AT, {"created_at": {"lt": "2026-01-31T09:30:00.250001Z"}}, True),
    ("a time is not itself", AT, {"created_at": {"ne": "2026-01-31T09:30:00.25Z"}}, False),
    ("a time in a list", AT, {"created_at": {"in": ["2026-01-31T09:30:00.25Z", "2020-01-01T00:00:00Z"]}}, True),
    ("the other time has its own column", AT, {"updated_at": {"lt": "2026-01-01T00:00:00Z"}}, True),
    ("metadata has paths", {"metadata": {"a": {"b": 1}}}, {"metadata.a.b": 1}, True),
    ("metadata is not the payload", {"metadata": {"a": 1}}, {"a": {"exists": True}}, False),
]


@pytest.mark.parametrize(
    ("columns", "raw", "expected"), [rule[1:] for rule in COLUMN_RULES], ids=[rule[0] for rule in COLUMN_RULES]
)
def test_column_rule(tenant: Tenant, columns: Any, raw: Any, expected: bool) -> None:
    assert holds(tenant, {"p": 1}, raw, **columns) is expected


# --- Invalid filters -----------------------------------------------------------------------------------------------


def nested(depth: int) -> Any:
    return {"x": 1} if depth == 1 else {"AND": [nested(depth - 1)]}


ERRORS = [
    ("filters are an object", [], "filters", "object"),
    ("a part is an object", {"OR": [1]}, "filters.OR[0]", "object"),
    ("a combiner takes a list", {"NOT": {"x": 1}}, "filters.NOT", "list"),
    ("an unknown operator", {"payload.age": {"above": 1}}, "filters.payload.age.above", "gte"),
    ("an object as value", {"user": {"name": "x"}}, "filters.user.name", "dot"),
    ("no operator", {"age": {}}, "filters.age", "operator"),
    ("a bare list", {"age": [1]}, "filters.age", '"in"'),
    ("an object operand", {"age": {"eq": {}}}, "filters.age.eq", "objects"),
    ("a list operand", {"age": {"ne": [1]}}, "filters.age.ne", "lists"),
    ("an object in a list", {"age": {"in": [1, {}]}}, "filters.age.in[1]", "objects"),
    ("an order of booleans", {"payload.age": {"gte": True}}, "filters.payload.age.gte", "number or a string"),
    ("an order of null", {"age": {"lt": None}}, "filters.age.lt", "number or a string"),
    ("NaN", {"age": math.nan}, "filters.age", "finite"),
    ("infinity", {"age": {"lt": math.inf}}, "filters.age.lt", "finite"),
    ("an int beyond int64", {"age": 2**63}, "filters.age", "64 bits"),
    ("an int below int64", {"age": {"gt": -(2**63) - 1}}, "filters.age.gt", "64 bits"),
    ("in without a list", {"age": {"in": 1}}, "filters.age.in", "list"),
    ("nin without a list", {"age": {"nin": "ab"}}, "filters.age.nin", "list"),
    ("a list too long", {"age": {"in": [1] * (MAX_LIST + 1)}}, "filters.age.in", str(MAX_LIST)),
    ("lists too long together", {"OR": [{"a": {"in": [1] * MAX_LIST}}] * 11}, "filters.OR[10].a.in", str(MAX_LISTED)),
    ("exists of a number", {"age": {"exists": 1}}, "filters.age.exists", "true or false"),
    ("icontains of a number", {"age": {"icontains": 1}}, "filters.age.icontains", "string"),
    ("contains of a list", {"age": {"contains": ["a"]}}, "filters.age.contains", "lists"),
    ("NUL", {"age": "a\0"}, "filters.age", "NUL"),
    ("NUL in a list", {"age": {"in": ["a\0"]}}, "filters.age.in[0]", "NUL"),
    ("a lone surrogate", {"age": {"contains": "\ud800"}}, "filters.age.contains", "surrogate"),
    ("too many conditions", {"OR": [{"x": 1}] * (MAX_CONDITIONS + 1)}, "filters.OR[100].x", str(MAX_CONDITIONS)),
    ("empty conditions count too", {"OR": [{}] * (MAX_CONDITIONS + 1)}, "filters.OR[100]", str(MAX_CONDITIONS)),
    ("empty lists count too", {"OR": [{"OR": []}] * (MAX_CONDITIONS + 1)}, "filters.OR[100].OR", str(MAX_CONDITIONS)),
    ("too deep", nested(MAX_DEPTH + 1), "filters" + ".AND[0]" * MAX_DEPTH, str(MAX_DEPTH)),
    ("much too deep", nested(900), "filters" + ".AND[0]" * MAX_DEPTH, str(MAX_DEPTH)),
    ("no name", {"": 1}, "filters.", "segment"),
    ("an empty segment", {"a..b": 1}, "filters.a..b", "segment"),
    ("an empty last segment", {"payload.": 1}, "filters.payload.", "segment"),
    ("a long segment", {"a" * 256: 1}, "filters." + "a" * 100 + "…", "255"),
    ("too many segments", {"payload" + ".a" * 17: 1}, "filters.payload" + ".a" * 17, "16"),
    ("a quotation mark in a path", {'a"b': 1}, 'filters.a"b', "quotation mark"),
    ("a backslash in a path", {"a\\b": 1}, "filters.a\\b", "backslash"),
    ("a line end in a path", {"a\nb": 1}, "filters.a\nb", "control"),
    ("DEL in a path", {"a\x7f": 1}, "filters.a\x7f", "control"),
    ("NUL in a path", {"a\0": 1}, "filters.a\0", "control"),
    ("a lone surrogate in a path", {"\ud800": 1}, "filters.\\ud800", "surrogate"),
    ("the payload as a whole", {"payload": {"exists": True}}, "filters.payload", "payload.<field>"),
    ("the metadata as a whole", {"metadata": {"a": 1}}, "filters.metadata", "metadata.<field>"),
    ("an order of types", {"memory_type": {"gt": "a"}}, "filters.memory_type.gt", "icontains"),
    ("a type that is a number", {"memory_type": 1}, "filters.memory_type", "string"),
    ("a type that is null", {"memory_type": None}, "filters.memory_type", "string"),
    ("an importance that is text", {"importance": {"gte": "5"}}, "filters.importance.gte", "number"),
    ("an importance that is true", {"importance": {"in": [True]}}, "filters.importance.in[0]", "number"),
    ("a substring of a version", {"version": {"contains": 1}}, "filters.version.contains", "gte"),
    ("a substring of a time", {"created_at": {"icontains": "2026"}}, "filters.created_at.icontains", "gte"),
    ("a time that is a number", {"created_at": {"gt": 1767225600}}, "filters.created_at.gt", "RFC 3339"),
    ("a time without offset", {"created_at": "2026-01-01T00:00:00"}, "filters.created_at", "offset"),
    ("a date", {"updated_at": {"gte": "2026-01-01"}}, "filters.updated_at.gte", "RFC 3339"),
    ("a time beyond microseconds", {"updated_at": "2026-01-01T00:00:00.1234567Z"}, "filters.updated_at", "six decimal"),
    (
        "a day that does not exist",
        {"updated_at": "2026-02-30T00:00:00Z"},
        "filters.updated_at",
        "valid date and time",
    ),
    (
        "an hour that does not exist",
        {"updated_at": "2026-01-01T24:00:00Z"},
        "filters.updated_at",
        "valid date and time",
    ),
    (
        "a time before the first",
        {"updated_at": "0001-01-01T00:00:00+01:00"},
        "filters.updated_at",
        "valid date and time",
    ),
    ("a time in other digits", {"updated_at": "２０２６-01-01T00:00:00Z"}, "filters.updated_at", "RFC 3339"),  # noqa: RUF001
]


@pytest.mark.parametrize(("raw", "field", "hint"), [case[1:] for case in ERRORS], ids=[case[0] for case in ERRORS])
def test_refused(raw: Any, field: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(raw)
    [(where, message)] = caught.value.fields.items()
    assert where == field
    assert hint in message
    json.dumps(caught.value.errors, ensure_ascii=False).encode()


def test_the_limits_themselves_are_allowed(tenant: Tenant) -> None:
    segments = ".".join(["a" * 255] * 16)
    for raw in (
        nested(MAX_DEPTH),
        {"OR": [{"x": {"in": [float(n), str(n)] * 50}} for n in range(MAX_CONDITIONS)]},
        {"x": {"in": list(range(MAX_LIST))}},
        {"importance": {"in": list(range(MAX_LIST))}},
        {segments: {"exists": False}},
    ):
        row = memory(tenant, 0, {"x": 1}, importance=7.0)
        store(tenant, [row])
        assert matching(tenant, raw) == [0] * reference(row, raw)


# --- The tree and the query ----------------------------------------------------------------------------------------


def test_the_tree_says_what_the_filter_said() -> None:
    raw = {"age": {"gte": 5, "lt": 10}, "NOT": [{"metadata.a.b": None}], "OR": [{"version": 1}]}
    assert parse(raw) == And(
        (
            Leaf("payload", ("age",), "gte", 5),
            Leaf("payload", ("age",), "lt", 10),
            Not(Or((Leaf("metadata", ("a", "b"), "eq", None),))),
            Or((Leaf("version", (), "eq", 1),)),
        )
    )


def test_a_filter_is_one_query(tenant: Tenant) -> None:
    raw = {"a": {"in": [1, "b"]}, "OR": [{"b": {"contains": 1}}, {"c": {"icontains": "é"}}, {"version": {"ne": 3}}]}
    with CaptureQueriesContext(
        connection,
    ) as queries:
        _matching(tenant, raw)
    assert len(queries) == 1


def test_a_filter_does_not_open_the_wall(tenant: Tenant) -> None:
    stranger = Tenant.objects.create(slug="stranger")
    store(tenant, [memory(tenant, 0, {"x": 1})])
    store(stranger, [memory(stranger, 1, {"x": 1})])
    assert matching(tenant, {"OR": [{"x": 1}, {"NOT": [{"x": 1}]}]}) == [0]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_text(tenant: Tenant, text: str) -> None:
    rows = [
        memory(tenant, 0, {"x": text, "y": [text]}),
        memory(tenant, 1, {"x": f"<{text}>"}),
        memory(tenant, 2, {"x": "-"}),
    ]
    store(tenant, rows)
    for raw in (
        {"x": text},
        {"x": {"in": [text, "none"]}},
        {"x": {"gte": text, "lte": text}},
        {"y": {"contains": text}},
        {"y": {"icontains": text}},
        {"x": {"contains": text}},
        {"x": {"icontains": text.upper()}},
    ):
        assert matching(tenant, raw) == [at for at, row in enumerate(rows) if reference(row, raw)]


def test_a_text_to_look_for_has_a_bounded_length() -> None:
    parse({"x": {"icontains": "a" * MAX_NEEDLE}})
    for operator in ("contains", "icontains"):
        with pytest.raises(InvalidInput, match=str(MAX_NEEDLE)):
            parse({"x": {operator: "a" * (MAX_NEEDLE + 1)}})


# --- Large documents -----------------------------------------------------------------------------------------------

LARGE = "Lorem ipsum dolor sit amet " * 363_000  # 9.8 MB, nearly the largest body
MANY = {"OR": [{"text": {"icontains": f"NEEDLE {number}"}} for number in range(MAX_CONDITIONS - 1)] + [{"n": 1}]}


@given(
    st.sampled_from(["contains", "icontains"]), st.text("ab", min_size=1, max_size=6), st.text("ab"), st.integers(1, 8)
)
def test_a_text_is_found_across_the_pieces_that_are_searched(operator: str, needle: str, text: str, piece: int) -> None:
    row = evaluation.Row({"payload": {"text": text}, "metadata": {}})

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(evaluation, "_CHUNK_LENGTH", piece)
        assert evaluation.holds(parse({"payload.text": {operator: needle}}), row) is (needle in text)


def test_a_large_text_is_found_by_the_last_of_many_conditions(tenant: Tenant) -> None:
    store(tenant, [memory(tenant, 0, {"text": LARGE, "n": 2}), memory(tenant, 1, {"text": LARGE + "needle 98"})])

    assert _matching(tenant, MANY) == [1]


@pytest.mark.once  # PostgreSQL runs in another process: see benchmarks/worst_requests.py
def test_many_conditions_on_a_large_text_take_little_memory(tenant: Tenant) -> None:
    store(tenant, [memory(tenant, 0, {"text": LARGE})])
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak to the current memory
    before = peak_mb()

    assert _matching(tenant, MANY) == []

    assert peak_mb() - before < 200  # 6,500 if each condition reads the document separately


def peak_mb() -> int:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024


def test_a_text_is_folded_once_for_all_conditions(tenant: Tenant) -> None:
    store(tenant, [memory(tenant, 0, {"text": "a"})])

    with CaptureQueriesContext(connection) as queries, pytest.MonkeyPatch.context() as patch:
        folded: list[str] = []

        def noted(text: str) -> str:
            folded.append(text)
            return fold(text)

        patch.setattr(sqlite, "SMALL", -1)
        patch.setattr(evaluation, "fold", noted)
        _matching(tenant, MANY)

    if POSTGRESQL:
        assert queries[0]["sql"].count("lower((value0 #>>") == 1
    else:
        assert folded.count("a") == 1
        assert queries[0]["sql"].count("json_extract(") == 2  # of `text` and of `n`
        assert queries[0]["sql"].count("THEN lower(value0)") == 1


def search_for_ever(tenant: Tenant) -> None:
    while True:
        _matching(tenant, MANY)


def test_a_large_document_ends_at_the_deadline(tenant: Tenant) -> None:
    store(tenant, [memory(tenant, 0, {"text": LARGE})])

    with deadline.within(0.05), pytest.raises((DeadlineExceeded, OperationalError)) as caught:
        search_for_ever(tenant)

    error = caught.value
    assert isinstance(error, DeadlineExceeded | OperationalError)
    assert isinstance(error, DeadlineExceeded) or sqlstate.is_interrupted(error)
