"""Scheduled summaries.

A worker processes the due conversations one at a time. It first postpones a conversation by an hour, in case the work
is interrupted. Afterwards, it sets the conversation's due time to the end of the next period.
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
    """Summarise the conversations that are due. Return the number of summaries written."""
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
    """Summarise one conversation. A failure postpones only this conversation."""
    now = timezone.now()
    # Compare `last_turn` in the update: a message added in the meantime has not been summarised yet, so the
    # conversation's due time must not be overwritten.
    unchanged = Conversation.objects.for_tenant(tenant).filter(id=conversation.id, last_turn=conversation.last_turn)
    if not unchanged.filter(summarise_at=conversation.summarise_at).update(summarise_at=now + _RETRY):
        return 0  # another worker has taken the conversation, or it has changed and is due again
    caller = Caller(tenant=tenant, actor="schedule", scopes=frozenset(("read", "write")))
    try:
        written, next_at = summaries.roll_up(caller, conversation, now, should_stop)
    except SomaError as error:
        log.warning("postponed a conversation's summaries", extra={"reason": error.code})
        return 0
    unchanged.filter(summarise_at=now + _RETRY).update(summarise_at=next_at)
    return written
