"""The statements on hot paths read and write the same values as the ORM, on both databases."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.django import TestCase

from memories.models import Memory, VectorEmbedding
from somamemory.db import rows
from somamemory.db.rows import Part, Table
from tenants.models import AuditEvent

MEMORIES = Table(Memory)
ADDRESS = ("tenant_id", "namespace", "coordinate_key")
CHANGED = ["payload", "metadata", "importance", "context", "version", "expires_at"]
TENANT = uuid.UUID(int=7)
texts = some.text(some.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
times = some.datetimes(datetime(1900, 1, 1), datetime(9000, 1, 1), timezones=some.just(UTC))
numbers = some.floats(allow_nan=False, allow_infinity=False)
documents = some.dictionaries(
    texts,
    some.recursive(
        some.none() | some.booleans() | some.integers(-(1 << 53), 1 << 53) | numbers | texts,
        lambda inner: some.lists(inner, max_size=3) | some.dictionaries(texts, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)
memories = some.builds(
    Memory,
    tenant_id=some.just(TENANT),
    id=some.uuids(),
    namespace=texts,
    coordinate_key=some.text("0123456789abcdef", min_size=16, max_size=16),
    payload=documents,
    metadata=documents,
    memory_type=some.sampled_from(list(Memory.Type)),
    importance=numbers,
    context=texts,
    terms=some.just("two terms"),
    version=some.integers(1, 1 << 30),
    created_at=times,
    expires_at=times | some.none(),
    last_accessed_at=times | some.none(),
)


def a_memory(key: str = "a", **fields: Any) -> Memory:
    return Memory(tenant_id=TENANT, coordinate_key=key, **{"payload": {"text": key}, **fields})


def columns(row: Any) -> dict[str, object]:
    """Return the values of all columns, except for the automatic key."""
    fields = [field for field in row._meta.concrete_fields if not field.primary_key]
    return {field.attname: field.value_from_object(row) for field in fields}


def as_stored(model: type[Any]) -> list[tuple[object, ...]]:
    """Return the rows as read by the driver."""
    names = ", ".join(field.column for field in model._meta.concrete_fields if not field.primary_key)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {names} FROM {model._meta.db_table} ORDER BY 1, 2, 3")
        return list(cursor.fetchall())


class SameAsTheOrm(TestCase):
    @settings(max_examples=25)
    @given(some.lists(memories, min_size=1, max_size=3, unique_by=lambda row: (row.namespace, row.coordinate_key)))
    def test_inserted_rows_are_those_that_the_orm_inserts(self, new: list[Memory]) -> None:
        MEMORIES.insert([vars(memory) for memory in new])
        ours = as_stored(Memory)
        Memory.all_tenants.all().delete()
        Memory.all_tenants.bulk_create(new)

        assert ours == as_stored(Memory)

    @settings(max_examples=25)
    @given(memories)
    def test_read_rows_are_those_that_the_orm_reads(self, new: Memory) -> None:
        Memory.all_tenants.bulk_create([new])

        (read,) = MEMORIES.read("WHERE coordinate_key = %s", [new.coordinate_key])

        theirs = Memory.all_tenants.get(id=new.id)
        assert columns(read) == columns(theirs) == columns(new)
        assert [type(value) for value in columns(read).values()] == [type(value) for value in columns(theirs).values()]
        assert read.seq == theirs.seq

    @settings(max_examples=25)
    @given(some.lists(memories, min_size=2, max_size=4, unique_by=lambda row: (row.namespace, row.coordinate_key)))
    def test_updated_rows_are_those_that_the_orm_updates(self, some_memories: list[Memory]) -> None:
        old, new = some_memories[: len(some_memories) // 2], some_memories[len(some_memories) // 2 :]
        Memory.all_tenants.all().delete()
        Memory.all_tenants.bulk_create(old)
        for before, after in zip(old, new, strict=False):
            after.seq, after.id = before.seq, before.id
        MEMORIES.update([vars(after) for after in new[: len(old)]], CHANGED)
        ours = as_stored(Memory)
        Memory.all_tenants.all().delete()
        Memory.all_tenants.bulk_create(old)
        Memory.all_tenants.bulk_update(new[: len(old)], CHANGED)

        assert ours == as_stored(Memory)


@pytest.mark.django_db
def test_absent_fields_get_their_default() -> None:
    row = {"tenant_id": TENANT, "generation_id": uuid.uuid4(), "memory_id": uuid.uuid4(), "wanted_version": 3}

    Table(VectorEmbedding).insert([row, {**row, "memory_id": uuid.uuid4(), "vector": b"\x00\xff"}])

    first, second = VectorEmbedding.all_tenants.order_by("id")
    assert columns(first) == columns(VectorEmbedding(**row))
    assert bytes(second.vector or b"") == b"\x00\xff"


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 3])
def test_an_upsert_changes_only_the_columns_it_names(count: int) -> None:
    MEMORIES.insert([vars(a_memory(str(number), context="old", version=1)) for number in range(count)])
    new = [a_memory(str(number), context="new", version=2) for number in range(count + 1)]

    MEMORIES.upsert([vars(memory) for memory in new], ADDRESS, ["version"])

    after = Memory.all_tenants.order_by("coordinate_key").values_list("context", "version")
    assert list(after) == [("old", 2)] * count + [("new", 2)]


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 3])
def test_an_update_changes_only_the_columns_and_rows_it_names(count: int) -> None:
    MEMORIES.insert([vars(a_memory(str(number), context="old", version=1)) for number in range(count + 1)])
    rows = list(Memory.all_tenants.order_by("coordinate_key"))[:count]
    for row in rows:
        row.context, row.version = "new", 2

    MEMORIES.update([vars(row) for row in rows], ["version"])

    after = Memory.all_tenants.order_by("coordinate_key").values_list("context", "version")
    assert list(after) == [("old", 2)] * count + [("old", 1)]


@pytest.mark.django_db
def test_nothing_is_written_without_rows() -> None:
    MEMORIES.insert([])
    MEMORIES.upsert([], ADDRESS, ["version"])
    MEMORIES.update([], ["version"])

    assert not Memory.all_tenants.exists()


@pytest.mark.django_db
def test_an_insert_of_an_existing_row_fails() -> None:
    MEMORIES.insert([vars(a_memory())])

    with pytest.raises(IntegrityError), transaction.atomic():
        MEMORIES.insert([vars(a_memory())])


@pytest.mark.django_db
def test_all_parts_or_none_are_inserted() -> None:
    event = Part(Table(AuditEvent), [{"tenant_id": TENANT, "actor": "test", "action": "a", "target": "t"}])

    first = rows.insert_if_new(Part(MEMORIES, [vars(a_memory())]), ADDRESS, [event])
    second = rows.insert_if_new(Part(MEMORIES, [vars(a_memory(context="other"))]), ADDRESS, [event])

    assert (first, second) == (True, False)
    assert AuditEvent.objects.count() == 1
    assert Memory.all_tenants.get().context == ""


@pytest.mark.django_db
def test_errors_of_statements_sent_together_are_those_of_the_orm() -> None:
    MEMORIES.insert([vars(a_memory())])

    def insert_both() -> None:
        with transaction.atomic(), rows.in_one_round_trip():
            MEMORIES.insert([vars(a_memory("b"))])
            MEMORIES.insert([vars(a_memory())])

    with pytest.raises(IntegrityError):
        insert_both()

    assert Memory.all_tenants.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("keys", [["a"], ["a", "c"], ["a", "b", "c", "d"]])
def test_one_of_many_values_is_one_parameter(keys: list[str]) -> None:
    MEMORIES.insert([vars(a_memory(key)) for key in "abc"])
    condition, parameter = rows.one_of("coordinate_key", keys)

    read = MEMORIES.read(f"WHERE {condition} ORDER BY coordinate_key", [parameter])

    assert [memory.coordinate_key for memory in read] == [key for key in keys if key in "abc"]
