"""The history of the index queue over the last hour: one sample per minute, kept in each process's memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from operations import statistics
from operations.statistics import Queue
from somamemory.scheduling import periodic
from tenants.caller import Caller

MINUTES = 60
INTERVAL_S = 60.0

_lock = threading.Lock()
_samples: dict[int, Queue] = {}  # by minute since 1970


@periodic(
    "operations.sample_queue",
    every_s=lambda: INTERVAL_S,
    thread="maintenance",
    in_process=lambda: True,
    in_beat=False,
    first_s=lambda: 1.0,
)
def sample() -> None:
    add(statistics.measure_queue(), time.time())


def add(queue: Queue, at: float) -> None:
    """Add a sample measured at `at`, in seconds since 1970, and remove samples older than an hour."""
    minute = int(at // 60)
    with _lock:
        _samples[minute] = queue
        for old in [key for key in _samples if key <= minute - MINUTES]:
            del _samples[old]


def last_hour(caller: Caller, now: float | None = None) -> Sequence[tuple[int, Queue | None]]:
    """Return (minute since 1970, sample or None) for each minute of the last hour, oldest first."""
    caller.require_operator("read")
    minute = int((time.time() if now is None else now) // 60)
    with _lock:
        return [(at, _samples.get(at)) for at in range(minute - MINUTES + 1, minute + 1)]


def forget() -> None:
    with _lock:
        _samples.clear()
