"""The last hour, minute by minute: how many requests, how they ended, how long they took. For people who look now.

Each process counts in its memory. With a Redis they show each other what they have every few seconds; without one,
each knows its own. Nothing here is kept for good: that is what metrics are scraped for.
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
# Upper bounds in milliseconds; beyond the last, anything.
BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
_SHARED = "soma:traffic:1"


@dataclass
class Minute:
    """`at` is in minutes since 1970; `taking` counts by duration, see BOUNDS_MS."""

    at: int
    good: int = 0
    refused: int = 0  # 4xx
    broken: int = 0  # 5xx
    taking: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))

    @property
    def total(self) -> int:
        return self.good + self.refused + self.broken

    def add(self, other: Minute) -> None:
        self.good += other.good
        self.refused += other.refused
        self.broken += other.broken
        self.taking = [one + two for one, two in zip(self.taking, other.taking, strict=True)]


def percentile(taking: Sequence[int], share: float) -> float | None:
    """The duration in ms that this share of requests stays below, interpolated within its bounds; None without any."""
    wanted = sum(taking) * share
    if not wanted:
        return None
    low = 0.0
    for count, high in zip(taking, (*BOUNDS_MS, BOUNDS_MS[-1]), strict=True):
        if count and wanted <= count:
            return low + (high - low) * wanted / count
        wanted -= count
        low = float(high)
    return low


class Traffic:
    """What this process has answered."""

    def __init__(self) -> None:
        self._minutes: dict[int, Minute] = {}
        self._lock = threading.Lock()
        self._publish_at = 0.0
        self._name = ""

    def note(self, status: int, duration_ms: float) -> None:
        at = int(time.time() // 60)
        with self._lock:
            minute = self._minutes.get(at)
            if minute is None:
                minute = self._minutes[at] = Minute(at)
                for old in [each for each in self._minutes if each <= at - MINUTES]:
                    del self._minutes[old]
            if status < 400:
                minute.good += 1
            elif status < 500:
                minute.refused += 1
            else:
                minute.broken += 1
            minute.taking[bisect.bisect_left(BOUNDS_MS, duration_ms)] += 1
        if caching.shared() and time.monotonic() >= self._publish_at:
            self.publish()

    def publish(self) -> None:
        """Show the other processes what this one has."""
        self._publish_at = time.monotonic() + PUBLISH_S
        name = self._named()
        with self._lock:
            told = orjson.dumps(
                [[each.at, each.good, each.refused, each.broken, each.taking] for each in self._minutes.values()]
            )
        caching.with_redis(lambda redis: redis.hset(_SHARED, name, told.decode()))

    def recent(self) -> list[Minute]:
        """The last MINUTES minutes of all processes, the oldest first; those without a request are empty."""
        now = int(time.time() // 60)
        minutes = {at: Minute(at) for at in range(now - MINUTES + 1, now + 1)}
        with self._lock:
            mine = list(self._minutes.values())
        for each in [*mine, *(self._others(now) if caching.shared() else [])]:
            if each.at in minutes:
                minutes[each.at].add(each)
        return list(minutes.values())

    def _others(self, now: int) -> Iterable[Minute]:
        name = self._named()
        told: dict[Any, Any] = caching.with_redis(lambda redis: redis.hgetall(_SHARED)) or {}
        gone = []
        for key, value in told.items():
            minutes = [Minute(*each) for each in orjson.loads(value)]
            if not any(each.at > now - MINUTES for each in minutes):
                gone.append(key)
            elif key.decode() != name:
                yield from minutes
        if gone:
            caching.with_redis(lambda redis: redis.hdel(_SHARED, *gone))

    def _named(self) -> str:
        """Anew after a fork: what was copied from the parent is the parent's."""
        if not self._name.startswith(f"{os.getpid()}:"):
            self._name = f"{os.getpid()}:{uuid.uuid4().hex}"
        return self._name

    def forget(self) -> None:
        with self._lock:
            self._minutes.clear()


seen = Traffic()
