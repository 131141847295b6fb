"""The thread inside the embedded server: drains the outbox, and purges what has been deleted long enough."""

from __future__ import annotations

import time

from django.conf import settings

from memories import index, retention
from memories.index import drain, notify, reconcile
from somamemory import background
from somamemory.telemetry import tracing

BEAT_S = 1.0  # a lost nudge costs at most this
HOUSEKEEPING_S = 600.0


class Worker(background.Thread):
    """Start it once in the process that owns the index; `stop` ends it between two batches."""

    def __init__(self) -> None:
        super().__init__("index")

    def loop(self) -> None:
        while not self.stopping.is_set() and not self.attempt(_prepare):
            self.stopping.wait(BEAT_S)
        tidy_at = time.monotonic() + HOUSEKEEPING_S
        while not self.stopping.is_set():
            notify.asked.clear()
            if not self.attempt(self._drain):
                self.stopping.wait(BEAT_S)  # nothing is lost: the rows stay due
            if time.monotonic() > tidy_at:
                self.attempt(retention.tidy)
                tidy_at = time.monotonic() + HOUSEKEEPING_S
            notify.asked.wait(BEAT_S)

    def stop(self, timeout_s: float) -> None:
        self.stopping.set()
        notify.asked.set()
        super().stop(timeout_s)
        index.close_all()

    def _drain(self) -> None:
        with tracing.asked(notify.DRAIN):
            while drain.drain() and not self.stopping.is_set():
                pass


def _prepare() -> None:
    if settings.WORKERS == 1:  # else the leases may belong to the threads of the other processes
        drain.release_leases()
    reconcile.repair_all()
