"""How much there is, for whoever runs the installation: answered in milliseconds, whatever it is, and so estimated."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Count
from django.utils import timezone

from memories.index import generations
from memories.models import FAILED_ATTEMPTS, Memory, VectorEmbedding
from somamemory import caching
from tenants.caller import Caller

# So many rows are counted; of more, PostgreSQL's statistics tell.
COUNTED = 500_000
BOUND = 10_000
LIFETIME_S = 60


@dataclass(frozen=True)
class Queue:
    """What waits for the index. `pending` and `failed` stop at BOUND."""

    pending: int
    failed: int
    oldest_s: int


def of_tenants(caller: Caller) -> tuple[dict[UUID, int], bool]:
    """Memories of each tenant, deleted ones too, up to a minute old; whether they were counted, or are an estimate.

    An estimate names the hundred largest.
    """
    caller.require_operator("read")
    known = caching.get(None, "sizes", connection.alias)
    if known is None:
        sizes, counted = _estimated() if _rows() > COUNTED else _counted()
        known = {"sizes": {str(tenant): size for tenant, size in sizes.items()}, "counted": counted}
        caching.set(None, "sizes", connection.alias, value=known, lifetime_s=LIFETIME_S)
    return {UUID(tenant): size for tenant, size in known["sizes"].items()}, known["counted"]


def queue(caller: Caller, now: datetime | None = None) -> Queue:
    """Of all tenants, in the active generation."""
    caller.require_operator("read")
    now = now or timezone.now()
    due = VectorEmbedding.all_tenants.filter(generation=generations.active(), due_at__isnull=False).order_by()
    failed = due.filter(attempts__gte=FAILED_ATTEMPTS)
    pending = due.filter(due_at__lte=now)
    oldest = pending.order_by("due_at").values_list("due_at", flat=True).first()
    return Queue(
        pending=len(pending.values_list("id")[:BOUND]),
        failed=len(failed.values_list("id")[:BOUND]),
        oldest_s=max(0, round((now - oldest).total_seconds())) if oldest else 0,
    )


def database_bytes() -> int:
    """On disk, with its indexes."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_database_size(current_database())")
            return int(cursor.fetchone()[0])
    path = Path(str(connection.settings_dict["NAME"]))
    return sum(each.stat().st_size for each in path.parent.glob(path.name + "*") if each.is_file())


def _rows() -> int:
    """What the database believes; SQLite always counts, as it has no statistics of the kind."""
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE oid = 'sfm_memories'::regclass")
        return int(cursor.fetchone()[0])


def _counted() -> tuple[dict[UUID, int], bool]:
    rows: Any = Memory.all_tenants.order_by().values_list("tenant_id").annotate(Count("tenant_id"))
    return dict(rows), True


def _estimated() -> tuple[dict[UUID, int], bool]:
    """The tenants that ANALYZE has met most often, and their share."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT unnest(most_common_vals::text::text[]), unnest(most_common_freqs) FROM pg_stats "
            "WHERE tablename = 'sfm_memories' AND attname = 'tenant_id' AND schemaname = current_schema()"
        )
        shares = cursor.fetchall()
    rows = _rows()
    return {UUID(tenant): round(share * rows) for tenant, share in shares}, False
