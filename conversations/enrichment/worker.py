"""Enrichment worker: run steps of queued tasks in a thread of the embedded server or in a Celery job.

A failed task is retried with increasing delays and does not delay other tasks.
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
from somamemory.scheduling import ShouldStop, periodic
from tenants.caller import Caller

log = logging.getLogger("soma.chores")

STEPS: Mapping[str, Callable[[Caller, Chore], object]] = {
    Chore.Kind.FACTS: facts.step,
    Chore.Kind.LABEL: auto_label.step,
}
MIN_PAUSE = timedelta(minutes=1)
MAX_PAUSE = timedelta(hours=1)
MAX_ATTEMPTS = 5  # number of attempts if the model rejects the request, its answer is invalid, or a bug ends the step
# The errors after which a task is attempted at most `MAX_ATTEMPTS` times.
_LIMITED = {LlmRefused.code, LlmAnswerInvalid.code, SomaError.code}


@periodic("conversations.work", every_s=lambda: settings.CHORE_INTERVAL_S, thread="enrichment")
def run(should_stop: ShouldStop = lambda: False) -> int:
    """Run tasks until none is due. Return the number of steps."""
    steps = 0
    while not should_stop() and (chore := queue.take()) is not None:
        attempt(chore)
        steps += 1
    return steps


def attempt(chore: Chore) -> SomaError | None:
    """Run one step of a leased task. If the step fails, record the error on the task and return the error.

    Unexpected exceptions are recorded and raised.
    """
    caller = Caller(chore.tenant, "schedule", frozenset(("read", "write")))
    try:
        STEPS[chore.kind](caller, chore)
    except NotFound:  # the conversation has been deleted
        queue.of(chore.tenant, chore.conversation_id).delete()
    except SomaError as error:
        _give_back(chore, error, error.code)
        return error
    except Exception as error:  # a bug counts as a failed attempt; otherwise, paid calls would be repeated forever
        _give_back(chore, error, SomaError.code)
        raise
    return None


def _give_back(chore: Chore, error: Exception, code: str) -> None:
    """Release a failed task. An outage neither counts towards `MAX_ATTEMPTS` nor resets the count."""
    is_limited, was_limited = code in _LIMITED, chore.error in _LIMITED
    if is_limited == was_limited:
        chore.attempts += 1
    elif is_limited:
        chore.attempts = 1
    due_at = retry_at(error, chore.attempts, timezone.now())
    keeps_count = was_limited and not is_limited and due_at is not None
    queue.give_back(chore, due_at, chore.error if keeps_count else code)
    log.warning("enrichment task failed", extra={"kind": chore.kind, "reason": code})


def finish(caller: Caller, id: UUID) -> Progress:
    """Extract all facts from a conversation now, unless another worker is already doing so.

    Raises NotFound, LlmMissing, and the last step's error if that step failed. The next call continues after the last
    completed step.
    """
    facts.request(caller, id)
    pending = queue.of(caller.tenant, id).filter(kind=Chore.Kind.FACTS, due_at__isnull=False)
    error = None
    while (chore := queue.take(pending)) is not None:
        error = attempt(chore)
        if error and not isinstance(error, LlmRefused | LlmAnswerInvalid):  # after these, the next prompt is shorter
            break
    if error:
        raise error
    return facts.progress(caller, id)


def retry_at(error: Exception, attempts: int, now: datetime) -> datetime | None:
    """Return when to retry a task after an error, or None if the task is retried only on request. Pure function."""
    if isinstance(error, LlmBudgetExceeded):
        return now + timedelta(seconds=error.retry_after_s)
    is_bug = not isinstance(error, SomaError)
    if (is_bug or isinstance(error, LlmRefused | LlmAnswerInvalid)) and attempts >= MAX_ATTEMPTS:
        return None
    if is_bug or isinstance(error, Unavailable | IndexBacklog | LlmMissing | ConversationIsCold):
        return now + min(MAX_PAUSE, MIN_PAUSE * (1 << min(attempts - 1, 10)))
    return None
