"""Labels that conversations get by themselves, where the tenant wants it."""

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
    """Give a conversation that has none the label that is suggested with enough confidence, if there is one.

    Never inside a transaction. Raises NotFound, LlmUnavailable, LlmBudgetExceeded.
    """
    threshold = caller.tenant.auto_label
    conversation = Conversation.objects.for_tenant(caller.tenant).filter(id=chore.conversation_id).first()
    if threshold is None or conversation is None or conversation.label:
        queue.of(caller.tenant, chore.conversation_id).filter(id=chore.id).delete()
        return
    suggested = labels.suggest(caller, conversation.id)
    best = chosen(suggested.suggestions, threshold)
    with transaction.atomic():
        if best is not None:
            services.label_unlabelled(caller, conversation.id, best.label, suggested.model)
        _settle(caller, chore, conversation)


def chosen(suggestions: Sequence[Suggestion], threshold: float) -> Suggestion | None:
    """The best of those with so much confidence; one that exists before one that does not. Pure."""
    sure = [each for each in suggestions if each.confidence >= threshold]
    return max(sure, key=lambda each: (each.is_existing, each.confidence), default=None)


def _settle(caller: Caller, chore: Chore, seen: Conversation) -> None:
    """Done, unless more has been said meanwhile that could tell what it is about."""
    rows = Conversation.objects.for_tenant(caller.tenant).select_for_update(no_key=True)
    now = rows.filter(id=seen.id).first()
    mine = queue.of(caller.tenant, seen.id).filter(id=chore.id)
    if now is None or now.label or now.last_turn == seen.last_turn:
        mine.delete()
    else:
        due_at = timezone.now() + queue.LABEL_AFTER
        mine.update(due_at=due_at, attempts=0, error="", **leases.RELEASED)
