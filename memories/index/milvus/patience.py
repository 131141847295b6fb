"""How long to wait for an engine that may hang."""

from __future__ import annotations

# A call that takes this many times as long as usual will not come back in time; below the minimum waiting is cheap.
PATIENCE = 8
MIN_PATIENCE_S = 0.15


class Patience:
    """How long a caller with a fallback waits: a multiple of the recent call duration.

    longest_s: the wait while nothing is known, and the upper bound. Abandoned calls count too, so that the
    service soon waits again for an engine that has become permanently slower.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._usual_s: float | None = None

    def record(self, duration_s: float) -> None:
        usual_s = self._usual_s  # a race between two threads loses one of many
        self._usual_s = duration_s if usual_s is None else usual_s + 0.1 * (duration_s - usual_s)

    @property
    def wait_s(self) -> float:
        if self._usual_s is None:
            return self._longest_s
        return min(self._longest_s, max(MIN_PATIENCE_S, PATIENCE * self._usual_s))
