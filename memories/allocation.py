"""Allocate coordinates to memories that are stored without one.

An allocated coordinate is `[day, microsecond of the day, writer]` in UTC, such as `20261128,55012345678,731358`.
Allocated coordinates sort by time, and the day is a prefix. Each process is a writer with a random number, and no
process allocates a microsecond twice, so writers need no coordination. If a coordinate is already taken, the unique
index rejects it, and `retrying` runs the transaction again with a new one. Existing memories are never replaced.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from datetime import UTC, datetime, timedelta

from memories import coordinates
from memories.coordinates import Coordinate

WRITERS = 1_000_000
_DAY_US = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Allocator:
    """Allocates increasing coordinates, even if the clock is set back. It is thread-safe."""

    def __init__(self, writer: int) -> None:
        self._writer = writer
        self._last_us = 0
        self._lock = threading.Lock()

    def next(self, now_us: int) -> Coordinate:
        """Return a coordinate for this time, in microseconds since 1970, or for the next free microsecond."""
        with self._lock:
            self._last_us = moment = max(now_us, self._last_us + 1)
        days, of_day = divmod(moment, _DAY_US)
        date = _EPOCH + timedelta(days=days)
        return coordinates.of([date.year * 10_000 + date.month * 100 + date.day, of_day, self._writer])


def allocate() -> Coordinate:
    """Return a new coordinate. In rare cases, it may already be taken."""
    return _allocator.next(time.time_ns() // 1_000)


def _become_another_writer() -> None:
    global _allocator
    _allocator = Allocator(secrets.randbelow(WRITERS))


_allocator = Allocator(secrets.randbelow(WRITERS))
os.register_at_fork(after_in_child=_become_another_writer)
