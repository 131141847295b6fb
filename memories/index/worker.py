"""The thread inside the embedded server: drains the outbox, and purges what has been deleted long enough."""

from __future__ import annotations

import logging
import threading
import time

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from memories import housekeeping, index
from memories.index import nudge, reconcile, sync
from somamemory import logs
from somamemory.errors import ConfigurationError, SomaError

log = logging.getLogger("soma.index")

BEAT_S = 1.0  # a lost nudge costs at most this
HOUSEKEEPING_S = 600.0


class Worker(threading.Thread):
    """Start it once in the process that owns the index; `stop` ends it between two batches."""

    def __init__(self) -> None:
        super().__init__(name="soma-index", daemon=True)
        self._stopping = threading.Event()

    def run(self) -> None:
        prepared = False
        tidy_at = time.monotonic() + HOUSEKEEPING_S
        told = ""
        while not self._stopping.is_set():
            try:
                if not prepared:
                    if settings.WORKERS == 1:  # else the leases may belong to the threads of the other processes
                        sync.release_leases()
                    reconcile.repair_all()
                    prepared = True
                nudge.asked.clear()
                while sync.drain() and not self._stopping.is_set():
                    pass
                if time.monotonic() > tidy_at:
                    housekeeping.tidy()
                    tidy_at = time.monotonic() + HOUSEKEEPING_S
            except (DatabaseError, SomaError, ConfigurationError) as error:
                # Nothing is lost: the rows stay due, and the next beat tries again. The same reason is told once.
                if logs.reason(error) != told:
                    told = logs.reason(error)
                    log.warning("the index thread will try again", extra={"reason": told})
                self._stopping.wait(BEAT_S)
            except Exception:
                # A bug. Without this thread the index would silently fall behind until the next start.
                log.exception("the index thread met a bug and goes on")
                self._stopping.wait(BEAT_S)
            close_old_connections()
            nudge.asked.wait(BEAT_S)
        connection.close()

    def stop(self, timeout_s: float) -> None:
        self._stopping.set()
        nudge.asked.set()
        self.join(timeout_s)
        index.close_all()
