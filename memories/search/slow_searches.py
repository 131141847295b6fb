"""Keep this process's recent slow searches, with the duration of each step but without the query's text."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from memories.search.query import Search
from tenants.caller import Caller

SLOW_MS = 200.0
MAX_SEARCHES = 50

Step = tuple[str, float]  # the name of a step, and its duration in milliseconds


@dataclass(frozen=True)
class SlowSearch:
    """A slow search: its options, the numbers of words and candidates, and the duration of each step."""

    at: datetime
    tenant: str  # the tenant's slug
    request_id: str
    mode: str
    namespaces: Sequence[str]
    words: int  # the number of terms in the query
    is_filtered: bool
    top_k: int
    offset: int
    took_ms: float
    steps: Sequence[Step]
    matched: int
    candidates: int
    degraded: Sequence[str]


class Stopwatch:
    """Measures the durations of consecutive steps."""

    def __init__(self) -> None:
        self.began = self._last = time.perf_counter()
        self.steps: list[Step] = []

    def step(self, name: str) -> None:
        now = time.perf_counter()
        self.steps.append((name, round((now - self._last) * 1000, 1)))
        self._last = now

    @property
    def took_ms(self) -> float:
        return round((self._last - self.began) * 1000, 2)


_lock = threading.Lock()
_searches: deque[SlowSearch] = deque(maxlen=MAX_SEARCHES)


def record(
    caller: Caller,
    query: Search,
    watch: Stopwatch,
    *,
    words: int,
    matched: int,
    candidates: int,
    degraded: Sequence[str],
) -> None:
    """Record a search if it took at least SLOW_MS."""
    if watch.took_ms < SLOW_MS:
        return
    slow = SlowSearch(
        at=timezone.now(),
        tenant=caller.tenant.slug,
        request_id=caller.request_id,
        mode=query.mode,
        namespaces=query.namespaces[:5],
        words=words,
        is_filtered=not query.narrowing.is_empty,
        top_k=query.top_k,
        offset=query.offset,
        took_ms=watch.took_ms,
        steps=tuple(watch.steps),
        matched=matched,
        candidates=candidates,
        degraded=tuple(degraded),
    )
    with _lock:
        _searches.append(slow)


def recent(caller: Caller) -> list[SlowSearch]:
    """Return the slow searches of all tenants in this process, slowest first."""
    caller.require_operator("read")
    with _lock:
        return sorted(_searches, key=lambda search: -search.took_ms)


def forget() -> None:
    with _lock:
        _searches.clear()
