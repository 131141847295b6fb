"""The state of the parts this process depends on, asked at most every ten seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import TTLCache, cached
from django.core.cache import cache
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

import somamemory
from memories import index
from memories.index import generations
from somamemory.errors import ConfigurationError, SomaError

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
        """Without the database nothing works; without the index, words still find memories."""
        if not self.checks["database"].healthy:
            return "unhealthy"
        return "healthy" if all(check.healthy for check in self.checks.values()) else "degraded"


_reports: TTLCache[object, Report] = TTLCache(maxsize=1, ttl=LIFETIME_S)


@cached(_reports, lock=threading.Lock())
def report() -> Report:
    checks = {
        "database": _timed(_database),
        "vector_index": _timed(lambda: index.of(generations.active()).ping()),
        "cache": _timed(lambda: cache.get("health")),
    }
    return Report(checks, somamemory.__version__, round(time.monotonic() - _STARTED, 1))


def ready() -> tuple[bool, str]:
    """Whether requests can be served, and if not, why."""
    try:
        _database()
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return False, "migrations are missing: run manage.py migrate"
    except DatabaseError:
        return False, "the database does not answer"
    return True, ""


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _timed(ask: Callable[[], object]) -> Check:
    started = time.perf_counter()
    try:
        ask()
        healthy = True
    except (DatabaseError, SomaError, ConfigurationError):
        healthy = False
    return Check(healthy, round((time.perf_counter() - started) * 1000, 2))


def forget_cached() -> None:
    _reports.clear()
