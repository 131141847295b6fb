"""Threads of a serving process that do something again and again, beside the requests.

What fails stays undone and is attempted again; no failure ends a thread, as nobody would start another one before the
next start of the process.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from django.db import Error, close_old_connections, connections

from somamemory.errors import ConfigurationError, SomaError
from somamemory.telemetry import logs, metrics

MENDABLE = (Error, SomaError, ConfigurationError)  # a later attempt may find it mended; everything else is a bug


class Thread(threading.Thread):
    """A subclass says in `loop` what to do until `stopping` is set. Start it after the fork; `stop` ends it."""

    mendable: tuple[type[Exception], ...] = MENDABLE

    def __init__(self, role: str) -> None:
        """`role` names the thread in the logs (`soma.role`) and in the metrics."""
        super().__init__(name=f"soma-{role}", daemon=True)
        self.stopping = threading.Event()
        self._role = role
        self.log = logging.getLogger(f"soma.{role}")
        self._told = ""

    def loop(self) -> None:
        raise NotImplementedError

    def run(self) -> None:
        try:
            self.loop()
        finally:
            connections.close_all()

    def stop(self, timeout_s: float) -> None:
        """Let it finish what it is at, for so long at most."""
        self.stopping.set()
        self.join(timeout_s)

    def attempt(self, work: Callable[[], object]) -> bool:
        """Do the work once; whether it went through. Only what ends the process leaves it."""
        try:
            work()
        except self.mendable as error:
            metrics.background_failures.labels(self._role, "mendable").inc()
            reason = logs.reason(error)
            if reason != self._told:  # the same again and again is told once
                self.log.warning("this thread will try again", extra={"reason": reason})
            self._told = reason
        except Exception:  # a thread that ended here would leave its work undone until a restart
            metrics.background_failures.labels(self._role, "bug").inc()
            self.log.exception("this thread met a bug and goes on")
        else:
            self._told = ""
            return True
        finally:
            close_old_connections()
        return False
