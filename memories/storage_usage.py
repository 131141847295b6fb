"""How much a tenant keeps, and what the vector index keeps of it: what the room below asks this one."""

from __future__ import annotations

from collections.abc import Iterable

import orjson
from django.db import connection

from memories import index
from memories.index import generations
from memories.models import Memory
from tenants.models import Tenant

# Statements with one placeholder for the tenant: (memories, bytes) that are kept for it outside of the table.
_elsewhere: list[str] = []
_COUNT = """
    SELECT kept.memories{memories}, kept.bytes{bytes}, noted.memories, noted.bytes
    FROM (SELECT COUNT(*) AS memories, COALESCE(SUM(size), 0) AS bytes FROM sfm_memories WHERE tenant_id = %s) AS kept,
         (SELECT COALESCE(SUM(memories), 0) AS memories, COALESCE(SUM(bytes), 0) AS bytes
          FROM sfm_usage_stripes WHERE tenant_id = %s) AS noted{tables}
"""


def also_count(statement: str) -> None:
    """For what is taken out of the table for a while: `SELECT … AS memories, … AS bytes … WHERE tenant_id = %s`."""
    if statement not in _elsewhere:
        _elsewhere.append(statement)


def size(memory: Memory) -> int:
    """The bytes that count against a quota: payload and metadata as JSON, and the context."""
    return len(orjson.dumps([memory.payload, memory.metadata])) + len(memory.context.encode())


def difference(before: Iterable[Memory | None], after: Iterable[Memory | None]) -> tuple[int, int]:
    """By how many memories and bytes a change makes more of them; deleted ones count until they are purged."""
    old, new = [each for each in before if each], [each for each in after if each]
    return len(new) - len(old), sum(each.size for each in new) - sum(each.size for each in old)


def count(tenant: Tenant) -> tuple[int, int, int, int]:
    """(memories, bytes) that are there, and the same as noted; of one moment, as it is one statement."""
    id = tenant.id if connection.features.has_native_uuid_field else tenant.id.hex
    names = [f"away{number}" for number in range(len(_elsewhere))]
    statement = _COUNT.format(
        memories="".join(f" + {name}.memories" for name in names),
        bytes="".join(f" + {name}.bytes" for name in names),
        tables="".join(f", ({each}) AS {name}" for name, each in zip(names, _elsewhere, strict=True)),
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [id, id, *(id for _ in names)])
        memories, bytes, noted_memories, noted_bytes = (int(number) for number in cursor.fetchone())
    return memories, bytes, noted_memories, noted_bytes


def forget_words(tenant: Tenant) -> int:
    """SQLite only marks words as deleted in its full text, and keeps pages in its journal, until it tidies up."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO sfm_memory_terms(sfm_memory_terms) VALUES ('optimize')")
            if not connection.in_atomic_block:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return 0


def forget_vectors(tenant: Tenant) -> int:
    """Take everything of a tenant out of the vector index; how many vectors there were. Raises Unavailable."""
    forgotten = 0
    for generation in generations.in_use():
        target = index.of(generation)
        forgotten += sum(1 for _ in target.scan(tenant.id))
        target.drop_tenant(tenant.id)
    return forgotten
