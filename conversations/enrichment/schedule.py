"""Scheduled summaries.

A worker takes the conversations that are due one after the other. It first postpones a conversation by an hour, in case
the work is interrupted, and afterwards sets the time when its next period ends.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from conversations.enrichment import summaries
from conversations.models import Conversation
from somamemory.errors import SomaError
from somamemory.scheduling import ShouldStop, periodic
from tenants.caller import Caller
from tenants.models import Tenant

log = logging.getLogger("soma.summaries")

BATCH = 100
_RETRY = timedelta(hours=1)


@periodic("conversations.summarise", every_s=lambda: settings.SUMMARY_INTERVAL_S, thread="summaries")
def run(should_stop: ShouldStop = lambda: False) -> int:
    """Summarize the conversations that are due. Return the number of summaries written."""
    written = 0
    while due := _due():
        for conversation, tenant in due:
            if should_stop():
                return written
            written += _summarize(conversation, tenant, should_stop)
    return written


def _due() -> list[tuple[Conversation, Tenant]]:
    rows = Conversation.all_tenants.filter(summarise_at__lte=timezone.now()).select_related("tenant")
    due = rows.filter(tenant__active=True).order_by("summarise_at")[:BATCH]
    return [(row, row.tenant) for row in due]


def _summarize(conversation: Conversation, tenant: Tenant, should_stop: ShouldStop) -> int:
    """Summarize one conversation. If that fails, it is postponed; the others are not."""
    now = timezone.now()
    # `last_turn` guards the update: a message added meanwhile is not summarized yet, so its due time must stay.
    unchanged = Conversation.objects.for_tenant(tenant).filter(id=conversation.id, last_turn=conversation.last_turn)
    if not unchanged.filter(summarise_at=conversation.summarise_at).update(summarise_at=now + _RETRY):
        return 0  # another worker has taken it, or it has changed and is due again
    caller = Caller(tenant=tenant, actor="schedule", scopes=frozenset(("read", "write")))
    try:
        written, next_at = summaries.roll_up(caller, conversation, now, should_stop)
    except SomaError as error:
        log.warning("summaries of a conversation deferred", extra={"reason": error.code})
        return 0
    unchanged.filter(summarise_at=now + _RETRY).update(summarise_at=next_at)
    return written
