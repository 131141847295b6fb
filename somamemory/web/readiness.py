"""The last result of the readiness check, so that a readiness probe gets a response without waiting.

Each serving process checks once per second (`gunicorn_worker`). If there is no recent result, a probe does the check
itself (`operations.health`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

EVERY_S = 1.0
MAX_AGE_S = 3.0


@dataclass(frozen=True)
class Readiness:
    """The result of a readiness check, with the reason if it failed. `at` is a `monotonic` time."""

    ready: bool
    reason: str = ""
    at: float = field(default_factory=time.monotonic)


_last: Readiness | None = None


def record(readiness: Readiness) -> None:
    global _last
    _last = readiness


def last(max_age_s: float = MAX_AGE_S) -> Readiness | None:
    """Return the last result if it is at most `max_age_s` seconds old, or else None."""
    return _last if _last and time.monotonic() - _last.at <= max_age_s else None
