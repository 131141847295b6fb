"""Summaries on schedule: each conversation says in its row when there is something to be summarised.

Whoever runs this takes those that are due, and moves each on once it is done. Two who do the same at the same time make
the same summaries, of which one is kept.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection
from django.utils import timezone

from conversations import summaries
from conversations.models import Conversation
from somamemory.errors import ConfigurationError, SomaError
from tenants.caller import Caller
from tenants.models import Tenant

log = logging.getLogger("soma.summaries")

BATCH = 100
_RETRY = timedelta(hours=1)


def run(until: float | None = None) -> int:
    """Summarise what is due, until nothing is left or `time.monotonic()` has reached `until`; how many were made."""
    made = 0
    while due := _due():
        for conversation, tenant in due:
            if until is not None and time.monotonic() > until:
                return made
            made += _one(conversation, tenant, until)
    return made


def _due() -> list[tuple[Conversation, Tenant]]:
    rows = Conversation.all_tenants.filter(summarise_at__lte=timezone.now()).select_related("tenant")
    found = list(rows.filter(tenant__active=True).order_by("summarise_at")[:BATCH])
    return [(row, row.tenant) for row in found]


def _one(conversation: Conversation, tenant: Tenant, until: float | None) -> int:
    """One conversation. A failure makes it wait, and not the others."""
    now = timezone.now()
    caller = Caller(tenant=tenant, actor="schedule", scopes=frozenset(("read", "write")))
    try:
        made, again = summaries.roll_up(caller, conversation, now, until)
    except SomaError as error:
        made, again = 0, now + _RETRY
        log.warning("a conversation will be summarised later", extra={"reason": error.code})
    # A message that has come meanwhile has set another time, which stays.
    as_read = Conversation.objects.for_tenant(tenant).filter(id=conversation.id, summarise_at=conversation.summarise_at)
    as_read.update(summarise_at=again)
    return made


class Runner(threading.Thread):
    """Does it in the embedded server; `stop` ends it between two conversations."""

    def __init__(self) -> None:
        super().__init__(name="soma-summaries", daemon=True)
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(settings.SUMMARY_INTERVAL_S):
            try:
                run(time.monotonic() + settings.SUMMARY_INTERVAL_S)
            except (DatabaseError, SomaError, ConfigurationError) as error:
                log.warning("summaries will be tried again", extra={"reason": str(error)})
            except Exception:
                # A bug. Without this thread nothing would be summarised until the next start.
                log.exception("the summaries met a bug")
            close_old_connections()
        connection.close()

    def stop(self, timeout_s: float) -> None:
        self._stopping.set()
        self.join(timeout_s)
