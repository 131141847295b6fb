"""How much a caller may use: token buckets per key and per tenant, requests at once, and refused keys per address.

A bucket is kept as one number, the moment at which it will be full again (the generic cell rate algorithm of ITU-T
I.371): tokens flow in with `rate`, at most `burst` of them stay, and taking n tokens moves that moment n / rate away.

The processes share their buckets in Redis. Without one, or while it does not answer, each has its part of them. A
process takes what a limit gives in 50 ms from Redis at once and spends it by itself: over any time t, P processes pass
at most `burst + rate * t + P * rate * 0.05` tokens of a key (of a tenant: so much for each of its active keys), and a
limit below 40 tokens a second is exact.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cachetools import LRUCache
from django.conf import settings

from somamemory.caching import redis_breaker

if TYPE_CHECKING:
    from tenants.limits.redis_buckets import RedisBuckets

LEASE_S = 0.05
LEASE_SHARE = 0.1  # of a bucket, at most
LEASE_LIFETIME_S = 1.0
# Beyond it the bucket that nobody has used for longest is forgotten, and so full again.
MAX_BUCKETS = 100_000
_ROUNDING = 1e-6


class BucketsUnavailable(Exception):
    """The shared buckets do not answer; those of this process do."""


@dataclass(frozen=True)
class Limit:
    """`rate` tokens a second, above 0; at most `burst` at once."""

    name: str
    rate: float
    burst: int


@dataclass(frozen=True)
class Quota:
    """What is left of a limit, in tokens, and the seconds until all of it is there again."""

    limit: Limit
    remaining: int
    reset_s: float


@dataclass(frozen=True)
class Decision:
    """Whether a request may go on; if not, the seconds after which it may."""

    allowed: bool
    quotas: tuple[Quota, ...] = ()
    retry_after_s: float = 0.0


@dataclass(frozen=True)
class Taken:
    """How many tokens each bucket has given, and each one's debt: the seconds until it is full."""

    tokens: int
    debts: tuple[float, ...]


def debt(full_at: float, now: float, limit: Limit) -> float:
    """Seconds until a bucket is full. Never more than an empty one needs: a clock set back must lock nobody out."""
    return min(max(0.0, full_at - now), limit.burst / limit.rate)


def tokens_in(debt_s: float, limit: Limit) -> int:
    """How many whole tokens a bucket with this debt holds."""
    return math.floor(limit.burst - debt_s * limit.rate + _ROUNDING)


def wait_for(tokens: int, debt_s: float, limit: Limit) -> float:
    """Seconds until a bucket with this debt holds so many tokens."""
    return max(0.0, debt_s - (limit.burst - tokens) / limit.rate)


def granted(debts: Sequence[float], limits: Sequence[Limit], least: int, most: int) -> int:
    """How many tokens all of the buckets can give, from `least` to `most`; 0 if one of them lacks the least."""
    free = min(tokens_in(owed, limit) for owed, limit in zip(debts, limits, strict=True))
    return min(free, most) if free >= least else 0


class LocalBuckets:
    """The buckets of this process."""

    def __init__(self) -> None:
        self._full_at: LRUCache[str, float] = LRUCache(MAX_BUCKETS)
        self._lock = threading.Lock()

    def take(self, names: Sequence[str], limits: Sequence[Limit], least: int, most: int, now: float) -> Taken:
        with self._lock:
            debts = [debt(self._full_at.get(name, now), now, limit) for name, limit in zip(names, limits, strict=True)]
            tokens = granted(debts, limits, least, most)
            if tokens:
                for at, limit in enumerate(limits):
                    debts[at] += tokens / limit.rate
                    self._full_at[names[at]] = now + debts[at]
        return Taken(tokens, tuple(debts))


@dataclass
class _Lease:
    """Tokens that this process has taken from Redis and not yet spent."""

    tokens: int = 0
    until: float = 0.0
    debts: tuple[float, ...] = ()
    read_at: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class SharedBuckets:
    """The buckets in Redis, spent in small leases."""

    def __init__(self) -> None:
        self._redis: RedisBuckets | None = None
        self._leases: LRUCache[tuple[str, ...], _Lease] = LRUCache(MAX_BUCKETS)
        self._lock = threading.Lock()
        self._breaker = redis_breaker()

    def take(self, names: tuple[str, ...], limits: Sequence[Limit], cost: int, now: float) -> Decision | None:
        """The decision; None when Redis does not answer."""
        lease = self._lease(names)
        with lease.lock:
            # Asked and told in here: those who have waited for one that failed need not fail as well.
            if not self._breaker.allows():
                return None
            try:
                decision = self._spend(lease, names, limits, cost, now)
            except BucketsUnavailable as error:
                self._breaker.failed(str(error))
                return None
        self._breaker.succeeded()
        return decision

    def _lease(self, names: tuple[str, ...]) -> _Lease:
        with self._lock:
            lease = self._leases.get(names)
            if lease is None:
                lease = self._leases[names] = _Lease()
        return lease

    def _spend(self, lease: _Lease, names: tuple[str, ...], limits: Sequence[Limit], cost: int, now: float) -> Decision:
        if now >= lease.until:
            lease.tokens = 0
        lacking = cost - lease.tokens
        if lacking > 0:
            taken = self._buckets().take(names, limits, lacking, max(lacking, _lease_of(limits)))
            lease.debts, lease.read_at = taken.debts, now
            if not taken.tokens:
                return _decision(False, limits, taken.debts, cost, held=lease.tokens)
            lease.tokens += taken.tokens
            lease.until = now + LEASE_LIFETIME_S
        lease.tokens -= cost
        elapsed_s = max(0.0, now - lease.read_at)
        return _decision(True, limits, [owed - elapsed_s for owed in lease.debts], held=lease.tokens)

    def _buckets(self) -> RedisBuckets:
        if self._redis is None:
            from tenants.limits.redis_buckets import RedisBuckets

            self._redis = RedisBuckets()
        return self._redis


def _lease_of(limits: Sequence[Limit]) -> int:
    return int(min(min(limit.rate * LEASE_S, limit.burst * LEASE_SHARE) for limit in limits))


def _decision(allowed: bool, limits: Sequence[Limit], debts: Sequence[float], cost: int = 0, held: int = 0) -> Decision:
    quotas, wait_s = [], 0.0
    for limit, owed in zip(limits, debts, strict=True):
        owed = max(0.0, owed - held / limit.rate)
        quotas.append(Quota(limit, max(0, tokens_in(owed, limit)), owed))
        wait_s = max(wait_s, wait_for(cost, owed, limit))
    return Decision(allowed, tuple(quotas), 0.0 if allowed else wait_s)


class Running:
    """How many requests of each tenant this process is serving."""

    def __init__(self) -> None:
        self._count: Counter[uuid.UUID] = Counter()
        self._lock = threading.Lock()

    def enter(self, tenant_id: uuid.UUID, most: int) -> bool:
        with self._lock:
            if self._count[tenant_id] >= most:
                return False
            self._count[tenant_id] += 1
        return True

    def leave(self, tenant_id: uuid.UUID) -> None:
        with self._lock:
            self._count[tenant_id] -= 1
            if self._count[tenant_id] <= 0:
                del self._count[tenant_id]


running = Running()
_local = LocalBuckets()
_refused = LocalBuckets()
_shared = SharedBuckets()


def take(tenant_id: uuid.UUID, key_id: uuid.UUID, cost: int) -> Decision:
    """Take `cost` tokens from the buckets of a key and its tenant: from both, or from none.

    A request that costs more than a bucket holds takes a full one: it must be possible at some time.
    """
    limits, names = _limits(tenant_id, key_id)
    if not limits or not cost:
        return Decision(True)
    cost = min(cost, *(limit.burst for limit in limits))
    if settings.REDIS_URL and (decision := _shared.take(names, limits, cost, time.monotonic())):
        return decision
    limits = [_part_of(limit) for limit in limits]
    cost = min(cost, *(limit.burst for limit in limits))
    taken = _local.take(names, limits, cost, cost, time.monotonic())
    return _decision(taken.tokens == cost, limits, taken.debts, cost)


def refuse(address: str) -> Decision:
    """Note that a key from this address was refused."""
    if not settings.AUTH_FAILURE_RATE:
        return Decision(True)
    limit = Limit("address", settings.AUTH_FAILURE_RATE, settings.AUTH_FAILURE_BURST)
    taken = _refused.take([_network(address)], [limit], 1, 1, time.monotonic())
    return _decision(taken.tokens == 1, [limit], taken.debts, 1)


def sign_in(address: str, name: str) -> Decision:
    """Note that somebody at this address tries to sign in under this name; each has a limit of its own."""
    if not settings.SIGN_IN_PER_MINUTE:
        return Decision(True)
    per_minute = settings.SIGN_IN_PER_MINUTE
    limits = [Limit(what, per_minute / 60, per_minute) for what in ("address", "name")]
    digest = hashlib.sha256(name.strip().casefold().encode("utf-8", "replace")).hexdigest()
    names = (f"sign-in:address:{_network(address)}", f"sign-in:name:{digest}")
    if settings.REDIS_URL and (decision := _shared.take(names, limits, 1, time.monotonic())):
        return decision
    limits = [_part_of(limit) for limit in limits]
    taken = _refused.take(names, limits, 1, 1, time.monotonic())
    return _decision(taken.tokens == 1, limits, taken.debts, 1)


def forget() -> None:
    """Fill all buckets of this process."""
    global _local, _refused, _shared
    _local, _refused, _shared = LocalBuckets(), LocalBuckets(), SharedBuckets()


def _limits(tenant_id: uuid.UUID, key_id: uuid.UUID) -> tuple[list[Limit], tuple[str, ...]]:
    limits, names = [], []
    for name, owner, rate, burst in (
        ("key", key_id, settings.KEY_RATE, settings.KEY_BURST),
        ("tenant", tenant_id, settings.TENANT_RATE, settings.TENANT_BURST),
    ):
        if rate:
            limits.append(Limit(name, rate, burst))
            names.append(f"{name}:{owner}")
    return limits, tuple(names)


def _part_of(limit: Limit) -> Limit:
    """What one of the web processes may give away when each counts for itself."""
    return Limit(limit.name, limit.rate / settings.WORKERS, max(1, limit.burst // settings.WORKERS))


def _network(address: str) -> str:
    """Who is behind an address: one in IPv4; in IPv6 whoever has the /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))
