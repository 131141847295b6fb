"""Prepared statements return the same rows as the ORM queries that they replace."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from memories import coordinates, large_rows, prepared_reads, selectors
from memories.models import Memory, VectorEmbedding
from memories.prepared_reads import PageShape
from memories.selectors import ORDERS, Narrowing
from tenants.caller import Caller
from tenants.models import Tenant
from tests.conftest import GENERATION

BASE = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
SEEDS = range(3)
DOCUMENTS: list[dict[str, Any]] = [
    {},
    {"text": "naïve — 𝄞 \u2028 'quoted' \"twice\" \\ back"},
    {"numbers": [0.1, 1e16, -0.0, 1e22, 1e300, -1e-300, 5.0, 9_007_199_254_740_993, -(2**63), 2**63 - 1, 0]},
    {"long": 2.0**63, "longer": -1.0e30, "digits": "12345678901234567890"},
    {"nested": [[], {}, "", None, True]},
    {"large": "x" * (large_rows.SMALL + 1)},
]


def random_memory(tenant: Tenant, number: int, chance: random.Random) -> Memory:
    def moment() -> datetime:
        return BASE + timedelta(microseconds=chance.randrange(3))  # many are equal

    payload = chance.choice(DOCUMENTS)
    return Memory(
        tenant=tenant,
        namespace=chance.choice(["default", "other"]),
        coordinate_key=coordinates.of([number % 3, number]).key,
        payload=payload,
        metadata=chance.choice(DOCUMENTS[:-1]),
        memory_type=chance.choice(Memory.Type.values),
        importance=chance.choice([0.0, 0.1, 10.0]),
        context=chance.choice(["", "before"]),
        terms="some terms",
        version=chance.randrange(1, 5),
        created_at=moment(),
        updated_at=moment(),
        expires_at=chance.choice([None, timezone.now() + timedelta(days=1), BASE]),
        deleted_at=chance.choice([None, None, moment()]),
        last_accessed_at=chance.choice([None, moment()]),
        access_count=chance.randrange(3),
        size=large_rows.SMALL + 1 if "large" in payload else 10,
    )


def fill(tenant: Tenant, chance: random.Random) -> list[Memory]:
    memories = Memory.all_tenants.bulk_create(random_memory(tenant, number, chance) for number in range(40))
    VectorEmbedding.all_tenants.bulk_create(
        VectorEmbedding(
            tenant=tenant,
            memory=memory,
            generation_id=GENERATION,
            wanted_version=memory.version,
            indexed_version=chance.choice([None, 1]),
            due_at=chance.choice([None, BASE]),
            attempts=chance.randrange(4),
        )
        for memory in memories
        if chance.random() < 0.8
    )
    return memories


def columns(memory: Memory | None) -> dict[str, Any] | None:
    """Return all columns that were read."""
    if memory is None:
        return None
    state = {"index_state": memory.index_state, "adding": memory._state.adding, "db": memory._state.db}
    return {name: repr(value) for name, value in vars(memory).items() if name not in ("_state", "terms")} | state


@pytest.mark.parametrize("seed", SEEDS)
def test_a_memory_is_read_as_by_the_orm(caller: Caller, seed: int) -> None:
    for memory in fill(caller.tenant, random.Random(seed)):
        place = (memory.namespace, memory.coordinate_key)
        query = selectors.with_index_state(selectors.stored(caller, [memory.namespace]))
        expected = query.filter(coordinate_key=memory.coordinate_key).first()
        assert columns(prepared_reads.memory_at(connection, caller.tenant, *place)) == columns(expected)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_page_is_read_as_by_the_orm(caller: Caller, order: str, seed: int) -> None:
    chance = random.Random(seed)
    memories = fill(caller.tenant, chance)
    for _ in range(10):
        narrowing = Narrowing(
            memory_type=chance.choice([None, "episodic"]),
            prefix=chance.choice([None, coordinates.of([chance.randrange(3)])]),
            created_after=chance.choice([None, BASE]),
            created_before=chance.choice([None, BASE + timedelta(microseconds=2)]),
            updated_after=chance.choice([None, BASE]),
        )
        last, include_deleted, limit = chance.choice([None, *memories]), chance.random() < 0.5, chance.randrange(1, 30)
        time = prepared_reads.time_of(order)
        position = {"key": last.coordinate_key, "moment": time and getattr(last, time)} if last else {}
        query = narrowing.apply((selectors.stored if include_deleted else selectors.live)(caller, ["default"]))
        if position:
            query = query.filter(prepared_reads.after(order, **position))
        query = prepared_reads.sorted_by(large_rows.outline(selectors.with_index_state(query)), order)[:limit]
        values = {"namespace": "default", **narrowing.lookups}
        shape = PageShape(tuple(values), order, limit, include_deleted, bool(position))
        rows = prepared_reads.page(connection, shape, caller.tenant, values | position)
        assert [columns(row) for row in rows] == [columns(row) for row in query]


def test_the_rows_of_another_tenant_stay_hidden(caller: Caller) -> None:
    other = Tenant.objects.create(slug="other")
    memory = random_memory(other, 1, random.Random(1))
    memory.namespace, memory.deleted_at, memory.expires_at = "default", None, None
    memory.save()
    assert prepared_reads.memory_at(connection, other, "default", memory.coordinate_key) is not None
    assert prepared_reads.memory_at(connection, caller.tenant, "default", memory.coordinate_key) is None
    shape = PageShape(("namespace",), "coordinate", 10, include_deleted=True, after=False)
    assert prepared_reads.page(connection, shape, caller.tenant, {"namespace": "default"}) == []


def statements(read: Callable[[], object]) -> int:
    """Return the number of statements apart from those for the generation, which is cached after a commit."""
    with CaptureQueriesContext(connection) as captured:
        read()
    return sum("sfm_memories" in query["sql"] for query in captured)


def test_a_page_is_one_statement(caller: Caller) -> None:
    narrowing = Narrowing(prefix=coordinates.of([1]))
    assert statements(lambda: selectors.list_memories(caller, "default", narrowing, limit=5)) == 1


def test_a_fetch_is_one_statement(caller: Caller) -> None:
    memory = random_memory(caller.tenant, 1, random.Random(1))
    memory.namespace, memory.deleted_at, memory.expires_at = "default", None, None
    memory.save()
    assert statements(lambda: selectors.get_memory(caller, "default", memory.coordinate)) == 1
