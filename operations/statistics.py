"""Statistics for operators. They must be available within milliseconds in any database, so some are estimates."""

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
from somamemory.scheduling import periodic
from tenants import usage
from tenants.caller import Caller

# Up to this many rows are counted. Beyond that, PostgreSQL's statistics are used.
COUNTED = 500_000
SAMPLE = 100_000  # the number of rows in a random sample, for tables whose statistics are hidden
BOUND = 10_000
LIFETIME_S = 60
MEASUREMENT_INTERVAL_S = 3600.0


@dataclass(frozen=True)
class Queue:
    """Statistics on the memories that await indexing. `pending` and `failed` are counted up to BOUND."""

    pending: int
    failed: int
    oldest_s: int


def of_tenants(caller: Caller) -> tuple[dict[UUID, int], bool]:
    """Return each tenant's number of memories, and whether the numbers are exact.

    The numbers include deleted memories, and are up to a minute old. An estimate may omit small tenants.
    """
    caller.require_operator("read")
    return _sizes()


@periodic(
    "operations.measure_tenants",
    every_s=lambda: MEASUREMENT_INTERVAL_S,
    thread="maintenance",
    first_s=lambda: LIFETIME_S,
)
def measure_tenants() -> None:
    """Record today's number of memories for each tenant or, if the numbers are estimates, for the largest tenants."""
    sizes, _ = _sizes()
    usage.record_memories(timezone.now().date(), sizes)


def _sizes() -> tuple[dict[UUID, int], bool]:
    known = caching.get(None, "sizes", connection.alias)
    if known is None:
        sizes, counted = _estimated() if _rows() > COUNTED else _counted()
        known = {"sizes": {str(tenant): size for tenant, size in sizes.items()}, "counted": counted}
        caching.set(None, "sizes", connection.alias, value=known, lifetime_s=LIFETIME_S)
    return {UUID(tenant): size for tenant, size in known["sizes"].items()}, known["counted"]


def queue(caller: Caller, now: datetime | None = None) -> Queue:
    """Return the queue statistics for all tenants, in the active generation."""
    caller.require_operator("read")
    return measure_queue(now)


def measure_queue(now: datetime | None = None) -> Queue:
    """Return the queue statistics for all tenants, without checking permissions. For `queue` and for the scheduler."""
    now = now or timezone.now()
    due = VectorEmbedding.all_tenants.filter(generation=generations.active(), due_at__isnull=False).order_by()
    failed = due.filter(attempts__gte=FAILED_ATTEMPTS)
    times = due.filter(due_at__lte=now).order_by("due_at").values_list("due_at", flat=True)[:BOUND]
    pending = [due_at for due_at in times if due_at]
    return Queue(
        pending=len(pending),
        failed=len(failed.values_list("id")[:BOUND]),
        oldest_s=max(0, round((now - pending[0]).total_seconds())) if pending else 0,
    )


def database_bytes() -> int:
    """Return the database's size on disk, including indexes."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_database_size(current_database())")
            return int(cursor.fetchone()[0])
    path = Path(str(connection.settings_dict["NAME"]))
    return sum(file.stat().st_size for file in path.parent.glob(path.name + "*") if file.is_file())


def _rows() -> int:
    """Return PostgreSQL's estimate of the number of memories, or 0 on SQLite, which has no such estimate."""
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE oid = 'sfm_memories'::regclass")
        return int(cursor.fetchone()[0])


def _counted() -> tuple[dict[UUID, int], bool]:
    rows: Any = Memory.all_tenants.order_by().values_list("tenant_id").annotate(Count("tenant_id"))
    return dict(rows), True


def _estimated() -> tuple[dict[UUID, int], bool]:
    """Return the estimated number of memories per tenant, for the tenants that ANALYZE has seen most often."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT unnest(most_common_vals::text::text[]), unnest(most_common_freqs) FROM pg_stats "
            "WHERE tablename = 'sfm_memories' AND attname = 'tenant_id' AND schemaname = current_schema()"
        )
        shares = cursor.fetchall()
    rows = _rows()
    if not shares:  # the statistics of a table with row-level security are hidden from its owner
        return _sampled(rows), False
    return {UUID(tenant): round(share * rows) for tenant, share in shares}, False


def _sampled(rows: int) -> dict[UUID, int]:
    """Return the estimated number of memories for each tenant that occurs in a random sample of the table's pages."""
    percent = 100 * SAMPLE / max(rows, SAMPLE)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tenant_id, count(*) FROM sfm_memories TABLESAMPLE SYSTEM (%s) GROUP BY tenant_id", [percent]
        )
        return {tenant: round(count * 100 / percent) for tenant, count in cursor.fetchall()}
