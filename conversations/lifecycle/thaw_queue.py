"""Thaw queue: restore cold conversations to the database shortly after they are read.

A read is served from the file and writes nothing, because it may run on a replica or with a read-only key and must not
wait for the index outbox. The read only adds the conversation to a queue in this process, and a periodic task restores
the queued conversations in batches. If the process dies, the next read queues the conversation again.
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

MAX_QUEUED = 1_000  # when the queue is full, reads succeed without queueing
BATCH = 20
EVERY_S = 5.0

_lock = threading.Lock()
_queue: dict[UUID, UUID] = {}  # maps conversation ids to tenant ids


def add(caller: Caller, conversation: Conversation) -> None:
    """Queue a conversation that has just been read."""
    with _lock:
        if len(_queue) < MAX_QUEUED:
            _queue[conversation.id] = caller.tenant.id


@periodic(
    "conversations.thaw",
    every_s=lambda: EVERY_S,
    thread="maintenance",
    in_process=lambda: True,
    in_beat=False,
)
def thaw_batch() -> int:
    """Restore the first conversations in the queue. Return the number restored."""
    with _lock:
        batch = [(id, _queue.pop(id)) for id in list(_queue)[:BATCH]]
    if not batch:
        return 0
    tenants = Tenant.objects.filter(active=True).in_bulk({tenant for _, tenant in batch})
    return sum(_thaw(tenants[tenant], id) for id, tenant in batch if tenant in tenants)


def _thaw(tenant: Tenant, id: UUID) -> bool:
    caller = Caller(tenant, "recall", frozenset(("read", "write")))
    try:
        backpressure.check(tenant)
        return tiers.thaw(caller, id)
    except (ColdUnavailable, IndexBacklog) as error:  # the next read queues it again
        log.warning("cold conversation not restored", extra={"reason": error.detail})
        return False


def clear() -> None:
    with _lock:
        _queue.clear()
