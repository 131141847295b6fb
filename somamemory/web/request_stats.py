"""Request counts, results and durations per minute for the last hour, for the dashboard.

Each process counts in memory. With Redis, the processes publish their counts every few seconds; without it, the
dashboard shows only the counts of one process. Counts are discarded after an hour: metrics cover longer periods.
"""

from __future__ import annotations

import bisect
import os
import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from somamemory import caching

MINUTES = 60
PUBLISH_S = 5.0
# Upper bounds of the histogram in milliseconds. The last bucket is open.
BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
_LIFETIME_S = 2 * 3600


@dataclass
class Minute:
    """Counts for one minute. `at` is in minutes since 1970; `histogram` counts requests by duration: see BOUNDS_MS."""

    at: int
    ok: int = 0
    client_errors: int = 0  # 4xx
    server_errors: int = 0  # 5xx
    histogram: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))

    @property
    def total(self) -> int:
        return self.ok + self.client_errors + self.server_errors

    def record(self, status: int, duration_ms: float) -> None:
        if status < 400:
            self.ok += 1
        elif status < 500:
            self.client_errors += 1
        else:
            self.server_errors += 1
        self.histogram[bisect.bisect_left(BOUNDS_MS, duration_ms)] += 1

    def add(self, other: Minute) -> None:
        self.ok += other.ok
        self.client_errors += other.client_errors
        self.server_errors += other.server_errors
        self.histogram = [mine + theirs for mine, theirs in zip(self.histogram, other.histogram, strict=True)]


def percentile(histogram: Sequence[int], share: float) -> float | None:
    """Return the duration in ms that the fraction `share` of requests does not exceed, interpolated within its bucket.

    Returns None if there were no requests.
    """
    remaining = sum(histogram) * share
    if not remaining:
        return None
    low = 0.0
    for count, high in zip(histogram, (*BOUNDS_MS, BOUNDS_MS[-1]), strict=True):
        if count and remaining <= count:
            return low + (high - low) * remaining / count
        remaining -= count
        low = float(high)
    return low


class RequestStats:
    """The requests that this process has served."""

    def __init__(self) -> None:
        self._minutes: dict[int, Minute] = {}
        self._lock = threading.Lock()
        self._publish_at = 0.0
        self._name = ""

    def record(self, status: int, duration_ms: float) -> None:
        at = int(time.time() // 60)
        with self._lock:
            if at not in self._minutes:
                self._start_minute(at)
            self._minutes[at].record(status, duration_ms)
        if caching.shared() and time.monotonic() >= self._publish_at:
            self.publish()

    def publish(self) -> None:
        """Publish this process's counts to the other processes."""
        self._publish_at = time.monotonic() + PUBLISH_S
        name = self._process_name()
        with self._lock:
            rows = [
                [minute.at, minute.ok, minute.client_errors, minute.server_errors, minute.histogram]
                for minute in self._minutes.values()
            ]
        key, content = _redis_key(int(time.time() // 60)), orjson.dumps(rows).decode()

        def write(redis: Any) -> None:
            pipeline = redis.pipeline(transaction=False)
            pipeline.hset(key, name, content)
            pipeline.expire(key, _LIFETIME_S)
            pipeline.execute()

        caching.with_redis(write)

    def recent(self) -> list[Minute]:
        """Return the counts of all processes for each of the last MINUTES minutes, oldest first."""
        now = int(time.time() // 60)
        minutes = {at: Minute(at) for at in range(now - MINUTES + 1, now + 1)}
        with self._lock:
            own = list(self._minutes.values())
        for minute in [*own, *(self._others(now) if caching.shared() else [])]:
            if minute.at in minutes:
                minutes[minute.at].add(minute)
        return list(minutes.values())

    def clear(self) -> None:
        with self._lock:
            self._minutes.clear()

    def _start_minute(self, at: int) -> None:
        for expired in [minute for minute in self._minutes if minute <= at - MINUTES]:
            del self._minutes[expired]
        self._minutes[at] = Minute(at)

    def _others(self, now: int) -> Iterable[Minute]:
        """Return the counts that other processes have published during this hour and the previous one."""

        def read(redis: Any) -> list[dict[bytes, bytes]]:
            pipeline = redis.pipeline(transaction=False)
            for at in (now - MINUTES, now):
                pipeline.hgetall(_redis_key(at))
            return list(pipeline.execute())

        previous, current = caching.with_redis(read) or ({}, {})
        own_name = self._process_name().encode()
        for name, content in {**previous, **current}.items():  # the later counts include the earlier ones
            if name != own_name:
                yield from (Minute(*row) for row in orjson.loads(content))

    def _process_name(self) -> str:
        """Return a name for this process. A fork gets its own name, because its counts are copies of its parent's."""
        if not self._name.startswith(f"{os.getpid()}:"):
            self._name = f"{os.getpid()}:{uuid.uuid4().hex}"
        return self._name


def _redis_key(at: int) -> str:
    """Return the key for counts that are published in this minute.

    There is one key per hour, so that the counts of processes that no longer exist expire.
    """
    return f"soma:traffic:2:{at // MINUTES}"


stats = RequestStats()
