"""Decide how long to wait for an engine that may hang."""

from __future__ import annotations

# A call that has already taken this many times as long as usual is unlikely to return in time. Waiting for the minimum
# time costs little, so callers always wait at least that long.
PATIENCE = 8
MIN_PATIENCE_S = 0.15


class Patience:
    """How long a caller that has a fallback waits: a multiple of the time that a call usually takes.

    longest_s: the upper bound, which also applies before any durations are known.

    The usual time is an average that includes abandoned calls, so if the engine has become permanently slower, callers
    soon wait longer for it.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._usual_s: float | None = None

    def record(self, duration_s: float) -> None:
        usual_s = self._usual_s  # needs no lock: if two threads race, only one of many samples is lost
        self._usual_s = duration_s if usual_s is None else usual_s + 0.1 * (duration_s - usual_s)

    @property
    def wait_s(self) -> float:
        if self._usual_s is None:
            return self._longest_s
        return min(self._longest_s, max(MIN_PATIENCE_S, PATIENCE * self._usual_s))
