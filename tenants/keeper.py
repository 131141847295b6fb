"""What time does to tenants: their audit log is sealed, what they use is counted, what was erased is looked at again.

Every web process has a keeper, for what the process itself has counted. The rest is done by the keeper of the embedded
server, or by a job of the beat; to do it twice, or side by side, does no harm.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from somamemory import logs
from somamemory.errors import ConfigurationError, SomaError
from tenants import erasure, usage
from tenants.audit import sealing

log = logging.getLogger("soma.keeper")

HOUR_S = 3600.0


def keep() -> None:
    """All that is done every `KEEPER_INTERVAL_S` for the whole installation."""
    sealing.seal()
    erasure.look_again()
    usage.recount_old()


def keep_hourly() -> None:
    """And what is done once in a while."""
    sealing.prune()


class Keeper(threading.Thread):
    """Start it in each serving process, after the fork; `stop` ends it."""

    def __init__(self) -> None:
        super().__init__(name="soma-keeper", daemon=True)
        self._stopping = threading.Event()
        self._for_all = settings.INDEXER == "thread"  # else a job of the beat does it

    def run(self) -> None:
        hourly_at = time.monotonic() + HOUR_S / 60
        keep_at = 0.0
        while not self._stopping.wait(usage.FLUSH_S):
            self._trying(usage.flush)
            if self._for_all and time.monotonic() > keep_at:
                self._trying(keep)
                keep_at = time.monotonic() + settings.KEEPER_INTERVAL_S
            if self._for_all and time.monotonic() > hourly_at:
                self._trying(keep_hourly)
                hourly_at = time.monotonic() + HOUR_S
            close_old_connections()
        self._trying(usage.flush)
        connection.close()

    def stop(self, timeout_s: float) -> None:
        self._stopping.set()
        self.join(timeout_s)

    def _trying(self, work: Callable[[], object]) -> None:
        try:
            work()
        except (DatabaseError, SomaError, ConfigurationError) as error:
            log.warning("the keeper will try again", extra={"reason": logs.reason(error)})
        except Exception:
            # A bug. Without this thread the log would stay unsealed until the next start.
            log.exception("the keeper met a bug and goes on")
