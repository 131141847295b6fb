"""Limits for callers: tokens per key and tenant, concurrent requests, and rejected keys and sign-ins per address.

Processes share their buckets in Redis. Without Redis, or while it is not responding, each process enforces its share of
the limits.
"""

from __future__ import annotations

import hashlib
import ipaddress
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from django.conf import settings

from tenants.limits.buckets import Decision, LocalBuckets, Quota, SharedBuckets, decision_of
from tenants.limits.gcra import Limit

__all__ = [
    "Decision", "Limit", "Quota", "forget", "refuse", "registration", "running", "sign_in", "sign_in_delay_s", "take",
]  # fmt: skip

_PAIR_SLOWER = 10
MAX_SIGN_IN_DELAY_S = 2.0
REGISTRATIONS_PER_MINUTE = 10


class Running:
    """Counts the requests that this process is serving for each tenant."""

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
    """Take `cost` tokens from the buckets of a key and of its tenant: from both, or from neither.

    A request that costs more than a bucket can hold takes a full bucket, so that it is not rejected forever.
    """
    limits = _limits()
    if not limits or not cost:
        return Decision(True)
    names = _names(tenant_id, key_id, limits)
    cost = min(cost, *(limit.burst for limit in limits))
    if settings.REDIS_URL and (decision := _shared.take(names, limits, cost, time.monotonic())):
        return decision
    limits = _parts_of(limits)
    cost = min(cost, *(limit.burst for limit in limits))
    taken = _local.take(names, limits, cost, cost, time.monotonic())
    return decision_of(taken.tokens == cost, limits, taken.debts, cost)


def refuse(address: str) -> Decision:
    """Count a rejected key from this address."""
    if not settings.AUTH_FAILURE_RATE:
        return Decision(True)
    limit = Limit("address", settings.AUTH_FAILURE_RATE, settings.AUTH_FAILURE_BURST)
    taken = _refused.take([_network(address)], [limit], 1, 1, time.monotonic())
    return decision_of(taken.tokens == 1, [limit], taken.debts, 1)


def sign_in(address: str, name: str) -> Decision:
    """Count a sign-in attempt.

    Each address has a limit, and each name at an address has a limit that refills more slowly. A name alone is
    never limited, because anyone could then lock out its owner from another address.
    """
    per_minute = settings.SIGN_IN_PER_MINUTE
    if not per_minute:
        return Decision(True)
    limits = [
        Limit("address", per_minute / 60, per_minute),
        Limit("name at an address", per_minute / 60 / _PAIR_SLOWER, per_minute),
    ]
    network = _network(address)
    return _take_attempt((f"sign-in:address:{network}", f"sign-in:pair:{network}:{_digest(name)}"), limits)


def sign_in_delay_s(name: str) -> float:
    """Count a sign-in attempt with this name from any address. Return the number of seconds to delay it."""
    per_minute = settings.SIGN_IN_PER_MINUTE
    if not per_minute:
        return 0.0
    decision = _take_attempt((f"sign-in:name:{_digest(name)}",), [Limit("name", per_minute / 60, per_minute)])
    return 0.0 if decision.allowed else min(MAX_SIGN_IN_DELAY_S, decision.retry_after_s)


def registration(address: str) -> Decision:
    """Count an OAuth client registration from this address."""
    limit = Limit("address", REGISTRATIONS_PER_MINUTE / 60, REGISTRATIONS_PER_MINUTE)
    return _take_attempt((f"registration:address:{_network(address)}",), [limit])


def _take_attempt(names: tuple[str, ...], limits: Sequence[Limit]) -> Decision:
    if settings.REDIS_URL and (decision := _shared.take(names, limits, 1, time.monotonic())):
        return decision
    limits = _parts_of(limits)
    taken = _refused.take(names, limits, 1, 1, time.monotonic())
    return decision_of(taken.tokens == 1, limits, taken.debts, 1)


def _digest(name: str) -> str:
    return hashlib.sha256(name.strip().casefold().encode("utf-8", "replace")).hexdigest()


def forget() -> None:
    """Refill all of this process's buckets."""
    global _local, _refused, _shared
    _local, _refused, _shared = LocalBuckets(), LocalBuckets(), SharedBuckets()


def _limits() -> tuple[Limit, ...]:
    """Return the configured limits for each key and each tenant."""
    return _limits_of(settings.KEY_RATE, settings.KEY_BURST, settings.TENANT_RATE, settings.TENANT_BURST)


@lru_cache(16)
def _limits_of(key_rate: int, key_burst: int, tenant_rate: int, tenant_burst: int) -> tuple[Limit, ...]:
    limits = (Limit("key", key_rate, key_burst), Limit("tenant", tenant_rate, tenant_burst))
    return tuple(limit for limit in limits if limit.rate)


@lru_cache(10_000)
def _names(tenant_id: uuid.UUID, key_id: uuid.UUID, limits: tuple[Limit, ...]) -> tuple[str, ...]:
    """Return the name of the bucket for each limit."""
    owners = {"key": key_id, "tenant": tenant_id}
    return tuple(f"{limit.name}:{owners[limit.name]}" for limit in limits)


def _parts_of(limits: Sequence[Limit]) -> tuple[Limit, ...]:
    """Return one web process's share of these limits, for limits that each process counts separately."""
    return _shares(tuple(limits), settings.WORKERS)


@lru_cache(16)
def _shares(limits: tuple[Limit, ...], processes: int) -> tuple[Limit, ...]:
    return tuple(Limit(limit.name, limit.rate / processes, max(1, limit.burst // processes)) for limit in limits)


def _network(address: str) -> str:
    """Return the part of an address that identifies a client: the whole IPv4 address, or the /64 network in IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))
