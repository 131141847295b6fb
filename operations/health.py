"""The health of the service's dependencies. One process checks them on behalf of all others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import TTLCache, cached
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

import somamemory
from memories import index
from memories.index import generations
from somamemory import caching, deadline
from somamemory.db import migration_stages
from somamemory.errors import ConfigurationError, DeadlineExceeded, SomaError
from somamemory.installation import COMMAND
from somamemory.web import readiness
from somamemory.web.readiness import Readiness
from tenants import row_level_security

LIFETIME_S = 10
_STARTED = time.monotonic()


@dataclass(frozen=True)
class Check:
    healthy: bool
    latency_ms: float


@dataclass(frozen=True)
class Report:
    checks: dict[str, Check]
    version: str
    uptime_s: float

    @property
    def status(self) -> str:
        """Return the overall status.

        Without the database, nothing works; without the index, keyword search still works.
        """
        if not self.checks["database"].healthy:
            return "unhealthy"
        return "healthy" if all(check.healthy for check in self.checks.values()) else "degraded"


def report() -> Report:
    return Report(_checks(), somamemory.__version__, round(time.monotonic() - _STARTED, 1))


_known: TTLCache[object, dict[str, Check]] = TTLCache(maxsize=1, ttl=LIFETIME_S / 2)


@cached(_known, lock=threading.Lock())
def _checks() -> dict[str, Check]:
    """Return the results of the checks, which are at most LIFETIME_S seconds old.

    They stay in the shared cache for half of this time, and then in a process's memory for at most the other half.
    """
    shared = caching.get(None, "health", somamemory.__version__)
    if shared is not None:
        return {name: Check(*found) for name, found in shared.items()}
    checks = {
        "database": _timed(_database),
        "vector_index": _timed(lambda: index.of(generations.active()).ping()),
        "cache": _timed(_cache),
    }
    found = {name: (check.healthy, check.latency_ms) for name, check in checks.items()}
    caching.set(None, "health", somamemory.__version__, value=found, lifetime_s=LIFETIME_S / 2)
    return checks


def ready() -> Readiness:
    """Return whether requests can be served. The result is at most three seconds old."""
    return readiness.last() or _check_readiness()


def refresh_readiness() -> None:
    """Check whether requests can be served, and record the result for this process's readiness probes."""
    try:
        with deadline.within(settings.REQUEST_DEADLINE_S):
            readiness.record(_check_readiness())
    finally:
        close_old_connections()  # after an error, the next check needs a new connection


def _check_readiness() -> Readiness:
    try:
        _database()
        if migration_stages.missing():
            return Readiness(False, f"migrations are missing; run {COMMAND} bootstrap")
        if settings.ROW_LEVEL_SECURITY and not row_level_security.is_installed():
            return Readiness(False, f"row-level security is incomplete; run {COMMAND} bootstrap")
    except (DatabaseError, DeadlineExceeded):
        return Readiness(False, "the database is not responding")
    return Readiness(True)


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _cache() -> None:
    if not caching.healthy():
        raise ConnectionError("the cache is not responding")


def _timed(ask: Callable[[], object]) -> Check:
    started = time.perf_counter()
    try:
        ask()
        healthy = True
    except (DatabaseError, SomaError, ConfigurationError, ConnectionError):
        healthy = False
    return Check(healthy, round((time.perf_counter() - started) * 1000, 2))


def forget_cached() -> None:
    _known.clear()
