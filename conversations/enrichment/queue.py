"""What is to be done with conversations beside the requests: who puts it on the list, and who takes it from there.

At most one of a kind for each conversation. It is leased while it is done, so that no two ask a language model the
same; that nothing is stored twice does not depend on it.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from conversations import llm
from conversations.models import Chore, Conversation
from somamemory.db import leases
from tenants.models import Tenant

# Who has just said something goes on talking: chores are done for all of it at once, some time after its beginning.
FACTS_AFTER = timedelta(minutes=10)
LABEL_AFTER = timedelta(minutes=1)
LABELLED_UP_TO = 20  # turns: what has no label after so many is left without


def note(conversation: Conversation, before: int) -> None:
    """Messages have been added to the first `before`: note what the tenant wants done by itself.

    In the transaction that has added them, which holds the conversation's row.
    """
    tenant, now = conversation.tenant, timezone.now()
    if tenant.extract_facts and settings.LLM_PROVIDER != llm.OFFLINE:
        _want(conversation, Chore.Kind.FACTS, now + FACTS_AFTER)
    if tenant.auto_label is not None and not conversation.label and before < LABELLED_UP_TO:
        _want(conversation, Chore.Kind.LABEL, now + LABEL_AFTER)


def request(conversation: Conversation, kind: str) -> Chore:
    """Have it done now, also if it has failed. Needs a transaction that holds the conversation's row."""
    now = timezone.now()
    rows = of(conversation.tenant, conversation.id)
    rows.bulk_create([_new(conversation, kind, now)], ignore_conflicts=True)
    chore: Chore = rows.select_for_update().get(kind=kind)
    if chore.turn < conversation.last_turn and not chore.is_leased(now):
        chore.due_at, chore.attempts, chore.error = now, 0, ""
        chore.save(update_fields=["due_at", "attempts", "error"])
    elif chore.due_at is not None and not chore.is_leased(now):
        chore.due_at, chore.error = None, ""
        chore.save(update_fields=["due_at", "error"])
    return chore


def take(which: QuerySet[Chore] | None = None) -> Chore | None:
    """Lease the chore that is due first, of active tenants; or one of `which`, due or not. None: there is none."""
    due = Chore.all_tenants.filter(due_at__lte=timezone.now()) if which is None else which
    active = due.filter(tenant__in=Tenant.objects.filter(active=True))
    # Longer than the two questions that one step may ask.
    duration = timedelta(seconds=2 * settings.LLM_TIMEOUT_S + 60)
    return next(iter(leases.take(active.order_by("due_at"), duration)), None)


def give_back(chore: Chore, due_at: datetime | None, error: str = "") -> None:
    """It has not worked: try again at `due_at`, or when somebody asks. Nobody else has taken it over meanwhile."""
    Chore.objects.for_tenant(chore.tenant).filter(id=chore.id, lease=chore.lease).update(
        due_at=due_at, error=error[:64], attempts=chore.attempts, **leases.RELEASED
    )


def of(tenant: Tenant, conversation_id: uuid.UUID) -> QuerySet[Chore]:
    rows: QuerySet[Chore] = Chore.objects.for_tenant(tenant).filter(conversation_id=conversation_id)
    return rows


def _want(conversation: Conversation, kind: str, due_at: datetime) -> None:
    rows = of(conversation.tenant, conversation.id)
    if not rows.filter(kind=kind, due_at=None).update(due_at=due_at, attempts=0, error=""):
        rows.bulk_create([_new(conversation, kind, due_at)], ignore_conflicts=True)


def _new(conversation: Conversation, kind: str, due_at: datetime) -> Chore:
    return Chore(tenant=conversation.tenant, conversation_id=conversation.id, kind=kind, due_at=due_at)
