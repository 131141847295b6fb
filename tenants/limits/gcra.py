"""The generic cell rate algorithm (ITU-T I.371). Pure functions that take the time as an argument.

A bucket is stored as one number: the time at which it will be full again. Tokens are added at `rate` up to `burst`, and
taking n tokens moves that time by n / rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_ROUNDING = 1e-6


@dataclass(frozen=True)
class Limit:
    """A rate limit: `rate` tokens per second (greater than 0) and at most `burst` at once."""

    name: str
    rate: float
    burst: int


@dataclass(frozen=True)
class Taken:
    """The number of tokens taken, and the debt of each bucket: the number of seconds until the bucket is full."""

    tokens: int
    debts: tuple[float, ...]


def debt(full_at: float, now: float, limit: Limit) -> float:
    """Return the seconds until a bucket is full.

    The result is never larger than the time it takes to fill an empty bucket, even if the clock was set back.
    """
    return min(max(0.0, full_at - now), limit.burst / limit.rate)


def tokens_in(debt_s: float, limit: Limit) -> int:
    """Return how many whole tokens a bucket with this debt contains."""
    return math.floor(limit.burst - debt_s * limit.rate + _ROUNDING)


def wait_for(tokens: int, debt_s: float, limit: Limit) -> float:
    """Return the seconds until a bucket with this debt contains this many tokens."""
    return max(0.0, debt_s - (limit.burst - tokens) / limit.rate)


def granted(debts: Sequence[float], limits: Sequence[Limit], least: int, most: int) -> int:
    """Return how many tokens every bucket can give, from `least` to `most`; 0 if any of them has fewer than `least`."""
    free = min(tokens_in(debt_s, limit) for debt_s, limit in zip(debts, limits, strict=True))
    return min(free, most) if free >= least else 0
