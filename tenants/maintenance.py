"""What time does to tenants: their audit log is sealed, what they use is counted, what was erased is looked at again.

Every web process has a keeper, for what the process itself has counted. The rest is done by the keeper of the embedded
server, or by a job of the beat; to do it twice, or side by side, does no harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from django.conf import settings

from somamemory import background
from tenants import erasure, usage
from tenants.audit import sealing

HOUR_S = 3600.0


_others: list[Callable[[], object]] = []


def also(work: Callable[[], object]) -> None:
    """For what another room has noted in this process: `work` is called every few seconds, and does a little."""
    _others.append(work)


def keep() -> None:
    """All that is done every `KEEPER_INTERVAL_S` for the whole installation."""
    sealing.seal()
    erasure.look_again()
    usage.recount_old()


def keep_hourly() -> None:
    """And what is done once in a while."""
    sealing.prune()


class Keeper(background.Thread):
    """Start it in each serving process, after the fork; `stop` ends it."""

    def __init__(self) -> None:
        super().__init__("keeper")
        self._for_all = settings.INDEXER == "thread"  # else a job of the beat does it

    def loop(self) -> None:
        hourly_at = time.monotonic() + HOUR_S / 60
        keep_at = 0.0
        while not self.stopping.wait(usage.FLUSH_S):
            for work in (usage.flush, *_others):
                self.attempt(work)
            if self._for_all and time.monotonic() > keep_at:
                self.attempt(keep)
                keep_at = time.monotonic() + settings.KEEPER_INTERVAL_S
            if self._for_all and time.monotonic() > hourly_at:
                self.attempt(keep_hourly)
                hourly_at = time.monotonic() + HOUR_S
        self.attempt(usage.flush)
