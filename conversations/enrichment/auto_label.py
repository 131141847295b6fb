"""Automatic labels, for tenants that enable them."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from conversations import services
from conversations.enrichment import labels, queue
from conversations.enrichment.labels import Suggestion
from conversations.models import Chore, Conversation
from somamemory.db import leases
from tenants.caller import Caller


def step(caller: Caller, chore: Chore) -> None:
    """Set the best suggested label on an unlabelled conversation, if its confidence reaches the tenant's threshold.

    Must not be called inside a transaction. Raises NotFound, LlmUnavailable, LlmBudgetExceeded.
    """
    threshold = caller.tenant.auto_label
    conversation = Conversation.objects.for_tenant(caller.tenant).filter(id=chore.conversation_id).first()
    if threshold is None or conversation is None or conversation.label:
        queue.of(caller.tenant, chore.conversation_id).filter(id=chore.id).delete()
        return
    result = labels.suggest(caller, conversation.id)
    best = choose(result.suggestions, threshold)
    with transaction.atomic():
        if best is not None:
            services.label_unlabelled(caller, conversation.id, best.label, result.model)
        _finish(caller, chore, conversation)


def choose(suggestions: Sequence[Suggestion], threshold: float) -> Suggestion | None:
    """Return the best suggestion whose confidence reaches `threshold`, preferring labels already in use.

    Pure function.
    """
    confident = [suggestion for suggestion in suggestions if suggestion.confidence >= threshold]
    return max(confident, key=lambda suggestion: (suggestion.is_existing, suggestion.confidence), default=None)


def _finish(caller: Caller, chore: Chore, before: Conversation) -> None:
    """Delete the task, or postpone it if messages added in the meantime could lead to a label."""
    rows = Conversation.objects.for_tenant(caller.tenant).select_for_update(no_key=True)
    current = rows.filter(id=before.id).first()
    task = queue.of(caller.tenant, before.id).filter(id=chore.id)
    if current is None or current.label or current.last_turn == before.last_turn:
        task.delete()
    else:
        due_at = timezone.now() + queue.LABEL_AFTER
        task.update(due_at=due_at, attempts=0, error="", **leases.RELEASED)
