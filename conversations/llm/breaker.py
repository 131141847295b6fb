"""While a provider is down nobody waits for it: Nygard's circuit breaker ("Release It!")."""

from __future__ import annotations

import logging
import threading
import time

from somamemory.errors import LlmUnavailable

log = logging.getLogger("soma.llm")

FAILURES = 3  # one after the other
PAUSE_S = 20.0


class Breaker:
    """Opens after `FAILURES` calls in a row have failed; then one call every `PAUSE_S` finds out whether it is back.

    A caller finds out, and no probe, as there is no question to a provider that costs nothing.
    """

    def __init__(self, pause_s: float = PAUSE_S) -> None:
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._failures = 0
        self._try_at = 0.0

    @property
    def is_open(self) -> bool:
        return self._failures >= FAILURES

    def check(self) -> None:
        """Return if a call may be made. Raises LlmUnavailable at once while the breaker is open."""
        if not self.is_open:
            return
        with self._lock:
            now = time.monotonic()
            if now >= self._try_at:
                self._try_at = now + self._pause_s  # the others do not wait meanwhile
                return
        raise LlmUnavailable("the language model did not answer a moment ago", self._pause_s)

    def worked(self) -> None:
        if self._failures:
            with self._lock:
                news, self._failures = self.is_open, 0
            if news:
                log.warning("the language model answers again")

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            self._try_at = time.monotonic() + self._pause_s
            news = self._failures == FAILURES
        if news:
            log.warning("the language model does not answer; it is left alone for a while")
