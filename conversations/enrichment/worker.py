"""Does the chores: a step of the one that is due first, again and again. A thread of the embedded server, or a job.

What does not work waits, longer each time, and keeps nothing else waiting.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from conversations.enrichment import auto_label, facts, queue
from conversations.enrichment.facts import Progress
from conversations.enrichment.summaries import never
from conversations.models import Chore
from somamemory.errors import (
    ConversationIsCold,
    IndexBacklog,
    LlmAnswerInvalid,
    LlmBudgetExceeded,
    LlmMissing,
    LlmRefused,
    NotFound,
    SomaError,
    Unavailable,
)
from somamemory.scheduling import periodic
from tenants.caller import Caller

log = logging.getLogger("soma.chores")

STEPS: Mapping[str, Callable[[Caller, Chore], object]] = {
    Chore.Kind.FACTS: facts.step,
    Chore.Kind.LABEL: auto_label.step,
}
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=1)
# So often the model may refuse a question, or give an answer of another shape; more will not help.
MOST_ATTEMPTS = 5


@periodic("conversations.work", every_s=lambda: settings.CHORE_INTERVAL_S, thread="enrichment")
def run(enough: Callable[[], bool] = never) -> int:
    """Do what is due until nothing is left or it is enough; how many steps that were."""
    steps = 0
    while not enough() and (chore := queue.take()) is not None:
        attempt(chore)
        steps += 1
    return steps


def attempt(chore: Chore) -> SomaError | None:
    """One step of a chore that is leased. What it met is written down, and returned; it is not raised."""
    caller = Caller(chore.tenant, "schedule", frozenset(("read", "write")))
    try:
        STEPS[chore.kind](caller, chore)
    except NotFound:  # the conversation has been deleted
        queue.of(chore.tenant, chore.conversation_id).delete()
    except SomaError as error:
        chore.attempts += 1
        queue.give_back(chore, again_at(error, chore.attempts, timezone.now()), error.code)
        log.warning("a chore has not worked", extra={"kind": chore.kind, "reason": error.code})
        return error
    return None


def finish(caller: Caller, id: UUID) -> Progress:
    """All steps that a conversation's facts need, here and now, unless somebody else is at it.

    Raises NotFound, LlmMissing, and whatever a step has met; then it goes on where it ended.
    """
    facts.request(caller, id)
    mine = queue.of(caller.tenant, id).filter(kind=Chore.Kind.FACTS, due_at__isnull=False)
    while (chore := queue.take(mine)) is not None:
        if error := attempt(chore):
            raise error
    return facts.progress(caller, id)


def again_at(error: SomaError, attempts: int, now: datetime) -> datetime | None:
    """When it may work; None: not by itself. Pure."""
    if isinstance(error, LlmBudgetExceeded):
        return now + timedelta(seconds=error.retry_after_s)
    if isinstance(error, LlmRefused | LlmAnswerInvalid) and attempts >= MOST_ATTEMPTS:
        return None
    if isinstance(error, Unavailable | IndexBacklog | LlmMissing | ConversationIsCold):
        return now + min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(attempts - 1, 10)))
    return None
