"""Before the vector index: while it is down nobody waits for it, and while it hangs nobody waits long.

The circuit breaker is that of Nygard, "Release It!", with one difference: whether it is back is asked beside the
requests, never by one of them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from somamemory.errors import ConfigurationError, IndexUnavailable
from somamemory.telemetry import metrics

log = logging.getLogger("soma.index")

FAILURES = 3  # one after the other
PAUSE_S = 2.0


# A call that takes so many times as long as usual will not come back in time; below `HASTE_S` nobody minds.
PATIENCE = 8
HASTE_S = 0.15


class Pace:
    """How long calls take lately, and so how long somebody who can do without the answer should wait for it.

    longest_s: what to wait while nothing is known, and at most. Calls that were given up count too, so that an engine
    that has become slow for good is soon waited for again.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._usual_s: float | None = None

    def note(self, took_s: float) -> None:
        usual_s = self._usual_s  # a race between two threads loses one of many
        self._usual_s = took_s if usual_s is None else usual_s + 0.1 * (took_s - usual_s)

    @property
    def patience_s(self) -> float:
        if self._usual_s is None:
            return self._longest_s
        return min(self._longest_s, max(HASTE_S, PATIENCE * self._usual_s))


class Breaker:
    """Opens after `FAILURES` calls in a row have failed; then `probe` is tried every `PAUSE_S` until it works."""

    def __init__(self, probe: Callable[[], None]) -> None:
        self._probe = probe
        self._lock = threading.Lock()
        self._failures = 0
        self._probe_at = 0.0  # 0: closed
        self._probing = False

    def check(self) -> None:
        """Return if a call may be made. Raises IndexUnavailable at once while the breaker is open."""
        if not (at := self._probe_at):
            return
        with self._lock:
            if time.monotonic() >= at and not self._probing:
                self._probing = True
                threading.Thread(target=self._look, name="soma-index-probe", daemon=True).start()
        raise IndexUnavailable("the vector index did not answer a moment ago")

    def worked(self) -> None:
        if self._failures:
            self._failures = 0

    def failed(self, reason: str) -> None:
        with self._lock:
            self._failures += 1
            if self._failures < FAILURES:
                return
        self.open(reason)

    def open(self, reason: str) -> None:
        with self._lock:
            metrics.breaker_open.set(1)
            if not self._probe_at:
                log.warning("the vector index does not answer; searches go on without it", extra={"reason": reason})
            self._probe_at = time.monotonic() + PAUSE_S

    def _look(self) -> None:
        try:
            self._probe()
        except (IndexUnavailable, ConfigurationError):
            back = False
        else:
            back = True
            metrics.breaker_open.set(0)
            log.warning("the vector index answers again")
        with self._lock:
            self._failures, self._probing = 0, False
            self._probe_at = 0.0 if back else time.monotonic() + PAUSE_S
