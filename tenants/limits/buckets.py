"""Token buckets: local to this process, or in Redis and shared by all processes.

A process takes 50 ms' worth of tokens from Redis at a time and spends them locally. In any period of t seconds, P
processes therefore admit at most `burst + rate * t + P * rate * 0.05` tokens for a key. For a tenant, the last term
counts once per active key. Limits below 40 tokens per second are exact.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cachetools import LRUCache
from django.utils.module_loading import import_string

from somamemory.caching import redis_breaker
from tenants.limits.gcra import Limit, Taken, debt, granted, tokens_in, wait_for

LEASE_S = 0.05
LEASE_SHARE = 0.1  # maximum fraction of a bucket that one lease may take
LEASE_LIFETIME_S = 1.0
# If there are more buckets, the least recently used one is dropped, which has the same effect as refilling it.
MAX_BUCKETS = 100_000


class BucketsUnavailable(Exception):
    """Raised if the shared buckets do not respond."""


class _RedisBuckets(Protocol):
    def take(self, names: Sequence[str], limits: Sequence[Limit], least: int, most: int) -> Taken: ...


@dataclass(frozen=True)
class Quota:
    """The remaining tokens of a limit, and the number of seconds until all of its tokens are available again."""

    limit: Limit
    remaining: int
    reset_s: float


@dataclass(frozen=True)
class Decision:
    """The decision on a request. If it is rejected, `retry_after_s` is the time until it would be allowed."""

    allowed: bool
    quotas: tuple[Quota, ...] = ()
    retry_after_s: float = 0.0


class LocalBuckets:
    """This process's buckets."""

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
    """Tokens that this process has taken from Redis and not spent yet."""

    tokens: int = 0
    until: float = 0.0
    debts: tuple[float, ...] = ()
    read_at: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class SharedBuckets:
    """Buckets in Redis, spent in small leases."""

    def __init__(self) -> None:
        self._redis: _RedisBuckets | None = None
        self._leases: LRUCache[tuple[str, ...], _Lease] = LRUCache(MAX_BUCKETS)
        self._lock = threading.Lock()
        self._breaker = redis_breaker()

    def take(self, names: tuple[str, ...], limits: Sequence[Limit], cost: int, now: float) -> Decision | None:
        """Return the decision on a request, or None while Redis is not responding."""
        lease = self._lease(names)
        with lease.lock:
            # Checked inside the lock, so that requests that waited for a failed call do not wait for another one.
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
                return decision_of(False, limits, taken.debts, cost, held=lease.tokens)
            lease.tokens += taken.tokens
            lease.until = now + LEASE_LIFETIME_S
        lease.tokens -= cost
        elapsed_s = max(0.0, now - lease.read_at)
        return decision_of(True, limits, [debt_s - elapsed_s for debt_s in lease.debts], held=lease.tokens)

    def _buckets(self) -> _RedisBuckets:
        if self._redis is None:  # the client takes up 20 MB, so import it only if Redis is configured
            self._redis = import_string("tenants.limits.redis_buckets.RedisBuckets")()
        return self._redis


def _lease_of(limits: Sequence[Limit]) -> int:
    return int(min(min(limit.rate * LEASE_S, limit.burst * LEASE_SHARE) for limit in limits))


def decision_of(
    allowed: bool, limits: Sequence[Limit], debts: Sequence[float], cost: int = 0, held: int = 0
) -> Decision:
    quotas, wait_s = [], 0.0
    for limit, debt_s in zip(limits, debts, strict=True):
        debt_s = max(0.0, debt_s - held / limit.rate)
        quotas.append(Quota(limit, max(0, tokens_in(debt_s, limit)), debt_s))
        wait_s = max(wait_s, wait_for(cost, debt_s, limit))
    return Decision(allowed, tuple(quotas), 0.0 if allowed else wait_s)
