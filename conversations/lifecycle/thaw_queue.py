"""Cold conversations that somebody has read come back, a moment later.

A read answers out of the file and writes nothing: it may be on a replica, with a key that may only read, and should not
wait for the index's outbox. It only notes, in this process, that the conversation is in use again; the keeper of the
process brings back what was noted, some at a time. What a process that dies had noted, the next read notes again.
"""

from __future__ import annotations

import logging
import threading
from uuid import UUID

from conversations.lifecycle import tiers
from conversations.models import Conversation
from memories.index import backpressure
from somamemory.errors import ColdUnavailable, IndexBacklog
from somamemory.scheduling import periodic
from tenants.caller import Caller
from tenants.models import Tenant

log = logging.getLogger("soma.tiers")

MAX_NOTED = 1_000  # beyond, a read is answered and not noted
AT_ONCE = 20
EVERY_S = 5.0

_lock = threading.Lock()
_noted: dict[UUID, UUID] = {}  # conversation: tenant


def note(caller: Caller, conversation: Conversation) -> None:
    """Somebody has read it, just now."""
    with _lock:
        if len(_noted) < MAX_NOTED:
            _noted[conversation.id] = caller.tenant.id


@periodic(
    "conversations.thaw",
    every_s=lambda: EVERY_S,
    thread="maintenance",
    in_process=lambda: True,
    in_beat=False,
)
def bring_back() -> int:
    """Bring back the first of those that were noted; how many have come."""
    with _lock:
        taken = [(id, _noted.pop(id)) for id in list(_noted)[:AT_ONCE]]
    if not taken:
        return 0
    tenants = Tenant.objects.filter(active=True).in_bulk({tenant for _, tenant in taken})
    come = 0
    for id, tenant in taken:
        if tenant not in tenants:
            continue
        caller = Caller(tenants[tenant], "recall", frozenset(("read", "write")))
        try:
            backpressure.check(caller.tenant)
            come += tiers.thaw(caller, id)
        except (ColdUnavailable, IndexBacklog) as error:
            # Whoever reads it again notes it again.
            log.warning("a cold conversation could not come back", extra={"reason": error.detail})
    return come


def forget() -> None:
    with _lock:
        _noted.clear()
