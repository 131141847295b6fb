"""A circuit breaker (Nygard, "Release It!"): fails fast while a dependency is known to be down."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from somamemory.errors import ConfigurationError, Unavailable

FAILURES = 3


class Breaker:
    """Opens after `failures` consecutive failed calls and closes after the first successful call.

    While it is open, one attempt every `pause_s` seconds checks whether the dependency is responding again. The
    attempt is either a call to `probe`, which runs in its own thread, or, without a probe, the next caller's own call.
    A probe saves callers from waiting; it must raise Unavailable or ConfigurationError if the dependency does not
    respond.

    name: the dependency's name in the log.
    on_change: called with True when the breaker opens and False when it closes.
    """

    def __init__(
        self,
        name: str,
        log: logging.Logger,
        *,
        pause_s: float,
        failures: int = FAILURES,
        probe: Callable[[], None] | None = None,
        on_change: Callable[[bool], object] = lambda is_open: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pause_s = pause_s
        self._name = name
        self._log = log
        self._failures_to_open = failures
        self._probe = probe
        self._on_change = on_change
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._open = False
        self._probing = False
        self._retry_at = 0.0

    @property
    def is_open(self) -> bool:
        return self._open

    def allows(self) -> bool:
        """Return whether a call may be made now.

        While the breaker is open, also start the next attempt if it is due.
        """
        if not self._open:
            return True
        with self._lock:
            if not self.is_open:
                return True
            if self._probing or self._clock() < self._retry_at:
                return False
            if self._probe is None:
                self._retry_at = self._clock() + self.pause_s  # other callers fail fast during this attempt
                return True
            self._probing = True
        threading.Thread(target=self._try_probe, args=(self._probe,), name="soma-breaker-probe", daemon=True).start()
        return False

    def succeeded(self) -> None:
        if self._failures or self._open:
            with self._lock:
                self._close()

    def failed(self, reason: str) -> None:
        with self._lock:
            self._failures += 1
            if self._open or self._failures >= self._failures_to_open:
                self._trip(reason)

    def open(self, reason: str) -> None:
        """Open immediately, without waiting for further failures."""
        with self._lock:
            self._trip(reason)

    def retry_now(self) -> None:
        """Allow the next call, even if the next attempt is not due yet."""
        self._retry_at = 0.0

    def _trip(self, reason: str) -> None:
        self._retry_at = self._clock() + self.pause_s
        if not self._open:
            self._open = True
            self._on_change(True)
            self._log.warning("%s is not responding", self._name, extra={"reason": reason})

    def _close(self) -> None:
        self._failures = 0
        if self._open:
            self._open = False
            self._on_change(False)
            self._log.warning("%s is responding again", self._name)

    def _try_probe(self, probe: Callable[[], None]) -> None:
        try:
            probe()
        except (Unavailable, ConfigurationError):
            succeeded = False
        else:
            succeeded = True
        with self._lock:
            self._probing = False
            if succeeded:
                self._close()
            else:
                self._retry_at = self._clock() + self.pause_s
