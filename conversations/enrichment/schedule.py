"""What is done on schedule: summaries, and upkeep (`upkeep`).

Whoever summarises takes those that are due, one after the other, and says for each when to come again: first, in case
it ends in the middle, in an hour; then as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from conversations.enrichment import summaries
from conversations.models import Conversation
from somamemory.errors import SomaError
from somamemory.scheduling import periodic
from tenants.caller import Caller
from tenants.models import Tenant

log = logging.getLogger("soma.summaries")

BATCH = 100
_RETRY = timedelta(hours=1)


@periodic("conversations.summarise", every_s=lambda: settings.SUMMARY_INTERVAL_S, thread="summaries")
def run(enough: Callable[[], bool] = summaries.never) -> int:
    """Summarise what is due, until nothing is left or it is enough; how many were made."""
    made = 0
    while due := _due():
        for conversation, tenant in due:
            if enough():
                return made
            made += _one(conversation, tenant, enough)
    return made


def _due() -> list[tuple[Conversation, Tenant]]:
    rows = Conversation.all_tenants.filter(summarise_at__lte=timezone.now()).select_related("tenant")
    found = list(rows.filter(tenant__active=True).order_by("summarise_at")[:BATCH])
    return [(row, row.tenant) for row in found]


def _one(conversation: Conversation, tenant: Tenant, enough: Callable[[], bool]) -> int:
    """One conversation. A failure of whatever kind makes it wait, and not the others."""
    now = timezone.now()
    # A message that comes meanwhile is not among what is summarised: the time must stay, to come again.
    as_read = Conversation.objects.for_tenant(tenant).filter(id=conversation.id, last_turn=conversation.last_turn)
    if not as_read.filter(summarise_at=conversation.summarise_at).update(summarise_at=now + _RETRY):
        return 0  # somebody else is at it, or it has changed and is looked at again
    caller = Caller(tenant=tenant, actor="schedule", scopes=frozenset(("read", "write")))
    try:
        made, again = summaries.roll_up(caller, conversation, now, enough)
    except SomaError as error:
        log.warning("a conversation will be summarised later", extra={"reason": error.code})
        return 0
    as_read.filter(summarise_at=now + _RETRY).update(summarise_at=again)
    return made
