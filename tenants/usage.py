"""Tenant usage and quotas.

*Memories and bytes*: for a tenant with a quota, usage is the sum of several stripes. A writer adds to its own stripe in
the transaction that makes its change, so writers do not wait for each other. A change that would exceed the quota is
rolled back. The sum excludes uncommitted changes, so W concurrent writers can exceed the quota by at most W - 1
changes. On SQLite, which has one writer at a time, the quota is exact.

*Requests*: each process counts its own requests and adds them to the day's row every few seconds. A process sees its
own requests immediately, and those of other processes after at most `FLUSH_S + REFRESH_S` seconds. A tenant can exceed
its quota during that time.

*Language models*: `conversations.llm` keeps the ledger, reports usage from it (`read_llm_usage_with`) and enforces
`llm_limits`.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from cachetools import TTLCache
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import Q, Sum
from django.utils import timezone

from somamemory.errors import QuotaExceeded, RequestQuotaExceeded
from somamemory.scheduling import periodic
from tenants.models import DailyUsage, Tenant, UsageStripe

STRIPES = 64
COUNTED = 0  # the stripe to which a recount adds its correction
RECOUNT = timedelta(hours=1)
FLUSH_S = 5.0
REFRESH_S = 5.0
BATCH = 1_000
MICRO_USD_PER_CENT = 10_000
_FREE_STRIPE = (
    "coalesce((SELECT stripe FROM unnest(%s::int[]) AS stripe "
    "WHERE pg_try_advisory_xact_lock(hashtext(%s), stripe) LIMIT 1), %s)"
)

Day = tuple[UUID, date]  # (tenant, day)


@dataclass
class _Counts:
    """Requests per tenant and day: this process's unwritten counts, and the last known totals."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    unwritten: defaultdict[Day, int] = field(default_factory=lambda: defaultdict(int))
    known: TTLCache[Day, int] = field(default_factory=lambda: TTLCache(10_000, REFRESH_S))


@dataclass(frozen=True)
class LlmUsage:
    """A tenant's language model usage: input and output tokens, and cost in millionths of a dollar.

    Days and months are UTC.
    """

    tokens_today: int = 0
    tokens_this_month: int = 0
    micro_usd_this_month: int = 0


# Returns (memories, bytes) stored, and (memories, bytes) recorded in the stripes, both at one point in time.
Counter = Callable[[Tenant], tuple[int, int, int, int]]
_counter: list[Counter] = []
LlmReader = Callable[[Tenant], LlmUsage]
_llm_reader: list[LlmReader] = []
_counts = _Counts()
_own = threading.local()
_numbers = itertools.count(random.randrange(STRIPES))


# --- Memories and bytes ------------------------------------------------------------------------------------------


def is_limited(tenant: Tenant) -> bool:
    return tenant.quota_memories is not None or tenant.quota_bytes is not None


def add(tenant: Tenant, memories: int, bytes: int, *, enforced: bool = True) -> None:
    """Record a change in memories and bytes. Must be called in the transaction that makes the change.

    enforced: whether to raise QuotaExceeded if the change would exceed a quota.
    """
    if not is_limited(tenant) or not (memories or bytes):
        return
    if enforced and (memories > 0 or bytes > 0):
        used = stored(tenant)
        for name, more, before, quota in (
            ("memories", memories, used[0], tenant.quota_memories),
            ("bytes", bytes, used[1], tenant.quota_bytes),
        ):
            if quota is not None and more > 0 and before + more > quota:
                raise QuotaExceeded(
                    f"the tenant stores {max(0, before):,} {name} and its quota is {quota:,}; delete some first"
                )
    _add_to_free_stripe(tenant, memories, bytes)


def stored(tenant: Tenant) -> tuple[int, int]:
    """Return (memories, bytes) from the stripes. Without a quota, they are the values from the last count."""
    sums = UsageStripe.objects.for_tenant(tenant).aggregate(memories=Sum("memories"), bytes=Sum("bytes"))
    return sums["memories"] or 0, sums["bytes"] or 0


def count_with(count: Counter) -> None:
    """Register the function that counts a tenant's stored data: see `Counter`."""
    _counter.append(count)


def counted(tenant: Tenant) -> tuple[int, int]:
    """Return a tenant's current (memories, bytes). For operators only, because it reads all rows."""
    memories, bytes, _, _ = _counter[-1](tenant)
    return memories, bytes


def recount(tenant: Tenant, *, again_soon: bool = False) -> None:
    """Correct a tenant's stripes.

    again_soon: recount again after a minute, because processes that have not read the new quota yet do not record
    changes.
    """
    at = timezone.now() - (RECOUNT - timedelta(minutes=1) if again_soon else timedelta())
    with transaction.atomic():
        _add_to(tenant, COUNTED, 0, 0)  # locks the row, so that two concurrent recounts do not both correct it
        memories, bytes, noted_memories, noted_bytes = _counter[-1](tenant)
        _add_to(tenant, COUNTED, memories - noted_memories, bytes - noted_bytes)
        UsageStripe.objects.for_tenant(tenant).filter(stripe=COUNTED).update(counted_at=at)


def recount_stale() -> None:
    """Recount every tenant that has a quota and whose last count is older than `RECOUNT`."""
    for tenant in Tenant.objects.filter(Q(quota_memories__isnull=False) | Q(quota_bytes__isnull=False)).iterator():
        last = UsageStripe.objects.for_tenant(tenant).filter(stripe=COUNTED).first()
        if last is None or last.counted_at is None or last.counted_at < timezone.now() - RECOUNT:
            recount(tenant)


def _add_to_free_stripe(tenant: Tenant, memories: int, bytes: int) -> None:
    """Add to this thread's stripe or, if another transaction has added to it, to another one.

    If a writer waited for a stripe while holding locks on other rows, it could cause a deadlock. SQLite has only one
    writer at a time.
    """
    own = _stripe()
    if connection.vendor == "postgresql":
        stripes = [*range(own, STRIPES + 1), *range(1, own)]
        _add(tenant, memories, bytes, _FREE_STRIPE, [stripes, f"usage of {tenant.id}", own])
    else:
        _add_to(tenant, own, memories, bytes)


def _add_to(tenant: Tenant, stripe: int, memories: int, bytes: int) -> None:
    _add(tenant, memories, bytes, "%s", [stripe])


def _add(tenant: Tenant, memories: int, bytes: int, stripe: str, parameters: Sequence[Any]) -> None:
    """Add to the stripe whose number the SQL expression `stripe` returns."""
    sql = (
        f"INSERT INTO sfm_usage_stripes (tenant_id, stripe, memories, bytes) VALUES (%s, {stripe}, %s, %s) "  # noqa: S608 - constants
        "ON CONFLICT (tenant_id, stripe) DO UPDATE SET memories = sfm_usage_stripes.memories + excluded.memories, "
        "bytes = sfm_usage_stripes.bytes + excluded.bytes"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [_id(tenant.id), *parameters, memories, bytes])


def _reset_stripes() -> None:
    """Choose new stripes after a fork. Processes with the same stripes would wait for each other."""
    global _numbers
    _numbers = itertools.count(random.randrange(STRIPES))
    _own.__dict__.clear()


os.register_at_fork(after_in_child=_reset_stripes)


def _stripe() -> int:
    """Return this thread's stripe. Threads get different stripes as long as there are enough stripes."""
    if not hasattr(_own, "stripe"):
        _own.stripe = 1 + next(_numbers) % STRIPES
    stripe: int = _own.stripe
    return stripe


# --- Requests ----------------------------------------------------------------------------------------------------


def count_request(tenant: Tenant) -> None:
    """Count one more request today. Raises RequestQuotaExceeded, in which case the request is not counted."""
    now = timezone.now()
    with _counts.lock:
        _counts.unwritten[tenant.id, now.date()] += 1
    quota = tenant.quota_requests_per_day
    if quota is not None and requests_today(tenant, now) > quota:
        with _counts.lock:
            _counts.unwritten[tenant.id, now.date()] -= 1
        raise RequestQuotaExceeded(
            f"the tenant has used its quota of {quota:,} requests per day, which resets at midnight UTC",
            _until_midnight_s(now),
        )


def requests_today(tenant: Tenant, now: datetime | None = None) -> int:
    """Return the number of requests that the tenant has made today, as known to this process."""
    day = (now or timezone.now()).date()
    with _counts.lock:
        known = _counts.known.get((tenant.id, day))
    if known is None:
        row = DailyUsage.objects.for_tenant(tenant).filter(day=day).first()
        known = row.requests if row else 0
        with _counts.lock:
            _counts.known[tenant.id, day] = known
    with _counts.lock:
        return known + _counts.unwritten[tenant.id, day]


@periodic(
    "tenants.flush_usage",
    every_s=lambda: FLUSH_S,
    thread="maintenance",
    in_process=lambda: True,
    in_beat=False,
    at_stop=True,
)
def flush() -> None:
    """Add this process's counts to the day's rows. After an error, the next flush retries."""
    with _counts.lock:
        taken = sorted(_counts.unwritten.items(), key=lambda item: item[0])
        _counts.unwritten.clear()
        for day, mine in taken:  # until the total is read again, it must include what is written here
            if day in _counts.known:
                _counts.known[day] += mine
    while taken:
        (tenant, of), mine = taken[-1]
        try:
            _write(tenant, of, mine)
        except DatabaseError:
            with _counts.lock:
                for day, left in taken:
                    _counts.unwritten[day] += left
                    _counts.known.pop(day, None)
            raise
        taken.pop()


def _write(tenant: UUID, day: date, requests: int) -> None:
    if requests:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO sfm_usage_daily (tenant_id, day, requests, llm_tokens) VALUES (%s, %s, %s, 0) "
                "ON CONFLICT (tenant_id, day) DO UPDATE SET requests = sfm_usage_daily.requests + excluded.requests",
                [_id(tenant), day, requests],
            )


def record_memories(day: date, sizes: Mapping[UUID, int]) -> None:
    """Record each tenant's number of memories, for `per_day`."""
    rows = [[_id(tenant), day, number] for tenant, number in sorted(sizes.items(), key=lambda item: item[0])]
    for start in range(0, len(rows), BATCH):
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO sfm_usage_daily (tenant_id, day, requests, llm_tokens, memories) "
                "VALUES (%s, %s, 0, 0, %s) "
                "ON CONFLICT (tenant_id, day) DO UPDATE SET memories = excluded.memories",
                rows[start : start + BATCH],
            )


def per_day(tenant: Tenant, days: int, today: date) -> list[tuple[date, int, int | None]]:
    """Return (day, requests, memories or None if not measured) for the most recent days, oldest first."""
    first = today - timedelta(days=days - 1)
    rows = DailyUsage.objects.for_tenant(tenant).filter(day__gte=first, day__lte=today)
    known = {row.day: row for row in rows}
    dates = [first + timedelta(days=number) for number in range(days)]
    return [(day, known[day].requests, known[day].memories) if day in known else (day, 0, None) for day in dates]


def forget(tenant: Tenant | None = None) -> None:
    """Drop this process's counts for a tenant, or for all tenants."""
    with _counts.lock:
        for counts in (_counts.unwritten, _counts.known):
            for key in [key for key in counts if tenant is None or key[0] == tenant.id]:
                del counts[key]


# --- Language models ---------------------------------------------------------------------------------------------


def read_llm_usage_with(read: LlmReader) -> None:
    """Register the function that reads language model usage from the ledger."""
    _llm_reader.append(read)


def llm(tenant: Tenant) -> LlmUsage:
    """Return a tenant's language model usage. Requests in progress count as the maximum that they may use."""
    return _llm_reader[-1](tenant)


def llm_limits(tenant: Tenant) -> dict[str, int | None]:
    """Return a tenant's language model quotas, which default to the installation's. None means no limit."""
    month, cents = tenant.quota_llm_tokens_per_month, tenant.quota_llm_cents_per_month
    return {
        "llm_tokens_per_day": tenant.quota_llm_tokens_per_day,
        "llm_tokens_per_month": (settings.LLM_MONTHLY_TOKENS or None) if month is None else month,
        "llm_cents_per_month": (settings.LLM_MONTHLY_CENTS or None) if cents is None else cents,
    }


def llm_used(tenant: Tenant) -> dict[str, int]:
    """Return the usage for each quota of `llm_limits`. Cents are rounded up."""
    used = llm(tenant)
    return {
        "llm_tokens_per_day": used.tokens_today,
        "llm_tokens_per_month": used.tokens_this_month,
        "llm_cents_per_month": -(-used.micro_usd_this_month // MICRO_USD_PER_CENT),
    }


def _until_midnight_s(now: datetime) -> float:
    tomorrow = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
    return (tomorrow - now).total_seconds()


def _id(tenant: UUID) -> UUID | str:
    return tenant if connection.features.has_native_uuid_field else tenant.hex
