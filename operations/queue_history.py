"""The index queue during the last hour, one sample per minute, in the memory of each process."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from operations import statistics
from operations.statistics import Queue
from somamemory.scheduling import periodic
from tenants.caller import Caller

MINUTES = 60
EVERY_S = 60.0

_lock = threading.Lock()
_samples: dict[int, Queue] = {}  # by minute since 1970


@periodic(
    "operations.sample_queue",
    every_s=lambda: EVERY_S,
    thread="maintenance",
    in_process=lambda: True,
    in_beat=False,
    first_s=lambda: 1.0,
)
def sample() -> None:
    keep(statistics.measure_queue(), time.time())


def keep(queue: Queue, at: float) -> None:
    """Keep a measurement of the queue at a time in seconds since 1970."""
    minute = int(at // 60)
    with _lock:
        _samples[minute] = queue
        for old in [known for known in _samples if known <= minute - MINUTES]:
            del _samples[old]


def last_hour(caller: Caller, now: float | None = None) -> Sequence[tuple[int, Queue | None]]:
    """Return each minute since 1970 of the last hour, oldest first, with its sample or None."""
    caller.require_operator("read")
    minute = int((time.time() if now is None else now) // 60)
    with _lock:
        return [(at, _samples.get(at)) for at in range(minute - MINUTES + 1, minute + 1)]


def forget() -> None:
    with _lock:
        _samples.clear()
