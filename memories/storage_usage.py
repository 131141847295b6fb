"""Measure a tenant's storage usage, and erase its words and vectors."""

from __future__ import annotations

from collections.abc import Iterable

import orjson
from django.db import connection

from memories import index
from memories.index import generations
from memories.models import Memory
from tenants.models import Tenant

# Statements that return (memories, bytes) for data outside the memories table, with one placeholder for the tenant.
_elsewhere: list[str] = []
_COUNT = """
    SELECT kept.memories{memories}, kept.bytes{bytes}, noted.memories, noted.bytes
    FROM (SELECT COUNT(*) AS memories, COALESCE(SUM(size), 0) AS bytes FROM sfm_memories WHERE tenant_id = %s) AS kept,
         (SELECT COALESCE(SUM(memories), 0) AS memories, COALESCE(SUM(bytes), 0) AS bytes
          FROM sfm_usage_stripes WHERE tenant_id = %s) AS noted{tables}
"""


def also_count(statement: str) -> None:
    """Register a statement that counts data outside the memories table, so that `count` includes it.

    Its form is `SELECT … AS memories, … AS bytes … WHERE tenant_id = %s`.
    """
    if statement not in _elsewhere:
        _elsewhere.append(statement)


def size(memory: Memory) -> int:
    """Return the number of bytes that count towards a quota: payload, metadata and source as JSON, and the context."""
    documents = [memory.payload, memory.metadata, *([] if memory.source is None else [memory.source])]
    return len(orjson.dumps(documents)) + len(memory.context.encode())


def difference(before: Iterable[Memory | None], after: Iterable[Memory | None]) -> tuple[int, int]:
    """Return how many memories and how many bytes a change adds to the tenant's usage.

    Deleted memories count until they are purged, and replaced versions count while they are in the history.
    """
    old, new = list(filter(None, before)), list(filter(None, after))
    return len(new) - len(old), sum(memory.size for memory in new)


def count(tenant: Tenant) -> tuple[int, int, int, int]:
    """Return how many memories and bytes are stored, and how many memories and bytes are recorded.

    A single statement reads all four numbers, so that they are consistent.
    """
    id = tenant.id if connection.features.has_native_uuid_field else tenant.id.hex
    names = [f"away{number}" for number in range(len(_elsewhere))]
    statement = _COUNT.format(
        memories="".join(f" + {name}.memories" for name in names),
        bytes="".join(f" + {name}.bytes" for name in names),
        tables="".join(f", ({statement}) AS {name}" for name, statement in zip(names, _elsewhere, strict=True)),
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [id, id, *(id for _ in names)])
        memories, bytes, noted_memories, noted_bytes = (int(number) for number in cursor.fetchone())
    return memories, bytes, noted_memories, noted_bytes


def forget_words(tenant: Tenant) -> int:
    """Remove deleted words from the full-text index file.

    SQLite only marks words as deleted. They remain in the file until the index is optimised.
    """
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO sfm_memory_terms(sfm_memory_terms) VALUES ('optimize')")
            cursor.execute("INSERT INTO sfm_memory_terms_scoped(sfm_memory_terms_scoped) VALUES ('optimize')")
            if not connection.in_atomic_block:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return 0


def forget_vectors(tenant: Tenant) -> int:
    """Remove the tenant from the vector index, and return how many vectors it had there.

    Raises IndexUnavailable if the index does not respond.
    """
    forgotten = 0
    for generation in generations.in_use():
        target = index.of(generation)
        forgotten += sum(1 for _ in target.scan(tenant.id))
        target.drop_tenant(tenant.id)
    return forgotten
