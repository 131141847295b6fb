"""Decide how long to wait for an engine that may hang."""

from __future__ import annotations

# A call that takes this many times longer than usual is unlikely to return in time. Below the minimum, waiting is
# cheap.
PATIENCE = 8
MIN_PATIENCE_S = 0.15


class Patience:
    """The waiting time of a caller with a fallback: a multiple of the usual duration of a call.

    longest_s: the upper bound, which also applies before any durations are known.

    Abandoned calls are included in the usual duration, so if an engine has become slower for good, callers soon wait
    longer for it.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._usual_s: float | None = None

    def record(self, duration_s: float) -> None:
        usual_s = self._usual_s  # if two threads race, only one of many samples is lost
        self._usual_s = duration_s if usual_s is None else usual_s + 0.1 * (duration_s - usual_s)

    @property
    def wait_s(self) -> float:
        if self._usual_s is None:
            return self._longest_s
        return min(self._longest_s, max(MIN_PATIENCE_S, PATIENCE * self._usual_s))
