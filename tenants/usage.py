"""What a tenant uses, and its quotas.

*Memories and bytes* of a tenant with a quota are summed over stripes. Each writer adds to a stripe of its own, in the
transaction of its change, so that no two wait for each other; a change that would exceed the quota is taken back. The
sum does not show what others have not committed yet: with W writers at once at most W - 1 changes too many pass. On
SQLite, with one writer at a time, none does.

*Requests* are counted in each process and added to the day's row every few seconds. A process knows its own at once and
those of the others after `FLUSH_S + LOOK_AGAIN_S` seconds at most: so long they can exceed the quota.

*Language models*: whoever asks them keeps the ledger, tells from it what a tenant has used (`llm_told_by`), and
enforces `llm_limits`.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
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
COUNTED = 0  # the stripe of the job that counts
RECOUNT = timedelta(hours=1)
FLUSH_S = 5.0
LOOK_AGAIN_S = 5.0
MICRO_USD_PER_CENT = 10_000


Day = tuple[UUID, date]  # of a tenant


@dataclass
class _Counts:
    """Requests of tenants' days: what this process has counted and not yet written, and what is known of all."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    unwritten: defaultdict[Day, int] = field(default_factory=lambda: defaultdict(int))
    known: TTLCache[Day, int] = field(default_factory=lambda: TTLCache(10_000, LOOK_AGAIN_S))


@dataclass(frozen=True)
class LlmUsage:
    """What language models have taken for a tenant: tokens in and out, and millionths of a dollar (both UTC)."""

    tokens_today: int = 0
    tokens_this_month: int = 0
    micro_usd_this_month: int = 0


# (memories, bytes) that are there, and what the stripes say, both of one moment.
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


def add(tenant: Tenant, memories: int, bytes: int) -> None:
    """Note, in the transaction of a change, by how much it changes what is kept. Raises QuotaExceeded."""
    if not is_limited(tenant) or not (memories or bytes):
        return
    if memories > 0 or bytes > 0:
        kept = stored(tenant)
        for name, more, before, quota in (
            ("memories", memories, kept[0], tenant.quota_memories),
            ("bytes", bytes, kept[1], tenant.quota_bytes),
        ):
            if quota is not None and more > 0 and before + more > quota:
                raise QuotaExceeded(f"this tenant may keep {quota:,} {name} and has {max(0, before):,}")
    _add_to(tenant, _stripe(), memories, bytes)


def stored(tenant: Tenant) -> tuple[int, int]:
    """(memories, bytes) by the stripes of a tenant with a quota; of others, as when they were last counted."""
    sums = UsageStripe.objects.for_tenant(tenant).aggregate(memories=Sum("memories"), bytes=Sum("bytes"))
    return sums["memories"] or 0, sums["bytes"] or 0


def count_with(count: Counter) -> None:
    """`count` counts what is kept of a tenant: see `Counter`."""
    _counter.append(count)


def counted(tenant: Tenant) -> tuple[int, int]:
    """(memories, bytes) of a tenant, counted now: for operators, as it reads everything."""
    memories, bytes, _, _ = _counter[-1](tenant)
    return memories, bytes


def recount(tenant: Tenant, *, again_soon: bool = False) -> None:
    """Put right what the stripes say; again_soon: some processes may not know of the quota yet, and not have noted."""
    at = timezone.now() - (RECOUNT - timedelta(minutes=1) if again_soon else timedelta())
    with transaction.atomic():
        _add_to(tenant, COUNTED, 0, 0)  # its lock: two who count at the same time must not both correct
        memories, bytes, noted_memories, noted_bytes = _counter[-1](tenant)
        _add_to(tenant, COUNTED, memories - noted_memories, bytes - noted_bytes)
        UsageStripe.objects.for_tenant(tenant).filter(stripe=COUNTED).update(counted_at=at)


def recount_old() -> None:
    """Count anew, for each tenant with a quota, what was counted long ago."""
    for tenant in Tenant.objects.filter(Q(quota_memories__isnull=False) | Q(quota_bytes__isnull=False)).iterator():
        last = UsageStripe.objects.for_tenant(tenant).filter(stripe=COUNTED).first()
        if last is None or last.counted_at is None or last.counted_at < timezone.now() - RECOUNT:
            recount(tenant)


def _add_to(tenant: Tenant, stripe: int, memories: int, bytes: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO sfm_usage_stripes (tenant_id, stripe, memories, bytes) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT (tenant_id, stripe) DO UPDATE SET memories = sfm_usage_stripes.memories + excluded.memories, "
            "bytes = sfm_usage_stripes.bytes + excluded.bytes",
            [_id(tenant.id), stripe, memories, bytes],
        )


def _begin_elsewhere() -> None:
    """Processes that were forked from one would all begin at its number, and wait for each other."""
    global _numbers
    _numbers = itertools.count(random.randrange(STRIPES))
    _own.__dict__.clear()


os.register_at_fork(after_in_child=_begin_elsewhere)


def _stripe() -> int:
    """One for each thread, as far as there are; another process begins at another one."""
    if not hasattr(_own, "stripe"):
        _own.stripe = 1 + next(_numbers) % STRIPES
    stripe: int = _own.stripe
    return stripe


# --- Requests ----------------------------------------------------------------------------------------------------


def count_request(tenant: Tenant) -> None:
    """One more request of today. Raises RequestQuotaExceeded, and then it does not count."""
    now = timezone.now()
    with _counts.lock:
        _counts.unwritten[tenant.id, now.date()] += 1
    quota = tenant.quota_requests_per_day
    if quota is not None and requests_today(tenant, now) > quota:
        with _counts.lock:
            _counts.unwritten[tenant.id, now.date()] -= 1
        raise RequestQuotaExceeded(f"this tenant may send {quota:,} requests a day", _until_midnight_s(now))


def requests_today(tenant: Tenant, now: datetime | None = None) -> int:
    """What is known here of the tenant's day."""
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
    """Add what this process has counted to the day's rows. What cannot be written is kept for the next time."""
    with _counts.lock:
        taken = sorted(_counts.unwritten.items(), key=lambda item: item[0])
        _counts.unwritten.clear()
        for day, mine in taken:  # until it is read again, what is known includes what is written here
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


def forget(tenant: Tenant | None = None) -> None:
    """Drop what this process has counted of a tenant, or of all."""
    with _counts.lock:
        for kept in (_counts.unwritten, _counts.known):
            for key in [key for key in kept if tenant is None or key[0] == tenant.id]:
                del kept[key]


# --- Language models ---------------------------------------------------------------------------------------------


def llm_told_by(read: LlmReader) -> None:
    """`read` tells what a tenant has used: whoever keeps the ledger."""
    _llm_reader.append(read)


def llm(tenant: Tenant) -> LlmUsage:
    """What language models have taken for a tenant so far, those under way with the most that they may take."""
    return _llm_reader[-1](tenant)


def llm_limits(tenant: Tenant) -> dict[str, int | None]:
    """The tenant's quotas for language models; where it has none of its own, the installation's. None: no limit."""
    month, cents = tenant.quota_llm_tokens_per_month, tenant.quota_llm_cents_per_month
    return {
        "llm_tokens_per_day": tenant.quota_llm_tokens_per_day,
        "llm_tokens_per_month": (settings.LLM_MONTHLY_TOKENS or None) if month is None else month,
        "llm_cents_per_month": (settings.LLM_MONTHLY_CENTS or None) if cents is None else cents,
    }


def llm_used(tenant: Tenant) -> dict[str, int]:
    """The same, as used so far; cents are rounded up."""
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
